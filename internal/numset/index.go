package numset

import (
	"slices"
	"sort"

	"github.com/papyra/papyra"
)

// index answers what is among ranges that wait to be merged, while more of them come.
// The zero index is empty.
//
//	pending  [7 9] [1 2] [3 3] [12 12] | [5 5]
//	list     [1 3] [7 9] [12 12]       | is looked through
type index struct {
	list   []papyra.Range // what of pending is indexed, in order, none meeting another
	known  int            // how many of pending are in it
	looked int            // how many of the others questions have looked at since
	spare  []papyra.Range // memory
}

func (x *index) reset() { x.list, x.known, x.looked = x.list[:0], 0, 0 }

// waits reports whether n is among the ranges that wait. Those that are not indexed
// are looked through, until that has cost as much as to index them.
func (m *spans) waits(n uint64) bool {
	x := &m.index
	if rest := len(m.pending) - x.known; rest > 0 {
		if x.looked += rest; x.looked > len(x.list)+8*rest {
			x.add(m.pending[x.known:])
		}
	}
	i := sort.Search(len(x.list), func(i int) bool { return x.list[i][1] >= n })
	if i < len(x.list) && x.list[i][0] <= n {
		return true
	}
	for _, r := range m.pending[x.known:] {
		if r[0] <= n && n <= r[1] {
			return true
		}
	}
	return false
}

// add indexes more ranges.
func (x *index) add(more []papyra.Range) {
	x.known += len(more)
	x.looked = 0
	more = slices.Clone(more)
	sortRanges(more)
	list, merged := x.list, x.spare[:0]
	for len(list)+len(more) > 0 {
		from := &list
		if len(list) == 0 || len(more) > 0 && more[0][0] < list[0][0] {
			from = &more
		}
		r := (*from)[0]
		*from = (*from)[1:]
		if n := len(merged); n > 0 && r[0] <= merged[n-1][1] {
			merged[n-1][1] = max(merged[n-1][1], r[1])
		} else {
			merged = append(merged, r)
		}
	}
	x.list, x.spare = merged, x.list
}
