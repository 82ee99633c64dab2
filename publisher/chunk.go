package publisher

import (
	"bytes"
	"math/bits"

	"github.com/papyra/papyra"
)

const (
	// chunkSize is the size of an ordinary chunk, and of a message under load;
	// larger messages gained nothing when measured.
	chunkSize = 16 << 10

	// chunkClasses is how many sizes there are, each twice the one before: the
	// largest holds a line of papyra.MaxPublishedLine.
	chunkClasses = 5
)

// chunk is the message being formed: whole lines of one category, each with
// its newline. It is the unit of confirmation. While it is open it belongs to
// its lane's callers, afterwards to the background.
type chunk struct {
	buf     []byte
	records int
	handed  int  // how often it was handed over
	unknown bool // a server may have taken it: handed over, and no answer tells
	next    *chunk
}

// part returns how many bytes of b, whole lines, fit in a message of limit
// bytes; 0 when not even the first line does.
func part(b []byte, limit int) int {
	if len(b) <= limit {
		return len(b)
	}
	return bytes.LastIndexByte(b[:limit], '\n') + 1
}

// seqOf returns the number of a line of a chunk, given with its newline.
func seqOf(line []byte) uint64 {
	var rec papyra.Record
	line = line[:len(line)-1]
	if !papyra.ParseSealed(&rec, line) && papyra.ParseInto(&rec, line) != nil {
		return 0 // the encoder makes no such line
	}
	return rec.Seq
}

// eachRange calls f with the numbers of the chunk's records as ranges, in their
// order. A chunk without gaps is one, and only its first and its last line are
// looked at.
func (c *chunk) eachRange(f func(first, last uint64)) {
	if len(c.buf) == 0 {
		return
	}
	first := seqOf(c.buf[:bytes.IndexByte(c.buf, '\n')+1])
	last := seqOf(c.buf[bytes.LastIndexByte(c.buf[:len(c.buf)-1], '\n')+1:])
	if last-first+1 == uint64(c.records) { // numbers only grow
		f(first, last)
		return
	}
	for line := range bytes.Lines(c.buf) {
		seq := seqOf(line)
		f(seq, seq)
	}
}

// chunkList is a queue of chunks that needs no memory of its own.
type chunkList struct {
	head, tail *chunk
	n          int
}

func (l *chunkList) push(c *chunk) {
	c.next = nil
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.next = c
	}
	l.tail = c
	l.n++
}

func (l *chunkList) pop() *chunk {
	c := l.head
	if c == nil {
		return nil
	}
	if l.head = c.next; l.head == nil {
		l.tail = nil
	}
	c.next = nil
	l.n--
	return c
}

// prepend puts the chunks of front, in their order, before those of l.
func (l *chunkList) prepend(front *chunkList) {
	if front.n == 0 {
		return
	}
	front.tail.next = l.head
	if l.tail == nil {
		l.tail = front.tail
	}
	l.head = front.head
	l.n += front.n
	*front = chunkList{}
}

// memory is the room of one lane: it hands out chunks and takes them back, and
// never holds more than its bound, what is handed out and what is free together.
type memory struct {
	bound   int
	held    int // bytes, in use and free
	free    [chunkClasses]*chunk
	small   int // free chunks of the ordinary size
	low     int // the fewest of them since the last trim
	reserve int // free ordinary chunks that the background provides
}

func newMemory(bound int) memory {
	return memory{bound: bound, reserve: min(64, bound/(16*chunkSize))}
}

// class returns the index of the smallest size that holds n bytes.
func class(n int) int {
	if n <= chunkSize {
		return 0
	}
	return bits.Len(uint(n-1) / chunkSize)
}

func classSize(class int) int { return chunkSize << class }

// get returns an empty chunk with room for n bytes, or nil when the bound does
// not allow one now.
func (m *memory) get(n int) *chunk {
	k := class(n)
	if k >= chunkClasses {
		return nil
	}
	c := m.free[k]
	if c == nil {
		if !m.makeRoom(classSize(k)) {
			return nil
		}
		m.held += classSize(k)
		return newChunk(k)
	}
	m.free[k] = c.next
	c.next = nil
	if k == 0 {
		m.small--
		m.low = min(m.low, m.small)
	}
	return c
}

// lacks reports whether a chunk for n bytes would have to be made, and the bound
// allows it.
func (m *memory) lacks(n int) bool {
	k := class(n)
	return k < chunkClasses && m.free[k] == nil && m.makeRoom(classSize(k))
}

// makeRoom reports whether n more bytes fit in the bound, after giving up free
// chunks if need be.
func (m *memory) makeRoom(n int) bool {
	for k := chunkClasses - 1; k >= 0; k-- {
		for m.held+n > m.bound && m.free[k] != nil {
			m.discard(k)
		}
	}
	return m.held+n <= m.bound
}

func (m *memory) discard(k int) {
	m.free[k] = m.free[k].next
	m.held -= classSize(k)
	if k == 0 {
		m.small--
		m.low = min(m.low, m.small)
	}
}

// put takes a chunk back, whatever is in it.
func (m *memory) put(c *chunk) {
	k := class(cap(c.buf))
	*c = chunk{buf: c.buf[:0], next: m.free[k]}
	m.free[k] = c
	if k == 0 {
		m.small++
	}
}

// wanted returns how many ordinary chunks the background should make, so that
// callers need not. It is 0 until half of the reserve is used.
func (m *memory) wanted() int {
	if m.small > m.reserve/2 || m.held+chunkSize > m.bound {
		return 0
	}
	return m.reserve - m.small
}

// give adds a chunk that was made for it, unless the bound forbids it now.
func (m *memory) give(c *chunk) {
	if m.held+cap(c.buf) <= m.bound {
		m.held += cap(c.buf)
		m.put(c)
	}
}

// surplus returns how many ordinary chunks to trim: half of those that were not
// needed since the last trim.
func (m *memory) surplus() int { return (m.low - m.reserve + 1) / 2 }

// trim gives up free chunks, at most so many in one call: all of the larger ones
// and n ordinary ones, which it counts down. It reports whether more are left to
// give up.
func (m *memory) trim(n *int, most int) bool {
	for k := chunkClasses - 1; k > 0; k-- {
		for ; m.free[k] != nil; most-- {
			if most == 0 {
				return true
			}
			m.discard(k)
		}
	}
	for ; *n > 0 && m.free[0] != nil; *n-- {
		if most == 0 {
			return true
		}
		m.discard(0)
		most--
	}
	m.low = m.small
	return false
}

func newChunk(class int) *chunk {
	return &chunk{buf: make([]byte, 0, classSize(class))}
}

// largest is what the largest chunk holds.
const largest = chunkSize << (chunkClasses - 1)

// Each line that the encoder makes fits in a chunk.
var _ [largest - papyra.MaxPublishedLine]struct{}
