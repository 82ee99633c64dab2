package account_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// One system's report names a range that takes all memory for ranges. What
// another one lost stays missing.
func TestNobodysReportHidesTheLossesOfAnother(t *testing.T) {
	for _, file := range []string{"budget-without.ndjson", "budget-with-evil.ndjson"} {
		w := newWorld(t, 1)
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			w.line(0, line)
		}
		o := w.options()
		o.At = time.Unix(1_795_820_000, 0)
		r, err := w.judge(o)
		if err != nil {
			t.Fatal(err)
		}
		_, c := category(t, r, who{"orders", "n", "abcdefghij012345"}, papyra.KindEvent)
		if r.Verdict != account.Missing || c.Missing != 100_000 || c.RemovedTotal() != 200_000 {
			t.Errorf("%s: got %s, %+v, want 100,000 missing and 200,000 removed", file, r.Verdict, c)
		}
	}
}

// A report that can be true names a range as wide as can be. It costs nothing, and
// changes nothing for the others.
func TestWideRangeOfAnotherSystem(t *testing.T) {
	w := newWorld(t, 1)
	evil, p := named("evil", "e"), named("orders", "a")
	const n = 1 << 38
	at := epoch.Add(time.Hour) // long enough for so many
	w.report(0, evil, 1, at, papyra.ReportPublisher, papyra.PublisherReport{Uptime: 3600, Categories: map[string]papyra.PublisherCategory{
		"events": {Accepted: n, Dropped: map[papyra.DropReason]*papyra.Drops{papyra.DropQueueFull: {N: n, Ranges: ranges(papyra.Range{1, n})}}},
	}})
	w.events(0, p, 300_001, 300_001)
	w.published(0, p, 1, at, false, papyra.PublisherCategory{Accepted: 300_001, Dropped: map[papyra.DropReason]*papyra.Drops{
		papyra.DropEncode: {N: 80_000, Ranges: ranges(papyra.Range{1, 80_000})},
	}})
	w.removal(0, "act", papyra.ActCompact, map[string][]papyra.RemovedRun{"events": {{Node: p.node, Run: p.run, Ranges: ranges(papyra.Range{100_001, 300_000})}}})
	r, err := w.judge(w.options())
	if err != nil || len(r.Doubts) != 0 {
		t.Fatalf("got %v, %v, want no doubt", r.Doubts, err)
	}
	_, c := category(t, r, p, papyra.KindEvent)
	if c.Missing != 20_000 || c.Removed["compact"] != 200_000 || c.Dropped["encode"] != 80_000 || r.Verdict != account.Missing {
		t.Errorf("got %+v, want 20,000 missing", c)
	}
	if _, c = category(t, r, evil, papyra.KindEvent); c.Dropped["queue_full"] != n || c.Unnamed != 0 || c.Missing != 0 {
		t.Errorf("got %+v, want all dropped, each of them named", c)
	}
}

// A wide range of an act explains no more than its width.
func TestWideRangeOfAnActExplainsItsWidth(t *testing.T) {
	w := newWorld(t, 1)
	p := named("orders", "a")
	const wide = 1 << 40
	w.put(0, p, papyra.KindEvent, 2*wide+1, epoch, "")
	w.removal(0, "act", papyra.ActCompact, map[string][]papyra.RemovedRun{"events": {{Node: p.node, Run: p.run, Ranges: ranges(papyra.Range{wide + 1, 2 * wide})}}})
	r, err := w.judge(w.options())
	if err != nil {
		t.Fatal(err)
	}
	if _, c := category(t, r, p, papyra.KindEvent); c.Removed["compact"] != wide || c.Missing != wide {
		t.Errorf("got %+v, want %d removed and as many missing", c, uint64(wide))
	}
}

