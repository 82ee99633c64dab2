package account_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

func TestGaps(t *testing.T) {
	p := named("orders", "a")
	at := func(seq uint64) float64 { return float64(epoch.Unix() + int64(seq)) }
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "started"})
	w.sink(0, "archive", 2, epoch.Add(95*time.Second), papyra.SinkReport{LostMessages: 0})
	w.sink(0, "archive", 3, epoch.Add(105*time.Second), papyra.SinkReport{LostMessages: 3})
	// It dies at 300 s, and another one starts at 310 s.
	w.sink(0, "archive", 4, epoch.Add(300*time.Second), papyra.SinkReport{LostMessages: 3, Disconnects: 0})
	w.report(0, named(papyra.SystemReserved, "second"), 1, epoch.Add(310*time.Second), papyra.ReportSink, papyra.SinkReport{State: "started", Group: "archive"})
	w.report(0, named(papyra.SystemReserved, "second"), 2, epoch.Add(400*time.Second), papyra.ReportSink, papyra.SinkReport{Group: "archive", Disconnects: 1, Uptime: 90})
	w.report(0, named(papyra.SystemReserved, "second"), 3, epoch.Add(3000*time.Second), papyra.ReportSink, papyra.SinkReport{State: "stopped", Group: "archive", Disconnects: 1, Uptime: 2690})
	hole := map[uint64]bool{}
	for _, g := range []papyra.Range{{20, 20}, {50, 60}, {100, 101}, {305, 305}, {350, 350}} {
		for n := g[0]; n <= g[1]; n++ {
			hole[n] = true
		}
	}
	for n := uint64(1); n <= 500; n++ {
		if !hole[n] {
			w.events(0, p, n, n)
		}
	}
	outages := []papyra.Outage{{From: at(55), To: at(58)}, {From: at(200), To: at(210)}}
	w.report(0, p, 1, epoch.Add(56*time.Second), papyra.ReportPublisher, papyra.PublisherReport{
		Uptime: 56, Categories: map[string]papyra.PublisherCategory{"events": {Accepted: 56, Confirmed: 56}},
		Outages: []papyra.Outage{{From: at(55)}},
	})
	w.report(0, p, 2, epoch.Add(510*time.Second), papyra.ReportPublisher, papyra.PublisherReport{
		Uptime: 510, Categories: map[string]papyra.PublisherCategory{"events": {Accepted: 505, Confirmed: 505}}, Outages: outages,
	})
	o := w.options()
	o.Gaps = true
	r, err := w.judge(o)
	if err != nil {
		t.Fatal(err)
	}
	gap := func(first, last uint64, causes ...account.Cause) account.Gap {
		g := account.Gap{
			System: p.system, Node: p.node, Run: p.run, Category: "events",
			First: first, Last: last, Count: last - first + 1, After: at(first - 1), Causes: causes,
		}
		if last < 500 {
			g.Before = at(last + 1)
		}
		return g
	}
	want := []account.Gap{
		gap(20, 20, account.CauseUnknown),
		gap(50, 60, account.CauseDisconnection),
		gap(100, 101, account.CauseSinkLost),
		gap(305, 305, account.CauseSinkStopped),
		gap(350, 350, account.CauseSinkCut),
		gap(501, 505, account.CauseProcessEnd),
	}
	want[1].Outages = outages[:1]
	if diff := cmp.Diff(want, r.Gaps, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if r.GapsTotal != 6 || r.Total.Missing != 21 || r.LostMessages != 3 {
		t.Errorf("got %d gaps with %d missing, %d messages lost, want 6, 21 and 3", r.GapsTotal, r.Total.Missing, r.LostMessages)
	}
	o.MaxGaps = 2
	if r, err = w.judge(o); err != nil || len(r.Gaps) != 2 || r.GapsTotal != 6 {
		t.Errorf("with MaxGaps 2: %d listed of %d, %v, want 2 of 6", len(r.Gaps), r.GapsTotal, err)
	}
}

func TestGapsOfWhichOnlySomeAreMissing(t *testing.T) {
	p := named("orders", "a")
	w := newWorld(t, 1)
	w.events(0, p, 1, 2)
	w.events(0, p, 5, 6)
	w.events(0, p, 9, 10)
	w.published(0, p, 1, now.Add(-time.Minute*5), true, papyra.PublisherCategory{Accepted: 10, Confirmed: 9, Dropped: map[papyra.DropReason]*papyra.Drops{papyra.DropQueueFull: drops(1)}})
	r := judgedWithGaps(t, w)
	if len(r.Gaps) != 2 || !r.Gaps[0].Partly || r.Gaps[0].Missing != 3 || r.Gaps[0].Of != 4 || r.Gaps[1].First != 7 {
		t.Errorf("got %+v, want two gaps of which 3 of 4 numbers are missing", r.Gaps)
	}
}

func TestWeakCauses(t *testing.T) {
	p := named("orders", "a")
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, now, papyra.SinkReport{State: "stopped", Store: "s1", Peers: []papyra.Peer{{Instance: "b", Store: "s2"}}})
	w.events(0, p, 1, 2)
	w.events(0, p, 4, 5)
	w.published(0, p, 2, now.Add(-5*time.Minute), true, papyra.PublisherCategory{Accepted: 6, Confirmed: 5, Unconfirmed: 1})
	a := account.New(account.Options{At: now, Gaps: true})
	w.each(0, func(rec *papyra.Record) { a.Add(0, rec) })
	a.Unread(0, 3, nil)
	r, err := a.Result()
	if err != nil {
		t.Fatal(err)
	}
	var got [][]account.Cause
	for _, g := range r.Gaps {
		if g.Category == "events" {
			got = append(got, g.Causes)
		}
	}
	weak := []account.Cause{account.CauseStoreNotGiven, account.CauseDamage, account.CauseReportsLost}
	want := [][]account.Cause{weak, append([]account.Cause{account.CauseUnconfirmed}, weak...)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
}

