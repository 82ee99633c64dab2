package account_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

func TestWithoutTheSecondReadingRepeatedNumbersAreDuplicates(t *testing.T) {
	w := newWorld(t, 2)
	p := named("orders", "a")
	w.events(0, p, 1, 5)
	w.events(0, p, 2, 2)
	w.events(1, p, 4, 6)
	w.put(1, p, papyra.KindEvent, 5, epoch, "another")
	a := account.New(w.options())
	for i := range w.stores {
		w.each(i, func(rec *papyra.Record) { a.Add(i, rec) })
	}
	q, again, err := a.Again()
	if err != nil || !again || !q.Duplicates || !slices.Equal(q.Nodes, []string{p.node}) || !slices.Equal(q.Kinds, []papyra.Kind{papyra.KindEvent}) {
		t.Fatalf("Again() = %+v, %v, %v, want the copies of the events of one node", q, again, err)
	}
	r, err := a.Result()
	if err != nil || r.Total.Duplicates != 4 || r.Total.Conflicts != 0 || r.Total.Stored != 6 {
		t.Errorf("got %+v, %v, want 6 stored and 4 duplicates", r.Total, err)
	}
}

func TestARunInTwoSystemsIsTwo(t *testing.T) {
	w := newWorld(t, 1)
	a, b := named("orders", "a"), named("billing", "a")
	for seq := uint64(1); seq <= 4; seq++ {
		w.events(0, a, seq, seq)
		w.events(0, b, seq, seq)
	}
	r, err := w.judge(w.options())
	if err != nil || r.Total.Stored != 8 || r.Total.Duplicates != 0 || len(r.Runs) != 2 {
		t.Errorf("got %+v, %v, want 8 stored of two runs", r, err)
	}
}

// A report that lies in the store twice says what it says once.
func TestReportReadTwiceCountsOnce(t *testing.T) {
	w := newWorld(t, 2)
	p := named("orders", "a")
	w.events(0, p, 1, 1)
	w.events(0, p, 9, 9)
	for _, store := range []int{0, 0, 1} {
		w.sink(store, "archive", 1, epoch, papyra.SinkReport{State: "stopped", Instance: "x", Dropped: []papyra.SinkDrops{
			{Reason: papyra.DropSinkFull, System: p.system, Category: "events", Run: p.run, N: 2, Others: papyra.Range{2, 8}},
		}})
		w.stores[store][len(w.stores[store])-1] = w.stores[0][2]
	}
	r, err := w.judge(w.options())
	if err != nil || r.Total.Dropped["sink_full"] != 2 || r.Total.Missing != 5 {
		t.Errorf("got %+v, %v, want 2 dropped and 5 missing", r.Total, err)
	}
}

func TestRunOfWhichOnlyARemovalIsLeft(t *testing.T) {
	w := newWorld(t, 1)
	p := named("orders", "gone")
	w.removal(0, "act", papyra.ActRotate, map[string][]papyra.RemovedRun{"events": {{Node: p.node, Run: p.run, Ranges: ranges(papyra.Range{1, 7})}}})
	r, err := w.judge(w.options())
	if err != nil {
		t.Fatal(err)
	}
	run, c := category(t, r, who{"", p.node, p.run}, papyra.KindEvent)
	if run.State != account.RunGone || run.Node != p.node || c.Removed["rotate"] != 7 || r.Verdict != account.Balanced {
		t.Errorf("got %+v, verdict %s, want 7 removed of a run that is gone", run, r.Verdict)
	}
	// The act's own run is accounted as well.
	if run, _ := category(t, r, named(papyra.SystemReserved, "act"), papyra.KindReport); run.State != account.RunAct {
		t.Errorf("state of the act: %q, want %q", run.State, account.RunAct)
	}
}

func TestWindowLeavesOutWhatEndedBefore(t *testing.T) {
	w := newWorld(t, 1)
	w.events(0, named("orders", "old"), 2, 5)
	w.events(0, named("orders", "new"), 1, 1000)
	o := w.options()
	o.Since = epoch.Add(100 * time.Second)
	r, err := w.judge(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Runs) != 1 || r.Runs[0].Run != named("", "new").run || r.Verdict != account.Balanced {
		t.Errorf("got %+v, want only the run that reaches into the window", r.Runs)
	}
}

