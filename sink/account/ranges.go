package account

import (
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// nameRanges adds ranges that a report names of a series, as dropped or spooled, to
// named, and returns how many numbers they hold.
func (a *Account) nameRanges(s *series, named *numset.Set, t *tenant, ranges []papyra.Range, at int64) (n uint64) {
	for _, g := range ranges {
		if g[0] < 1 || g[1] < g[0] || g[1] > maxSeq {
			continue
		}
		named.AddRange(g[0], g[1])
		a.noteTaken(&s.reach, g[1], at, true)
		n = sumOf(n, g[1]-g[0]+1)
	}
	a.charge(t, rangeBytes*uint64(len(ranges)))
	return n
}

// unnamed are n numbers of a series that a report counts and does not name. bounds are
// the lowest and the highest of them, if it says so.
func (a *Account) unnamed(s *series, n uint64, bounds papyra.Range, at int64) others {
	o := others{n: n, high: maxSeq}
	if low, high := bounds[0], bounds[1]; low >= 1 && high >= low {
		o.low, o.high = low-1, high
		a.noteTaken(&s.reach, high, at, true)
	}
	return o
}
