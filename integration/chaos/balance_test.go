package chaos

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/sink/account"
)

// books compares what the test knows of a group with its account and its stores.
type books struct {
	world       *world
	index       int
	group       *groupPlan
	destructive bool   // the broker or one of its sinks was killed
	own         uint64 // reports of sinks and acts that were rotated away
	silent      uint64 // dropped by sinks, and their reports of it are removed
	r           *account.Result
	h           *holding
	problems    []string
	series      map[seriesKey]*account.Category
}

// maxProblems bounds a message: one mistake often makes thousands.
const maxProblems = 30

func (b *books) problem(format string, args ...any) {
	if len(b.problems) < maxProblems {
		b.problems = append(b.problems, "group "+b.group.name+": "+fmt.Sprintf(format, args...))
	}
}

// check returns what does not agree.
func (b *books) check(sources []*source) []string {
	b.series = map[seriesKey]*account.Category{}
	var total account.Counts
	for i := range b.r.Runs {
		run := &b.r.Runs[i]
		for j := range run.Categories {
			c := &run.Categories[j]
			key := seriesKey{run.System, run.Run, papyra.ParseCategory(c.Category)}
			b.series[key] = c
			b.sums(run, c)
			b.stored(run, c, key)
			total.Missing += c.Missing
		}
	}
	for key, s := range b.h.series {
		if b.series[key] == nil {
			b.problem("%v has %d stored records and is not in the account", key, len(s.lines))
		}
	}
	b.sinks()
	for i := range b.r.Runs {
		b.explained(&b.r.Runs[i])
	}
	b.stranger()
	b.seen()
	for _, s := range sources {
		for _, kind := range papyra.Kinds() {
			b.publisher(s, kind)
		}
	}
	b.gaps(sources, total.Missing)
	if total.Missing != b.r.Total.Missing {
		b.problem("the series miss %d records, the total says %d", total.Missing, b.r.Total.Missing)
	}
	b.verdict()
	return b.problems
}

func (b *books) verdict() {
	want := account.Balanced
	if b.r.Total.Missing > 0 {
		want = account.Missing
	}
	// A store that the server has forgotten is a new one afterwards. Whoever had
	// met the old one goes on naming it, and nobody can give it.
	strange := slices.ContainsFunc(b.r.Absent, func(a account.Absent) bool {
		return b.world.redis == nil || !b.world.redis.gone.Load() || b.group.storeOf(a.Instance) != storeRedis
	})
	if len(b.r.Absent) > 0 && !strange {
		want = account.Incomplete
	}
	if b.r.Verdict != want || b.r.Group != b.group.name {
		b.problem("verdict %s of group %q with %d missing, want %s of %q; absent %v", b.r.Verdict, b.r.Group, b.r.Total.Missing, want, b.group.name, b.r.Absent)
	}
	var damaged int64
	for _, s := range b.r.Stores {
		damaged += s.Damaged
	}
	if int(damaged) != b.h.damaged || damaged > 0 && !b.destructive {
		b.problem("%d damaged lines in the account and %d in the stores", damaged, b.h.damaged)
	}
}

// sums checks what holds of any series, of the sinks' own too.
func (b *books) sums(run *account.Run, c *account.Category) {
	sum := c.Stored + c.DroppedTotal() + c.RemovedTotal() + c.Filtered + c.Before + c.Pending + c.Missing
	if c.Accepted != sum || c.First != 1 || c.Highest != c.Accepted {
		b.problem("%s %s %s: %+v adds up to %d", run.System, run.Run, c.Category, c, sum)
	}
	if c.Pending > 0 {
		b.problem("%s %s %s: %d pending, long after the end", run.System, run.Run, c.Category, c.Pending)
	}
	for act, n := range c.Removed {
		may := act == papyra.ActRotate && b.group.has(storeRotating) || act == papyra.ActCompact && b.world.plan.suffers(b.index, actCompact)
		if n > 0 && !may {
			b.problem("%s %s %s: %d removed by %s, which nobody did", run.System, run.Run, c.Category, n, act)
		}
	}
	if c.Missing > 0 && run.System == papyra.SystemReserved && !b.destructive {
		b.problem("%d of the pipeline's own reports are missing: %s %s %+v", c.Missing, run.Node, run.Run, c)
	}
}

