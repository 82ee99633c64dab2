package account_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/account"
)

// After a rewrite by the Python implementation the account is the same: the reports
// are believed, and a copy is no conflict.
func TestAccountOfARewrittenStore(t *testing.T) {
	p := named("orders", "a")
	lossy := func(w *world) {
		w.events(0, p, 1, 5)
		w.events(0, p, 9, 12)
		w.sink(0, "archive", 1, now.Add(-time.Hour), papyra.SinkReport{})
		w.published(0, p, 1, now.Add(-time.Hour), true, papyra.PublisherCategory{Accepted: 13, Dropped: map[papyra.DropReason]*papyra.Drops{papyra.DropQueueFull: drops(2, 6, 7)}})
	}
	w := newWorld(t, 1)
	lossy(w)
	want, err := w.judge(w.options())
	if err != nil || want.Total.Missing != 2 || want.Total.Dropped[papyra.DropQueueFull] != 2 {
		t.Fatalf("%+v, %v", want.Total, err)
	}
	for _, ascii := range []bool{false, true} {
		again := newWorld(t, 1)
		lossy(again)
		for i, line := range again.stores[0] {
			again.stores[0][i] = testrecord.Rewritten(line, ascii)
		}
		got, err := again.judge(again.options())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the account of the rewritten store (-before +after):\n%s", diff)
		}
		// Both together hold each record twice.
		both := newWorld(t, 2)
		both.stores = [][][]byte{w.stores[0], again.stores[0]}
		got, err = both.judge(both.options())
		if err != nil || got.Total.Duplicates != 11 || got.Total.Conflicts != 0 || got.Total.Missing != want.Total.Missing {
			t.Errorf("both: %+v, %v; want 11 duplicates and no conflict", got.Total, err)
		}
	}
}

// A number that only an unverified record bears is stored, and told apart.
func TestAccountOfUnverifiedRecords(t *testing.T) {
	p := named("orders", "a")
	for _, c := range []struct {
		name   string
		stores [][]int // numbers; a negative one is that of an unverified record
		want   account.Counts
	}{
		{"none", [][]int{{1, 2, 3}}, account.Counts{Accepted: 3, Stored: 3}},
		{"one", [][]int{{1, -2, 3}}, account.Counts{Accepted: 3, Stored: 3, Unverified: 1}},
		{"all", [][]int{{-1, -2, -3, -3}}, account.Counts{Accepted: 3, Stored: 3, Unverified: 3, Duplicates: 1}},
		{"a good copy before it", [][]int{{1, 2, -2, 3}}, account.Counts{Accepted: 3, Stored: 3, Conflicts: 1}},
		{"a good copy behind it", [][]int{{1, -2, 3, 2}}, account.Counts{Accepted: 3, Stored: 3, Conflicts: 1}},
		{"a good copy in another store", [][]int{{-1, -2, 3}, {2}}, account.Counts{Accepted: 3, Stored: 3, Unverified: 1, Conflicts: 1}},
		{"in the store that is read second", [][]int{{2}, {-1, -2, 3}}, account.Counts{Accepted: 3, Stored: 3, Unverified: 1, Conflicts: 1}},
		{"unverified in both", [][]int{{-1, 3}, {-1, -2}}, account.Counts{Accepted: 3, Stored: 3, Unverified: 2, Duplicates: 1}},
	} {
		w := newWorld(t, len(c.stores))
		for store, numbers := range c.stores {
			for _, n := range numbers {
				if n > 0 {
					w.events(store, p, uint64(n), uint64(n))
					continue
				}
				w.events(store, p, uint64(-n), uint64(-n))
				last := &w.stores[store][len(w.stores[store])-1]
				*last = bytes.Replace(testrecord.Rewritten(*last, false), []byte(`"ActorStarted"`), []byte(`"ActorStirred"`), 1)
				if rec, err := papyra.Parse(*last); err != nil || !rec.Unverified() {
					t.Fatalf("%v: %s", err, *last)
				}
			}
		}
		got, err := w.judge(w.options())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got.Total, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
