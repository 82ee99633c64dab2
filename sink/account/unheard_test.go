package account_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// What a publisher had to let go of before a group answered is a reason for the stores
// of that group, and for no others.
func TestUnheardByIsAReasonOfTheGroup(t *testing.T) {
	p := named("orders", "a")
	late := now.Add(-10 * time.Minute)
	unheard := func(c papyra.PublisherCategory, by map[string]*papyra.Drops) papyra.PublisherCategory {
		c.UnheardBy = by
		return c
	}
	for _, c := range []struct {
		name   string
		stores int
		write  func(w *world)
		group  string
		want   account.Counts
		doubts []account.Why
	}{
		{
			name: "named", stores: 1,
			write: func(w *world) {
				w.events(0, p, 1, 5)
				w.published(0, p, 1, late, true, unheard(papyra.PublisherCategory{Accepted: 9}, map[string]*papyra.Drops{"archive": {N: 4, Ranges: ranges(papyra.Range{6, 9})}}))
			},
			want: account.Counts{Accepted: 9, Stored: 5, Dropped: m{"unheard_by": 4}},
		}, {
			name: "of another group", stores: 1,
			write: func(w *world) {
				w.events(0, p, 1, 5)
				w.published(0, p, 1, late, true, unheard(papyra.PublisherCategory{Accepted: 9}, map[string]*papyra.Drops{"live": {N: 4, Ranges: ranges(papyra.Range{6, 9})}}))
			},
			want: account.Counts{Accepted: 9, Stored: 5, Missing: 4},
		}, {
			name: "of both groups, each its own", stores: 1,
			write: func(w *world) {
				w.events(0, p, 1, 5)
				w.published(0, p, 1, late, true, unheard(papyra.PublisherCategory{Accepted: 9}, map[string]*papyra.Drops{"live": drops(3, 7, 8, 9), "archive": drops(2, 6, 7)}))
			},
			want: account.Counts{Accepted: 9, Stored: 5, Dropped: m{"unheard_by": 2}, Missing: 2},
		}, {
			name: "several stores of the group: one has it, another one the report", stores: 3,
			write: func(w *world) {
				w.events(0, p, 1, 4)
				w.events(1, p, 6, 7)
				w.published(2, p, 1, late, true, unheard(papyra.PublisherCategory{Accepted: 9}, map[string]*papyra.Drops{"archive": {N: 5, Ranges: ranges(papyra.Range{4, 8})}}))
			},
			want: account.Counts{Accepted: 9, Stored: 6, Dropped: m{"unheard_by": 2}, Missing: 1},
		}, {
			name: "counted only: its ranges were in a report that is lost", stores: 2,
			write: func(w *world) {
				w.events(0, p, 1, 3)
				w.events(1, p, 8, 9)
				w.published(0, p, 1, late, false, papyra.PublisherCategory{Accepted: 9})
				w.published(1, p, 3, late, true, unheard(papyra.PublisherCategory{Accepted: 9}, map[string]*papyra.Drops{"archive": {N: 3}}))
			},
			want: account.Counts{Accepted: 9, Stored: 5, Dropped: m{"unheard_by": 3}, Unnamed: 3, Missing: 1},
		}, {
			name: "counted only, and let go of long after it was taken", stores: 1,
			write: func(w *world) {
				w.events(0, p, 4, 9)
				w.published(0, p, 1, late, false, unheard(papyra.PublisherCategory{Accepted: 5}, map[string]*papyra.Drops{"archive": {N: 1}}))
				w.published(0, p, 2, late, true, unheard(papyra.PublisherCategory{Accepted: 9}, map[string]*papyra.Drops{"archive": {N: 3}}))
			},
			want: account.Counts{Accepted: 9, Stored: 6, Dropped: m{"unheard_by": 3}, Unnamed: 3},
		}, {
			name: "a reason of a sink says more", stores: 1,
			write: func(w *world) {
				w.events(0, p, 1, 5)
				w.sink(0, "archive", 3, late, papyra.SinkReport{Dropped: []papyra.SinkDrops{{Reason: papyra.DropSinkFull, System: "orders", Category: "events", Run: p.run, N: 1, Ranges: ranges(papyra.Range{6, 6})}}})
				w.published(0, p, 1, late, true, unheard(papyra.PublisherCategory{Accepted: 7}, map[string]*papyra.Drops{"archive": drops(2, 6, 7)}))
			},
			want: account.Counts{Accepted: 7, Stored: 5, Dropped: m{"sink_full": 1, "unheard_by": 1}},
		}, {
			name: "carried on by a rotation", stores: 1,
			write: func(w *world) {
				w.events(0, p, 1, 5)
				w.report(0, named(papyra.SystemReserved, "rot"), 1, late, papyra.ReportRemoval, papyra.RemovalReport{Act: papyra.ActRotate, ID: "x", Carried: true, Dropped: []papyra.SinkDrops{
					{Reason: papyra.DropUnheardBy, Group: "archive", System: "orders", Category: "events", Run: p.run, N: 3, Ranges: ranges(papyra.Range{6, 7}), Others: papyra.Range{8, 9}},
					{Reason: papyra.DropUnheardBy, Group: "live", System: "orders", Category: "events", Run: p.run, N: 2, Ranges: ranges(papyra.Range{8, 9})},
				}})
			},
			want: account.Counts{Accepted: 9, Stored: 5, Dropped: m{"unheard_by": 3}, Unnamed: 1, Missing: 1},
		}, {
			name: "wider than its count", stores: 1,
			write: func(w *world) {
				w.events(0, p, 1, 5)
				w.events(0, p, 7, 7)
				w.published(0, p, 1, late, true, unheard(papyra.PublisherCategory{Accepted: 9}, map[string]*papyra.Drops{"archive": {N: 1, Ranges: ranges(papyra.Range{1, 9})}}))
			},
			want:   account.Counts{Accepted: 7, Stored: 6, Missing: 1},
			doubts: []account.Why{account.WhyRanges},
		}, {
			name: "more than was accepted, also of another group", stores: 1,
			write: func(w *world) {
				w.events(0, p, 1, 5)
				w.published(0, p, 1, late, true, unheard(papyra.PublisherCategory{Accepted: 9}, map[string]*papyra.Drops{"live": {N: 10}}))
			},
			want:   account.Counts{Accepted: 5, Stored: 5},
			doubts: []account.Why{account.WhyDropped},
		}, {
			name: "as a reason of no group", stores: 1,
			write: func(w *world) {
				w.events(0, p, 1, 5)
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 6, Dropped: map[papyra.DropReason]*papyra.Drops{papyra.DropUnheardBy: drops(1, 6)}})
			},
			want:   account.Counts{Accepted: 6, Stored: 5, Missing: 1},
			doubts: []account.Why{account.WhyUnknown},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.stores)
			for i := range c.stores {
				w.sink(i, "archive", 1, epoch, papyra.SinkReport{State: "started"})
			}
			c.write(w)
			for i := range c.stores {
				w.sink(i, "archive", 4, late, papyra.SinkReport{State: "stopped"})
			}
			r, err := w.judge(w.options())
			if err != nil {
				t.Fatal(err)
			}
			_, got := category(t, r, p, papyra.KindEvent)
			if diff := cmp.Diff(c.want, got.Counts, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var doubts []account.Why
			for _, d := range r.Doubts {
				doubts = append(doubts, d.Why)
			}
			if diff := cmp.Diff(c.doubts, doubts); diff != "" {
				t.Errorf("doubts (-want +got):\n%s", diff)
			}
		})
	}
}

// A store that went from one group to another is judged as what is asked for.
func TestUnheardByTheGroupThatIsAskedFor(t *testing.T) {
	p := named("orders", "a")
	late := now.Add(-10 * time.Minute)
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "started"})
	w.events(0, p, 1, 5)
	c := papyra.PublisherCategory{Accepted: 7, UnheardBy: map[string]*papyra.Drops{"archive": drops(1, 6), "live": drops(1, 7)}}
	w.published(0, p, 1, late, true, c)
	w.sink(0, "live", 1, late, papyra.SinkReport{State: "stopped"})
	for _, group := range []string{"archive", "live"} {
		o := w.options()
		o.Group = group
		r, err := w.judge(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := category(t, r, p, papyra.KindEvent); got.Dropped["unheard_by"] != 1 || got.Missing != 1 {
			t.Errorf("group %s: %+v", group, got.Counts)
		}
	}
}
