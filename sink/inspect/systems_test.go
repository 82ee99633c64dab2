package inspect

import (
	"fmt"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// What a compaction did to a hundred thousand systems is put together at once.
func TestStreamChangesOfManySystems(t *testing.T) {
	const systems = 100_000
	before := make([]papyra.StreamSummary, systems)
	for i := range before {
		before[i] = papyra.StreamSummary{System: fmt.Sprintf("s%06d", i), Category: "events", Records: 9, Bytes: 90}
	}
	report := &papyra.CompactReport{}
	for i, s := range before {
		s.Records, s.Bytes = 4, 40
		if report.Removed = append(report.Removed, s); i%2 == 0 {
			s.Records = 1
			report.Deduped = append(report.Deduped, s)
		}
	}
	begin := time.Now()
	for i, c := range StreamChanges(before, report) {
		want := StreamChange{System: before[i].System, Category: "events", RecordsBefore: 9, RecordsAfter: 5, BytesBefore: 90, BytesAfter: 50, Duplicates: int64(1 - i%2)}
		if c != want {
			t.Fatalf("got %+v, want %+v", c, want)
		}
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}
