package sink

import (
	"maps"
	"sync"

	"github.com/papyra/papyra"
)

// buffer is the bounded backlog between the intake and the writer, with the
// account of all lines that came from the wire. The intake puts lines in and
// never waits; the writer takes whole blocks out and writes them without the
// lock.
//
// One lock guards the backlog and the account, so that at every moment
//
//	received = stored + rejected + dropped + pending
//
// It is held for one message or one block and never during I/O. The ledger is
// told of a drop under it, so that the numbers and the ranges of a report are of
// one moment. The order is: the buffer's lock first, then the ledger's.
type buffer struct {
	limit int         // bytes of lines that may wait; reports may go beyond it
	drops *dropLedger // told of every drop
	wake  chan struct{}

	mu      sync.Mutex
	waiting backlog
	writing blockCounts // the block that the writer has taken out
	aside   aside       // the lines of streams that the store refuses; only the writer changes it
	reserve reportReserve
	closed  bool    // nothing more goes in
	out     *block  // of which writing are the numbers; nil without one
	heard   settled // the messages that are to be answered
	// spoolFull says why there is no room: the spool is full too.
	spoolFull bool
	account   lineCounts
}

// blockCounts are the numbers of the block at which the writer is. The writer
// changes the block without the lock; these change with it under the lock.
type blockCounts struct {
	lines, reports, size int
}

// add counts n lines of together size bytes.
func (c *blockCounts) add(n, size int, reports bool) {
	c.size += size
	if reports {
		c.reports += n
	} else {
		c.lines += n
	}
}

// lineCounts are the numbers of the lines that came from the wire, as Stats has
// them.
type lineCounts struct {
	messages, received, bytes uint64
	stored, storedBytes       uint64
	rejected                  map[papyra.RejectReason]uint64
	dropped                   map[papyra.DropReason]uint64
}

// newBuffer returns a buffer for limit bytes of lines.
func newBuffer(limit int, drops *dropLedger) *buffer {
	return &buffer{
		limit: limit, drops: drops, wake: make(chan struct{}, 1),
		reserve: reportReserve{size: limit / reserveShare}, heard: newSettled(),
		account: lineCounts{rejected: map[papyra.RejectReason]uint64{}, dropped: map[papyra.DropReason]uint64{}},
	}
}

// takeMessage accounts for the lines of one message. It copies the good ones as
// far as there is room and drops the others. from says who waits for an answer: he
// gets none if a line is dropped.
func (b *buffer) takeMessage(stream papyra.Stream, good []acceptedLine, bad []rejectedLines, from heardFrom) {
	size := 0
	for i := range good {
		size += len(good[i].bytes)
	}

	b.mu.Lock()
	b.account.messages++
	b.account.received += uint64(len(good))
	b.account.bytes += uint64(size)
	before := b.waiting.size
	wakeAnswers := false
	switch {
	case len(good) > 0:
		in, first := b.placeLines(stream, good, size+len(good))
		if from.reply != "" && in != nil {
			wakeAnswers = b.heard.await(in, first, from)
		}
	case from.reply != "":
		b.heard.add(from)
		wakeAnswers = true
	}
	after := b.waiting.size
	b.countRejected(stream, bad)
	b.mu.Unlock()

	if wakeAnswers {
		b.heard.wakeUp()
	}

	if before == 0 && after > 0 || before < eagerBytes && after >= eagerBytes {
		b.wakeWriter()
	}
}

// takeRejected accounts for some of the rejected lines of a message, of which more
// follow.
func (b *buffer) takeRejected(stream papyra.Stream, bad []rejectedLines) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.countRejected(stream, bad)
}

// countRejected counts rejected lines as received and as rejected, and tells the
// ledger of those that have a number. The caller holds the lock.
func (b *buffer) countRejected(stream papyra.Stream, bad []rejectedLines) {
	for i := range bad {
		r := &bad[i]
		b.account.received += uint64(r.n)
		b.account.bytes += uint64(r.size)
		b.account.rejected[r.reason] += uint64(r.n)
		if len(r.run) > 0 {
			b.drops.addRange(papyra.DropSinkRejected, papyra.Stream{System: stream.System, Kind: r.kind}, r.run, r.seqs)
		}
	}
}

// placeLines copies lines, of together size bytes with their newlines, until one does
// not fit, and drops the rest. It returns the block of the last line, and where in it
// the lines begin; nil if a line was dropped. The caller holds the lock.
func (b *buffer) placeLines(stream papyra.Stream, good []acceptedLine, size int) (in *block, first int) {
	reason := b.fullReason()
	room := b.limit - b.pendingSize()
	if b.closed {
		reason, room = papyra.DropSinkStopped, 0
	}
	if room >= 0 && !b.closed {
		b.reserve.giveBack()
	}
	last := b.waiting.blockFor(min(size, blockBytes)) // lines of a message stay together
	index := last.batch.StreamIndex(stream)
	first = last.batch.Len()
	for i := range good {
		l := &good[i]
		if room -= len(l.bytes) + 1; room < 0 && (b.closed || !b.reserve.take(stream, len(l.bytes)+1)) {
			b.account.dropped[reason] += uint64(len(good) - i)
			b.drops.addDrops(reason, stream, good[i:])
			return nil, 0
		}
		if !last.hasRoom(len(l.bytes) + 1) {
			last = b.waiting.blockFor(len(l.bytes) + 1)
			index = last.batch.StreamIndex(stream)
			first = 0
		}
		b.waiting.addLine(last, index, l.bytes)
	}
	return last, first
}

