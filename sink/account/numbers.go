package account

import "github.com/RoaringBitmap/roaring/v2/roaring64"

const (
	// maxSeq is the highest number that a seal can hold.
	maxSeq = 9_999_999_999_999_999_999

	// maxContainers bounds the memory that ranges named by reports may take, in
	// bitmap containers of about 100 bytes: a report can name any range, and one
	// that names absurd ones must not cost the operator's machine. Ranges beyond
	// it count by their number only.
	maxContainers = 4 << 20
)

// numbers are the sequence numbers of one run and category that were stored,
// and how often. Numbers that come in rising order, as they mostly do, cost
// almost nothing.
type numbers struct {
	set      *roaring64.Bitmap
	repeated *roaring64.Bitmap // numbers that came more than once; nil for none
	lines    uint64            // how often numbers came, copies counted

	low, high uint64 // the range that is still growing; high is 0 for none
	top       uint64 // the highest number in set
}

func (s *numbers) add(n uint64) {
	s.lines++
	if s.high > 0 && n == s.high+1 {
		s.high = n
		return
	}
	s.flush()
	s.low, s.high = n, n
}

// flush moves the growing range into the set.
func (s *numbers) flush() {
	if s.set == nil {
		s.set = roaring64.New()
	}
	if s.high == 0 {
		return
	}
	n, high := s.low, s.high
	s.low, s.high = 0, 0
	for ; n <= high && n <= s.top; n++ {
		if !s.set.CheckedAdd(n) {
			s.repeat().Add(n)
		}
	}
	if n <= high {
		s.set.AddRange(n, high+1)
	}
	s.top = max(s.top, high)
}

func (s *numbers) repeat() *roaring64.Bitmap {
	if s.repeated == nil {
		s.repeated = roaring64.New()
	}
	return s.repeated
}

// absorb adds the numbers of another store. other is of no use afterwards.
func (s *numbers) absorb(other *numbers) {
	s.flush()
	other.flush()
	if s.set.Intersects(other.set) {
		s.repeat().Or(roaring64.And(s.set, other.set))
	}
	if other.repeated != nil {
		s.repeat().Or(other.repeated)
	}
	s.set.Or(other.set)
	s.lines += other.lines
	s.top = max(s.top, other.top)
}

// within returns how many numbers n with low < n <= high are in set.
func within(set *roaring64.Bitmap, low, high uint64) uint64 {
	if low >= high {
		return 0
	}
	return set.Rank(high) - set.Rank(low)
}

// holes calls f with the ranges of numbers n with low < n <= high that are not
// in set, in rising order, until it returns false.
func holes(set *roaring64.Bitmap, low, high uint64, f func(first, last uint64) bool) {
	next := low + 1
	it := set.Iterator()
	for it.AdvanceIfNeeded(next); it.HasNext() && next <= high; {
		n := it.Next()
		if n > next && !f(next, min(n-1, high)) {
			return
		}
		next = n + 1
	}
	if next <= high {
		f(next, high)
	}
}

// neighbours returns the nearest numbers of set below and above n, 0 for none.
func neighbours(set *roaring64.Bitmap, n uint64) (below, above uint64) {
	rank := set.Rank(n)
	if rank > 0 {
		below, _ = set.Select(rank - 1)
	}
	above, err := set.Select(rank)
	if err != nil {
		above = 0
	}
	return below, above
}
