package papyra

import "errors"

// Batch is a run of whole record lines in the order of their arrival, with the
// stream of each. It is what a sink hands to a store. The zero Batch is empty
// and ready; Reset makes a used one empty and keeps its memory. A Batch is not
// safe for concurrent use.
type Batch struct {
	data    []byte
	lines   []batchLine
	streams []Stream
	index   map[Stream]int
}

type batchLine struct {
	end    int
	stream int
}

// Reset empties the batch and keeps its memory for reuse. Numbers from
// StreamIndex are valid only until then.
func (b *Batch) Reset() {
	b.data, b.lines, b.streams = b.data[:0], b.lines[:0], b.streams[:0]
	clear(b.index)
}

// Grow makes room for size bytes in all, so that Append copies nothing but the
// line until then.
func (b *Batch) Grow(size int) {
	if cap(b.data) < size {
		b.data = append(make([]byte, 0, size), b.data...)
	}
}

// Len returns the number of lines.
func (b *Batch) Len() int { return len(b.lines) }

// Bytes returns all lines, each ended by a newline. The slice is valid until
// the next change of the batch.
func (b *Batch) Bytes() []byte { return b.data }

// StreamIndex returns the number of a stream in this batch, for Append.
func (b *Batch) StreamIndex(s Stream) int {
	if i, ok := b.index[s]; ok {
		return i
	}
	if b.index == nil {
		b.index = map[Stream]int{}
	}
	b.index[s] = len(b.streams)
	b.streams = append(b.streams, s)
	return len(b.streams) - 1
}

// Append copies a line, given without its newline, to the end of the batch.
func (b *Batch) Append(stream int, line []byte) {
	b.data = append(b.data, line...)
	b.data = append(b.data, '\n')
	b.lines = append(b.lines, batchLine{len(b.data), stream})
}

// Line returns the i-th line without its newline, and its stream.
func (b *Batch) Line(i int) ([]byte, Stream) {
	start := 0
	if i > 0 {
		start = b.lines[i-1].end
	}
	return b.data[start : b.lines[i].end-1], b.streams[b.lines[i].stream]
}

// End returns the offset in Bytes behind the first n lines.
func (b *Batch) End(n int) int {
	if n == 0 {
		return 0
	}
	return b.lines[n-1].end
}

// LinesWithin returns how many lines lie whole, newline included, within the
// first n bytes.
func (b *Batch) LinesWithin(n int) int {
	lo, hi := 0, len(b.lines)
	for lo < hi {
		if mid := (lo + hi) / 2; b.lines[mid].end <= n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Drop removes the first n lines.
func (b *Batch) Drop(n int) {
	cut := b.End(n)
	b.data = b.data[:copy(b.data, b.data[cut:])]
	b.lines = b.lines[:copy(b.lines, b.lines[n:])]
	for i := range b.lines {
		b.lines[i].end -= cut
	}
}

// DropStored removes the lines that an [Appender] stored, as the results of its
// Append of this batch say: the first n, and with a [RefusedError] all but the rest
// of the streams that it names.
func (b *Batch) DropStored(n int, err error) {
	var refused *RefusedError
	if !errors.As(err, &refused) {
		b.Drop(n)
		return
	}
	keep := make([]bool, len(b.streams)) // by the number of the stream
	stored := make([]int, len(b.streams))
	for i := range refused.Streams {
		if index, ok := b.index[refused.Streams[i].Stream]; ok {
			keep[index], stored[index] = true, refused.Streams[i].Stored
		}
	}
	size, start, lines := 0, 0, b.lines[:0]
	for _, l := range b.lines {
		line := b.data[start:l.end]
		start = l.end
		if stored[l.stream] > 0 || !keep[l.stream] {
			stored[l.stream]--
			continue
		}
		size += copy(b.data[size:], line)
		lines = append(lines, batchLine{size, l.stream})
	}
	b.data, b.lines = b.data[:size], lines
}
