package sink

import (
	"errors"
	"fmt"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/spool"
)

// aside keeps the lines of the streams that the store refuses while it takes those of
// others. What comes later of such a stream goes behind them, until all of them are
// stored. It has no lock: the buffer that owns it has one.
//
//	block ── refused ──► [stream: block block block...] ◄── later lines
//	                              │ the oldest of each are tried again
//	                              ▼
//	                            store
//
// It may fill three quarters of the buffer, and a little more for streams of which
// little waits. What does not fit is dropped, so that the other streams always have
// an eighth of the buffer, and one stream that floods leaves room for those that are
// refused later.
type aside struct {
	streams map[papyra.Stream]*asideStream
	order   []*asideStream // those that were tried last are last
	counts  blockCounts
}

// asideStream is one refused stream.
type asideStream struct {
	stream papyra.Stream
	err    error    // why it is refused
	round  int      // in which it was refused last
	blocks []*block // its lines, oldest first; none is empty
	size   int      // bytes in blocks
}

// asideBlock is the size of a block here: the step in which lines are tried again.
const asideBlock = 256 << 10

// asideWait bounds what waits in a refused stream beyond what all together may fill:
// one in so many bytes of the buffer.
const asideWait = 32

// has reports whether lines of a stream are set aside.
func (a *aside) has(s papyra.Stream) bool { return len(a.streams) > 0 && a.streams[s] != nil }

// hasRoom reports whether n bytes more of a stream may wait in a buffer that has
// limit bytes, of which pending are taken.
func (a *aside) hasRoom(s papyra.Stream, n, pending, limit int) bool {
	if pending <= limit/4*3 {
		return true
	}
	own := 0
	if as := a.streams[s]; as != nil {
		own = as.size
	}
	return own+n <= limit/asideWait && a.counts.size+n <= limit/8*7
}

// addLine puts a line behind the others of its stream, and returns the block.
func (a *aside) addLine(l []byte, s papyra.Stream, report bool) *block {
	as := a.streams[s]
	if as == nil {
		if a.streams == nil {
			a.streams = map[papyra.Stream]*asideStream{}
		}
		as = &asideStream{stream: s}
		a.streams[s] = as
		a.order = append(a.order, as)
	}
	n := len(l) + 1
	last := len(as.blocks) - 1
	if last < 0 || as.blocks[last].size()+n > asideBlock {
		as.blocks = append(as.blocks, &block{})
		last++
	}
	as.blocks[last].addLine(l, s, report)
	as.size += n
	a.counts.add(1, n, report)
	return as.blocks[last]
}

// noteRefused remembers why streams are refused, in which round of tries, and tries
// them after the others. It returns those that are news.
func (a *aside) noteRefused(refused *papyra.RefusedError, round int) (news []papyra.RefusedStream) {
	for _, r := range refused.Streams {
		as := a.streams[r.Stream]
		if as == nil {
			continue // all its lines were dropped
		}
		if as.err == nil {
			news = append(news, r)
		}
		as.err, as.round = r.Err, round
	}
	if len(a.order) > len(refused.Streams) {
		slices.SortStableFunc(a.order, func(x, y *asideStream) int { return x.round - y.round })
	}
	return news
}

// nextTry copies into b the oldest lines of the streams that were not refused in this
// round, as far as a block has room for them, and returns how many of each.
func (a *aside) nextTry(b *block, round int) map[papyra.Stream]int {
	b.batch.Reset()
	b.reports = b.reports[:0]
	tried := map[papyra.Stream]int{}
	for _, as := range a.order {
		if as.round >= round {
			continue
		}
		head := as.blocks[0]
		if !b.hasRoom(head.size()) {
			break
		}
		head.eachLine(b.addLine)
		tried[as.stream] = head.batch.Len()
	}
	return tried
}

// dropTried removes what was stored of the lines that nextTry returned: all but
// those that are left. It tells answers of the messages whose lines are all gone.
func (a *aside) dropTried(tried map[papyra.Stream]int, left *block, answers *settled) (wakeAnswers bool) {
	left.eachLine(func(_ []byte, s papyra.Stream, _ bool) { tried[s]-- })
	for s, n := range tried {
		as := a.streams[s]
		head := as.blocks[0]
		size, reports := head.size(), len(head.reports)
		head.dropFirst(n)
		wakeAnswers = answers.settle(head, linesGone{first: n}) || wakeAnswers
		as.size -= size - head.size()
		a.counts.size -= size - head.size()
		a.counts.reports -= reports - len(head.reports)
		a.counts.lines -= n - (reports - len(head.reports))
		if head.batch.Len() == 0 {
			as.blocks = as.blocks[1:]
		}
		if len(as.blocks) == 0 {
			delete(a.streams, s)
		}
	}
	a.order = slices.DeleteFunc(a.order, func(as *asideStream) bool { return len(as.blocks) == 0 })
	return wakeAnswers
}

