package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
)

// A carried report repeats ones that are gone: it counts like any other. What no
// act of ours says makes no rows of its own.
func TestSummaryAddsUpWhatWasRemoved(t *testing.T) {
	report := func(system string, r papyra.RemovalReport) *papyra.Record {
		line, err := papyra.SealedReport(papyra.NewIdentity("eu-1"), system, 1, &papyra.Report{Name: papyra.ReportRemoval, Payload: r}, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		rec, err := papyra.Parse(line[:len(line)-1])
		if err != nil {
			t.Fatal(err)
		}
		return &rec
	}
	of := func(events, reports int64) map[string]papyra.RemovedCategory {
		return map[string]papyra.RemovedCategory{"events": {Records: events, Bytes: 100 * events}, "reports": {Records: reports, Bytes: 500 * reports}}
	}
	s := newSummarizer()
	for _, rec := range []*papyra.Record{
		report(papyra.SystemReserved, papyra.RemovalReport{Act: papyra.ActRotate, ID: "a", Categories: of(10, 1), Damaged: 2, DamagedBytes: 30}),
		report(papyra.SystemReserved, papyra.RemovalReport{Act: papyra.ActRotate, ID: "b", Categories: of(20, 0), Carried: true}),
		report(papyra.SystemReserved, papyra.RemovalReport{Act: papyra.ActCompact, ID: "b", Categories: of(3, 0), Carried: true}),
		report(papyra.SystemReserved, papyra.RemovalReport{Act: papyra.ActCompact, ID: "c"}), // the rest of a large one
		report(papyra.SystemReserved, papyra.RemovalReport{Act: "shred", ID: "d", Categories: map[string]papyra.RemovedCategory{
			"novels": {Records: 4, Bytes: 40}, "poems": {Records: 5, Bytes: 50}, "events": {Records: -6, Bytes: -7},
		}}),
		report("orders", papyra.RemovalReport{Act: papyra.ActRotate, ID: "e", Categories: of(1000, 1000)}),
	} {
		s.add(rec)
	}
	want := []*removedCount{
		{"compact", "events", 3, 300},
		{"other", "unknown", 9, 90},
		{"rotate", "events", 30, 3000},
		{"rotate", "reports", 1, 500},
		{"rotate", "damaged", 2, 30},
	}
	if diff := cmp.Diff(want, s.removed.list()); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}

// Runs beyond the bound are counted, and their streams with them.
func TestSummaryBoundsRuns(t *testing.T) {
	s := newSummarizer()
	for i := range maxRuns + 5 {
		rec := papyra.Record{
			Line: []byte("{}"), Kind: papyra.KindEvent, System: []byte("orders"), Time: 1,
			Sealed: true, Node: []byte("n"), Run: fmt.Appendf(nil, "%016d", i), Seq: 1,
		}
		s.add(&rec)
		s.add(&rec)
	}
	r := s.end()
	if len(r.Runs) != maxRuns || r.RunsOmitted != 10 || r.Records != 2*(maxRuns+5) {
		t.Errorf("got %d runs, %d omitted, %d records, want %d, 10, %d", len(r.Runs), r.RunsOmitted, r.Records, maxRuns, 2*(maxRuns+5))
	}
	if r.Runs[0].Records != 2 || r.Streams[0].Records != r.Records {
		t.Errorf("first run %+v, stream %+v", r.Runs[0], r.Streams[0])
	}
}
