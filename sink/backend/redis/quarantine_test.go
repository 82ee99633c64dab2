package redis_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/quarantine"
)

// What may not stand under a key is not put back to where it says that it belongs:
// somebody who may write one stream would otherwise make the pipeline's own reports.
// Entries that the Python implementation moved, which name no act, are shown and put
// back; those of another store under the same server are not this store's.
func TestQuarantineOfOthers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	src := testrecord.New(1)
	stored, forged, moved := src.Event(), src.Line(papyra.SystemReserved, papyra.KindReport, ""), src.Event()
	fill(t, store, stored)
	plant(t, c, events, "data", string(forged))
	plant(t, c, events, "data", string(moved), "more", "of it")
	r, err := store.Recover(ctx, papyra.RecoverOptions{})
	if err != nil || r.Moved != 2 {
		t.Fatalf("recover: %+v, %v", r, err)
	}
	python := src.Event()
	plant(t, c, "papyra:orders:quarantine:papyra_orders_events", "source", events, "data", string(python), "timestamp", "1700000000.5")
	plant(t, c, "papyra:more:orders:quarantine:papyra_more_orders_events", "source", "papyra:more:orders:events", "data", "x", "timestamp", "1700000000.5")
	acts, err := store.QuarantineActs(ctx, "")
	if err != nil || len(acts) != 2 || acts[0].ID != r.Act || acts[1].ID != "unnamed" || acts[0].Pieces != 2 || acts[1].Pieces != 1 {
		t.Fatalf("acts %+v, %v; want %s and unnamed", acts, err, r.Act)
	}
	var foreign []bool
	err = store.QuarantinePieces(ctx, "", r.Act, func(p *papyra.QuarantinePiece) error {
		foreign = append(foreign, p.Foreign)
		return nil
	})
	if diff := cmp.Diff([]bool{true, false}, foreign); err != nil || diff != "" {
		t.Errorf("foreign: %v (-want +got):\n%s", err, diff)
	}
	for _, act := range acts {
		if done, err := quarantine.Restore(ctx, store, quarantine.Options{Act: act.ID}); err != nil || done.Restored != 1 {
			t.Errorf("restore %s: %+v, %v; want one record", act.ID, done, err)
		}
	}
	if diff := cmp.Diff([]string{string(stored), string(moved), string(python)}, lines(t, store, papyra.Query{Systems: []string{"orders"}})); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for _, l := range lines(t, store, papyra.Query{Systems: []string{papyra.SystemReserved}}) {
		if l == string(forged) {
			t.Error("the forged report is in the pipeline's own stream")
		}
	}
}