// stored checks a series against the stores.
func (b *books) stored(run *account.Run, c *account.Category, key seriesKey) {
	s := b.h.of(key.system, key.run, key.kind)
	if c.Stored != uint64(len(s.lines)) || c.Duplicates != s.twice || c.Conflicts != s.other || s.other > 0 {
		b.problem("%s %s %s: the account says %d stored, %d duplicates, %d conflicts; in the stores are %d, %d, %d",
			run.System, run.Run, c.Category, c.Stored, c.Duplicates, c.Conflicts, len(s.lines), s.twice, s.other)
	}
}

// publisher checks a series against what its publisher knows.
func (b *books) publisher(s *source, kind papyra.Kind) {
	truth := of(&s.stats, kind)
	run := s.p.Run()
	held := b.h.of(s.system, run, kind)
	final := b.h.of(s.system, run, papyra.KindReport).final
	c := b.find(s, kind)
	problem := func(format string, args ...any) {
		b.problem("%s, run %s, %s: %s\n  account   %+v\n  publisher %+v, patient %v, final report stored %v",
			s.name, run, kind.Category(), fmt.Sprintf(format, args...), *c, truth, s.patient, final)
	}
	b.calls(s, kind, truth, held, problem)
	b.named(s, kind, held, problem)

	if c.Accepted > truth.Accepted || final && c.Accepted != truth.Accepted {
		problem("%d accepted, want %d", c.Accepted, truth.Accepted)
	}
	// What a report did not say nobody knows; what it said is never too much.
	// Of a hurried publisher's reports some may be dropped after the last.
	exact := final && (s.patient || kind != papyra.KindReport)
	for reason, n := range drops(truth) {
		if got := c.Dropped[reason]; got > n || exact && got != n {
			problem("%d dropped as %s, want %d", got, reason, n)
		}
	}
	if n := c.Dropped[papyra.DropSinkRejected]; n > 0 {
		problem("%d rejected", n)
	}
	takes := b.group.takes(kind)
	if c.Filtered > 0 && takes || len(held.lines) > 0 && !takes {
		problem("%d filtered and %d stored of what the group takes: %v", c.Filtered, len(held.lines), takes)
	}
	kept := c.Stored + c.RemovedTotal() // the account's Stored is what the stores hold
	sunk := c.Dropped[papyra.DropSinkFull] + c.Dropped[papyra.DropSinkStopped] + c.Dropped[papyra.DropUnheardBy]
	if kept+sunk > truth.Confirmed+truth.Unconfirmed {
		problem("%d stored or removed and %d dropped by sinks, more than were handed over", kept, sunk)
	}
	if b.destructive || !takes {
		return
	}
	// Nothing was killed: what was confirmed is there, or unheard; of that a report may be
	// gone.
	unheard := s.unheardBy(b.group.name)
	if kept+sunk+b.silent+unheard-min(unheard, c.Dropped[papyra.DropUnheardBy]) < truth.Confirmed && c.Highest == truth.Accepted {
		problem("%d stored or removed and %d dropped by sinks, but %d were confirmed", kept, sunk, truth.Confirmed)
	}
	unsaid := truth.Dropped() - min(c.DroppedTotal()-sunk, truth.Dropped())
	// Reports that named drops may themselves be rotated away or dropped by a sink.
	reports := b.find(s, papyra.KindReport)
	muted := reports.RemovedTotal()+reports.Dropped[papyra.DropSinkFull]+reports.Dropped[papyra.DropSinkStopped] > 0
	if s.patient && (final || !muted) {
		unsaid = 0
	}
	// Before are the missing ones of a publisher that was there before any sink.
	if lost := c.Missing + c.Before; lost > truth.Unconfirmed+unsaid+b.silent+unheard || c.Before > 0 && b.world.plan.sinks {
		problem("%d missing and %d before, want at most %d: nothing was killed", c.Missing, c.Before, truth.Unconfirmed+unsaid+b.silent+unheard)
	}
	if s.patient && !final && !muted && s.stats.Reports.Accepted > 0 { // an empty run says nothing
		problem("the final report is lost: nothing was killed")
	}
}

// find returns the account of a source's series, never nil. Of a run of which
// nothing but its removal is left the system is not known.
func (b *books) find(s *source, kind papyra.Kind) *account.Category {
	for _, system := range []string{s.system, ""} {
		if c := b.series[seriesKey{system, s.p.Run(), kind}]; c != nil {
			return c
		}
	}
	return &account.Category{}
}

