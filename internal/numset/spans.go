package numset

import (
	"math/bits"
	"slices"
	"sort"

	"github.com/papyra/papyra"
)

// Numbers are looked at in blocks of blockSize, which begin at multiples of it.
const (
	blockBits = 16
	blockSize = 1 << blockBits
)

// block has a bit for each of blockSize numbers.
type block [blockSize / 64]uint64

// foldAt is how many ranges of one block become bits: these then take less.
const foldAt = int(blockSize / 8 / spanBytes)

// What things take in memory, about.
const (
	spanBytes  = 24
	setBytes   = 24
	blockBytes = blockSize / 8
)

// span is a range of numbers: all of them, or where bits is not nil those of one
// block that have a bit. The first and the last are always among them.
type span struct {
	first, last uint64
	bits        *block
}

// spans are numbers in rising order.
//
//	first  last    bits
//	1      90000            a range, however long it is
//	131075 196000  …        a block with many short ranges
//	200001 200001
type spans struct {
	list    []span
	pending []papyra.Range // that came later, in no order
	index   index          // of pending
	ranks   []uint64       // how many numbers are in the spans before each, nil until somebody asks
	runs    int            // how many ranges the list was made of
	blocks  int            // how many spans have bits
}

// append adds a range that does not begin before the last one that was added.
func (m *spans) append(first, last uint64) {
	if n := len(m.list); n > 0 {
		p := &m.list[n-1]
		if p.bits != nil && first>>blockBits == p.first>>blockBits {
			end := min(last, first|(blockSize-1))
			p.bits.setRange(first, end)
			p.last = max(p.last, end)
			m.runs++
			if last == end {
				return
			}
			first = end + 1
		} else if first <= p.last || first == p.last+1 {
			if p.bits == nil {
				p.last = max(p.last, last)
				return
			}
			if last <= p.last {
				return
			}
			first = max(first, p.last+1)
		}
	}
	m.list = append(m.list, span{first: first, last: last})
	m.runs++
	if n := len(m.list) - foldAt; n >= 0 && m.list[n].bits == nil && m.list[n].first>>blockBits == first>>blockBits {
		m.foldBlock(n)
	}
}

// foldBlock makes bits of the spans from the one with an index on, which all begin
// in one block. Only the last may end in a later one.
func (m *spans) foldBlock(from int) {
	last := m.list[len(m.list)-1]
	end := min(last.last, last.first|(blockSize-1))
	folded := span{first: m.list[from].first, last: end, bits: &block{}}
	for _, s := range m.list[from:] {
		folded.bits.setRange(s.first, min(s.last, end))
	}
	m.list = append(m.list[:from], folded)
	m.blocks++
	if end < last.last {
		m.list = append(m.list, span{first: end + 1, last: last.last})
	}
}

// setRange sets the bits of numbers of one block.
func (b *block) setRange(first, last uint64) {
	i, j := first%blockSize, last%blockSize
	from, to := ^uint64(0)<<(i%64), ^uint64(0)>>(63-j%64)
	if i/64 == j/64 {
		b[i/64] |= from & to
		return
	}
	b[i/64] |= from
	for k := i/64 + 1; k < j/64; k++ {
		b[k] = ^uint64(0)
	}
	b[j/64] |= to
}

func (b *block) has(n uint64) bool { return b[n%blockSize/64]>>(n%64)&1 != 0 }

// next returns the first number of the span from n on. There must be one.
func (s *span) next(n uint64) uint64 {
	i := n % blockSize
	word := s.bits[i/64] >> (i % 64) << (i % 64)
	for k := i / 64; ; {
		if word != 0 {
			return n&^(blockSize-1) + k*64 + uint64(bits.TrailingZeros64(word))
		}
		k++
		word = s.bits[k]
	}
}

// previous returns the last number of the span up to n. There must be one.
func (s *span) previous(n uint64) uint64 {
	i := n % blockSize
	word := s.bits[i/64] << (63 - i%64) >> (63 - i%64)
	for k := i / 64; ; {
		if word != 0 {
			return n&^(blockSize-1) + k*64 + 63 - uint64(bits.LeadingZeros64(word))
		}
		k--
		word = s.bits[k]
	}
}

// runEnd returns the last of the numbers that follow n without a hole.
func (s *span) runEnd(n uint64) uint64 {
	i := n % blockSize
	word := ^s.bits[i/64] >> (i % 64) << (i % 64)
	for k := i / 64; ; {
		if word != 0 {
			return n&^(blockSize-1) + k*64 + uint64(bits.TrailingZeros64(word)) - 1
		}
		if k++; k == uint64(len(s.bits)) {
			return n | (blockSize - 1)
		}
		word = ^s.bits[k]
	}
}

// countUpTo returns how many numbers of the span are not above n.
func (s *span) countUpTo(n uint64) (count uint64) {
	n = min(n, s.last)
	if n < s.first {
		return 0
	}
	if s.bits == nil {
		return n - s.first + 1
	}
	i := n % blockSize
	for _, word := range s.bits[:i/64] {
		count += uint64(bits.OnesCount64(word))
	}
	return count + uint64(bits.OnesCount64(s.bits[i/64]<<(63-i%64)))
}

// find returns the index of the first span that does not end below n.
func (m *spans) find(n uint64) int {
	return sort.Search(len(m.list), func(i int) bool { return m.list[i].last >= n })
}

