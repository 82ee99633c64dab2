package account_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// 600 ranges of ten minutes and one cause are one incident; what happened an hour later is another one,
// and what happened to two publishers at one time is one.
func TestIncidents(t *testing.T) {
	a, b := named("orders", "a"), named("shop", "b")
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "started"})
	w.sink(0, "archive", 2, now, papyra.SinkReport{})
	w.events(0, a, 1, 1)
	for seq := uint64(3); seq <= 1201; seq += 2 {
		w.events(0, a, seq, seq) // every second one is missing
	}
	w.events(0, a, 1202, 3000)
	w.events(0, a, 3005, 3010)
	w.events(0, b, 1, 499)
	w.events(0, b, 501, 600)
	outage := func(from, to int64) []papyra.Outage {
		return []papyra.Outage{{From: float64(epoch.Unix() + from), To: float64(epoch.Unix() + to)}}
	}
	for i, p := range []who{a, b} {
		n := []uint64{3010, 600}[i]
		w.report(0, p, 1, epoch.Add(3100*time.Second), papyra.ReportPublisher, papyra.PublisherReport{
			Uptime: 3100, Final: true, Categories: map[string]papyra.PublisherCategory{"events": {Accepted: n, Confirmed: n}, "reports": {}},
			// Both have lost the broker, and a once more.
			Outages: append(outage(1, int64(1201-i)), outage(3001, 3004)[:1-i]...),
		})
	}
	r := judgedWithGaps(t, w)
	run := func(p who) account.IncidentRun {
		return account.IncidentRun{System: p.system, Node: p.node, Run: p.run}
	}
	at := func(s int64) float64 { return float64(epoch.Unix() + s) }
	want := []account.Incident{
		{
			Cause: account.CauseDisconnection, Causes: []account.Cause{account.CauseDisconnection}, From: at(1), To: at(1201),
			Runs: []account.IncidentRun{run(a), run(b)}, RunsTotal: 2, Gaps: 601, Missing: 601,
		},
		{
			Cause: account.CauseDisconnection, Causes: []account.Cause{account.CauseDisconnection}, From: at(3001), To: at(3004),
			Runs: []account.IncidentRun{run(a)}, RunsTotal: 1, Gaps: 1, Missing: 4,
		},
	}
	if diff := cmp.Diff(want, r.Incidents); diff != "" || r.Total.Missing != 605 {
		t.Errorf("%d missing (-want +got):\n%s", r.Total.Missing, diff)
	}
}

// A store of another group says which of the missing records it holds.
func TestIncidentSaysWhoHasTheRecords(t *testing.T) {
	a := named("orders", "a")
	w := newWorld(t, 3)
	for store, group := range []string{"archive", "live", "live"} {
		w.sink(store, group, 1, epoch, papyra.SinkReport{State: "started"})
		w.sink(store, group, 2, now, papyra.SinkReport{})
	}
	w.events(0, a, 1, 10)
	w.events(0, a, 21, 30)
	w.events(1, a, 5, 14)
	o := w.options()
	o.Gaps, o.Group = true, "archive"
	r, err := w.judge(o)
	if err != nil {
		t.Fatal(err)
	}
	want := []account.Elsewhere{{Store: r.Stores[1].Name, Groups: []string{"live"}, Records: 4}}
	if len(r.Incidents) != 1 || r.Incidents[0].Missing != 10 {
		t.Fatalf("got %+v, want one incident of 10 records", r.Incidents)
	}
	if diff := cmp.Diff(want, r.Incidents[0].Elsewhere); diff != "" {
		t.Errorf("elsewhere (-want +got):\n%s", diff)
	}
}

// Where only some of the holes of a stretch are missing, they are counted once.
func TestIncidentCountsAStretchOnce(t *testing.T) {
	a := named("orders", "a")
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "started"})
	for seq := uint64(1); seq <= 21; seq += 2 {
		w.events(0, a, seq, seq)
	}
	w.published(0, a, 1, epoch.Add(time.Minute), true, papyra.PublisherCategory{Accepted: 21, Dropped: map[papyra.DropReason]*papyra.Drops{papyra.DropQueueFull: {N: 7}}})
	r := judgedWithGaps(t, w)
	var missing, gaps uint64
	for _, in := range r.Incidents {
		missing += in.Missing
		gaps += in.Gaps
	}
	if missing != r.Total.Missing || gaps != 10 || missing != 3 {
		t.Errorf("%d missing in %d gaps, want 3 in 10: %+v", missing, gaps, r.Incidents)
	}
}

// What has no end yet has none in the incident.
func TestIncidentLasts(t *testing.T) {
	a := named("orders", "a")
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "started"})
	w.sink(0, "archive", 2, now, papyra.SinkReport{})
	w.events(0, a, 1, 10)
	w.published(0, a, 1, epoch.Add(time.Minute), false, papyra.PublisherCategory{Accepted: 20})
	r := judgedWithGaps(t, w)
	if len(r.Incidents) != 1 || r.Incidents[0].From != float64(epoch.Unix()+10) || r.Incidents[0].To != 0 || r.Incidents[0].Missing != 10 {
		t.Errorf("got %+v, want one of 10 records without an end", r.Incidents)
	}
}

// A store that was not given is named with its place, where a report says it.
func TestAbsentStoreHasAPlace(t *testing.T) {
	w := newWorld(t, 1)
	peer := papyra.Peer{Instance: "eu-2", Store: "s2"}
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "started", Store: "s1", Peers: []papyra.Peer{peer}})
	peer.Host, peer.URL = "h2", "redis://u:xxxxx@h/0"
	w.sink(0, "archive", 2, now, papyra.SinkReport{Store: "s1", Peers: []papyra.Peer{peer}})
	r, err := w.judge(w.options())
	if err != nil {
		t.Fatal(err)
	}
	if want := "[{s2 eu-2 h2 redis://u:xxxxx@h/0}]"; fmt.Sprint(r.Absent) != want {
		t.Errorf("got %v, want %s", r.Absent, want)
	}
}
