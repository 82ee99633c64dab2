package fileset

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/testrecord"
)

// The blocks of a parallel scan together judge every line once, with its number.
func TestScanNumbersLinesAcrossBlocks(t *testing.T) {
	for name, data := range testrecord.LineFiles(lines.ChunkSize, blockSize) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			r, err := s.Scan(context.Background(), papyra.ScanOptions{MaxListed: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			want := testrecord.SplitLines(data)
			if r.Lines != int64(len(want)) || r.Bytes != int64(len(data)) {
				t.Errorf("%d lines of %d bytes, want %d of %d", r.Lines, r.Bytes, len(want), len(data))
			}
			places := r.Anomalies
			number, next := int64(0), int64(0)
			for _, w := range want {
				if w.Off == next { // a hole and what follows it stand on one line
					number++
				}
				if next = w.Off + w.Length + 1; w.Length == 0 {
					continue
				}
				if len(places) == 0 || places[0].Line != number || places[0].Offset != w.Off || places[0].Length != w.Length {
					t.Fatalf("line %d at %d of %d bytes: next anomaly is %+v", number, w.Off, w.Length, places[:min(len(places), 1)])
				}
				places = places[1:]
			}
			if len(places) > 0 {
				t.Errorf("%d anomalies too many", len(places))
			}
		})
	}
}

// Sealed records behind a line that is too long, or behind a hole, belong to one block,
// wherever in it that ends.
func TestScanCountsOnceBehindALongLine(t *testing.T) {
	src := testrecord.New(1)
	before, events := testrecord.Join(src.Events(100)...), testrecord.Join(src.Events(1900)...)
	for name, fill := range map[string]byte{"a long line": 'x', "a hole": 0} {
		for _, end := range []int{-70_000, -100, -2, -1, 0, 1, 100_000, blockSize} {
			end += 3 * blockSize // longer than a line may be
			path := filepath.Join(t.TempDir(), "f")
			data := append(bytes.Clone(before), bytes.Repeat([]byte{fill}, end-len(before))...)
			if fill != 0 {
				data[end-1] = '\n'
			}
			if err := os.WriteFile(path, append(data, events...), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Scan(context.Background(), papyra.ScanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Records != 2000 || r.Lines != 2001 || r.Damaged() != 1 {
				t.Errorf("%s of %d bytes: %d records in %d lines, %v; want 2,000, 2,001, and one place", name, end, r.Records, r.Lines, r.AnomalyCounts)
			}
			_ = s.Close()
		}
	}
}
