package account_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// fateKind is what the model does with one number.
type fateKind int

const (
	stored fateKind = iota
	storedTwice
	conflicting
	lost
	dropFull   // by the publisher, in the call
	dropEncode // likewise
	dropLate   // by the publisher, later: too large for the broker
	unheard    // the publisher had to let go of it before the group answered
	sinkNamed
	sinkCounted
	compacted
	rotated
	cutBelow // removed below a number, not named
	fates
)

// modelSeries is one category of a run whose fates are known.
type modelSeries struct {
	kind  papyra.Kind
	fates []fateKind // of 1, 2, …
	young uint64     // numbers above it were taken a moment ago
}

func (s *modelSeries) at(seq uint64) time.Time {
	if seq > s.young {
		return now.Add(-10 * time.Second)
	}
	return epoch.Add(time.Duration(seq) * time.Second)
}

// modelReport is one PublisherReport of a run.
type modelReport struct {
	upTo     []uint64 // accepted of each series
	survives bool
	at       time.Time
}

// expected is what the account should say of one series.
type expected struct {
	highest, stored, missing, pending, filtered, duplicates, conflicts uint64
	dropped                                                            map[papyra.DropReason]uint64
	removed                                                            map[string]uint64
	ambiguous                                                          bool // counts without names and young numbers: only missing+pending is certain
}

// TestAccountEqualsModel makes runs whose fates are known, writes what the
// pipeline would have written of them, loses some of the reports, and demands
// that the account knows every fate that can be known.
func TestAccountEqualsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores := rapid.IntRange(1, 3).Draw(t, "stores")
		w := newWorld(t, stores)
		var filters []string
		if rapid.Bool().Draw(t, "filtered") {
			filters = []string{"category=events", "category=audits", "system=orders"}
		}
		for i := range stores {
			w.sink(i, "archive", 1, epoch, papyra.SinkReport{State: "started", Filters: filters})
			w.sink(i, "archive", 2, now.Add(-20*time.Minute), papyra.SinkReport{State: "stopped", Filters: filters})
		}
		want := map[string]expected{}
		states := map[string]account.RunState{}
		for n := range rapid.IntRange(1, 3).Draw(t, "runs") {
			system := rapid.SampledFrom([]string{"orders", "billing"}).Draw(t, "system")
			p := named(system, fmt.Sprintf("run%d", n))
			m := &modelRun{t: t, w: w, p: p, filtered: func(k papyra.Kind) bool {
				return filters != nil && (system != "orders" || k == papyra.KindDeadLetter)
			}}
			m.make()
			for i, s := range m.series {
				if e := m.expect(i); e.highest > 0 {
					want[p.run+" "+s.kind.Category()] = e
				}
			}
			states[p.run] = m.state()
		}
		for i := range w.stores {
			w.stores[i] = rapid.Permutation(w.stores[i]).Draw(t, "order")
		}
		r, err := w.judge(w.options())
		if err != nil {
			t.Fatalf("judge: %v", err)
		}
		for _, run := range r.Runs {
			if run.System == papyra.SystemReserved || run.System == "" {
				continue
			}
			if want, known := states[run.Run], run.Last > 0; known && run.State != want {
				t.Fatalf("run %s: state %s, want %s", run.Run, run.State, want)
			}
			for _, c := range run.Categories {
				key := run.Run + " " + c.Category
				if c.Category == "reports" {
					continue
				}
				e, ok := want[key]
				if !ok {
					t.Fatalf("%s: an account of what nothing stored knows: %+v", key, c)
				}
				delete(want, key)
				e.check(t, key, &c)
			}
		}
		for _, run := range r.Runs { // of which only removals are left
			for _, c := range run.Categories {
				key := run.Run + " " + c.Category
				if e, ok := want[key]; ok && run.System == "" {
					delete(want, key)
					e.check(t, key, &c)
				}
			}
		}
		if len(want) > 0 {
			t.Fatalf("no account of %v", want)
		}
	})
}

func (e *expected) check(t *rapid.T, key string, c *account.Category) {
	t.Helper()
	same := c.Highest == e.highest && c.Stored == e.stored && c.Filtered == e.filtered &&
		c.Duplicates == e.duplicates && c.Conflicts == e.conflicts && c.Missing+c.Pending == e.missing+e.pending
	if !e.ambiguous {
		same = same && c.Missing == e.missing && c.Pending == e.pending
	}
	for reason, n := range e.dropped {
		same = same && c.Dropped[reason] == n
	}
	for act, n := range e.removed {
		same = same && c.Removed[act] == n
	}
	if !same {
		t.Fatalf("%s:\n got %+v\nwant %+v", key, *c, *e)
	}
}

// modelRun makes one run.
type modelRun struct {
	t        *rapid.T
	w        *world
	p        who
	filtered func(papyra.Kind) bool
	series   []*modelSeries
	reports  []modelReport
	final    bool
}