func TestImplausibleReportsHaveNoEffect(t *testing.T) {
	p := named("orders", "a")
	full := func(n uint64, g ...papyra.Range) map[papyra.DropReason]*papyra.Drops {
		return map[papyra.DropReason]*papyra.Drops{papyra.DropQueueFull: {N: n, Ranges: g}}
	}
	for _, c := range []struct {
		name   string
		uptime float64
		c      papyra.PublisherCategory
		want   account.Why // "" for a report that is believed
	}{
		{"one that adds up", 10, papyra.PublisherCategory{Accepted: 9, Confirmed: 4, Unconfirmed: 1, Buffered: 1, Dropped: full(3, papyra.Range{3, 4})}, ""},
		{"ranges as wide as their count", 10, papyra.PublisherCategory{Accepted: 9, Confirmed: 7, Dropped: full(2, papyra.Range{3, 4})}, ""},
		{"ranges that are wider", 10, papyra.PublisherCategory{Accepted: 9, Confirmed: 7, Dropped: full(2, papyra.Range{3, 5})}, account.WhyRanges},
		{"two ranges that are wider", 10, papyra.PublisherCategory{Accepted: 9, Confirmed: 7, Dropped: full(2, papyra.Range{3, 4}, papyra.Range{6, 6})}, account.WhyRanges},
		{"ranges whose widths overflow", 10, papyra.PublisherCategory{Accepted: 9, Confirmed: 7, Dropped: full(2, papyra.Range{1, 9_999_999_999_999_999_999}, papyra.Range{1, 9_999_999_999_999_999_999})}, account.WhyRanges},
		{"a range backwards", 10, papyra.PublisherCategory{Accepted: 9, Confirmed: 7, Dropped: full(2, papyra.Range{5, 4})}, account.WhyRanges},
		{"a range from 0", 10, papyra.PublisherCategory{Accepted: 9, Confirmed: 7, Dropped: full(2, papyra.Range{0, 1})}, account.WhyRanges},
		{"more dropped than accepted", 10, papyra.PublisherCategory{Accepted: 9, Dropped: full(10)}, account.WhyDropped},
		{"drops that overflow to the right sum", 10, papyra.PublisherCategory{Accepted: 9, Confirmed: 10, Dropped: full(math.MaxUint64)}, account.WhyDropped},
		{"too few in all", 10, papyra.PublisherCategory{Accepted: 9, Confirmed: 8}, account.WhySum},
		{"too many in all", 10, papyra.PublisherCategory{Accepted: 9, Confirmed: 9, Buffered: 1}, account.WhySum},
		{"as fast as can be", 10, papyra.PublisherCategory{Accepted: 7_000_000_000, Confirmed: 7_000_000_000}, ""},
		{"faster", 10, papyra.PublisherCategory{Accepted: 7_000_000_001, Confirmed: 7_000_000_001}, account.WhyRate},
		{"before it began", -1e9, papyra.PublisherCategory{Accepted: 6_000_000_001, Confirmed: 6_000_000_001}, account.WhyRate},
		{"longer than there is a clock", 1e300, papyra.PublisherCategory{Accepted: 9_999_999_999_999_999_999, Confirmed: 9_999_999_999_999_999_999}, account.WhyRate},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.events(0, p, 1, 2)
			w.report(0, p, 1, now.Add(-time.Minute*5), papyra.ReportPublisher, papyra.PublisherReport{
				Final: true, Uptime: c.uptime, Categories: map[string]papyra.PublisherCategory{"events": c.c},
			})
			r, err := w.judge(w.options())
			if err != nil {
				t.Fatal(err)
			}
			run, got := category(t, r, p, papyra.KindEvent)
			if c.want == "" {
				if len(r.Doubts) != 0 || got.Highest != c.c.Accepted || run.State != account.RunClosed {
					t.Errorf("got %v and %+v, want the report believed", r.Doubts, got)
				}
				return
			}
			want := account.Doubt{System: "orders", Why: c.want, Reports: 1, Report: papyra.ReportPublisher, Run: p.run, Seq: 1}
			if !slices.Equal(r.Doubts, []account.Doubt{want}) || r.DoubtsTotal != 1 {
				t.Errorf("got doubts %+v, want %+v", r.Doubts, want)
			}
			if got.Highest != 2 || got.Stored != 2 || run.State != account.RunEnded || run.Reports != 0 {
				t.Errorf("got %+v of %+v, want no effect of the report", got, run)
			}
		})
	}
}

func TestReportsOfTheWrongSystemOrWithoutAProvenSealHaveNoEffect(t *testing.T) {
	w := newWorld(t, 1)
	p := named("orders", "a")
	w.events(0, p, 1, 1)
	w.events(0, p, 9, 9)
	removal := papyra.RemovalReport{Act: papyra.ActCompact, ID: "x", Categories: map[string]papyra.RemovedCategory{
		"events": {Records: 7, Runs: []papyra.RemovedRun{{Run: p.run, Ranges: ranges(papyra.Range{2, 8})}}},
	}}
	dropped := papyra.SinkReport{State: "stopped", Group: "g", Dropped: []papyra.SinkDrops{
		{Reason: papyra.DropSinkFull, System: p.system, Category: "events", Run: p.run, N: 7, Ranges: ranges(papyra.Range{2, 8})},
	}}
	w.report(0, p, 1, epoch, papyra.ReportRemoval, removal)
	w.report(0, p, 2, epoch, papyra.ReportSink, dropped)
	w.report(0, named(papyra.SystemReserved, "a"), 1, epoch, papyra.ReportPublisher, papyra.PublisherReport{})
	// As a rewrite by another program leaves it, and nobody can say what it was.
	w.line(0, []byte(`{"kind": "report", "system_id": "papyra", "report": "RemovalReport", "payload": {"act": "compact", "id": "x", "categories": {"events": {"records": 7, "bytes": 1, "runs": [{"run": "`+p.run+`", "ranges": [[2, 8]]}]}}}, "timestamp": 1700000000.0, "node": "eu-1", "run": "act0000000000000", "seq": 1, "crc": "00000000"}`+"\n"))
	r, err := w.judge(w.options())
	if err != nil {
		t.Fatal(err)
	}
	if _, c := category(t, r, p, papyra.KindEvent); c.Missing != 7 {
		t.Errorf("got %+v, want 7 missing", c)
	}
	want := []account.Doubt{
		{System: "orders", Why: account.WhySystem, Reports: 2, Report: papyra.ReportRemoval, Run: p.run, Seq: 1},
		{System: "papyra", Why: account.WhyUnsealed, Reports: 1, Report: papyra.ReportRemoval, Run: "act0000000000000", Seq: 1},
		{System: "papyra", Why: account.WhySystem, Reports: 1, Report: papyra.ReportPublisher, Run: named("", "a").run, Seq: 1},
	}
	if !slices.Equal(r.Doubts, want) {
		t.Errorf("got doubts %+v, want %+v", r.Doubts, want)
	}
}

