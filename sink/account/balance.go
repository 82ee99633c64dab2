package account

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// span is a part of a series and how many of its holes nothing explains: all of
// them, unless some were dropped or removed by a report that does not name them.
type span struct {
	low, high     uint64 // above low, not above high
	holes, absent uint64
}

// verdictBounds say what becomes of the numbers that nothing explains, by where
// they lie.
type verdictBounds struct {
	filtered     bool   // the group does not take any of them
	before       uint64 // up to here they were taken before the group took the stream
	youngFrom    uint64 // above it they are young
	bufferedFrom uint64 // above it, and up to bufferedTo, they are in the buffer of a live publisher
	bufferedTo   uint64
}

// tally is the balance of one series.
type tally struct {
	counts  Counts
	known   *numset.Set // every number that is named by anything
	missing []span      // where numbers are missing
}

// sinkReasons are those of a sink, which had received the record.
var sinkReasons = [4]papyra.DropReason{papyra.DropSinkFull, papyra.DropSpoolFull, papyra.DropSinkStopped, papyra.DropSinkRejected}

// reasonOrder is the order in which reasons claim a number that several name.
var reasonOrder = []papyra.DropReason{
	papyra.DropQueueFull, papyra.DropTooLarge, papyra.DropEncode, papyra.DropClosed, // publisherReasons
	papyra.DropSinkFull, papyra.DropSpoolFull, papyra.DropSinkStopped, papyra.DropSinkRejected,
	papyra.DropUnheardBy, // a sink that dropped the record knows more
}

// actOrder is the same for the acts of removal. A dedupe removes nothing but
// copies: see removals.addRun.
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
func balance(s *series, removed []*removedKind, v verdictBounds) tally {
	s.settle()
	known := s.stored.Set()
	if len(s.drops) > 0 || len(removed) > 0 || s.spooled != nil {
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
	if s.unverified != nil {
		c.Unverified = s.unverified.CountBetween(s.base, s.highest)
	}
	reasons := ordered(s.drops, reasonOrder)
	drop := func(late bool) {
		for _, reason := range reasons {
			if mayComeLater(reason) == late {
				c.addDropped(reason, claim(&s.drops[reason].named))
			}
		}
	}
	drop(false)
	var budgets []budget
	for _, rm := range removed {
		for _, act := range rm.ordered() {
			c.addRemoved(act, claim(rm.removedBy(act)))
		}
		for _, b := range rm.below {
			budgets = append(budgets, budget{high: b.below - 1, n: b.n, act: b.act})
		}
	}
	if s.spooled != nil {
		c.addSpooled(claim(&s.spooled.named))
		budgets = append(budgets, s.spooled.budgets(s.highest)...)
	}
	drop(true)
	t.known = known
	budgets = append(budgets, unnamedDrops(s)...)
	t.assignHoles(s, budgets, v)
	return t
}

// mayComeLater reports whether a record that was dropped for a reason may have come to the
// store all the same, since its publisher sends it again. If such a number is named as
// removed or as spooled, it has come.
func mayComeLater(reason papyra.DropReason) bool {
	return reason == papyra.DropUnheardBy || slices.Contains(sinkReasons[:], reason)
}

// unnamedDrops returns how many numbers were dropped that no range names, and
// between which numbers they lie.
func unnamedDrops(s *series) (out []budget) {
	for _, reason := range ordered(s.drops, reasonOrder) {
		d := s.drops[reason]
		d.sortMarks()
		if reason == papyra.DropTooLarge || reason == papyra.DropClosed || reason == papyra.DropUnheardBy {
			out = append(out, foundLate(d, reason)...)
		} else {
			out = append(out, foundInCall(d, reason, s.quietUntil(reason))...)
		}
		for _, o := range d.more {
			out = append(out, budget{low: o.low, high: min(o.high, s.highest), n: o.n, reason: reason})
		}
	}
	return out
}

// foundInCall is unnamedDrops for a reason that a publisher finds in the call
// itself: what the counts of two reports differ by was dropped between the numbers
// that they had accepted. Up to quiet nothing was dropped.
//
//	report   accepted   dropped in all   so
//	1        100        0                nothing up to 100
//	2        250        7                7 above 100, not above 250
func foundInCall(d *drops, reason papyra.DropReason, quiet uint64) (out []budget) {
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
	if i := slices.Index(publisherReasons[:], reason); i >= 0 && s.quiet != nil {
		return s.quiet[i]
	}
	return 0
}

// foundLate is unnamedDrops for a reason that a publisher may find long after the
// call: all lie somewhere below the highest number that was accepted.
func foundLate(d *drops, reason papyra.DropReason) []budget {
	var all mark
	for _, m := range d.marks {
		all = mark{max(all.accepted, m.accepted), max(all.n, m.n)}
	}
	if named := d.named.CountBetween(0, all.accepted); all.n > named {
		return []budget{{high: all.accepted, n: all.n - named, reason: reason}}
	}
	return nil
}

// boundsOf says what becomes of what nothing explains in a series of a run.
func (l *ledger) boundsOf(r *run, removed []*removedKind, kind papyra.Kind, live bool) verdictBounds {
	s := r.series[kind]
	v := verdictBounds{youngFrom: max(s.settled, s.base), bufferedFrom: math.MaxUint64}
	since, taken := l.taken(r.key.system, kind)
	switch {
	case !taken:
		v.filtered = true
	case r.started < since:
		v.before = s.takenBefore(r.earliest.of(kind))
		for _, rm := range removed {
			v.before = min(v.before, rm.belowRemoved())
		}
	}
	if last := r.latest.of(kind); live && last.buffered > 0 {
		v.bufferedFrom, v.bufferedTo = s.buffered(last)
	}
	return v
}

// takenBefore returns the highest number that was certainly taken before the
// first report and before anything was stored or came to a sink.
func (s *series) takenBefore(first reportedCategory) uint64 {
	head := min(s.highest, first.accepted)
	if stored := s.stored.Set(); !stored.IsEmpty() {
		head = min(head, stored.Min()-1)
	}
	for _, reason := range sinkReasons {
		if d := s.drops[reason]; d != nil && !d.named.IsEmpty() {
			head = min(head, d.named.Min()-1)
		}
	}
	if s.spooled != nil && !s.spooled.named.IsEmpty() {
		head = min(head, s.spooled.named.Min()-1)
	}
	return head
}

// belowRemoved returns the highest number below all that were stored once and are
// removed.
func (r *removedKind) belowRemoved() uint64 {
	head := uint64(math.MaxUint64)
	for i := range r.acts {
		if set := &r.acts[i].numbers; !set.IsEmpty() {
			head = min(head, set.Min()-1)
		}
	}
	if len(r.below) > 0 {
		return 0
	}
	return head
}

// ordered returns the acts in the order in which they claim a number.
func (r *removedKind) ordered() []string {
	acts := map[string]bool{}
	for i := range r.acts {
		acts[r.acts[i].act] = true
	}
	return ordered(acts, actOrder)
}

// buffered returns the numbers above which, up to the end of a report, a
// publisher had Buffered of them in its buffer: the newest that it did not drop.
func (s *series) buffered(last reportedCategory) (from, to uint64) {
	to = last.accepted
	dropped := func(low uint64) (n uint64) {
		for _, d := range s.drops {
			n += d.named.CountBetween(low, to)
		}
		return n
	}
	span := sort.Search(int(min(to, math.MaxInt)), func(span int) bool {
		return uint64(span) >= last.buffered+dropped(to-uint64(span))
	})
	return to - uint64(span), to
}
