package lines

import "github.com/papyra/papyra"

const (
	// shortLine is the longest line that a reader holds in a buffer of its own.
	shortLine = 1 << 20
	// longSize is one chunk more than the longest line whose bytes are held.
	longSize = ChunkSize + papyra.MaxStoredLine
)

// LongBuffers are the buffers for lines of more than a megabyte, of 8.25 MiB each.
// Several readers may share them, so that their memory is bounded however many
// there are: a reader has one from the call that returns such a line to its next
// call, and waits while none is free. They are safe for concurrent use.
type LongBuffers struct{ free chan []byte }

// NewLongBuffers returns n buffers. Each is made when it is needed for the first
// time.
func NewLongBuffers(n int) *LongBuffers {
	b := &LongBuffers{make(chan []byte, n)}
	for range n {
		b.free <- nil
	}
	return b
}

// long is the part of a reader that holds a long line.
type long struct {
	shared *LongBuffers
	short  []byte // the reader's own buffer, while a long one is in its place
}

// take returns a long buffer that stands in for the reader's own.
func (l *long) take(own []byte) []byte {
	if l.shared == nil {
		l.shared = NewLongBuffers(1)
	}
	l.short = own
	buf := <-l.shared.free
	if buf == nil {
		buf = make([]byte, longSize)
	}
	return buf
}

// taken reports whether the reader has a long buffer.
func (l *long) taken() bool { return l.short != nil }

// put gives a long buffer back.
func (l *long) put(buf []byte) {
	l.short = nil
	l.shared.free <- buf
}