// calls checks the publisher's numbers and the stored records against the calls.
func (b *books) calls(s *source, kind papyra.Kind, truth publisher.CategoryStats, held *seen, problem func(string, ...any)) {
	if truth.Accepted != truth.Confirmed+truth.Unconfirmed+truth.Dropped() || truth.Buffered != 0 {
		problem("the publisher's numbers do not add up")
	}
	if kind == papyra.KindReport {
		return
	}
	if calls := s.calls[kind].Load(); truth.Accepted+truth.Refused != calls {
		problem("%d calls", calls)
	}
	taken := func(set map[uint64]bool) (n uint64) {
		for seq := range set {
			if seq <= truth.Accepted {
				n++
			}
		}
		return n
	}
	if bad, long := taken(s.bad[kind]), taken(s.long[kind]); bad != truth.DroppedEncode || long != truth.DroppedTooLarge {
		problem("%d records could not be written and %d were too long", bad, long)
	}
	if replaced := taken(s.replaced[kind]); truth.PayloadReplaced > replaced {
		problem("%d records have a payload that could not be written", replaced)
	}
	for seq, line := range held.lines {
		want := mark(kind, seq)
		if s.replaced[kind][seq] {
			want = `"payload":{"` + papyra.PayloadError + `":"`
		}
		if seq > truth.Accepted || s.bad[kind][seq] || s.long[kind][seq] || !bytes.Contains(line, []byte(want)) {
			problem("record %d is not what was recorded: %.200s", seq, line)
			return
		}
	}
}

// named checks that what the publisher's reports call dropped is not stored, and
// that the reason is the right one.
func (b *books) named(s *source, kind papyra.Kind, held *seen, problem func(string, ...any)) {
	for reason, ranges := range b.h.named[seriesKey{s.system, s.p.Run(), kind}] {
		for _, g := range ranges {
			for seq := g[0]; seq <= g[1]; seq++ {
				if held.lines[seq] != nil || kind != papyra.KindReport &&
					(s.bad[kind][seq] != (reason == papyra.DropEncode) || s.long[kind][seq] != (reason == papyra.DropTooLarge)) {
					problem("record %d is reported as dropped for the reason %s; it is stored: %v, could not be written: %v, was too long: %v",
						seq, reason, held.lines[seq] != nil, s.bad[kind][seq], s.long[kind][seq])
					return
				}
			}
		}
	}
}

// drops are the publisher's drops by reason.
func drops(c publisher.CategoryStats) map[papyra.DropReason]uint64 {
	return map[papyra.DropReason]uint64{
		papyra.DropQueueFull: c.DroppedQueueFull, papyra.DropTooLarge: c.DroppedTooLarge,
		papyra.DropEncode: c.DroppedEncode, papyra.DropClosed: c.DroppedClosed,
	}
}

// gaps checks that no missing number is stored, that they add up, and that there
// is a reason for each.
func (b *books) gaps(sources []*source, missing uint64) {
	byRun := map[string]*source{}
	for _, s := range sources {
		byRun[s.p.Run()] = s
	}
	var sum uint64
	partly := false
	for i := range b.r.Gaps {
		g := &b.r.Gaps[i]
		kind := papyra.ParseCategory(g.Category)
		held := b.h.of(g.System, g.Run, kind)
		for seq := g.First; seq <= g.Last; seq++ {
			if held.lines[seq] != nil {
				b.problem("%d is in the gap %+v and stored", seq, *g)
				break
			}
		}
		sum += g.Count
		partly = partly || g.Partly
		if s := byRun[g.Run]; s != nil && s.patient && !g.Partly {
			b.reason(s, kind, g)
		}
	}
	if b.r.GapsTotal != uint64(len(b.r.Gaps)) || !partly && sum != missing || sum < missing {
		b.problem("%d gaps with %d numbers are listed, %d are missing", b.r.GapsTotal, sum, missing)
	}
}

// reason checks that a gap of a publisher that was closed in peace was taken
// before something was killed. Otherwise it can only hold records that were
// dropped, of which the report was lost.
func (b *books) reason(s *source, kind papyra.Kind, g *account.Gap) {
	reach := of(&s.reach[b.index], kind).Accepted
	c := b.find(s, kind)
	truth := of(&s.stats, kind)
	sunk := c.Dropped[papyra.DropSinkFull] + c.Dropped[papyra.DropSinkStopped] + c.Dropped[papyra.DropUnheardBy]
	// Where a report that named drops is gone, nobody can tell which of all holes
	// they were.
	if g.Last > reach && b.silent == 0 && c.Unnamed == 0 && c.DroppedTotal()-sunk == truth.Dropped() {
		b.problem("%s: %d to %d of %s are missing, though nothing was killed after %d was taken: %+v",
			s.name, max(g.First, reach+1), g.Last, g.Category, reach, *g)
	}
}
