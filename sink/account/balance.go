package account

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
	"sort"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// budget is an explanation that names only how many: n of the numbers that are
// above low and not above high.
type budget struct {
	low, high, n uint64
	reason       papyra.DropReason // of a drop, otherwise
	act          string            // of a removal
}

// span is a part of a series in which numbers are missing, and how many of its
// holes are: all of them, unless some were dropped or removed without a name.
type span struct {
	low, high     uint64 // above low, not above high
	holes, absent uint64
}

// fate says what becomes of the numbers that nothing explains, by where they
// lie: each limit is the highest number that it applies to.
type fate struct {
	filtered bool   // all of them
	before   uint64 // not above: taken before the group took the stream
	pendFrom uint64 // above: young
	bufFrom  uint64 // above, up to bufTo: in the buffer of a live publisher
	bufTo    uint64
}

// tally is the balance of one series.
type tally struct {
	counts  Counts
	known   *numset.Set // every number that is named by anything
	missing []span
}

// sinkReasons are those of a sink, which had received the record.
var sinkReasons = [3]papyra.DropReason{papyra.DropSinkFull, papyra.DropSinkStopped, papyra.DropSinkRejected}

// reasonOrder is the order in which reasons claim a number that several name.
var reasonOrder = []papyra.DropReason{
	papyra.DropQueueFull, papyra.DropTooLarge, papyra.DropEncode, papyra.DropClosed, // publisherReasons
	papyra.DropSinkFull, papyra.DropSinkStopped, papyra.DropSinkRejected,
}

// actOrder is the same for the acts of removal. A dedupe removes nothing but
// copies: see removals.add.
var actOrder = []string{papyra.ActCompact, papyra.ActRotate, papyra.ActRecover}

// ordered returns the keys of m, the listed ones first.
func ordered[K cmp.Ordered, V any](m map[K]V, order []K) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	rank := func(k K) int {
		if i := slices.Index(order, k); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(keys, func(a, b K) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	return keys
}

// balance gives every number of a series above its base exactly one place.
func balance(s *series, rm *removals, kind papyra.Kind, f fate) tally {
	known := s.stored.Set()
	if len(s.drops) > 0 || rm != nil {
		known = known.Clone()
	}
	var t tally
	c := &t.counts
	above := func() uint64 { return known.CountBetween(s.base, s.highest) }
	claim := func(set *numset.Set) uint64 {
		before := above()
		known.Union(set)
		return above() - before
	}
	c.Accepted = s.highest - s.base
	c.Stored = above()
	for _, reason := range ordered(s.drops, reasonOrder) {
		c.drop(reason, claim(&s.drops[reason].named))
	}
	var budgets []budget
	if rm != nil {
		for _, act := range ordered(rm.byAct[kind], actOrder) {
			c.remove(act, claim(rm.byAct[kind][act]))
		}
		for _, b := range rm.below[kind] {
			budgets = append(budgets, budget{high: b.below - 1, n: b.n, act: b.act})
		}
	}
	t.known = known
	budgets = append(budgets, unnamed(s)...)
	t.spread(s, budgets, f)
	return t
}

// unnamed returns how many numbers were dropped that no range names, and
// between which numbers they lie.
func unnamed(s *series) (out []budget) {
	for _, reason := range ordered(s.drops, reasonOrder) {
		d := s.drops[reason]
		d.sortMarks()
		if reason == papyra.DropTooLarge || reason == papyra.DropClosed {
			out = append(out, late(d, reason)...)
		} else {
			out = append(out, prompt(d, reason, s.quietUntil(reason))...)
		}
		for _, o := range d.more {
			out = append(out, budget{low: o.low, high: min(o.high, s.highest), n: o.n, reason: reason})
		}
	}
	return out
}

// prompt is for reasons that a publisher finds in the call itself: what two
// reports differ by lies between the numbers that they had accepted. Up to quiet
// nothing was dropped.
func prompt(d *drops, reason papyra.DropReason, quiet uint64) (out []budget) {
	last := mark{accepted: quiet}
	for _, m := range d.marks {
		if m.n > last.n {
			if n, named := m.n-last.n, d.named.CountBetween(last.accepted, m.accepted); n > named {
				out = append(out, budget{low: last.accepted, high: m.accepted, n: n - named, reason: reason})
			}
		}
		last = mark{m.accepted, max(m.n, last.n)}
	}
	return out
}

func (s *series) quietUntil(reason papyra.DropReason) uint64 {
	if i := slices.Index(publisherReasons[:], reason); i >= 0 {
		return s.quiet[i]
	}
	return 0
}

// late is for reasons that may be found long after the call.
func late(d *drops, reason papyra.DropReason) []budget {
	var all mark
	for _, m := range d.marks {
		all = mark{max(all.accepted, m.accepted), max(all.n, m.n)}
	}
	if named := d.named.CountBetween(0, all.accepted); all.n > named {
		return []budget{{high: all.accepted, n: all.n - named, reason: reason}}
	}
	return nil
}

// open is the heap of the budgets that a number may be charged to, the one that
// ends first on top: charging rising numbers to it explains as many as can be.
type open []*budget

func (o open) Len() int           { return len(o) }
func (o open) Less(i, j int) bool { return o[i].high < o[j].high }
func (o open) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *open) Push(x any)        { *o = append(*o, x.(*budget)) }
func (o *open) Pop() any {
	last := len(*o) - 1
	b := (*o)[last]
	*o = (*o)[:last]
	return b
}