// refusal says for a person which streams are refused, nil if none is.
func (a *aside) refusal() error {
	if len(a.order) == 0 {
		return nil
	}
	first := a.order[0]
	return fmt.Errorf("the store takes no records of %d streams (%d wait), among them %s: %w", len(a.order), a.counts.lines, first.stream, first.err)
}

// setAside moves the lines of a block aside, which are those that the store has
// refused. It returns the lines for which there is no room, nil if there are none:
// they are counted, and the caller tells the ledger. news are the streams that were
// not refused before.
func (b *buffer) setAside(rest *block, refused *papyra.RefusedError, round int) (dropped *block, news []papyra.RefusedStream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spoolFull = errors.Is(refused, spool.ErrFull)
	dropped = b.moveAside(rest, nil, func(papyra.Stream) bool { return true })
	b.waiting.reuseBlock(rest)
	b.countWriting(nil)
	return dropped, b.aside.noteRefused(refused, round)
}

// withoutAside returns the lines of a block whose streams are not refused, and sets
// the others aside, behind what is there. The caller holds the lock.
func (b *buffer) withoutAside(from *block) (rest, dropped *block) {
	found := false
	from.eachLine(func(_ []byte, s papyra.Stream, _ bool) { found = found || b.aside.has(s) })
	if !found {
		return from, nil
	}
	rest = &block{}
	b.writing = from.counts()
	dropped = b.moveAside(from, rest, b.aside.has)
	b.waiting.reuseBlock(from)
	return rest, dropped
}

// moveAside sets aside the lines of a block whose stream is chosen, puts the others
// into rest, and empties the block. The caller holds the lock.
func (b *buffer) moveAside(from, rest *block, chosen func(papyra.Stream) bool) (dropped *block) {
	pending := b.pendingSize()
	answers := heardMove{from: from.heard}
	from.eachLine(func(l []byte, s papyra.Stream, report bool) {
		n := len(l) + 1
		switch {
		case !chosen(s):
			rest.addLine(l, s, report)
			answers.moveLine(rest)
		case report || b.aside.hasRoom(s, n, pending, b.limit):
			answers.moveLine(b.aside.addLine(l, s, report))
		default:
			answers.moveLine(nil)
			if dropped == nil {
				dropped = &block{}
			}
			dropped.addLine(l, s, false)
			b.account.dropped[b.fullReason()]++
			pending -= n
		}
	})
	from.dropFirst(from.batch.Len())
	from.forgetHeard()
	return dropped
}

// nextTry is aside.nextTry.
func (b *buffer) nextTry(into *block, round int) map[papyra.Stream]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.aside.nextTry(into, round)
}

// tryEnded counts what was stored of a try: all but what is left of it.
func (b *buffer) tryEnded(tried map[papyra.Stream]int, left *block, refused *papyra.RefusedError, round int) {
	if b.settleTried(tried, left, refused, round) {
		b.heard.wakeUp()
	}
}

func (b *buffer) settleTried(tried map[papyra.Stream]int, left *block, refused *papyra.RefusedError, round int) (wakeAnswers bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.aside.counts
	wakeAnswers = b.aside.dropTried(tried, left, &b.heard)
	b.account.stored += uint64(before.lines - b.aside.counts.lines)
	b.account.storedBytes += uint64(before.size - b.aside.counts.size)
	if refused != nil {
		b.aside.noteRefused(refused, round)
		b.spoolFull = errors.Is(refused, spool.ErrFull)
	} else if len(b.aside.order) == 0 {
		b.spoolFull = false
	}
	return wakeAnswers
}

// refusal is aside.refusal.
func (b *buffer) refusal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.aside.refusal()
}

// refusedOf returns the streams that an Append's error names, nil where it concerns
// the whole store.
func refusedOf(err error) *papyra.RefusedError {
	var refused *papyra.RefusedError
	if errors.As(err, &refused) && len(refused.Streams) > 0 {
		return refused
	}
	return nil
}
