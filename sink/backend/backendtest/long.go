package backendtest

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// longEvent returns an event without a seal whose line has so many bytes.
func longEvent(size int, at time.Time) []byte {
	line := unsealedEvent("Long", "orders:w", "", at)
	return bytes.Replace(line, []byte(`"from":""`), []byte(`"from":"`+strings.Repeat("x", size-len(line))+`"`), 1)
}

// A store takes and keeps records of up to papyra.MaxStoredLine, as real stores of
// the Python implementation hold them.
func longLines(t *testing.T, m Medium) {
	b := open(t, m)
	l := testrecord.New(1).Events(4)
	at := testrecord.Start
	long := func(size int) []byte { return longEvent(size, at) }
	lines := [][]byte{l[0], long(papyra.MaxLine - 1), long(papyra.MaxLine), l[1], long(papyra.MaxStoredLine - 1), l[2]}
	lines = append(lines, long(2_314_494), l[3])
	store(t, b, testrecord.Batch(lines[:5]...))
	for _, line := range lines[5:] {
		store(t, b, testrecord.Batch(line))
	}
	m.Plant(t, bytes.Repeat([]byte("x"), papyra.MaxStoredLine))
	for _, full := range []bool{false, true} {
		r := scanStore(t, b, papyra.ScanOptions{Full: full})
		if r.Records != int64(len(lines)) || r.AnomalyCounts[papyra.ClassOversize] != 1 || len(r.AnomalyCounts) != 1 {
			t.Errorf("full %v: %d records, %v; want %d, and one line too long", full, r.Records, r.AnomalyCounts, len(lines))
		}
	}
	for _, q := range []papyra.Query{{}, {Reverse: true}} {
		n := 0
		if _, err := b.Read(context.Background(), q, func(r *papyra.Record, _ papyra.Place) error {
			want := lines[n]
			if n++; q.Reverse {
				want = lines[len(lines)-n]
			}
			if !bytes.Equal(r.Line, want) {
				t.Errorf("%+v: record %d is not the one that was stored", q, n)
			}
			return nil
		}); err != nil || n != len(lines) {
			t.Errorf("%+v: %d records, %v; want %d", q, n, err, len(lines))
		}
	}
	report := compact(t, b, papyra.CompactOptions{Retention: keep(3), At: at})
	if report.RecordsAfter != 3 || report.Damaged != 1 {
		t.Errorf("%+v; want 3 records and the damage left", report)
	}
	if diff := cmp.Diff(text(lines[len(lines)-3:]), list(t, b, papyra.Query{})); diff != "" {
		t.Error("what a compaction left is not the newest three records")
	}
	if r := recoverStore(t, b, papyra.RecoverOptions{Now: at}); r.Moved != 1 || r.MovedBytes < papyra.MaxStoredLine {
		t.Errorf("recover: %+v; want the line that is too long moved", r)
	}
}
