package account_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// Two systems use one run. What an act removed of one explains nothing of the
// other, but where the act does not say of which it was, as in version 0.1.
func TestRemovalSpeaksForTheSystemThatItNames(t *testing.T) {
	mine, other := who{"orders", "n", "a000000000000000"}, who{"shop", "n", "a000000000000000"}
	for _, c := range []struct {
		name    string
		act     string
		removed papyra.RemovedRun
		missing map[who]uint64
	}{
		{"named", papyra.ActCompact, papyra.RemovedRun{System: "orders", Ranges: ranges(papyra.Range{2, 9})}, map[who]uint64{mine: 0, other: 8}},
		{"counted", papyra.ActCompact, papyra.RemovedRun{System: "orders", Below: 10, N: 8}, map[who]uint64{mine: 0, other: 8}},
		{"by a rotation", papyra.ActRotate, papyra.RemovedRun{System: "shop", Ranges: ranges(papyra.Range{2, 9})}, map[who]uint64{mine: 8, other: 0}},
		{"of a third system", papyra.ActCompact, papyra.RemovedRun{System: "third", Ranges: ranges(papyra.Range{2, 9})}, map[who]uint64{mine: 8, other: 8}},
		{"without a system", papyra.ActCompact, papyra.RemovedRun{Ranges: ranges(papyra.Range{2, 9})}, map[who]uint64{mine: 0, other: 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			for _, p := range []who{mine, other} {
				w.events(0, p, 1, 1)
				w.events(0, p, 10, 10)
			}
			c.removed.Run, c.removed.Node = mine.run, mine.node
			w.removal(0, "act", c.act, map[string][]papyra.RemovedRun{"events": {c.removed}})
			r, err := w.judge(w.options())
			if err != nil || len(r.Doubts) > 0 {
				t.Fatal(err, r.Doubts)
			}
			for p, want := range c.missing {
				if _, got := category(t, r, p, papyra.KindEvent); got.Missing != want || got.RemovedTotal() != 8-want {
					t.Errorf("%s: got %d missing and %d removed, want %d and %d", p.system, got.Missing, got.RemovedTotal(), want, 8-want)
				}
			}
			if c.removed.System == "third" {
				run, got := category(t, r, who{"third", "n", mine.run}, papyra.KindEvent)
				if run.State != account.RunGone || got.RemovedTotal() != 8 {
					t.Errorf("got %s, %+v, want a run that is gone", run.State, got)
				}
			}
		})
	}
}

// A run of which nothing is left: one act names its system, an older one does not.
// Both speak for it.
func TestRemovalsOfARunThatIsGone(t *testing.T) {
	p := who{"orders", "n", "a000000000000000"}
	w := newWorld(t, 1)
	for i, removed := range []papyra.RemovedRun{
		{Ranges: ranges(papyra.Range{4, 6})}, {System: "orders", Ranges: ranges(papyra.Range{1, 3})},
	} {
		removed.Run, removed.Node = p.run, p.node
		w.removal(0, fmt.Sprintf("act%d", i), papyra.ActRotate, map[string][]papyra.RemovedRun{"events": {removed}})
	}
	r, err := w.judge(w.options())
	if err != nil {
		t.Fatal(err)
	}
	if run, got := category(t, r, p, papyra.KindEvent); run.State != account.RunGone || got.Accepted != 6 || got.RemovedTotal() != 6 {
		t.Errorf("got %s, %+v, want 6 removed of a run that is gone", run.State, got)
	}
	for _, run := range r.Runs {
		if run.System == "" {
			t.Errorf("a run without a system: %+v", run)
		}
	}
}

// A compaction that was killed is named while what it announced is still stored.
func TestUnendedActsAreNamed(t *testing.T) {
	p := named("orders", "a")
	for _, c := range []struct {
		name   string
		system string
		last   uint64 // of what it announced, from 2 on
		end    string // "" for none
		stored uint64 // 0 for an act that is not named
	}{
		{"a part is stored", "orders", 6, "", 2},
		{"of version 0.1", "", 6, "", 2},
		{"of another system", "shop", 6, "", 0},
		{"nothing is stored", "orders", 4, "", 0},
		{"done", "orders", 6, papyra.EndDone, 0},
		{"withdrawn", "orders", 6, papyra.EndWithdrawn, 0},
	} {
		w := newWorld(t, 1)
		w.events(0, p, 1, 1)
		w.events(0, p, 5, 10)
		w.removal(0, "act", papyra.ActCompact, map[string][]papyra.RemovedRun{"events": {{System: c.system, Run: p.run, Ranges: ranges(papyra.Range{2, c.last})}}})
		if c.end != "" {
			w.report(0, named(papyra.SystemReserved, "act"), 2, now.Add(-9*time.Minute), papyra.ReportCompactionPerformed,
				papyra.CompactionPerformed{ID: "act", ActEnd: papyra.ActEnd{End: c.end}})
		}
		r, err := w.judge(w.options())
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		if c.stored > 0 {
			want = 1
		}
		if len(r.Unended) != want || want == 1 && (r.Unended[0].Stored != c.stored || r.Unended[0].Announced != c.last-1 || len(r.Notes) != 2) {
			t.Errorf("%s: got %+v and %q, want %d stored", c.name, r.Unended, r.Notes, c.stored)
		}
	}
}
