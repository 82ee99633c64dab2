package inspect

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
)

func stream(system, category string, records int64, oldest, newest float64) papyra.StreamSummary {
	return papyra.StreamSummary{System: system, Category: category, Records: records, Bytes: 100 * records, Oldest: oldest, Newest: newest}
}

// The total of two scans has each stream once, in the order of tools, and what
// each store had stays as it was.
func TestScanTotal(t *testing.T) {
	a := &papyra.ScanReport{
		Backend: "json:a", Files: 1, Bytes: 300, Lines: 4, Records: 3, Sealed: 3,
		Streams:       []papyra.StreamSummary{stream("orders", "unknown", 1, 5, 6), stream("orders", "events", 2, 1, 3)},
		Anomalies:     []papyra.Anomaly{{Class: papyra.ClassCorrupted, File: "a"}},
		AnomalyCounts: map[papyra.Class]int64{papyra.ClassCorrupted: 1},
	}
	b := &papyra.ScanReport{
		Backend: "json:b", Files: 2, Bytes: 400, Lines: 4, Records: 4,
		Streams:      []papyra.StreamSummary{stream("orders", "audits", 1, 7, 7), stream("orders", "events", 2, 0.5, 2), stream("billing", "reports", 1, 1, 1)},
		NoticeCounts: map[papyra.Class]int64{papyra.NoticeUnsealed: 4},
		Incomplete:   true, Duplicates: 1, Limits: []string{"a bound"},
	}
	total := NewScanTotal(true)
	total.AddReport(a)
	total.AddReport(b)
	want := []papyra.StreamSummary{
		stream("billing", "reports", 1, 1, 1), stream("orders", "events", 4, 0.5, 3),
		stream("orders", "audits", 1, 7, 7), stream("orders", "unknown", 1, 5, 6),
	}
	if diff := cmp.Diff(want, total.Streams); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	if total.Files != 3 || total.Bytes != 700 || total.Lines != 8 || total.Records != 7 || total.Sealed != 3 ||
		total.Damaged() != 1 || len(total.Anomalies) != 1 || total.NoticeCounts[papyra.NoticeUnsealed] != 4 ||
		!total.Incomplete || total.Duplicates != 1 || len(total.Limits) != 1 {
		t.Errorf("total %+v", total)
	}
	if len(total.Stores) != 2 || total.Stores[0].Clean || !total.Stores[1].Clean || total.Stores[0].Incomplete || !total.Stores[1].Incomplete {
		t.Errorf("stores %+v", total.Stores)
	}
	if a.Streams[0].Category != "unknown" || a.AnomalyCounts[papyra.ClassCorrupted] != 1 {
		t.Errorf("the report of a store was changed: %+v", a)
	}
}

func TestStreamChanges(t *testing.T) {
	before := []papyra.StreamSummary{stream("orders", "dead_letters", 3, 1, 2), stream("orders", "events", 10, 1, 2)}
	got := StreamChanges(before, &papyra.CompactReport{
		Removed: []papyra.StreamSummary{stream("orders", "events", 4, 1, 2)},
		Deduped: []papyra.StreamSummary{stream("orders", "events", 1, 1, 2)},
	})
	want := []StreamChange{
		{System: "orders", Category: "events", RecordsBefore: 10, RecordsAfter: 6, BytesBefore: 1000, BytesAfter: 600, Duplicates: 1},
		{System: "orders", Category: "dead_letters", RecordsBefore: 3, RecordsAfter: 3, BytesBefore: 300, BytesAfter: 300},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestRetentionLimits(t *testing.T) {
	if got := RetentionLimits(papyra.Retention{}); got == nil || len(got) != 0 {
		t.Errorf("no limits: %v", got)
	}
	r := papyra.Retention{General: papyra.Limits{Records: 7}}
	r.ByKind[papyra.KindDeadLetter] = papyra.Limits{Bytes: 9}
	want := map[string]Limits{"general": {KeepRecords: 7}, "dead_letters": {KeepBytes: 9}}
	if diff := cmp.Diff(want, RetentionLimits(r)); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
}