func (m *modelRun) make() {
	t := m.t
	for _, kind := range []papyra.Kind{papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter} {
		s := &modelSeries{kind: kind}
		n := rapid.IntRange(0, 40).Draw(t, "records")
		pool := []fateKind{stored, stored, stored, lost}
		if rapid.Bool().Draw(t, "trouble") {
			for f := range fates {
				pool = append(pool, f)
			}
		}
		for range n {
			f := rapid.SampledFrom(pool).Draw(t, "fate")
			if m.filtered(kind) {
				// Nothing of it reaches a store, but the publisher still drops.
				f = rapid.SampledFrom([]fateKind{lost, dropFull, dropLate}).Draw(t, "fate of what is filtered")
			}
			s.fates = append(s.fates, f)
		}
		s.young = uint64(n)
		if rapid.IntRange(0, 3).Draw(t, "fresh") == 0 {
			s.young = uint64(rapid.IntRange(0, n).Draw(t, "young"))
		}
		m.series = append(m.series, s)
	}
	m.makeReports()
	for i := range m.series {
		m.write(i)
	}
	m.writeReports()
}

// makeReports chooses when reports were made and which of them survive.
func (m *modelRun) makeReports() {
	t := m.t
	n := rapid.IntRange(0, 5).Draw(t, "reports")
	upTo := make([]uint64, len(m.series))
	for k := range n {
		at := epoch
		for i, s := range m.series {
			upTo[i] = uint64(rapid.IntRange(int(upTo[i]), len(s.fates)).Draw(t, "accepted"))
			if upTo[i] > 0 && s.at(upTo[i]).After(at) {
				at = s.at(upTo[i])
			}
		}
		if k > 0 && m.reports[k-1].at.After(at) {
			at = m.reports[k-1].at
		}
		m.reports = append(m.reports, modelReport{
			upTo: slices.Clone(upTo), at: at.Add(time.Millisecond),
			survives: rapid.IntRange(0, 3).Draw(t, "survives") > 0,
		})
	}
	m.final = n > 0 && rapid.Bool().Draw(t, "final")
	if m.final {
		last := &m.reports[n-1]
		for i, s := range m.series {
			last.upTo[i] = uint64(len(s.fates))
		}
		last.at = now.Add(-5 * time.Second)
	}
}

func (m *modelRun) store() int { return rapid.IntRange(0, len(m.w.stores)-1).Draw(m.t, "store") }

// write stores the records of a series and the reports of sinks and acts.
func (m *modelRun) write(i int) {
	s := m.series[i]
	acts := map[fateKind][]uint64{}
	for n, f := range s.fates {
		seq := uint64(n + 1)
		switch f {
		case stored, storedTwice, conflicting:
			m.w.put(m.store(), m.p, s.kind, seq, s.at(seq), "")
			if f == storedTwice {
				m.w.put(m.store(), m.p, s.kind, seq, s.at(seq), "")
			}
			if f == conflicting {
				m.w.put(m.store(), m.p, s.kind, seq, s.at(seq), "other")
			}
		default:
			acts[f] = append(acts[f], seq)
		}
	}
	name := fmt.Sprintf("%s%d", m.p.run[:4], i)
	removed := func(list []uint64) map[string][]papyra.RemovedRun {
		return map[string][]papyra.RemovedRun{s.kind.Category(): {{Node: m.p.node, Run: m.p.run, Ranges: asRanges(list)}}}
	}
	if list := acts[compacted]; len(list) > 0 {
		m.w.removal(m.store(), "c"+name, papyra.ActCompact, removed(list))
	}
	if list := acts[rotated]; len(list) > 0 {
		m.w.removal(m.store(), "r"+name, papyra.ActRotate, removed(list))
	}
	if list := acts[cutBelow]; len(list) > 0 {
		m.w.removal(m.store(), "b"+name, papyra.ActRecover, map[string][]papyra.RemovedRun{s.kind.Category(): {{
			Node: m.p.node, Run: m.p.run, Below: list[len(list)-1] + 1, N: uint64(len(list)),
		}}})
	}
	if named, counted := acts[sinkNamed], acts[sinkCounted]; len(named)+len(counted) > 0 {
		m.w.report(m.store(), who{papyra.SystemReserved, "n", ("s" + name + "0000000000000000")[:16]}, 1, now.Add(-10*time.Minute), papyra.ReportSink, papyra.SinkReport{
			State: "stopped", Group: "archive", Filters: []string{"system=nobody"}, Dropped: []papyra.SinkDrops{{
				Reason: papyra.DropSinkFull, System: m.p.system, Category: s.kind.Category(), Run: m.p.run,
				N: uint64(len(named) + len(counted)), Ranges: asRanges(named), Others: span(counted),
			}},
		})
	}
}

// asRanges returns rising numbers as ranges.
func asRanges(list []uint64) (out []papyra.Range) {
	for _, n := range list {
		if last := len(out) - 1; last >= 0 && out[last][1]+1 == n {
			out[last][1] = n
		} else {
			out = append(out, papyra.Range{n, n})
		}
	}
	return out
}

