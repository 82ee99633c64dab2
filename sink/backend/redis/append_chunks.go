package redis

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/papyra/papyra"
)

// streamState is what an appender knows of one stream.
type streamState struct {
	key, fence string
	number     uint64 // of the last chunk that was made; no number is used twice
	acked      uint64 // of the last chunk that is known to be stored
	ackedAt    time.Time

	lines []int // of the batch, that belong to the stream
	// held are the chunks at the head of the lines that were not reported as
	// stored, with which the caller will come again. The known ones are first.
	held []heldChunk
}

// heldChunk is a chunk that was sent, of which lines will come again.
type heldChunk struct {
	number uint64
	known  bool     // it is stored; otherwise nobody knows
	sums   []uint64 // of its lines, by which they are recognised
}

// chunk is a part of a batch that one script stores: all or nothing.
//
// A chunk that was sent has one of three outcomes:
//
//	outcome      then
//	stored       its lines are reported; those that cannot be yet, because lines
//	             before them are missing, are held as known
//	refused      forgotten: its lines, and those of later chunks of the stream, get
//	             new numbers
//	unanswered   held in doubt, and so are later ones of the stream
//
// A copy of a chunk in doubt may still be on its way. The next Append asks the
// fence before it sends anything of that stream, and raises it to the last number
// that was sent, so that a copy which comes later stores nothing:
//
//	fence says           then
//	at least its number  it is stored: known
//	less                 it is not, and never will be: forgotten
type chunk struct {
	stream *streamState
	number uint64
	after  uint64 // the chunk that must be the last one stored; 0 for any
	lines  []int
	bytes  int

	outcome outcome
	err     error
}

// outcome is what became of a chunk that was sent.
type outcome uint8

const (
	refused    outcome = iota // or not sent at all
	unanswered                // it was sent, and no answer came
	stored
)

// inDoubt reports whether nobody knows whether a chunk of the stream is stored.
func (l *streamState) inDoubt() bool { return len(l.held) > 0 && !l.held[len(l.held)-1].known }

// settleDoubt notes what the fence said of the chunks in doubt: those up to
// number at are stored, the others never will be.
func (l *streamState) settleDoubt(at uint64) (resent, fenced int64) {
	for i := range l.held {
		h := &l.held[i]
		if h.known {
			continue
		}
		resent++
		if h.number > at {
			l.held = l.held[:i]
			return resent, fenced
		}
		h.known = true
		fenced++
	}
	return resent, fenced
}

// planChunks cuts the batch into chunks of about so many bytes, in the order of
// their first lines. Lines that are known to be stored are marked and in no chunk;
// neither are those of a stream of which something is in doubt.
func (a *Appender) planChunks(b *papyra.Batch, bytes int) []*chunk {
	var chunks []*chunk
	for _, l := range a.order {
		rest := l.lines
		for _, h := range l.held {
			if !h.known || !a.sameLines(b, rest, h.sums) {
				break // in doubt, or the caller has given these lines up
			}
			a.markStored(rest[:len(h.sums)])
			rest = rest[len(h.sums):]
		}
		after := uint64(0)
		for len(rest) > 0 && !l.inDoubt() {
			l.number++
			c := &chunk{stream: l, number: l.number, after: after}
			for len(c.lines) < min(len(rest), chunkLines) {
				i := rest[len(c.lines)]
				size := b.End(i+1) - b.End(i)
				if len(c.lines) > 0 && c.bytes+size > bytes {
					break
				}
				c.lines = rest[:len(c.lines)+1]
				c.bytes += size
			}
			rest = rest[len(c.lines):]
			chunks = append(chunks, c)
			after = c.number
		}
	}
	slices.SortStableFunc(chunks, func(x, y *chunk) int { return x.lines[0] - y.lines[0] })
	return chunks
}

// groupLines sorts the batch's lines by stream.
func (a *Appender) groupLines(b *papyra.Batch) {
	a.stored = append(a.stored[:0], make([]bool, b.Len())...)
	for _, l := range a.order {
		l.lines = l.lines[:0]
	}
	a.order = a.order[:0]
	var (
		last papyra.Stream
		l    *streamState
	)
	for i := range b.Len() {
		if _, stream := b.Line(i); l == nil || stream != last {
			last, l = stream, a.streamState(stream)
		}
		if len(l.lines) == 0 {
			a.order = append(a.order, l)
		}
		l.lines = append(l.lines, i)
	}
	for _, l := range a.streams {
		if len(l.lines) == 0 {
			l.held = nil
		}
	}
}

func (a *Appender) streamState(s papyra.Stream) *streamState {
	l := a.streams[s]
	if l == nil {
		key := a.s.keys.stream(s)
		l = &streamState{key: key, fence: fence(key, a.id)}
		a.streams[s] = l
	}
	return l
}

// sameLines reports whether the lines begin with the ones that have these sums.
func (a *Appender) sameLines(b *papyra.Batch, lines []int, sums []uint64) bool {
	if len(lines) < len(sums) {
		return false
	}
	for i, sum := range sums {
		if line, _ := b.Line(lines[i]); maphash.Bytes(a.seed, line) != sum {
			return false
		}
	}
	return true
}

func (a *Appender) markStored(lines []int) {
	for _, i := range lines {
		a.stored[i] = true
	}
}

// settleChunks returns how many lines, from the first, are stored, and remembers
// which of the others are stored or may be.
func (a *Appender) settleChunks(b *papyra.Batch, chunks []*chunk) int {
	n := slices.Index(a.stored, false)
	if n < 0 {
		n = len(a.stored)
	}
	a.holdLines(b, chunks, n)
	return n
}

// holdLines remembers which of the batch's lines from the n-th on, which will come
// again, are stored or may be.
func (a *Appender) holdLines(b *papyra.Batch, chunks []*chunk, n int) {
	before := map[*streamState][]heldChunk{}
	for _, l := range a.order {
		before[l], l.held = l.held, nil
	}
	if n == b.Len() {
		return
	}
	// Chunks that were not sent this time, because they are known to be stored or
	// still in doubt, stand at the head of their stream.
	for l, held := range before {
		rest := l.lines
		for _, h := range held {
			if !a.sameLines(b, rest, h.sums) {
				break
			}
			a.holdChunk(b, l, heldChunk{number: h.number, known: h.known}, rest[:len(h.sums)], n)
			rest = rest[len(h.sums):]
		}
	}
	forgotten := map[*streamState]bool{} // a chunk of it is: so are later ones
	for _, c := range chunks {
		if c.outcome == refused {
			forgotten[c.stream] = true
		}
		if !forgotten[c.stream] {
			a.holdChunk(b, c.stream, heldChunk{number: c.number, known: c.outcome == stored}, c.lines, n)
		}
	}
}

// holdChunk remembers a chunk whose lines, from the batch's n-th on, will come
// again.
func (a *Appender) holdChunk(b *papyra.Batch, l *streamState, h heldChunk, lines []int, n int) {
	if last := len(l.held) - 1; last >= 0 && !l.held[last].known {
		h.known = false
	}
	for _, i := range lines {
		if i >= n {
			line, _ := b.Line(i)
			h.sums = append(h.sums, maphash.Bytes(a.seed, line))
		}
	}
	if len(h.sums) > 0 {
		l.held = append(l.held, h)
	}
}