func TestUnknownReasonExplainsNothing(t *testing.T) {
	w := newWorld(t, 1)
	p := named("orders", "a")
	w.events(0, p, 1, 1)
	w.published(0, p, 1, epoch, true, papyra.PublisherCategory{Accepted: 9, Dropped: map[papyra.DropReason]*papyra.Drops{
		"of tomorrow": {N: 3, Ranges: ranges(papyra.Range{2, 4})}, papyra.DropEncode: {N: 1, Ranges: ranges(papyra.Range{5, 5})},
	}})
	w.sink(0, "g", 1, epoch, papyra.SinkReport{State: "stopped", Dropped: []papyra.SinkDrops{
		{Reason: "sink_tired", System: p.system, Category: "events", Run: p.run, N: 2, Ranges: ranges(papyra.Range{6, 6})},
		{Reason: papyra.DropSinkFull, System: p.system, Category: "events", Run: p.run, N: 1, Ranges: ranges(papyra.Range{7, 9})}, // wider than its count
		{Reason: papyra.DropSinkFull, System: p.system, Category: "events", Run: p.run, N: 1, Ranges: ranges(papyra.Range{8, 8})},
	}})
	r, err := w.judge(w.options())
	if err != nil {
		t.Fatal(err)
	}
	run, c := category(t, r, p, papyra.KindEvent)
	if c.Missing != 6 || c.Dropped["encode"] != 1 || c.Dropped["sink_full"] != 1 || len(c.Dropped) != 2 || run.State != account.RunClosed {
		t.Errorf("got %+v, want 6 missing", c)
	}
	var why []account.Why
	for _, d := range r.Doubts {
		why = append(why, d.Why)
	}
	if !slices.Equal(why, []account.Why{account.WhyUnknown, account.WhyRanges, account.WhyUnknown}) {
		t.Errorf("got doubts %+v", r.Doubts)
	}
}

