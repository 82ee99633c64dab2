package maintain

import (
	"cmp"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// dropsKey names the records of one run and category that were dropped for one
// reason.
type dropsKey struct {
	reason                papyra.DropReason
	group                 string // of unheard_by
	system, category, run string
}

// carriedDrops are what reports say of such records that are gone.
type carriedDrops struct {
	ranges numset.Ranges
	n      uint64       // beside them
	others papyra.Range // between which these lie; zero if that is not known
}

func (c *carriedReports) dropsOf(key dropsKey) *carriedDrops {
	if c.drops == nil {
		c.drops = map[dropsKey]*carriedDrops{}
	}
	d := c.drops[key]
	if d == nil {
		d = &carriedDrops{}
		c.drops[key] = d
	}
	if d.ranges.Len() > 4*maxRanges {
		d.foldRanges()
	}
	return d
}

// addUnnamed adds n records that no range names, between two numbers.
func (d *carriedDrops) addUnnamed(n uint64, between papyra.Range) {
	switch {
	case d.n == 0:
		d.others = between
	case d.others[0] == 0 || between[0] == 0:
		d.others = papyra.Range{}
	default:
		d.others = papyra.Range{min(d.others[0], between[0]), max(d.others[1], between[1])}
	}
	d.n = numset.AddCounts(d.n, n)
}

// foldRanges makes a number of the ranges if there are more than maxRanges.
func (d *carriedDrops) foldRanges() {
	if n, bounds, folded := d.ranges.Fold(maxRanges); folded {
		d.addUnnamed(n, bounds)
	}
}

// sinkDrops returns the numbers that were dropped, in a fixed order.
func (c *carriedReports) sinkDrops() []papyra.SinkDrops {
	out := make([]papyra.SinkDrops, 0, len(c.drops))
	for key, d := range c.drops {
		d.foldRanges()
		ranges := d.ranges.List()
		out = append(out, papyra.SinkDrops{
			Reason: key.reason, Group: key.group, System: key.system, Category: key.category, Run: key.run,
			N: numset.AddCounts(d.n, numset.CountRanges(ranges)), Ranges: ranges, Others: d.others,
		})
	}
	slices.SortFunc(out, func(a, b papyra.SinkDrops) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Category, b.Category),
			cmp.Compare(a.Run, b.Run), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Group, b.Group))
	})
	return out
}