func (m *spans) contains(n uint64) bool {
	i := m.find(n)
	return i < len(m.list) && m.list[i].first <= n && (m.list[i].bits == nil || m.list[i].bits.has(n))
}

// countUpTo returns how many numbers are not above n.
func (m *spans) countUpTo(n uint64) uint64 {
	if m.ranks == nil {
		m.ranks = make([]uint64, len(m.list)+1)
		for i := range m.list {
			m.ranks[i+1] = m.ranks[i] + m.list[i].countUpTo(m.list[i].last)
		}
	}
	i := m.find(n)
	if i == len(m.list) {
		return m.ranks[i]
	}
	return m.ranks[i] + m.list[i].countUpTo(n)
}

func (m *spans) neighbours(n uint64) (below, above uint64) {
	i := m.find(n)
	if i > 0 {
		below = m.list[i-1].last
	}
	if i < len(m.list) {
		s := &m.list[i]
		if above = s.first; n >= s.first && s.bits != nil {
			below, above = s.previous(n), s.next(n)
		}
	}
	return below, above
}

func (m *spans) clone() *spans {
	c := &spans{list: slices.Clone(m.list), runs: m.runs, blocks: m.blocks}
	for i := range c.list {
		if b := c.list[i].bits; b != nil {
			copied := *b
			c.list[i].bits = &copied
		}
	}
	return c
}

func (m *spans) bytes() uint64 {
	return uint64(setBytes + 88 + cap(m.list)*spanBytes + (cap(m.pending)+cap(m.index.list)+cap(m.index.spare))*16 + cap(m.ranks)*8 + m.blocks*blockBytes)
}

// countBlocks returns how many of a list have bits.
func countBlocks(list []span) (n int) {
	for i := range list {
		if list[i].bits != nil {
			n++
		}
	}
	return n
}

// source gives ranges, each of which does not begin before the one before.
type source interface {
	next() (papyra.Range, bool)
}

// runs are the ranges of spans. Two of them may meet.
type runs struct {
	list []span
	at   uint64 // in the block of the first span; 0 for its beginning
}

func (r *runs) next() (papyra.Range, bool) {
	if len(r.list) == 0 {
		return papyra.Range{}, false
	}
	s := &r.list[0]
	if s.bits == nil {
		r.list = r.list[1:]
		return papyra.Range{s.first, s.last}, true
	}
	first := s.next(max(r.at, s.first))
	last := s.runEnd(first)
	if r.at = last + 1; last == s.last {
		r.list, r.at = r.list[1:], 0
	}
	return papyra.Range{first, last}, true
}

// from returns the ranges that do not end below n.
func (m *spans) from(n uint64) *runs {
	r := &runs{list: m.list[m.find(n):]}
	if len(r.list) > 0 && r.list[0].bits != nil && n > r.list[0].first {
		r.at = n
	}
	return r
}

// sorted are ranges in the order of their beginnings.
type sorted []papyra.Range

func (s *sorted) next() (papyra.Range, bool) {
	if len(*s) == 0 {
		return papyra.Range{}, false
	}
	g := (*s)[0]
	*s = (*s)[1:]
	return g, true
}

// mergePending merges what waits.
func (m *spans) mergePending(again func(first, last uint64)) {
	if len(m.pending) == 0 {
		return
	}
	sortRanges(m.pending)
	from := sorted(m.pending)
	m.merge(&from, again)
	m.pending = m.pending[:0]
	m.index.reset()
}

// merge adds ranges. It gives again, if that is set, the numbers that were there
// before, or are in several of the ranges.
func (m *spans) merge(from source, again func(first, last uint64)) {
	g, ok := from.next()
	if !ok {
		return
	}
	m.ranks = nil
	at := m.find(g[0])
	old := runs{list: slices.Clone(m.list[at:])}
	m.list, m.runs, m.blocks = m.list[:at], max(m.runs-len(old.list), 0), m.blocks-countBlocks(old.list)
	covered := uint64(0) // up to here all ranges are seen
	add := func(r papyra.Range) {
		if again != nil && r[0] <= covered {
			again(r[0], min(r[1], covered))
		}
		covered = max(covered, r[1])
		m.append(r[0], r[1])
	}
	for ok {
		// A span that meets none of the others stays as it is.
		for old.at == 0 && len(old.list) > 0 && old.list[0].last < g[0] && m.apart(&old.list[0]) {
			covered = old.list[0].last
			m.list = append(m.list, old.list[0])
			m.runs++
			m.blocks += countBlocks(old.list[:1])
			old.list = old.list[1:]
		}
		if r, more := old.peek(); more && r[0] <= g[0] {
			old.drop()
			add(r)
			continue
		}
		add(g)
		g, ok = from.next()
	}
	for r, more := old.peek(); more; r, more = old.peek() {
		if old.at == 0 && m.apart(&old.list[0]) {
			m.list = append(m.list, old.list...)
			m.runs += len(old.list)
			m.blocks += countBlocks(old.list)
			return
		}
		old.drop()
		add(r)
	}
}

// apart reports whether a span begins behind all others, and in another block.
func (m *spans) apart(s *span) bool {
	n := len(m.list)
	return n == 0 || m.list[n-1].last < s.first && m.list[n-1].last>>blockBits != s.first>>blockBits
}

// peek returns the next range.
func (r *runs) peek() (papyra.Range, bool) {
	look := *r
	return look.next()
}

func (r *runs) drop() { _, _ = r.next() }
