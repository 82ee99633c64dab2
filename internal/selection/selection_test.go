package selection

import (
	"encoding/binary"
	"testing"

	"github.com/papyra/papyra"
)

// A duplicate is recognised for certain while no more than SeenRecords others lie
// between, and what is remembered is bounded.
func TestSeenRecordsIsTheBound(t *testing.T) {
	s := NewSeen()
	rec := papyra.Record{Run: []byte("run")}
	offer := func(n uint64) bool {
		rec.Line = binary.BigEndian.AppendUint64(rec.Line[:0], n)
		return s.Before(&rec)
	}
	offer(0)
	for n := range uint64(SeenRecords) - 1 {
		if offer(n + 1) {
			t.Fatalf("record %d was never seen", n+1)
		}
	}
	if !offer(0) {
		t.Error("a copy within the bound is not recognised")
	}
	for n := range uint64(3 * SeenRecords) {
		offer(1<<40 + n)
	}
	if offer(0) {
		t.Error("a copy far beyond the bound is recognised: what is remembered has no bound")
	}
	if got := len(s.recent) + len(s.before); got > 2*SeenRecords {
		t.Errorf("%d records are remembered, want at most %d", got, 2*SeenRecords)
	}
	rec.Run = nil
	for range 2 {
		if offer(7) {
			t.Error("a record without identity is a duplicate")
		}
	}
}
