package account_test

import (
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

const unsealedLine = `{"kind":"event","system_id":"x","actor_address":"x:1","event_type":"T","payload":{},"timestamp":1.0}` + "\n"

func TestUnjudged(t *testing.T) {
	p := named("orders", "a")
	rejected := func(n uint64) map[string]uint64 { return map[string]uint64{"corrupted": n - 1, "bad_timestamp": 1} }
	events := func(reason papyra.DropReason, run string, n uint64) papyra.SinkDrops {
		d := papyra.SinkDrops{Reason: reason, System: p.system, Category: "events", Run: run, N: n}
		if run != "" {
			d.Ranges = []papyra.Range{{2, 1 + n}}
		}
		return d
	}
	for _, c := range []struct {
		name string
		make func(w *world)
		want account.Unjudged
	}{
		{"every record has a number", func(w *world) { w.events(0, p, 1, 4) }, account.Unjudged{}},
		{"no record has one", func(w *world) {
			for range 54 {
				w.line(0, []byte(unsealedLine))
			}
			w.line(0, []byte(`{"kind":"hologram","system_id":"x","timestamp":1.0}`+"\n"))
		}, account.Unjudged{Unsealed: 54, UnknownKind: 1}},
		{"a sink refused lines without a seal", func(w *world) {
			w.sink(0, "archive", 1, now, papyra.SinkReport{Rejected: rejected(3)})
			w.sink(0, "archive", 2, now, papyra.SinkReport{Rejected: rejected(8)})
		}, account.Unjudged{Rejected: 8}},
		{"some of the refused lines had one", func(w *world) {
			w.events(0, p, 1, 1)
			w.sink(0, "archive", 1, now, papyra.SinkReport{Rejected: rejected(6), Dropped: []papyra.SinkDrops{events(papyra.DropSinkRejected, p.run, 2)}})
			w.stores[0] = append(w.stores[0], w.stores[0][1]) // read twice
		}, account.Unjudged{Rejected: 4}},
		{"all of them had one", func(w *world) {
			w.events(0, p, 1, 1)
			w.sink(0, "archive", 1, now, papyra.SinkReport{Rejected: rejected(2), Dropped: []papyra.SinkDrops{events(papyra.DropSinkRejected, p.run, 2)}})
		}, account.Unjudged{}},
		{"two starts of sinks, and a copy of one's store", func(w *world) {
			w.stores = make([][][]byte, 3)
			w.sink(0, "archive", 1, now, papyra.SinkReport{Rejected: rejected(3)})
			w.sink(1, "archive", 1, now, papyra.SinkReport{Rejected: rejected(4), Dropped: []papyra.SinkDrops{events(papyra.DropSinkFull, "", 9)}})
			w.stores[2] = w.stores[1]
		}, account.Unjudged{Rejected: 7, Dropped: 9}},
		{"another group's sink", func(w *world) {
			w.stores = make([][][]byte, 2)
			w.sink(0, "archive", 1, now, papyra.SinkReport{})
			w.sink(1, "live", 1, now, papyra.SinkReport{Rejected: rejected(4)})
			w.line(1, []byte(unsealedLine))
		}, account.Unjudged{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			c.make(w)
			o := w.options()
			o.Group = map[bool]string{true: "archive"}[len(w.stores) == 2]
			r, err := w.judge(o)
			if err != nil || r.Unjudged != c.want {
				t.Errorf("got %+v, %v, want %+v", r.Unjudged, err, c.want)
			}
		})
	}
	t.Run("damaged lines", func(t *testing.T) {
		a := account.New(account.Options{At: now, Stores: []string{"json:x"}})
		a.Unread(0, 4, nil)
		if r, err := a.Result(); err != nil || r.Unjudged.Damaged != 4 || r.Unjudged.Lines() != 4 {
			t.Errorf("got %+v, %v, want 4 damaged", r, err)
		}
	})
}