func TestGroups(t *testing.T) {
	p := named("orders", "a")
	two := func(t *testing.T) *world {
		w := newWorld(t, 3)
		w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "stopped"})
		w.events(0, p, 1, 10)
		w.sink(1, "live", 1, epoch, papyra.SinkReport{State: "stopped"})
		w.events(1, p, 1, 5)
		w.events(1, p, 7, 10)
		return w
	}
	t.Run("different ones are refused", func(t *testing.T) {
		w := two(t)
		_, err := w.judge(w.options())
		if !errors.Is(err, papyra.ErrUsage) || !strings.Contains(err.Error(), "archive (memory:0); live (memory:1)") || !strings.Contains(err.Error(), "--group") {
			t.Errorf("got %v, want a refusal that names both", err)
		}
	})
	t.Run("unless one is chosen", func(t *testing.T) {
		for group, missing := range map[string]uint64{"archive": 0, "live": 1} {
			w := two(t)
			o := w.options()
			o.Group = group
			r, err := w.judge(o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Group != group || r.Total.Missing != missing || r.Total.Duplicates != 0 {
				t.Errorf("group %s: got %s with %d missing and %d duplicates, want %d and none", group, r.Group, r.Total.Missing, r.Total.Duplicates, missing)
			}
			for i, s := range r.Stores {
				// The store that says nothing is taken for one of the group.
				if want := i == 2 || s.Groups[0] == group; s.Judged != want {
					t.Errorf("group %s: store %d judged %v, want %v", group, i, s.Judged, want)
				}
			}
		}
	})
	t.Run("one that no store is of", func(t *testing.T) {
		w := two(t)
		w.stores = w.stores[:2]
		o := w.options()
		o.Group = "liv"
		if _, err := w.judge(o); !errors.Is(err, papyra.ErrUsage) || !strings.Contains(err.Error(), `"liv"`) {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("a store that changed its group is of both", func(t *testing.T) {
		w := two(t)
		w.report(1, named(papyra.SystemReserved, "later"), 1, epoch.Add(time.Second), papyra.ReportSink, papyra.SinkReport{State: "stopped", Group: "archive"})
		r, err := w.judge(w.options())
		if err != nil || r.Group != "archive" {
			t.Errorf("got %v, %v, want archive", r, err)
		}
	})
	t.Run("nothing at all", func(t *testing.T) {
		w := newWorld(t, 0)
		r, err := w.judge(w.options())
		if err != nil || r.Verdict != account.Balanced || r.Total.Accepted != 0 || len(r.Notes) != 1 {
			t.Errorf("got %+v, %v, want an empty account with a note", r, err)
		}
	})
}

func TestIncomplete(t *testing.T) {
	p := named("orders", "a")
	t.Run("a store that a report names was not given", func(t *testing.T) {
		w := newWorld(t, 1)
		w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "stopped", Store: "s1", Peers: []papyra.Peer{{Instance: "eu-2", Store: "s2"}, {Instance: "eu-1", Store: "s1"}}})
		w.events(0, p, 1, 3)
		r, err := w.judge(w.options())
		if err != nil {
			t.Fatal(err)
		}
		if want := []account.Absent{{ID: "s2", Instance: "eu-2"}}; r.Verdict != account.Incomplete || !slices.Equal(r.Absent, want) {
			t.Errorf("got %s with %v absent, want incomplete with %v", r.Verdict, r.Absent, want)
		}
	})
	t.Run("given, it is complete", func(t *testing.T) {
		w := newWorld(t, 2)
		w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "stopped", Store: "s1", Peers: []papyra.Peer{{Instance: "eu-2", Store: "s2"}}})
		w.sink(1, "archive", 1, epoch, papyra.SinkReport{State: "stopped", Store: "s2", Peers: []papyra.Peer{{Instance: "eu-1", Store: "s1"}}})
		r, err := w.judge(w.options())
		if err != nil || r.Verdict != account.Balanced || len(r.Absent) != 0 {
			t.Errorf("got %+v, %v, want balanced", r, err)
		}
	})
	t.Run("a part could not be read", func(t *testing.T) {
		a := account.New(account.Options{At: now, Stores: []string{"json:x"}})
		w := newWorld(t, 1)
		w.events(0, p, 1, 3)
		w.each(0, func(rec *papyra.Record) { a.Add(0, rec) })
		a.Unread(0, 2, errPart)
		r, err := a.Result()
		if err != nil || r.Verdict != account.Incomplete || r.Stores[0].Damaged != 2 || r.Stores[0].Problem != errPart.Error() {
			t.Errorf("got %+v, %v, want incomplete", r, err)
		}
	})
}

