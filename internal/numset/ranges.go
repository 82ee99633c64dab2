package numset

import (
	"cmp"
	"math"
	"slices"

	"github.com/papyra/papyra"
)

// Ranges are numbers that reports name as ranges. Any range may stand in a
// report; one that begins with 0 or ends before it begins names nothing. The
// zero Ranges are empty and ready.
type Ranges struct {
	list   []papyra.Range
	sorted bool
}

// Add adds ranges, in any order.
func (r *Ranges) Add(ranges ...papyra.Range) {
	for _, g := range ranges {
		if g[0] > 0 && g[1] >= g[0] {
			r.list = append(r.list, g)
			r.sorted = false
		}
	}
}

// Len returns at most how many ranges there are.
func (r *Ranges) Len() int { return len(r.list) }

// List returns the ranges rising and apart from each other. It is right until
// the next Add or Fold, and must not be changed.
func (r *Ranges) List() []papyra.Range {
	if r.sorted {
		return r.list
	}
	slices.SortFunc(r.list, func(a, b papyra.Range) int { return cmp.Compare(a[0], b[0]) })
	merged := r.list[:0]
	for _, next := range r.list {
		// A range that ends with the highest number there is has nothing behind it.
		if last := len(merged) - 1; last >= 0 && (next[0] <= merged[last][1] || next[0] == merged[last][1]+1) {
			merged[last][1] = max(merged[last][1], next[1])
			continue
		}
		merged = append(merged, next)
	}
	r.list, r.sorted = merged, true
	return r.list
}

// Fold empties r if it has more than limit ranges, and returns how many numbers
// they held and the first and the last of them. Otherwise it returns false.
func (r *Ranges) Fold(limit int) (n uint64, bounds papyra.Range, folded bool) {
	list := r.List()
	if len(list) <= limit {
		return 0, papyra.Range{}, false
	}
	n, bounds = CountRanges(list), papyra.Range{list[0][0], list[len(list)-1][1]}
	r.list = nil
	return n, bounds, true
}

// CountRanges adds up how many numbers ranges hold. What does not fit in 64 bits
// is as many as fit.
func CountRanges(ranges []papyra.Range) (n uint64) {
	for _, g := range ranges {
		if g[0] > 0 && g[1] >= g[0] {
			n = AddCounts(n, g[1]-g[0]+1)
		}
	}
	return n
}

// AddCounts is a + b, or as many as fit in 64 bits: counts come from reports,
// and may be anything.
func AddCounts(a, b uint64) uint64 {
	if b > math.MaxUint64-a {
		return math.MaxUint64
	}
	return a + b
}
