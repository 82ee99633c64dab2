package fleet

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra/sink/admin"
)

func run(system, node, id string, seq uint64, age float64) admin.PublisherRun {
	return admin.PublisherRun{System: system, Node: node, Run: id, Seq: seq, Age: age, Categories: map[string]admin.PublisherStats{}}
}

func heard(runs ...admin.PublisherRun) Answer {
	return Answer{Stats: &admin.Stats{Publishers: runs, RunsForgotten: 2}}
}

// Of what several sinks heard of a run the newest report holds, and the latest time.
func TestNewestReportOfARun(t *testing.T) {
	old, newer := run("s", "n", "r1", 4, 1), run("s", "n", "r1", 5, 20)
	newer.Final = true
	if rows, _ := PublisherRows([]Answer{heard(old), heard(newer)}); len(rows) != 1 || rows[0].Age != 20 {
		t.Errorf("the newer one last: rows are %+v", rows)
	}
	rows, forgotten := PublisherRows([]Answer{heard(newer), {}, heard(old, run("s", "m", "r2", 1, 3)), heard(run("s", "m", "r2", 1, 2))})
	if len(rows) != 2 || rows[0].Node != "m" || rows[0].Age != 2 || rows[1].State != StateEnded || rows[1].Age != 20 || forgotten != 6 {
		t.Errorf("rows are %+v, %d forgotten", rows, forgotten)
	}
}

// A run is silent when its reports stay away, and is shown for a while.
func TestStatesOfPublishers(t *testing.T) {
	for _, c := range []struct {
		age   float64
		final bool
		want  string // "": no row
	}{
		{0, false, StateRunning}, {150, false, StateRunning}, {151, false, StateSilent}, {3600, false, StateSilent}, {3601, false, ""},
		{0, true, StateEnded}, {600, true, StateEnded}, {601, true, ""},
	} {
		p, got := run("s", "n", "r", 1, c.age), ""
		p.Final = c.final
		if rows, _ := PublisherRows([]Answer{heard(p)}); len(rows) == 1 {
			got = rows[0].State
		}
		if got != c.want {
			t.Errorf("final %v, %v s ago: %q, want %q", c.final, c.age, got, c.want)
		}
	}
}

// The counts of a row are of all categories; what holds records is named for each.
func TestCountsOfPublishers(t *testing.T) {
	p := run("s", "n", "r", 1, 0)
	p.Categories["events"] = admin.PublisherStats{
		Accepted: 100, Confirmed: 50, Buffered: 40, ConfirmedBy: map[string]uint64{"a": 90, "b": 50}, UnheardBy: map[string]uint64{"b": 3},
		Dropped: map[string]uint64{"queue_full": 10}, Held: "denied",
	}
	p.Categories["audits"] = admin.PublisherStats{Accepted: 5, Confirmed: 5, ConfirmedBy: map[string]uint64{"a": 5}, Dropped: map[string]uint64{"queue_full": 1, "encode": 2}}
	rows, _ := PublisherRows([]Answer{heard(p)})
	want := []PublisherRow{{
		System: "s", Node: "n", Run: "r", State: StateRunning, Accepted: 105, Confirmed: 55, Buffered: 40,
		ConfirmedBy: map[string]uint64{"a": 95, "b": 50}, UnheardBy: map[string]uint64{"b": 3},
		Dropped: map[string]uint64{"queue_full": 11, "encode": 2},
		Held:    []Hold{{Category: "events", Reason: "denied"}, {Category: "events", Reason: HoldGroup, Group: "b"}},
	}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := rows[0].Held[0].String() + ", " + rows[0].Held[1].String(); got != "events: denied, events: group b has not answered" {
		t.Errorf("held is shown as %q", got)
	}
}

// A group is behind when what waits, waits for it; not for the last few messages.
func TestGroupsBehind(t *testing.T) {
	for _, c := range []struct {
		name     string
		buffered uint64
		by       map[string]uint64
		want     []string
	}{
		{"nothing waits", 0, map[string]uint64{"a": 9, "b": 1}, nil},
		{"both are on the way", 100, map[string]uint64{"a": 50, "b": 20}, nil},
		{"one is away", 100, map[string]uint64{"a": 200, "b": 101}, []string{"b"}},
		{"equal", 1, map[string]uint64{"a": 5, "b": 5}, nil},
		{"no group at all", 5, nil, nil},
	} {
		if diff := cmp.Diff(c.want, behind(&admin.PublisherStats{Buffered: c.buffered, ConfirmedBy: c.by})); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// A group that only publishers know of is a row: its last sink is gone, and no other
// one of it remembers that.
func TestMissingGroups(t *testing.T) {
	waits := func(state, group string) PublisherRow {
		return PublisherRow{State: state, Held: []Hold{{Category: "events", Reason: "unheard"}, {Category: "events", Reason: HoldGroup, Group: group}}}
	}
	var got []string
	for _, r := range AddMissingGroups([]SinkRow{{Group: "b", Instance: "1", State: StateReady}}, []PublisherRow{
		waits(StateRunning, "a"), waits(StateRunning, "a"), waits(StateRunning, "b"), waits(StateEnded, "c"), waits(StateSilent, "d"),
	}) {
		got = append(got, r.Group+" "+r.Instance+" "+r.State)
	}
	if diff := cmp.Diff([]string{"a  silent", "b 1 ready"}, got); diff != "" {
		t.Error(diff)
	}
}