// judgedWithGaps returns the account of a world with its gaps.
func judgedWithGaps(t *testing.T, w *world) *account.Result {
	t.Helper()
	o := w.options()
	o.Gaps = true
	r, err := w.judge(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Records of a time in which no sink of the group ran are missing for it without
// anybody's fault: those of another group confirmed them.
func TestGapWithoutASink(t *testing.T) {
	p := named("orders", "a")
	sink := func(name, instance, store string) func(w *world, state string, from, at int) {
		seq := uint64(0)
		return func(w *world, state string, from, at int) {
			seq++
			w.report(0, named(papyra.SystemReserved, name), seq, epoch.Add(time.Duration(at)*time.Second), papyra.ReportSink,
				papyra.SinkReport{State: state, Group: "archive", Instance: instance, Store: store, Uptime: float64(at - from)})
		}
	}
	second := func(n int) float64 { return float64(epoch.Unix() + int64(n)) }
	for name, tt := range map[string]struct {
		sinks func(w *world)
		want  []account.Cause
		down  []papyra.Outage
	}{
		"stopped and started": {func(w *world) {
			a, b := sink("one", "w1", "s1"), sink("two", "w1", "s1")
			a(w, "started", 0, 0)
			a(w, "stopped", 0, 100)
			b(w, "started", 300, 300)
		}, []account.Cause{account.CauseNoSink}, []papyra.Outage{{From: second(100), To: second(300)}}},
		"killed and started": {func(w *world) {
			a, b := sink("one", "w1", "s1"), sink("two", "w2", "s1")
			a(w, "running", 0, 90)
			b(w, "started", 300, 300)
		}, []account.Cause{account.CauseNoSink, account.CauseSinkStopped}, []papyra.Outage{{From: second(90), To: second(300)}}},
		"stopped for good": {func(w *world) {
			sink("one", "w1", "s1")(w, "stopped", 0, 100)
		}, []account.Cause{account.CauseNoSink}, []papyra.Outage{{From: second(100)}}},
		"another one ran": {func(w *world) {
			a, b, c := sink("one", "w1", "s1"), sink("two", "w1", "s1"), sink("three", "w2", "s2")
			a(w, "stopped", 0, 100)
			b(w, "started", 300, 300)
			c(w, "running", 50, 400)
		}, []account.Cause{account.CauseUnknown}, nil},
		"another one ran that says nothing more": {func(w *world) {
			a, c := sink("one", "w1", "s1"), sink("three", "w2", "s2")
			a(w, "stopped", 0, 100)
			c(w, "started", 50, 50)
		}, []account.Cause{account.CauseUnknown}, nil},
		"down at another time": {func(w *world) {
			a, b := sink("one", "w1", "s1"), sink("two", "w1", "s1")
			a(w, "stopped", 0, 300)
			b(w, "started", 400, 400)
		}, []account.Cause{account.CauseUnknown}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			tt.sinks(w)
			w.events(0, p, 1, 149)
			w.events(0, p, 160, 170)
			r := judgedWithGaps(t, w)
			if len(r.Gaps) != 1 || r.Verdict != account.Missing {
				t.Fatalf("%s with gaps %+v, want one", r.Verdict, r.Gaps)
			}
			if diff := cmp.Diff(tt.want, r.Gaps[0].Causes); diff != "" {
				t.Errorf("causes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.down, r.Gaps[0].Downtimes); diff != "" {
				t.Errorf("downtimes (-want +got):\n%s", diff)
			}
		})
	}
}

// A damaged line has no number that could be trusted: what a recovery moved away
// is a probable cause of a gap, and no reason.
func TestGapOfWhatARecoveryMoved(t *testing.T) {
	p := named("orders", "a")
	w := newWorld(t, 1)
	w.events(0, p, 1, 9)
	w.events(0, p, 11, 19)
	w.events(0, p, 23, 30)
	act := func(name, kind string, after int, lines int64) account.Quarantine {
		at := epoch.Add(time.Duration(after) * time.Second)
		w.report(0, named(papyra.SystemReserved, name), 1, at, papyra.ReportRemoval, papyra.RemovalReport{Act: kind, ID: name, Damaged: lines})
		return account.Quarantine{Act: name, At: float64(at.Unix()), Lines: lines}
	}
	act("early", papyra.ActRecover, 5, 7)
	one := act("one", papyra.ActRecover, 100, 1)
	three := act("three", papyra.ActRecover, 200, 3)
	act("none", papyra.ActRecover, 300, 0)
	act("rotation", papyra.ActRotate, 300, 9)
	r := judgedWithGaps(t, w)
	if len(r.Gaps) != 2 || r.Verdict != account.Missing || r.Total.Missing != 4 {
		t.Fatalf("%s with %d missing in %+v, want two gaps of 1 and 3", r.Verdict, r.Total.Missing, r.Gaps)
	}
	for i, want := range [][]account.Quarantine{{one, three}, {three}} {
		if diff := cmp.Diff(want, r.Gaps[i].Quarantines); diff != "" || !slices.Equal(r.Gaps[i].Causes, []account.Cause{account.CauseQuarantined}) {
			t.Errorf("gap %d: causes %v, quarantines (-want +got):\n%s", i, r.Gaps[i].Causes, diff)
		}
	}
}