// An act explains no more numbers than it removed records, however its reports
// are split and in whatever order they come.
func TestActExplainsNoMoreThanItRemoved(t *testing.T) {
	p := named("orders", "a")
	act := func(w *world, seq uint64, id string, records int64, carried bool, g ...papyra.RemovedRun) {
		w.report(0, named(papyra.SystemReserved, "act"), seq, epoch, papyra.ReportRemoval, papyra.RemovalReport{
			Act: papyra.ActCompact, ID: id, Carried: carried, Categories: map[string]papyra.RemovedCategory{"events": {Records: records, Runs: g}},
		})
	}
	of := func(g ...papyra.Range) papyra.RemovedRun { return papyra.RemovedRun{Run: p.run, Ranges: g} }
	for _, c := range []struct {
		name            string
		make            func(w *world)
		removed, doubts uint64
	}{
		{"as many", func(w *world) { act(w, 1, "x", 4, false, of(papyra.Range{1, 4})) }, 4, 0},
		{"more numbers than records", func(w *world) { act(w, 1, "x", 3, false, of(papyra.Range{1, 4})) }, 0, 1},
		{"split", func(w *world) {
			act(w, 1, "x", 7, false, of(papyra.Range{1, 4}))
			act(w, 2, "x", 0, false, of(papyra.Range{5, 7}))
		}, 7, 0},
		{"split, and one more than fits", func(w *world) {
			act(w, 1, "x", 7, false, of(papyra.Range{1, 4}))
			act(w, 2, "x", 0, false, of(papyra.Range{5, 7}))
			act(w, 3, "x", 0, false, of(papyra.Range{8, 8}))
		}, 7, 1},
		{"the records of another act", func(w *world) {
			act(w, 1, "x", 7, false)
			act(w, 2, "y", 0, false, of(papyra.Range{1, 4}))
		}, 0, 1},
		{"split, its first report carried on by a rotation", func(w *world) {
			act(w, 1, "z", 9, true, of(papyra.Range{1, 4}))
			act(w, 2, "x", 0, false, of(papyra.Range{5, 7}))
		}, 7, 0},
		{"copies of a report count once", func(w *world) {
			act(w, 1, "x", 4, false, of(papyra.Range{1, 4}))
			act(w, 1, "x", 4, false, of(papyra.Range{1, 4}))
			act(w, 2, "x", 0, false, of(papyra.Range{5, 7}))
		}, 4, 1},
		{"below a number, counted", func(w *world) {
			act(w, 1, "x", 5, false, papyra.RemovedRun{Run: p.run, Below: 9, N: 5})
		}, 5, 0},
		{"below a number, more than it removed", func(w *world) {
			act(w, 1, "x", 5, false, papyra.RemovedRun{Run: p.run, Below: 9, N: 6})
		}, 0, 1},
		{"below a number, not counted", func(w *world) {
			act(w, 1, "x", 5, false, papyra.RemovedRun{Run: p.run, Below: 9})
		}, 5, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.put(0, p, papyra.KindEvent, 10, epoch, "")
			c.make(w)
			for range 2 {
				r, err := w.judge(w.options())
				if err != nil {
					t.Fatal(err)
				}
				_, got := category(t, r, p, papyra.KindEvent)
				if got.Removed["compact"] != c.removed || got.Missing != 9-c.removed || r.DoubtsTotal != c.doubts {
					t.Errorf("got %+v with %d doubts, want %d removed with %d", got, r.DoubtsTotal, c.removed, c.doubts)
				}
				if c.name == "copies of a report count once" || c.name == "split, and one more than fits" {
					break // which one has no room depends on the order
				}
				slices.Reverse(w.stores[0])
			}
		})
	}
}

// Two records with huge numbers make sums that do not fit into 64 bits.
func TestSumsDoNotOverflow(t *testing.T) {
	w := newWorld(t, 1)
	a, b := named("orders", "a"), named("evil", "b")
	w.put(0, a, papyra.KindEvent, 9_223_372_036_854_775_809, epoch, "")
	w.put(0, b, papyra.KindEvent, 9_223_372_036_854_775_809, epoch, "")
	o := w.options()
	acc := account.New(o)
	w.each(0, func(rec *papyra.Record) { acc.Add(0, rec) })
	r, err := acc.Result()
	if err != nil || r.Verdict != account.Missing || r.Total.Missing != math.MaxUint64 || r.Total.Stored != 2 {
		t.Errorf("got %s, %+v, %v, want missing, as many as can be counted", r.Verdict, r.Total, err)
	}
	for _, p := range []who{a, b} {
		if _, c := category(t, r, p, papyra.KindEvent); c.Missing != 1<<63 {
			t.Errorf("got %+v, want its own numbers in each row", c)
		}
	}
}

// Anybody who may answer on the broker can name a store that never was.
func TestWithoutAStore(t *testing.T) {
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "stopped", Store: "s1", Peers: []papyra.Peer{{Instance: "x", Store: "forged"}, {Instance: "eu-2", Store: "s2"}}})
	o := w.options()
	for _, c := range []struct {
		without []string
		want    account.Verdict
	}{{nil, account.Incomplete}, {[]string{"forged"}, account.Incomplete}, {[]string{"forged", "s2"}, account.Balanced}} {
		o.Without = c.without
		if r, err := w.judge(o); err != nil || r.Verdict != c.want || len(r.Absent) != 2-len(c.without) {
			t.Errorf("without %v: got %s, %v, %v, want %s", c.without, r.Verdict, r.Absent, err, c.want)
		}
	}
}

// The kinds of doubt are bounded, their number is exact.
func TestDoubtsAreBounded(t *testing.T) {
	a := account.New(account.Options{At: now})
	var rec papyra.Record
	for i := range 3000 {
		w := newWorld(t, 1)
		p := named(fmt.Sprintf("system-%d", i), "a")
		w.report(0, p, 1, epoch, papyra.ReportSink, papyra.SinkReport{})
		w.each(0, func(r *papyra.Record) { rec = *r; a.Add(0, &rec) })
	}
	r, err := a.Result()
	if err != nil || r.DoubtsTotal != 3000 || len(r.Doubts) != 1000 {
		t.Errorf("got %d of %d, %v, want 1000 of 3000", len(r.Doubts), r.DoubtsTotal, err)
	}
}