func TestRecordsWithoutANumber(t *testing.T) {
	w := newWorld(t, 1)
	w.line(0, []byte(`{"kind":"event","system_id":"x","actor_address":"x:1","event_type":"T","payload":{},"timestamp":1.0}`+"\n"))
	w.line(0, []byte(`{"kind":"hologram","system_id":"x","timestamp":1.0}`+"\n"))
	w.line(0, []byte(`{"kind":"report","system_id":"x","report":"PublisherReport","payload":{"categories":{"events":{"accepted":5}}},"timestamp":1.0}`+"\n"))
	w.report(0, named("x", "bad"), 1, epoch, papyra.ReportPublisher, "not an object")
	r, err := w.judge(w.options())
	if err != nil {
		t.Fatal(err)
	}
	s := r.Stores[0]
	if s.Records != 4 || s.Unsealed != 2 || s.UnknownKind != 1 || s.UnreadableReports != 1 || r.Total.Accepted != 1 {
		t.Errorf("got %+v and %d accepted, want 2 unsealed, 1 unknown, 1 unreadable and only the report itself", s, r.Total.Accepted)
	}
}

// What the JSON of an account looks like is a promise.
func TestResultIsStable(t *testing.T) {
	w := newWorld(t, 1)
	p := named("orders", "a")
	w.sink(0, "archive", 1, epoch.Add(9*time.Second), papyra.SinkReport{State: "stopped", Store: "s1"})
	w.events(0, p, 1, 2)
	w.put(0, p, papyra.KindEvent, 4, epoch.Add(4*time.Second), "")
	r := judgedWithGaps(t, w)
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	counts := func(accepted, stored, missing string) string {
		return `"accepted":` + accepted + `,"stored":` + stored + `,"dropped":{},"removed":{},"filtered":0,"before":0,"pending":0,"missing":` + missing + `,"unnamed":0,"duplicates":0,"conflicts":0`
	}
	want := `{"group":"archive","at":1700003600,"settle":60,"verdict":"missing","total":{` + counts("5", "4", "1") + `},` +
		`"runs":[{"system":"orders","node":"node-a","run":"a000000000000000","state":"ended","started":1700000001,"last":1700000004,"reports":0,` +
		`"categories":[{"category":"events","first":1,"highest":4,` + counts("4", "3", "1") + `}]},` +
		`{"system":"papyra","node":"node-sinkarchive0","run":"sinkarchive00000","state":"closed","started":1700000009,"last":1700000009,"reports":0,` +
		`"categories":[{"category":"reports","first":1,"highest":1,` + counts("1", "1", "0") + `}]}],` +
		`"stores":[{"name":"memory:0","judged":true,"groups":["archive"],"ids":["s1"],"records":4,"unsealed":0,"unknown_kind":0,"unreadable_reports":0,"damaged":0,"incomplete":false}],` +
		`"absent":[],"gaps":[{"system":"orders","node":"node-a","run":"a000000000000000","category":"events","first":3,"last":3,"count":1,"after":1700000002,"before":1700000004,"causes":["unknown"]}],` +
		`"gaps_total":1,"incidents":[{"cause":"unknown","causes":["unknown"],"from":1700000002,"to":1700000004,"runs":[{"system":"orders","node":"node-a","run":"a000000000000000"}],"runs_total":1,"gaps":1,"missing":1}],"lost_messages":0,"notes":[]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}
