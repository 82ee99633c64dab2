package inspect

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend"
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
		s.addRecord(rec)
	}
	want := []RemovedCount{
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

// A store that has rotated so often that every report in it is carried still
// knows of each record that is gone.
func TestSummaryOfARotatedStore(t *testing.T) {
	store, err := backend.Open("rotating:" + filepath.Join(t.TempDir(), "r.ndjson") + "?max_bytes=4kB&max_files=2")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	appender, err := store.Appender(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 300
	for i := range n {
		var b papyra.Batch
		b.Append(b.StreamIndex(papyra.Stream{System: "orders", Kind: papyra.KindEvent}), fmt.Appendf(nil,
			`{"kind":"event","system_id":"orders","actor_address":{"system":"orders","actor_id":%d},"event_type":"ActorStarted","payload":{},"timestamp":1700000000.5}`, i))
		if _, err := appender.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
	}
	s := newSummarizer()
	if _, err := store.Read(t.Context(), papyra.Query{}, func(rec *papyra.Record, _ papyra.Place) error {
		s.addRecord(rec)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var left, removed, all int64
	for _, st := range s.summary().Streams {
		if st.Category == "events" {
			left = st.Records
		}
	}
	for _, r := range s.removed.list() {
		if all += r.Records; r.Act == papyra.ActRotate && r.Category == "events" {
			removed = r.Records
		}
	}
	dropped := appender.Stats().DroppedRecords
	if left+removed != n || all != dropped || removed < n/2 {
		t.Errorf("%d events are left and %d removed, want %d; %d records removed in all, want %d", left, removed, n, all, dropped)
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
		s.addRecord(&rec)
		s.addRecord(&rec)
	}
	r := s.summary()
	if len(r.Runs) != maxRuns || r.RunsOmitted != 10 || r.Records != 2*(maxRuns+5) {
		t.Errorf("got %d runs, %d omitted, %d records, want %d, 10, %d", len(r.Runs), r.RunsOmitted, r.Records, maxRuns, 2*(maxRuns+5))
	}
	if r.Runs[0].Records != 2 || r.Streams[0].Records != r.Records {
		t.Errorf("first run %+v, stream %+v", r.Runs[0], r.Streams[0])
	}
}
