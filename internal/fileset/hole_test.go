package fileset_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// usedBytes returns how much room a file takes on the disk.
func usedBytes(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// A file was cut to nothing while its writer went on at the old offset, or lost what it
// had not synced: the record behind the hole is a record for every reader, the hole is one
// piece, and nothing writes it out as zeros.
func TestRecordBehindAHole(t *testing.T) {
	for name, size := range map[string]int{
		"500 kB": 500_000, "a line exactly": papyra.MaxStoredLine, "1.1 MB": 1_100_000, "blocks of a scan": 12 << 20, "much": 17_000_001,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			ctx := context.Background()
			events := testrecord.New(1).Events(6)
			// The hole stands before a record in the middle, and before the last one.
			file, err := os.Create(f.path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			var at int64
			for i, l := range events {
				if i == 2 || i == 5 {
					at += int64(size)
				}
				n, err := file.WriteAt(append(bytes.Clone(l), '\n'), at)
				if err != nil {
					t.Fatal(err)
				}
				at += int64(n)
			}
			before := f.bytes()
			want := text(events)
			// Up to the longest line the record is found within it by a recovery only.
			if size >= papyra.MaxStoredLine {
				for _, full := range []bool{false, true} {
					r := f.scan(papyra.ScanOptions{Full: full})
					if diff := cmp.Diff(map[papyra.Class]int64{papyra.ClassNULRun: 2}, r.AnomalyCounts); diff != "" || r.Records != 6 {
						t.Fatalf("full %v: %d records, anomalies (-want +got):\n%s", full, r.Records, diff)
					}
					if a := r.Anomalies[0]; a.Length != int64(size) || a.Line != 3 {
						t.Errorf("the hole is %+v", a)
					}
				}
				for _, q := range []papyra.Query{{}, {Reverse: true}, {Limit: 6}} {
					if got := f.read(q); len(got) != 6 {
						t.Errorf("%+v reads %d records", q, len(got))
					}
				}
				// A compaction leaves the holes where they are, as holes.
				if _, err := f.Compact(ctx, keepLast(5)); err != nil {
					t.Fatal(err)
				}
				want = want[1:]
				if diff := cmp.Diff(want, f.read(papyra.Query{})); diff != "" {
					t.Errorf("after the compaction (-want +got):\n%s", diff)
				}
				if used := usedBytes(t, f.path); used > 256<<10 {
					t.Errorf("the compacted file of %d bytes takes %d", len(f.bytes()), used)
				}
				before = f.bytes()
			}
			r := f.recover(papyra.RecoverOptions{Now: testrecord.Start})
			if r.Moved != 2 || !r.After.Clean() || r.MovedBytes != int64(2*size) {
				t.Errorf("recover %+v, want two holes moved", r)
			}
			f.checkConserved(before, r)
			if diff := cmp.Diff(want, f.read(papyra.Query{})); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if used := usedBytes(t, filepath.Join(r.Quarantine, "bytes")); used > 256<<10 {
				t.Errorf("the quarantine of %d bytes takes %d", 2*size, used)
			}
		})
	}
}
