package account_test

import (
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// Numbers that wait in the spool of a sink are pending, and not missing: those of the
// newest report of each spool, as long as nothing else is known of them.
func TestSpooledNumbersArePending(t *testing.T) {
	p := named("orders", "run")
	waiting := func(n uint64, others papyra.Range, ranges ...papyra.Range) []papyra.SpooledRun {
		return []papyra.SpooledRun{{System: "orders", Category: "events", Run: p.run, N: n, Ranges: ranges, Others: others}}
	}
	spool := func(id string, list []papyra.SpooledRun) *papyra.SinkSpool {
		s := &papyra.SinkSpool{ID: id, Dir: "/var/spool/papyra", Waiting: list}
		for _, w := range list {
			s.Records += int64(w.N)
		}
		return s
	}
	at := func(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }
	none := papyra.Range{}
	for _, tt := range []struct {
		name             string
		reports          func(w *world)
		spooled, missing uint64 // of 30, of which the first 10 are stored
		spools           int
	}{
		{"named", func(w *world) {
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(15, none, papyra.Range{11, 25}))})
		}, 15, 5, 1},
		{"beyond what the publisher said", func(w *world) {
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(25, none, papyra.Range{11, 35}))})
		}, 25, 0, 1},
		{"stored too", func(w *world) {
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(15, none, papyra.Range{6, 20}))})
		}, 10, 10, 1},
		{"counted only", func(w *world) {
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(12, papyra.Range{14, 28}, papyra.Range{11, 12}))})
		}, 12, 8, 1},
		{"the newest report holds", func(w *world) {
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(20, none, papyra.Range{11, 30}))})
			w.sink(0, "archive", 3, at(11), papyra.SinkReport{Spool: spool("a", waiting(5, none, papyra.Range{11, 15}))})
		}, 5, 15, 1},
		{"the newest report holds, wherever it stands", func(w *world) {
			w.sink(0, "archive", 3, at(11), papyra.SinkReport{Spool: spool("a", waiting(5, none, papyra.Range{11, 15}))})
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(20, none, papyra.Range{11, 30}))})
		}, 5, 15, 1},
		{"empty since", func(w *world) {
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(20, none, papyra.Range{11, 30}))})
			w.sink(0, "archive", 3, at(11), papyra.SinkReport{Spool: spool("a", nil)})
		}, 0, 20, 0},
		{"a report that says nothing of it changes nothing", func(w *world) {
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(20, none, papyra.Range{11, 30}))})
			w.sink(0, "archive", 3, at(11), papyra.SinkReport{})
		}, 20, 0, 1},
		{"two spools, in reports of two stores", func(w *world) {
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(5, none, papyra.Range{11, 15}))})
			w.sink(1, "archive", 2, at(10), papyra.SinkReport{Spool: spool("b", waiting(5, none, papyra.Range{16, 20}))})
		}, 10, 10, 2},
		{"one spool, in reports of two stores", func(w *world) {
			w.sink(0, "archive", 2, at(11), papyra.SinkReport{Spool: spool("a", waiting(5, none, papyra.Range{11, 15}))})
			w.sink(1, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(5, none, papyra.Range{16, 20}))})
		}, 5, 15, 1},
		{"ranges that are wider than the count", func(w *world) {
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{Spool: spool("a", waiting(3, none, papyra.Range{11, 25}))})
		}, 0, 20, 0},
		{"dropped by a sink, and sent again", func(w *world) {
			w.sink(0, "archive", 2, at(10), papyra.SinkReport{
				Spool:   spool("a", waiting(20, none, papyra.Range{11, 30})),
				Dropped: []papyra.SinkDrops{{Reason: papyra.DropSpoolFull, System: "orders", Category: "events", Run: p.run, N: 4, Ranges: []papyra.Range{{27, 30}}}},
			})
		}, 20, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 2)
			for i := range 2 {
				w.sink(i, "archive", 1, epoch.Add(time.Second), papyra.SinkReport{State: "started"})
			}
			w.events(0, p, 1, 10)
			w.published(0, p, 1, at(5), true, papyra.PublisherCategory{Accepted: 30})
			tt.reports(w)
			r, err := w.judge(w.options())
			if err != nil {
				t.Fatal(err)
			}
			_, c := category(t, r, p, papyra.KindEvent)
			if c.Spooled != tt.spooled || c.Pending != tt.spooled || c.Missing != tt.missing || len(r.Spools) != tt.spools {
				t.Errorf("%d spooled, %d pending, %d missing, %d spools, want %d, the same, %d, %d",
					c.Spooled, c.Pending, c.Missing, len(r.Spools), tt.spooled, tt.missing, tt.spools)
			}
			verdict := account.Balanced
			if tt.missing > 0 {
				verdict = account.Missing
			}
			if r.Verdict != verdict {
				t.Errorf("verdict %s, want %s", r.Verdict, verdict)
			}
			if r.Total.Spooled != tt.spooled {
				t.Errorf("total %d, want %d", r.Total.Spooled, tt.spooled)
			}
		})
	}
}
