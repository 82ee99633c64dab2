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
// A chunk that was sent has one of three outcomes. What follows depends on
// whether it was sent before, in doubt, because a copy of it may still be on its
// way and must find the same number:
//
//	sent         outcome      then
//	first time   stored       its lines are reported; those that cannot be yet,
//	                          because lines before them are missing, are known
//	first time   refused      forgotten: its lines, and those of later chunks of the
//	                          stream, get new numbers
//	first time   unanswered   in doubt: sent again with the same number and lines
//	again        stored       as above; the fence says whether it was stored before
//	again        refused      in doubt, as before
//	again        unanswered   in doubt, as before
//
// Behind one in doubt a stored one is in doubt too: it is asked about again, so
// that the known ones are always the first.
type chunk struct {
	stream *streamState
	number uint64
	after  uint64 // the chunk that must be the last one stored; 0 for any
	lines  []int
	bytes  int
	again  bool // it was sent before, and no answer came

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

// inDoubt reports whether a copy of a chunk that is not known to be stored may
// still be stored.
func (c *chunk) inDoubt() bool { return c.outcome == unanswered || c.outcome == refused && c.again }

// planChunks cuts the batch into chunks in the order of their first lines. Lines that
// are known to be stored are marked and in no chunk.
func (a *Appender) planChunks(b *papyra.Batch) []*chunk {
	a.stored = append(a.stored[:0], make([]bool, b.Len())...)
	a.groupLines(b)
	var chunks []*chunk
	for _, l := range a.order {
		rest := l.lines
		after := uint64(0)
		for _, o := range l.held {
			if !a.sameLines(b, rest, o.sums) {
				break // the caller has given these lines up
			}
			lines := rest[:len(o.sums)]
			rest = rest[len(o.sums):]
			if o.known {
				a.markStored(lines)
				continue
			}
			c := &chunk{stream: l, number: o.number, after: after, lines: lines, again: true}
			for _, i := range lines {
				c.bytes += b.End(i+1) - b.End(i)
			}
			chunks = append(chunks, c)
			after = c.number
		}
		for len(rest) > 0 {
			l.number++
			c := &chunk{stream: l, number: l.number, after: after}
			for len(c.lines) < min(len(rest), chunkLines) {
				i := rest[len(c.lines)]
				size := b.End(i+1) - b.End(i)
				if len(c.lines) > 0 && c.bytes+size > chunkBytes {
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
	before := map[*streamState][]heldChunk{}
	for _, l := range a.order {
		before[l], l.held = l.held, nil
	}
	if n == b.Len() {
		return n
	}
	// Chunks that were not sent this time because they are known to be stored
	// stand at the head of their stream.
	for l, held := range before {
		rest := l.lines
		for _, o := range held {
			if !o.known || !a.sameLines(b, rest, o.sums) {
				break
			}
			a.holdChunk(b, l, heldChunk{number: o.number, known: true}, rest[:len(o.sums)], n)
			rest = rest[len(o.sums):]
		}
	}
	forgotten := map[*streamState]bool{} // a chunk of it is: so are later ones
	for _, c := range chunks {
		if c.outcome != stored && !c.inDoubt() {
			forgotten[c.stream] = true
		}
		if !forgotten[c.stream] {
			a.holdChunk(b, c.stream, heldChunk{number: c.number, known: c.outcome == stored}, c.lines, n)
		}
	}
	return n
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
