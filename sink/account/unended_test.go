package account_test

import (
	"bytes"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// A record whose seal does not verify any more is stored: a compaction that announced
// it and did not say how it ended is named.
func TestUnendedActsWhoseRecordsAreUnverified(t *testing.T) {
	p := named("orders", "a")
	for _, c := range []struct {
		name   string
		stored []int  // of the store with the act; a negative one is that of an unverified record
		other  []int  // of another store of the group
		want   uint64 // stored of the announced 2 to 6
	}{
		{"all", []int{1, -4, -5, -9}, nil, 2},
		{"some", []int{1, 4, -5, 9}, nil, 2},
		{"both copies", []int{1, -4, 4, -4, 9}, nil, 1},
		{"only what was not announced", []int{1, -9}, nil, 0},
		{"only in another store", []int{1, 9}, []int{-4, 5}, 0},
	} {
		w := newWorld(t, 2)
		for store, numbers := range [][]int{c.stored, c.other} {
			for _, n := range numbers {
				if n > 0 {
					w.events(store, p, uint64(n), uint64(n))
					continue
				}
				w.events(store, p, uint64(-n), uint64(-n))
				last := &w.stores[store][len(w.stores[store])-1]
				*last = bytes.Replace(testrecord.Rewritten(*last, false), []byte(`"ActorStarted"`), []byte(`"ActorStirred"`), 1)
			}
		}
		w.removal(0, "act", papyra.ActCompact, map[string][]papyra.RemovedRun{"events": {{System: "orders", Run: p.run, Ranges: ranges(papyra.Range{2, 6})}}})
		r, err := w.judge(w.options())
		if err != nil {
			t.Fatal(err)
		}
		var got uint64
		for _, u := range r.Unended {
			got += u.Stored
		}
		if got != c.want || (len(r.Unended) > 0) != (c.want > 0) {
			t.Errorf("%s: got %+v, want %d stored", c.name, r.Unended, c.want)
		}
	}
}
