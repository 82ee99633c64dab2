package fileset

import (
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
			for i, w := range want {
				if w.Length == 0 {
					continue
				}
				if len(places) == 0 || places[0].Line != int64(i+1) || places[0].Offset != w.Off || places[0].Length != w.Length {
					t.Fatalf("line %d at %d of %d bytes: next anomaly is %+v", i+1, w.Off, w.Length, places[:min(len(places), 1)])
				}
				places = places[1:]
			}
			if len(places) > 0 {
				t.Errorf("%d anomalies too many", len(places))
			}
		})
	}
}
