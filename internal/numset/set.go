package numset

import (
	"cmp"
	"math"
	"slices"

	"github.com/papyra/papyra"
)

// Set is a set of numbers from 1 up. The zero Set is empty and ready.
type Set struct {
	low, high uint64 // the range that still grows; 0 for none
	more      *spans // all others; nil for none
}

const (
	// minPending and maxPending bound the ranges that wait to be merged into the
	// others. Between them it is half of as many ranges as there are, so that a
	// range is merged a few times whatever the order of the numbers.
	minPending = 1 << 8
	maxPending = 1 << 16
)

// Add adds a number. 0 is ignored.
func (s *Set) Add(n uint64) {
	if n == 0 || s.high > 0 && n >= s.low && n <= s.high || s.growRange(n) {
		return
	}
	s.putAway(nil)
	s.low, s.high = n, n
}

// growRange adds n if it lies just beside the growing range.
func (s *Set) growRange(n uint64) bool {
	switch {
	case s.high == 0:
		return false
	case n == s.high+1 && n > 0:
		s.high = n
	case n == s.low-1:
		s.low = n
	default:
		return false
	}
	return true
}

// AddRange adds the numbers from first to last. A range without a number in it
// is ignored, and so is one that begins with 0. However wide it is, it costs no
// more than two numbers.
func (s *Set) AddRange(first, last uint64) {
	if first == 0 || last < first {
		return
	}
	s.putAway(nil)
	s.low, s.high = first, last
}

// putAway ends the growing range. What came before is given to again, if that is
// set, perhaps not at once.
func (s *Set) putAway(again func(first, last uint64)) {
	if s.high == 0 {
		return
	}
	if s.more == nil {
		s.more = &spans{}
	}
	m := s.more
	m.pending = append(m.pending, papyra.Range{s.low, s.high})
	s.low, s.high = 0, 0
	if len(m.pending) >= min(max(m.runs/2, minPending), maxPending) {
		m.mergePending(again)
	}
}

// all returns the spans of the set after everything was merged.
func (s *Set) all(again func(first, last uint64)) *spans {
	if s.more == nil {
		if s.high == 0 {
			return &spans{}
		}
		return &spans{list: []span{{first: s.low, last: s.high}}, runs: 1}
	}
	if s.high > 0 {
		s.more.pending = append(s.more.pending, papyra.Range{s.low, s.high})
		s.low, s.high = 0, 0
	}
	s.more.mergePending(again)
	return s.more
}

// Contains reports whether n is in the set. It may be called between two numbers that
// are added: it merges nothing.
func (s *Set) Contains(n uint64) bool {
	if s.high > 0 && n >= s.low && n <= s.high {
		return true
	}
	return s.more != nil && (s.more.contains(n) || s.more.waits(n))
}

// Subtract takes out every number that is in other.
func (s *Set) Subtract(other *Set) {
	mine, theirs := runs{list: s.all(nil).list}, runs{list: other.all(nil).list}
	left := &spans{}
	out, more := theirs.next()
	for g, ok := mine.next(); ok; {
		for more && out[1] < g[0] {
			out, more = theirs.next()
		}
		if !more || out[0] > g[1] {
			left.append(g[0], g[1])
			g, ok = mine.next()
			continue
		}
		if out[0] > g[0] {
			left.append(g[0], out[0]-1)
		}
		if out[1] < g[1] {
			g[0] = out[1] + 1
			continue
		}
		g, ok = mine.next()
	}
	*s = Set{more: left}
}

// IsEmpty reports whether nothing is in the set.
func (s *Set) IsEmpty() bool {
	return s.high == 0 && (s.more == nil || len(s.more.list)+len(s.more.pending) == 0)
}

// Min returns the lowest number, 0 of an empty set.
func (s *Set) Min() uint64 {
	if list := s.all(nil).list; len(list) > 0 {
		return list[0].first
	}
	return 0
}

// Max returns the highest number, 0 of an empty set.
func (s *Set) Max() uint64 {
	if list := s.all(nil).list; len(list) > 0 {
		return list[len(list)-1].last
	}
	return 0
}

// Count returns how many numbers are in the set.
func (s *Set) Count() uint64 { return s.all(nil).countUpTo(math.MaxUint64) }

// CountBetween returns how many numbers n with low < n <= high are in the set.
func (s *Set) CountBetween(low, high uint64) uint64 {
	if low >= high {
		return 0
	}
	all := s.all(nil)
	return all.countUpTo(high) - all.countUpTo(low)
}

// Position returns how many numbers of the set are below n.
func (s *Set) Position(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	return s.all(nil).countUpTo(n - 1)
}

// Neighbours returns the nearest numbers of the set below and above a number
// that is not in it, 0 for none.
func (s *Set) Neighbours(n uint64) (below, above uint64) { return s.all(nil).neighbours(n) }

// Ranges returns the set as rising ranges, or false if there are more than
// limit.
func (s *Set) Ranges(limit int) ([]papyra.Range, bool) {
	var out []papyra.Range
	it := runs{list: s.all(nil).list}
	for g, ok := it.next(); ok; g, ok = it.next() {
		if last := len(out) - 1; last >= 0 && out[last][1]+1 == g[0] {
			out[last][1] = g[1]
			continue
		}
		if len(out) >= limit {
			return nil, false
		}
		out = append(out, g)
	}
	return out, true
}

// Holes calls f with the ranges of numbers n with low < n <= high that are not
// in the set, in rising order, until it returns false.
func (s *Set) Holes(low, high uint64, f func(first, last uint64) bool) {
	if low >= high {
		return
	}
	next := low + 1
	it := s.all(nil).from(next)
	for g, ok := it.next(); ok && g[0] <= high; g, ok = it.next() {
		if g[1] < next {
			continue
		}
		if g[0] > next && !f(next, g[0]-1) || g[1] >= high {
			return
		}
		next = g[1] + 1
	}
	f(next, high)
}

// Clone returns a copy.
func (s *Set) Clone() *Set {
	if s.more == nil {
		return &Set{low: s.low, high: s.high}
	}
	return &Set{more: s.all(nil).clone()}
}

// Union adds the numbers of another set.
func (s *Set) Union(other *Set) {
	if s.IsEmpty() {
		*s = *other.Clone()
		return
	}
	s.merge(&runs{list: other.all(nil).list}, nil)
}

// merge adds ranges that rise.
func (s *Set) merge(from source, again func(first, last uint64)) {
	all := s.all(again)
	all.merge(from, again)
	*s = Set{more: all}
}

// Compact brings the set into its smallest form, and returns about how many
// bytes that takes.
func (s *Set) Compact() uint64 {
	if s.more == nil {
		return setBytes
	}
	all := s.all(nil)
	all.list, all.pending, all.ranks, all.index = slices.Clip(all.list), nil, nil, index{}
	return all.bytes()
}

// Bytes returns about how many bytes of memory the set takes.
func (s *Set) Bytes() uint64 {
	if s.more == nil {
		return setBytes
	}
	return s.more.bytes()
}

// sortRanges sorts ranges by where they begin.
func sortRanges(list []papyra.Range) {
	slices.SortFunc(list, func(a, b papyra.Range) int { return cmp.Compare(a[0], b[0]) })
}