// spread charges the holes to the budgets, and what is left to its fate. The
// series is cut where a budget or a fate begins or ends; within a piece all
// holes are alike.
func (t *tally) spread(s *series, budgets []budget, f fate) {
	cuts := []uint64{0, s.base, f.before, f.pendFrom, f.bufFrom, f.bufTo, s.highest}
	for i := range budgets {
		cuts = append(cuts, budgets[i].low, budgets[i].high)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	if end := sort.Search(len(cuts), func(i int) bool { return cuts[i] > s.highest }); end < len(cuts) {
		cuts = cuts[:end]
	}
	slices.SortStableFunc(budgets, func(a, b budget) int { return cmp.Compare(a.low, b.low) })
	var usable open
	next := 0
	for i := 1; i < len(cuts); i++ {
		low, high := cuts[i-1], cuts[i]
		for ; next < len(budgets) && budgets[next].low <= low; next++ {
			heap.Push(&usable, &budgets[next])
		}
		holes := high - low - t.known.CountBetween(low, high)
		left := holes
		for left > 0 && len(usable) > 0 {
			b := usable[0]
			if b.high <= low || b.n == 0 {
				heap.Pop(&usable)
				continue
			}
			n := min(left, b.n)
			b.n -= n
			left -= n
			if low >= s.base {
				t.counts.charge(b, n)
			}
		}
		if left > 0 && low >= s.base {
			t.end(low, high, holes, left, f)
		}
	}
}

func (c *Counts) charge(b *budget, n uint64) {
	c.Unnamed += n
	if b.reason != "" {
		c.drop(b.reason, n)
	} else {
		c.remove(b.act, n)
	}
}

// end says what becomes of left of the holes above low and not above high.
func (t *tally) end(low, high, holes, left uint64, f fate) {
	c := &t.counts
	switch {
	case f.filtered:
		c.Filtered += left
	case high <= f.before:
		c.Before += left
	case low >= f.pendFrom, low >= f.bufFrom && high <= f.bufTo:
		c.Pending += left
	default:
		c.Missing += left
		t.missing = append(t.missing, span{low, high, holes, left})
	}
}

// fateOf says what becomes of what nothing explains in a series of a run.
func (l *ledger) fateOf(r *run, rm *removals, kind papyra.Kind, live bool) fate {
	s := r.series[kind]
	f := fate{pendFrom: max(s.settled, s.base), bufFrom: math.MaxUint64}
	since, taken := l.taken(r.key.system, kind)
	switch {
	case !taken:
		f.filtered = true
	case r.started < since:
		f.before = min(s.head(&r.earliest.categories[kind]), rm.head(kind))
	}
	if last := r.latest.categories[kind]; live && last.Buffered > 0 {
		f.bufFrom, f.bufTo = s.buffered(last)
	}
	return f
}

// head returns the highest number that was certainly taken before the first
// report and before anything was stored or came to a sink.
func (s *series) head(first *papyra.PublisherCategory) uint64 {
	head := min(s.highest, first.Accepted)
	if stored := s.stored.Set(); !stored.IsEmpty() {
		head = min(head, stored.Min()-1)
	}
	for _, reason := range sinkReasons {
		if d := s.drops[reason]; d != nil && !d.named.IsEmpty() {
			head = min(head, d.named.Min()-1)
		}
	}
	return head
}

// head returns the highest number below all that were stored once and are removed.
func (r *removals) head(kind papyra.Kind) uint64 {
	head := uint64(math.MaxUint64)
	if r == nil {
		return head
	}
	for _, set := range r.byAct[kind] {
		if !set.IsEmpty() {
			head = min(head, set.Min()-1)
		}
	}
	if len(r.below[kind]) > 0 {
		return 0
	}
	return head
}

// buffered returns the numbers above which, up to the end of a report, a
// publisher had Buffered of them in its buffer: the newest that it did not drop.
func (s *series) buffered(last papyra.PublisherCategory) (from, to uint64) {
	to = last.Accepted
	dropped := func(low uint64) (n uint64) {
		for _, d := range s.drops {
			n += d.named.CountBetween(low, to)
		}
		return n
	}
	span := sort.Search(int(min(to, math.MaxInt)), func(span int) bool {
		return uint64(span) >= last.Buffered+dropped(to-uint64(span))
	})
	return to - uint64(span), to
}
