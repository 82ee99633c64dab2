package account

import (
	"cmp"
	"container/heap"
	"slices"
	"sort"

	"github.com/papyra/papyra"
)

// budget is an explanation that names only how many: n of the numbers that are
// above low and not above high.
type budget struct {
	low, high, n uint64
	reason       papyra.DropReason // of a drop, otherwise
	act          string            // of a removal
	spooled      bool              // it waits in a spool
}

// assignHoles says what became of the holes of a series: the numbers that
// nothing names.
//
// A budget explains a count and not numbers, such as "3 records up to number 8
// were dropped", and budgets overlap. So this is an assignment of counts to
// intervals: each hole goes to at most one budget whose interval holds it, no
// budget takes more than its count, and as many holes as possible are explained.
// The rule that does it: go through the holes from the lowest to the highest, and
// charge each to the budget that ends first among those that hold it and have
// something left. Every other one can still explain what comes later.
//
// In this example "." is a hole:
//
//	numbers                    1  .  .  4  .  .  .  8  .  10
//	A: 1 full, above 0 to 4    |--------|
//	B: 3 sink, above 0 to 8    |--------------------|
//
//	above 0 to 4     2 holes   A ends first and takes 1, B takes 1
//	above 4 to 8     3 holes   B has 2 left and takes them, 1 stays
//	above 8 to 10    1 hole    no budget, 1 stays
//
// Had B taken both of the first holes, A would explain nothing, and 3 would stay
// instead of 2.
//
// Holes are not looked at one by one. The series is cut wherever a budget or one
// of the bounds of v begins or ends; within such a piece all holes are alike, and
// only their number counts. So the time grows with the number of budgets. Below
// the base of the series holes use budgets up and are in no count.
func (t *tally) assignHoles(s *series, budgets []budget, v verdictBounds) {
	open := newOpenBudgets(budgets)
	cuts := cutSeries(s, budgets, v)
	for i := 1; i < len(cuts); i++ {
		low, high := cuts[i-1], cuts[i]
		holes := high - low - t.known.CountBetween(low, high)
		counted := low >= s.base
		left := open.explainHoles(low, holes, func(b *budget, n uint64) {
			if counted {
				t.counts.chargeBudget(b, n)
			}
		})
		if left > 0 && counted {
			t.decideHoles(span{low, high, holes, left}, v)
		}
	}
}

// cutSeries returns the numbers from 0 to the highest of a series at which the
// holes above are not like those below.
func cutSeries(s *series, budgets []budget, v verdictBounds) []uint64 {
	cuts := []uint64{0, s.base, v.before, v.youngFrom, v.bufferedFrom, v.bufferedTo, s.highest}
	for i := range budgets {
		cuts = append(cuts, budgets[i].low, budgets[i].high)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	end := sort.Search(len(cuts), func(i int) bool { return cuts[i] > s.highest })
	return cuts[:end]
}

// openBudgets are what explains holes, from the lowest to the highest.
type openBudgets struct {
	waiting []budget // those that begin higher, by where they begin
	usable  endsFirst
}

// newOpenBudgets sorts the budgets, in place.
func newOpenBudgets(budgets []budget) *openBudgets {
	slices.SortStableFunc(budgets, func(a, b budget) int { return cmp.Compare(a.low, b.low) })
	return &openBudgets{waiting: budgets}
}

// explainHoles charges n holes, which lie above low, to budgets, and returns how
// many no budget explains. low must rise from call to call.
func (o *openBudgets) explainHoles(low, n uint64, charge func(*budget, uint64)) (left uint64) {
	for ; len(o.waiting) > 0 && o.waiting[0].low <= low; o.waiting = o.waiting[1:] {
		heap.Push(&o.usable, &o.waiting[0])
	}
	for left = n; left > 0 && len(o.usable) > 0; {
		b := o.usable[0]
		if b.high <= low || b.n == 0 {
			heap.Pop(&o.usable)
			continue
		}
		taken := min(left, b.n)
		b.n -= taken
		left -= taken
		charge(b, taken)
	}
	return left
}

// endsFirst is a heap of budgets with the one that ends first on top.
type endsFirst []*budget

func (e endsFirst) Len() int           { return len(e) }
func (e endsFirst) Less(i, j int) bool { return e[i].high < e[j].high }
func (e endsFirst) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endsFirst) Push(x any)        { *e = append(*e, x.(*budget)) }
func (e *endsFirst) Pop() any {
	last := len(*e) - 1
	b := (*e)[last]
	*e = (*e)[:last]
	return b
}

func (c *Counts) chargeBudget(b *budget, n uint64) {
	if b.spooled {
		c.addSpooled(n)
		return
	}
	c.Unnamed += n
	if b.reason != "" {
		c.addDropped(b.reason, n)
	} else {
		c.addRemoved(b.act, n)
	}
}

// decideHoles says what becomes of the holes of a piece that no budget explains.
func (t *tally) decideHoles(piece span, v verdictBounds) {
	c := &t.counts
	switch {
	case v.filtered:
		c.Filtered += piece.absent
	case piece.high <= v.before:
		c.Before += piece.absent
	case piece.low >= v.youngFrom, piece.low >= v.bufferedFrom && piece.high <= v.bufferedTo:
		c.Pending += piece.absent
	default:
		c.Missing += piece.absent
		t.missing = append(t.missing, piece)
	}
}
