package backendtest

import (
	"cmp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// compactTellsSystems: of two systems that use one run, what is removed of one is
// not said of the other.
func compactTellsSystems(t *testing.T, m Medium) {
	b := open(t, m)
	a, other := testrecord.New(1), testrecord.New(1)
	var lines [][]byte
	for range 4 {
		lines = append(lines, a.Line("a", papyra.KindEvent, "x"))
	}
	for range 9 {
		lines = append(lines, other.Line(`b "x"`, papyra.KindEvent, "x"))
	}
	store(t, b, testrecord.Batch(lines...))
	compact(t, b, papyra.CompactOptions{
		Retention: papyra.Retention{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindEvent: {Records: 3}}}, At: testrecord.Start,
	})
	var runs []papyra.RemovedRun
	for _, r := range reports[papyra.RemovalReport](t, b, papyra.ReportRemoval) {
		runs = append(runs, r.Categories["events"].Runs...)
	}
	slices.SortFunc(runs, func(a, b papyra.RemovedRun) int { return cmp.Compare(a.System, b.System) })
	want := []papyra.RemovedRun{
		{System: "a", Node: "sample", Run: a.Run(), Ranges: []papyra.Range{{1, 1}}},
		{System: `b "x"`, Node: "sample", Run: a.Run(), Ranges: []papyra.Range{{1, 6}}},
	}
	if diff := gocmp.Diff(want, runs); diff != "" {
		t.Errorf("what is removed (-want +got):\n%s", diff)
	}
}
