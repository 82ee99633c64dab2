package publisher

import (
	"bytes"
	"math/bits"
	"time"

	"github.com/papyra/papyra"
)

const (
	// chunkSize is the size of an ordinary chunk, and so of a message under load.
	// Larger messages gained nothing when measured.
	chunkSize = 16 << 10

	// chunkClasses is the number of chunk sizes. Each is twice the one before, and
	// the largest holds a line of papyra.MaxPublishedLine.
	chunkClasses = 5

	// largestChunk is the size of the largest chunk.
	largestChunk = chunkSize << (chunkClasses - 1)
)

// Each line that the encoder makes fits in a chunk.
var _ [largestChunk - papyra.MaxPublishedLine]struct{}

// chunk holds whole lines of one category, each with its newline. It usually
// becomes one message, and it is the unit of confirmation. While records are
// added it belongs to the callers of its lane; afterwards it belongs to the
// background. outcome.go shows the states that it goes through.
type chunk struct {
	buf     []byte
	records int
	handed  int  // number of times that it was handed over
	unknown bool // a server may have taken it: it was handed over, and no answer says what became of it

	// What the answers of sinks are counted by; see waiting.go.
	id       uint64     // the number of its first message; 0 if it has none yet
	messages int        // the messages that it becomes
	heard    groupSet   // groups that have answered all of them
	named    groupSet   // groups of which it was told that they did not
	parts    []groupSet // groups that have answered each, if there are several
	sent     time.Time  // when it was handed over last
	place    place
	next     *chunk
	prev     *chunk // only in a chunkRing
}

// newChunk makes an empty chunk of a size class.
func newChunk(class int) *chunk {
	return &chunk{buf: make([]byte, 0, classSize(class))}
}

// linesWithin returns how many bytes of b, in whole lines, fit in a message of
// limit bytes. It returns 0 if not even the first line fits.
func linesWithin(b []byte, limit int) int {
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
		return 0 // cannot happen: the encoder makes only lines that can be parsed
	}
	return rec.Seq
}

// firstSeq and lastSeq return the numbers of the first and the last record of c, which
// has one.
func (c *chunk) firstSeq() uint64 { return seqOf(c.buf[:bytes.IndexByte(c.buf, '\n')+1]) }
func (c *chunk) lastSeq() uint64 {
	return seqOf(c.buf[bytes.LastIndexByte(c.buf[:len(c.buf)-1], '\n')+1:])
}

// hasMessage reports whether message n is of c.
func (c *chunk) hasMessage(n uint64) bool {
	return c.id != 0 && n >= c.id && n-c.id < uint64(c.messages)
}

// eachSeqRange calls f with the numbers of the chunk's records as ranges, in
// their order. If the chunk has no gap, f is called once, and only the first and
// the last line are parsed.
func (c *chunk) eachSeqRange(f func(first, last uint64)) {
	if len(c.buf) == 0 {
		return
	}
	first, last := c.firstSeq(), c.lastSeq()
	if last-first+1 == uint64(c.records) { // numbers only grow
		f(first, last)
		return
	}
	for line := range bytes.Lines(c.buf) {
		seq := seqOf(line)
		f(seq, seq)
	}
}

// chunkList is a queue of chunks, linked through chunk.next: it allocates
// nothing.
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

// prepend puts the chunks of front, in their order, before those of l, and
// empties front.
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

// laneMemory makes the chunks of one lane and keeps the free ones. Chunks in use
// and free chunks together never take more than its bound. The lane's mutex
// guards it.
type laneMemory struct {
	bound   int
	held    int                  // bytes of all chunks, in use and free
	free    [chunkClasses]*chunk // lists of free chunks, by size class
	small   int                  // number of free ordinary chunks
	low     int                  // the lowest value of small since the last trim
	reserve int                  // number of free ordinary chunks that the background provides
}

func newLaneMemory(bound int) laneMemory {
	return laneMemory{bound: bound, reserve: min(64, bound/(16*chunkSize))}
}

// sizeClass returns the index of the smallest chunk size that holds n bytes. It
// is chunkClasses or more if no chunk is so large.
func sizeClass(n int) int {
	if n <= chunkSize {
		return 0
	}
	return bits.Len(uint(n-1) / chunkSize)
}

// classSize returns the bytes of a chunk of a class.
func classSize(class int) int { return chunkSize << class }

// takeChunk returns an empty chunk with room for n bytes, or nil if the bound
// does not allow one now.
func (m *laneMemory) takeChunk(n int) *chunk {
	k := sizeClass(n)
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

// needsNew reports whether takeChunk(n) would have to make a chunk, and the bound
// allows it.
func (m *laneMemory) needsNew(n int) bool {
	k := sizeClass(n)
	return k < chunkClasses && m.free[k] == nil && m.makeRoom(classSize(k))
}

// makeRoom reports whether n more bytes fit in the bound. It gives up free
// chunks for them if it must, the largest first.
func (m *laneMemory) makeRoom(n int) bool {
	for k := chunkClasses - 1; k >= 0; k-- {
		for m.held+n > m.bound && m.free[k] != nil {
			m.discardFree(k)
		}
	}
	return m.held+n <= m.bound
}

// isScarce reports whether less than a quarter of the bound is left.
func (m *laneMemory) isScarce() bool { return m.held-m.small*chunkSize > m.bound/4*3 }

// discardFree gives up one free chunk of class k.
func (m *laneMemory) discardFree(k int) {
	m.free[k] = m.free[k].next
	m.held -= classSize(k)
	if k == 0 {
		m.small--
		m.low = min(m.low, m.small)
	}
}

// returnChunk takes back a chunk that takeChunk gave, and forgets what is in it.
func (m *laneMemory) returnChunk(c *chunk) {
	k := sizeClass(cap(c.buf))
	*c = chunk{buf: c.buf[:0], next: m.free[k]}
	m.free[k] = c
	if k == 0 {
		m.small++
	}
}

// offerChunk takes a new chunk as a free one, unless the bound forbids it now.
func (m *laneMemory) offerChunk(c *chunk) {
	if m.held+cap(c.buf) <= m.bound {
		m.held += cap(c.buf)
		m.returnChunk(c)
	}
}

// wantedChunks returns how many ordinary chunks the background should make, so
// that callers need not. It is 0 until half of the reserve is used.
func (m *laneMemory) wantedChunks() int {
	if m.small > m.reserve/2 || m.held+chunkSize > m.bound {
		return 0
	}
	return m.reserve - m.small
}

// surplusChunks returns how many ordinary chunks to give up: half of those that
// were not needed since the last trim.
func (m *laneMemory) surplusChunks() int { return (m.low - m.reserve + 1) / 2 }

// trimFree gives up free chunks: all of the larger sizes and *n ordinary ones. It
// gives up at most so many in one call, counts *n down, and reports whether it
// must be called again.
func (m *laneMemory) trimFree(n *int, most int) bool {
	for k := chunkClasses - 1; k > 0; k-- {
		for ; m.free[k] != nil; most-- {
			if most == 0 {
				return true
			}
			m.discardFree(k)
		}
	}
	for ; *n > 0 && m.free[0] != nil; *n-- {
		if most == 0 {
			return true
		}
		m.discardFree(0)
		most--
	}
	m.low = m.small
	return false
}
