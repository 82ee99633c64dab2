package redis

import (
	"errors"
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
	err   error // why not all of them are stored
	from  int   // the batch's lines from here on will come again
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
			if !h.known {
				break // in doubt
			}
			n := a.sameLines(b, rest, h.sums)
			a.markStored(rest[:n])
			rest = rest[n:]
			if n < len(h.sums) {
				break // the others come later, or the caller has given them up
			}
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
		l.lines, l.err = l.lines[:0], nil
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

// sameLines returns how many of the lines, from the first, are the ones that have
// these sums.
func (a *Appender) sameLines(b *papyra.Batch, lines []int, sums []uint64) int {
	for i, sum := range sums {
		if i == len(lines) {
			return i
		}
		if line, _ := b.Line(lines[i]); maphash.Bytes(a.seed, line) != sum {
			return i
		}
	}
	return len(sums)
}

func (a *Appender) markStored(lines []int) {
	for _, i := range lines {
		a.stored[i] = true
	}
}

// settleChunks returns how many lines, from the first, are stored. The others will
// come again, and it remembers which of them are stored or may be.
func (a *Appender) settleChunks(b *papyra.Batch, chunks []*chunk) int {
	n := slices.Index(a.stored, false)
	if n < 0 {
		n = len(a.stored)
	}
	a.holdFrom(b, chunks, n)
	return n
}

// holdFrom remembers which lines are stored or may be, of those from the n-th on.
func (a *Appender) holdFrom(b *papyra.Batch, chunks []*chunk, n int) {
	for _, l := range a.order {
		l.from = n
	}
	a.holdLines(b, chunks)
}

// settleStreams is settleChunks where nothing failed but single streams: of these
// the lines come again from the first that is not stored, of the others none does.
func (a *Appender) settleStreams(b *papyra.Batch, chunks []*chunk) (int, error) {
	n := slices.Index(a.stored, false)
	if n < 0 {
		return a.settleChunks(b, chunks), nil
	}
	refused := &papyra.RefusedError{}
	for _, l := range a.order {
		l.from = b.Len()
		k := slices.IndexFunc(l.lines, func(i int) bool { return !a.stored[i] })
		if k < 0 {
			continue
		}
		l.from = l.lines[k]
		_, stream := b.Line(l.from)
		if l.err == nil {
			l.err = errors.New("the server did not store a chunk and gave no reason")
		}
		refused.Streams = append(refused.Streams, papyra.RefusedStream{Stream: stream, Stored: k, Err: l.err})
	}
	a.holdLines(b, chunks)
	return n, refused
}

// holdLines remembers which of the batch's lines that will come again are stored or
// may be.
func (a *Appender) holdLines(b *papyra.Batch, chunks []*chunk) {
	// Chunks that were not sent this time, because they are known to be stored or
	// still in doubt, stand at the head of their stream.
	for _, l := range a.order {
		held, rest := l.held, l.lines
		l.held = nil
		for _, h := range held {
			n := a.sameLines(b, rest, h.sums)
			gaveUp := n < len(h.sums) && n < len(rest)
			later := h.sums[n:]
			if gaveUp {
				later = nil
			}
			a.holdChunk(b, l, heldChunk{number: h.number, known: h.known}, rest[:n], later)
			if rest = rest[n:]; gaveUp {
				break
			}
		}
	}
	var forgotten map[*streamState]bool // a chunk of it is: so are later ones
	for _, c := range chunks {
		switch {
		case c.lines[len(c.lines)-1] < c.stream.from || forgotten[c.stream]:
		case c.outcome == refused:
			if forgotten == nil {
				forgotten = map[*streamState]bool{}
			}
			forgotten[c.stream] = true
		default:
			a.holdChunk(b, c.stream, heldChunk{number: c.number, known: c.outcome == stored}, c.lines, nil)
		}
	}
}

// holdChunk remembers a chunk as far as its lines will come again: those of the
// batch, and later ones that have these sums.
func (a *Appender) holdChunk(b *papyra.Batch, l *streamState, h heldChunk, lines []int, later []uint64) {
	if last := len(l.held) - 1; last >= 0 && !l.held[last].known {
		h.known = false
	}
	for _, i := range lines {
		if i >= l.from {
			line, _ := b.Line(i)
			h.sums = append(h.sums, maphash.Bytes(a.seed, line))
		}
	}
	if h.sums = append(h.sums, later...); len(h.sums) > 0 {
		l.held = append(l.held, h)
	}
}
