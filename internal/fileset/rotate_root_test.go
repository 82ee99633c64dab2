package fileset_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// A disk that fills up in the middle of rotations: bytes or inodes. Nothing is
// stored by halves; when there is room again, everything goes on by itself.
func TestRootRotateOnFullDisk(t *testing.T) {
	for _, c := range []struct{ name, options string }{
		{"bytes", "size=256k"},
		{"inodes", "size=16m,nr_inodes=12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := mountTmpfs(t, c.options)
			f := bound(t, filepath.Join(dir, "records.ndjson"), 5000, 4)
			src := testrecord.New(1)
			a := f.appender()
			n := 0
			grow := func(lines int) error {
				batch := testrecord.Batch(src.Events(lines)...)
				n += lines
				var last error
				for tries := 0; batch.Len() > 0; tries++ {
					stored, err := a.Append(t.Context(), batch)
					batch.Drop(stored)
					if err != nil {
						last = err
						if tries == 3 {
							must(t, os.RemoveAll(filepath.Join(dir, "ballast")))
						}
						if tries > 3 {
							t.Fatalf("with room again: %v", err)
						}
					}
				}
				return last
			}
			for round := range 12 {
				must(t, grow(7*round))
				fill(t, filepath.Join(dir, "ballast"))
				err := grow(200)
				if !errors.Is(err, unix.ENOSPC) {
					t.Errorf("on a full disk: %v, want ENOSPC", err)
				}
				f.checkAccount(src.Run(), n)
				f.checkBound(5000, 4)
			}
			must(t, a.Close())
			if r := f.scan(papyra.ScanOptions{Full: true}); !r.Clean() || r.Duplicates > 0 {
				t.Errorf("scan: %+v", r)
			}
		})
	}
}

// fill uses up the bytes and the inodes of a file system.
func fill(t *testing.T, dir string) {
	t.Helper()
	must(t, os.Mkdir(dir, 0o700))
	ballast := make([]byte, 512<<10)
	for i := range 1000 {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if errors.Is(err, unix.ENOSPC) {
			return
		}
		must(t, err)
		_, err = f.Write(ballast)
		f.Close()
		if err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// After a power cut anywhere in rotations that drop, what was synced is stored
// or was dropped and told, in order and once.
func TestRootPowerCutRotate(t *testing.T) {
	const maxBytes, maxFiles = 2500, 3
	var (
		src    *testrecord.Source
		synced int
	)
	powerCutsOf(t, 60,
		func(path string) *fixture { return bound(t, path, maxBytes, maxFiles) },
		func(f *fixture) {
			src, synced = testrecord.New(1), 40
			f.store(src.Events(40)...)
		},
		func(f *fixture) error {
			a, err := f.Appender(t.Context())
			if err != nil {
				return err
			}
			for range 5 {
				if _, err := a.Append(t.Context(), testrecord.Batch(src.Events(6)...)); err != nil {
					return err
				}
				if err := a.Sync(t.Context()); err != nil {
					return err
				}
				synced += 6
			}
			return a.Close()
		},
		func(t *testing.T, f *fixture) {
			before := f.seqs(src.Run())
			f.store(testrecord.New(2).Event()) // finishes what was begun
			after := f.seqs(src.Run())
			for _, stored := range [][]uint64{before, after} {
				if len(stored) == 0 || stored[len(stored)-1] < uint64(synced) {
					t.Fatalf("stored are %v, %d events were synced", stored, synced)
				}
				for i, seq := range stored {
					if seq != stored[0]+uint64(i) {
						t.Fatalf("stored are %v, want no gap and none twice", stored)
					}
				}
			}
			seqs, records, _ := f.removed(src.Run())
			if gone := int(after[0] - 1); len(seqs) != gone || int(records) != gone {
				t.Errorf("%d events are gone, the reports name %d and count %d", gone, len(seqs), records)
			}
			f.checkBound(maxBytes, maxFiles)
			if r := f.recover(papyra.RecoverOptions{}); !r.After.Clean() {
				t.Errorf("recovery left %v", r.After.AnomalyCounts)
			}
		})
}
