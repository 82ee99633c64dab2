package numset

import (
	"math"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/papyra/papyra"
)

// Set is a set of numbers from 1 up. The zero Set is empty and ready.
type Set struct {
	low, high uint64            // the range that still grows; 0 for none
	bits      *roaring64.Bitmap // all others; nil for none yet
}

// Add adds a number. 0 is ignored.
func (s *Set) Add(n uint64) {
	if n == 0 || s.high > 0 && n >= s.low && n <= s.high || s.growRange(n) {
		return
	}
	s.flush()
	s.low, s.high = n, n
}

// growRange adds n if it lies just beside the growing range.
func (s *Set) growRange(n uint64) bool {
	switch {
	case s.high == 0:
		return false
	case n == s.high+1:
		s.high = n
	case n == s.low-1:
		s.low = n
	default:
		return false
	}
	return true
}

// AddRange adds the numbers from first to last. A range without a number in it
// is ignored, and so is one that begins with 0.
func (s *Set) AddRange(first, last uint64) {
	if first == 0 || last < first {
		return
	}
	s.flush()
	addRange(s.bits, first, last)
}

func addRange(bits *roaring64.Bitmap, first, last uint64) {
	if first == last || last == math.MaxUint64 { // AddRange wants the number behind the last
		bits.Add(last)
		last--
	}
	bits.AddRange(first, last+1)
}

// flush moves the growing range into the bitmap. Afterwards there is one.
func (s *Set) flush() {
	if s.bits == nil {
		s.bits = roaring64.New()
	}
	if s.high > 0 {
		addRange(s.bits, s.low, s.high)
		s.low, s.high = 0, 0
	}
}

// Contains reports whether n is in the set.
func (s *Set) Contains(n uint64) bool {
	return s.high > 0 && n >= s.low && n <= s.high || s.bits != nil && s.bits.Contains(n)
}

// Remove takes a number out.
func (s *Set) Remove(n uint64) {
	if s.Contains(n) {
		s.flush()
		s.bits.Remove(n)
	}
}

// Subtract takes out every number that is in other.
func (s *Set) Subtract(other *Set) {
	if s.IsEmpty() || other.IsEmpty() {
		return
	}
	s.flush()
	other.flush()
	s.bits.AndNot(other.bits)
}

// IsEmpty reports whether nothing is in the set.
func (s *Set) IsEmpty() bool { return s.high == 0 && (s.bits == nil || s.bits.IsEmpty()) }

// Min returns the lowest number, 0 of an empty set.
func (s *Set) Min() uint64 {
	switch {
	case s.bits == nil || s.bits.IsEmpty():
		return s.low
	case s.high == 0:
		return s.bits.Minimum()
	}
	return min(s.low, s.bits.Minimum())
}

// Max returns the highest number, 0 of an empty set.
func (s *Set) Max() uint64 {
	if s.bits == nil || s.bits.IsEmpty() {
		return s.high
	}
	return max(s.high, s.bits.Maximum())
}

// Count returns how many numbers are in the set.
func (s *Set) Count() uint64 {
	s.flush()
	return s.bits.GetCardinality()
}

// CountBetween returns how many numbers n with low < n <= high are in the set.
func (s *Set) CountBetween(low, high uint64) uint64 {
	if low >= high {
		return 0
	}
	s.flush()
	return s.bits.Rank(high) - s.bits.Rank(low)
}

// Position returns how many numbers of the set are below n.
func (s *Set) Position(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	s.flush()
	return s.bits.Rank(n - 1)
}

// Neighbours returns the nearest numbers of the set below and above a number
// that is not in it, 0 for none.
func (s *Set) Neighbours(n uint64) (below, above uint64) {
	s.flush()
	rank := s.bits.Rank(n)
	if rank > 0 {
		below, _ = s.bits.Select(rank - 1)
	}
	above, err := s.bits.Select(rank)
	if err != nil {
		above = 0
	}
	return below, above
}

// Ranges returns the set as rising ranges, or false if there are more than
// limit.
func (s *Set) Ranges(limit int) ([]papyra.Range, bool) {
	if s.bits == nil && s.high > 0 && limit > 0 {
		return []papyra.Range{{s.low, s.high}}, true
	}
	s.flush()
	var out []papyra.Range
	for it := s.bits.Iterator(); it.HasNext(); {
		n := it.Next()
		if last := len(out) - 1; last >= 0 && out[last][1]+1 == n {
			out[last][1] = n
			continue
		}
		if len(out) >= limit {
			return nil, false
		}
		out = append(out, papyra.Range{n, n})
	}
	return out, true
}

// Holes calls f with the ranges of numbers n with low < n <= high that are not
// in the set, in rising order, until it returns false.
func (s *Set) Holes(low, high uint64, f func(first, last uint64) bool) {
	s.flush()
	next := low + 1
	it := s.bits.Iterator()
	for it.AdvanceIfNeeded(next); it.HasNext() && next <= high; {
		n := it.Next()
		if n > next && !f(next, min(n-1, high)) {
			return
		}
		if n >= high {
			return
		}
		next = n + 1
	}
	if next <= high {
		f(next, high)
	}
}

// Clone returns a copy.
func (s *Set) Clone() *Set {
	s.flush()
	return &Set{bits: s.bits.Clone()}
}

// Union adds the numbers of another set.
func (s *Set) Union(other *Set) {
	s.flush()
	other.flush()
	s.bits.Or(other.bits)
}

// Compact brings the set into its smallest form, and returns about how many
// bytes that takes.
func (s *Set) Compact() uint64 {
	s.flush()
	s.bits.RunOptimize()
	return s.bits.GetSizeInBytes()
}
