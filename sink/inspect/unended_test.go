package inspect_test

import (
	"context"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/memory"
	"github.com/papyra/papyra/sink/doctor"
	"github.com/papyra/papyra/sink/inspect"
)

// Summary and doctor name a compaction without an end while what it announced is
// stored, and not after the next act has ended it.
func TestUnendedActIsNamed(t *testing.T) {
	ctx := context.Background()
	store := memory.New(nil).Open()
	defer store.Close()
	src := testrecord.New(1)
	lines := src.Events(6)
	line, err := papyra.SealedReport(papyra.NewIdentity("n"), papyra.SystemReserved, 1, &papyra.Report{Name: papyra.ReportRemoval, Payload: papyra.RemovalReport{
		Act: papyra.ActCompact, ID: "killed", Categories: map[string]papyra.RemovedCategory{
			"events": {Records: 4, Bytes: 4000, Runs: []papyra.RemovedRun{{System: "orders", Run: src.Run(), Ranges: []papyra.Range{{5, 8}}}}},
		},
	}}, testrecord.Start)
	if err != nil {
		t.Fatal(err)
	}
	a, err := store.Appender(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(ctx, testrecord.Batch(append(lines, line[:len(line)-1])...)); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	named := func() (list []inspect.UnendedAct, checks int) {
		t.Helper()
		s, _, err := inspect.Summarize(ctx, []papyra.Store{store}, papyra.Query{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range doctor.Examine(ctx, store, doctor.Options{}).Checks {
			if c.Name == "acts" && c.Status == papyra.StatusWarn {
				checks++
			}
		}
		return s.Unended, checks
	}
	list, checks := named()
	if len(list) != 1 || list[0].Act != "killed" || list[0].Announced != 4 || list[0].Stored != 2 || checks != 1 {
		t.Errorf("got %+v, and %d checks of doctor, want one act with 2 of 4 stored", list, checks)
	}
	if _, err := store.Compact(ctx, papyra.CompactOptions{At: testrecord.Start, Retention: papyra.Retention{General: papyra.Limits{Records: 100}}}); err != nil {
		t.Fatal(err)
	}
	if list, checks = named(); len(list)+checks != 0 {
		t.Errorf("after the next act %+v, and %d checks", list, checks)
	}
}
