package account_test

import (
	"slices"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

func TestAStoreThatForgotIsACause(t *testing.T) {
	p := named("orders", "a")
	at := func(d time.Duration) float64 { return float64(epoch.Add(d).UnixMicro()) / 1e6 }
	w := newWorld(t, 1)
	w.events(0, p, 1, 10)
	w.events(0, p, 15, 100)
	w.events(0, p, 103, 110)
	w.sink(0, "archive", 1, epoch.Add(time.Minute), papyra.SinkReport{RolledBack: []papyra.Rollback{{At: at(50 * time.Second), Stored: 50}}})
	w.sink(0, "archive", 2, epoch.Add(3*time.Minute), papyra.SinkReport{State: "stopped", RolledBack: []papyra.Rollback{{At: at(50 * time.Second), Stored: 50}}})
	o := w.options()
	o.Gaps = true
	r, err := w.judge(o)
	if err != nil || len(r.Gaps) != 2 {
		t.Fatalf("got %+v, %v, want two gaps", r.Gaps, err)
	}
	before, after := r.Gaps[0], r.Gaps[1]
	if !slices.Contains(before.Causes, account.CauseStoreForgot) || len(before.Rollbacks) != 1 || before.Rollbacks[0].Stored != 50 {
		t.Errorf("got %+v, want that the store forgot", before)
	}
	if slices.Contains(after.Causes, account.CauseStoreForgot) || len(after.Rollbacks) != 0 {
		t.Errorf("got %+v of records that were taken later", after)
	}
}