// span returns the lowest and the highest of rising numbers.
func span(list []uint64) (r papyra.Range) {
	if len(list) > 0 {
		r = papyra.Range{list[0], list[len(list)-1]}
	}
	return r
}

// reasonOf is the publisher's reason of a fate.
var reasonOf = map[fateKind]papyra.DropReason{
	dropFull: papyra.DropQueueFull, dropEncode: papyra.DropEncode, dropLate: papyra.DropTooLarge, unheard: papyra.DropUnheardBy,
}

// writeReports stores the reports that survive. A report names at most three
// ranges of each reason, and the rest only by its number.
func (m *modelRun) writeReports() {
	for k, rep := range m.reports {
		if !rep.survives {
			continue
		}
		p := papyra.PublisherReport{
			Final: m.final && k == len(m.reports)-1, Uptime: rep.at.Sub(epoch).Seconds(),
			Categories: map[string]papyra.PublisherCategory{},
		}
		for i, s := range m.series {
			c := papyra.PublisherCategory{Accepted: rep.upTo[i], Dropped: map[papyra.DropReason]*papyra.Drops{}}
			var from uint64
			if k > 0 {
				from = m.reports[k-1].upTo[i]
			}
			for fate, reason := range reasonOf {
				var all, fresh []uint64
				for seq := uint64(1); seq <= rep.upTo[i]; seq++ {
					if s.fates[seq-1] == fate {
						all = append(all, seq)
						if seq > from {
							fresh = append(fresh, seq)
						}
					}
				}
				if len(all) > 0 {
					named := asRanges(fresh)
					d := &papyra.Drops{N: uint64(len(all)), Ranges: named[:min(3, len(named))]}
					if fate != unheard {
						c.Dropped[reason] = d
						continue
					}
					// Of another group it means nothing here.
					c.UnheardBy = map[string]*papyra.Drops{"archive": d, "live": {N: rep.upTo[i], Ranges: ranges(papyra.Range{1, rep.upTo[i]})}}
				}
			}
			p.Categories[s.kind.Category()] = addedUp(c)
		}
		m.w.report(m.store(), m.p, uint64(k+1), rep.at, papyra.ReportPublisher, p)
	}
}

// expect says what can be known of a series.
func (m *modelRun) expect(i int) expected {
	s := m.series[i]
	e := expected{dropped: map[papyra.DropReason]uint64{}, removed: map[string]uint64{}}
	var told, settled uint64 // by the last surviving report; known to be old
	know := func(n uint64, at time.Time) {
		e.highest = max(e.highest, n)
		if !at.After(now.Add(-time.Minute)) {
			settled = max(settled, n)
		}
	}
	for _, rep := range m.reports {
		if rep.survives {
			told = max(told, rep.upTo[i])
			know(rep.upTo[i], rep.at)
		}
	}
	counted := false
	old := now.Add(-10 * time.Minute)
	for n, f := range s.fates {
		seq := uint64(n + 1)
		switch f {
		case stored, storedTwice, conflicting:
			know(seq, s.at(seq))
		case sinkNamed, sinkCounted, compacted, rotated, cutBelow:
			know(seq, old)
		}
		counted = counted || f == cutBelow || f == sinkCounted || reasonOf[f] != ""
	}
	for n, f := range s.fates {
		seq := uint64(n + 1)
		unexplained := false
		switch f {
		case stored, storedTwice, conflicting:
			e.stored++
			if f == storedTwice {
				e.duplicates++
			}
			if f == conflicting {
				e.conflicts++
			}
		case sinkNamed, sinkCounted:
			e.dropped[papyra.DropSinkFull]++
		case compacted:
			e.removed[papyra.ActCompact]++
		case rotated:
			e.removed[papyra.ActRotate]++
		case cutBelow:
			e.removed[papyra.ActRecover]++
		case dropFull, dropEncode, dropLate, unheard:
			if seq <= told {
				e.dropped[reasonOf[f]]++
			} else {
				unexplained = seq <= e.highest
			}
		case lost:
			unexplained = seq <= e.highest
		}
		switch {
		case !unexplained:
		case m.filtered(s.kind):
			e.filtered++
		case seq > settled:
			e.pending++
		default:
			e.missing++
		}
	}
	e.ambiguous = counted && e.pending > 0 || counted && settled < e.highest
	return e
}

// state says what can be known of the run's end.
func (m *modelRun) state() account.RunState {
	last := time.Time{}
	for k, rep := range m.reports {
		if rep.survives {
			if m.final && k == len(m.reports)-1 {
				return account.RunClosed
			}
			last = later(last, rep.at)
		}
	}
	for _, s := range m.series {
		for n, f := range s.fates {
			if f <= conflicting {
				last = later(last, s.at(uint64(n+1)))
			}
		}
	}
	if !last.Before(now.Add(-150 * time.Second)) {
		return account.RunOpen
	}
	return account.RunEnded
}

func later(a, b time.Time) time.Time {
	if cmp.Compare(a.UnixMicro(), b.UnixMicro()) < 0 {
		return b
	}
	return a
}
