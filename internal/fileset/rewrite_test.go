package fileset

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// watchedDisk tells what is written to and synced of temporary files.
type watchedDisk struct {
	disk.OS
	wrote  func(n int)
	synced func()
}

func isTemporary(f *os.File) bool { return strings.Contains(filepath.Base(f.Name()), ".tmp-") }

func (d *watchedDisk) Write(f *os.File, b []byte) (int, error) {
	n, err := d.OS.Write(f, b)
	if isTemporary(f) {
		d.wrote(n)
	}
	return n, err
}

func (d *watchedDisk) Sync(f *os.File) error {
	err := d.OS.Sync(f)
	if isTemporary(f) {
		d.synced()
	}
	return err
}

// TestCompactCatchesUp appends whenever a compaction syncs its new file without
// holding appends up: what was appended is in the store, and how much was copied
// while appends had to wait is bounded.
func TestCompactCatchesUp(t *testing.T) {
	const megabyte = 1 << 20
	for _, c := range []struct {
		name    string
		appends []int // bytes, at each such sync in turn
		most    int   // bytes that may be copied between two syncs while appends wait
		free    int   // syncs at least
	}{
		{"nobody but the act appends", nil, 4096, 1},
		{"less than a catch-up", []int{swapWithin / 2}, swapWithin, 1},
		{"and no more", []int{3 * megabyte}, 0, 2},
		{"less each time", []int{4 * megabyte, megabyte, swapWithin / 2}, swapWithin, 3},
		{"as fast as the disk", []int{3 * megabyte, 6 * megabyte, 12 * megabyte}, slice, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := &watchedDisk{}
			path := filepath.Join(testkit.FastDir(t), "records.ndjson")
			s, err := Open(Config{Path: path, Disk: disk})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			a, err := s.Appender(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			src := testrecord.New(1)
			var want []byte
			add := func(size int) {
				var lines [][]byte
				for n := 0; n < size; {
					lines = append(lines, src.Line("orders", papyra.KindEvent, strings.Repeat("x", 100_000)))
					n += len(lines[len(lines)-1]) + 1
				}
				if n, err := a.Append(t.Context(), testrecord.Batch(lines...)); n != len(lines) || err != nil {
					t.Errorf("append: %d of %d lines, error %v", n, len(lines), err)
				}
				want = append(want, testrecord.Join(lines...)...)
			}
			add(megabyte)
			first := bytes.IndexByte(want, '\n') + 1

			waiting, most, free, left := 0, 0, 0, c.appends
			disk.wrote = func(n int) {
				if s.mu.TryLock() {
					s.mu.Unlock()
					return
				}
				waiting += n
				most = max(most, waiting)
			}
			disk.synced = func() {
				waiting = 0
				if !s.mu.TryLock() {
					return
				}
				s.mu.Unlock()
				free++
				if len(left) > 0 {
					add(left[0])
					left = left[1:]
				}
			}
			lines := int64(bytes.Count(want, []byte("\n")))
			r, err := s.Compact(t.Context(), papyra.CompactOptions{
				At: time.Unix(1700000000, 0), Retention: papyra.Retention{General: papyra.Limits{Records: lines - 1}},
			})
			if err != nil || r.RecordsAfter != lines-1 {
				t.Fatalf("compaction: %+v, %v", r, err)
			}
			if most > c.most || c.most > 0 && most == 0 {
				t.Errorf("%d bytes were copied at a time while appends waited, want at most %d", most, c.most)
			}
			if free < c.free {
				t.Errorf("%d syncs without holding appends up, want at least %d", free, c.free)
			}
			if c.most < slice && len(left) > 0 {
				t.Errorf("the compaction caught up after %d syncs", free)
			}
			add(1)
			all, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for line := range bytes.Lines(all) {
				if !bytes.Contains(line, []byte(`"kind":"report"`)) {
					got = append(got, line...)
				}
			}
			if !bytes.Equal(got, want[first:]) {
				t.Errorf("the store has %d bytes of records that are not the %d that were appended", len(got), len(want)-first)
			}
		})
	}
}