// addReport puts a report of the sink in, whether there is room or not: reports
// are few and small, and they explain the rest.
func (b *buffer) addReport(l []byte) {
	b.mu.Lock()
	b.waiting.addReport(l)
	b.mu.Unlock()
	b.wakeWriter()
}

func (b *buffer) wakeWriter() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// nextBlock returns the block that the writer writes next: rest if it still has
// lines, otherwise the oldest that waits, or nil if none does. It takes an empty
// rest back. Lines of refused streams are set aside; those for which there is no
// room are counted as dropped, and the caller tells the ledger of them.
func (b *buffer) nextBlock(rest *block) (next, dropped *block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for dropped == nil {
		if rest != nil && rest.batch.Len() == 0 {
			b.waiting.reuseBlock(rest)
			rest = nil
		}
		if rest == nil {
			rest = b.waiting.takeOldest()
		}
		if rest == nil || len(b.aside.streams) == 0 {
			break
		}
		if rest, dropped = b.withoutAside(rest); rest.batch.Len() > 0 {
			break
		}
	}
	b.countWriting(rest)
	return rest, dropped
}

// addStored counts what the store took of the writer's block: wire lines, and
// bytes with those of reports. rest is the block without them; gone says which lines
// these were.
func (b *buffer) addStored(lines, bytes int, rest *block, gone linesGone) {
	if b.settleStored(lines, bytes, rest, gone) {
		b.heard.wakeUp()
	}
}

func (b *buffer) settleStored(lines, bytes int, rest *block, gone linesGone) (wakeAnswers bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.account.stored += uint64(lines)
	b.account.storedBytes += uint64(bytes)
	b.countWriting(rest)
	return b.heard.settle(rest, gone)
}

// countWriting counts the writer's block, which may be nil. The caller holds the
// lock.
func (b *buffer) countWriting(writing *block) {
	b.writing, b.out = writing.counts(), writing
}

// pendingSize returns how many bytes wait for the store. The caller holds the lock.
func (b *buffer) pendingSize() int { return b.writing.size + b.waiting.size + b.aside.counts.size }

// pendingLines returns how many wire lines wait for the store. The caller holds the
// lock.
func (b *buffer) pendingLines() int { return b.writing.lines + b.waiting.lines + b.aside.counts.lines }

// abandonLines closes the buffer and counts all wire lines in it, and those in
// the writer's rest, as sink_stopped. It returns their number and the blocks
// that hold them, whose numbers the caller tells the ledger. The sink's reports
// stay in the buffer: they tell of earlier drops. What the intake still gives is
// dropped from now on.
func (b *buffer) abandonLines(rest *block) (left int, blocks []*block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	blocks = b.waiting.blocks
	if rest != nil {
		blocks = append([]*block{rest}, blocks...)
	}
	for _, as := range b.aside.order {
		blocks = append(blocks, as.blocks...)
	}
	b.waiting, b.aside = backlog{}, aside{}
	b.countWriting(nil)
	for _, old := range blocks {
		left += old.wireLines()
		old.eachLine(func(l []byte, _ papyra.Stream, report bool) {
			if report {
				b.waiting.addReport(l)
			}
		})
	}
	if left > 0 {
		b.account.dropped[papyra.DropSinkStopped] += uint64(left)
	}
	return left, blocks
}

// pending returns what waits for the store: wire lines, and bytes with those of
// reports.
func (b *buffer) pending() (lines, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pendingLines(), b.pendingSize()
}

// isSmall reports whether so little waits that the writer may wait for more.
func (b *buffer) isSmall() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting.size < eagerBytes
}

// nearlyFull reports whether more than three quarters of the room are taken, without
// what is set aside. It does not wait for the lock: while somebody holds it the answer
// is no.
func (b *buffer) nearlyFull() bool {
	if !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	return b.writing.size+b.waiting.size > (b.limit-b.aside.counts.size)/4*3
}

// messages returns how many messages the intake has seen.
func (b *buffer) messages() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.account.messages
}

// droppedFull returns how many lines were dropped because there was no room.
func (b *buffer) droppedFull() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.account.dropped[papyra.DropSinkFull] + b.account.dropped[papyra.DropSpoolFull]
}

// holdsReports reports whether a report of the sink still waits for the store.
func (b *buffer) holdsReports() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.writing.reports+b.waiting.reports+b.aside.counts.reports > 0
}

// takeAccount returns the numbers, and the drops since the last call, of one
// moment.
func (b *buffer) takeAccount() (lineCounts, []papyra.SinkDrops) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.account.clone(), b.drops.takeDrops()
}

// totals returns the sums of the account.
func (b *buffer) totals() lineTotals {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.account.totals()
}

// fillStats copies the numbers of one moment into st.
func (b *buffer) fillStats(st *Stats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.account.clone()
	st.Messages, st.Received, st.Bytes = a.messages, a.received, a.bytes
	st.Stored, st.StoredBytes = a.stored, a.storedBytes
	st.Rejected, st.Dropped = a.rejected, a.dropped
	st.Pending, st.PendingBytes = b.pendingLines(), b.pendingSize()
	st.RefusedStreams, st.RefusedPending = len(b.aside.order), b.aside.counts.lines
}

// clone returns a copy with maps of its own.
func (c *lineCounts) clone() lineCounts {
	own := *c
	own.rejected, own.dropped = maps.Clone(c.rejected), maps.Clone(c.dropped)
	return own
}

// lineTotals are the sums of an account.
type lineTotals struct {
	received, stored, rejected, dropped uint64
}

func (c *lineCounts) totals() lineTotals {
	return lineTotals{c.received, c.stored, sum(c.rejected), sum(c.dropped)}
}
