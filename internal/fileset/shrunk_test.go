package fileset_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// shrinkingDisk makes a file shorter before one of its reads, as somebody else may
// do at any moment.
type shrinkingDisk struct {
	disk.OS
	base  string // of the file
	size  int64  // that it has afterwards
	after int64  // how many reads pass before
	reads atomic.Int64
	met   atomic.Bool // a read had fewer bytes than it asked for
}

func (d *shrinkingDisk) ReadAt(f *os.File, b []byte, off int64) (int, error) {
	if filepath.Base(f.Name()) == d.base && d.reads.Add(1) == d.after+1 {
		if err := os.Truncate(f.Name(), d.size); err != nil {
			return 0, err
		}
	}
	n, err := d.OS.ReadAt(f, b, off)
	if n < len(b) {
		d.met.Store(true)
	}
	return n, err
}

// Whoever reads a file that becomes shorter says that the result is incomplete. It
// is not called whole, and what is left of a cut line is not called damage.
func TestReadersOfAFileThatBecomesShorter(t *testing.T) {
	t.Parallel()
	var (
		src   = testrecord.New(1)
		whole [][]byte
	)
	for range 3 * lines.ChunkSize / 4000 { // three reads of a file, and none ends with a line
		whole = append(whole, src.Line("orders", papyra.KindEvent, strings.Repeat("x", 4000)))
	}
	whole = append(whole, whole[0]) // a duplicate: a full scan reads twice
	data := bytes.Join(whole, []byte("\n"))
	data = append(data, '\n')
	lineEnd := int64(bytes.IndexByte(data[len(data)/2:], '\n') + len(data)/2 + 1)

	read := func(q papyra.Query) func(context.Context, *fileset.Store) error {
		return func(ctx context.Context, s *fileset.Store) error {
			damaged, err := s.Read(ctx, q, func(*papyra.Record, papyra.Place) error { return nil })
			if damaged > 0 {
				return errors.New("what was cut is called damaged")
			}
			return err
		}
	}
	scan := func(full bool) func(context.Context, *fileset.Store) error {
		return func(ctx context.Context, s *fileset.Store) error {
			r, err := s.Scan(ctx, papyra.ScanOptions{Full: full})
			if err != nil {
				return err
			}
			for class, n := range r.AnomalyCounts {
				if class != papyra.ClassUnreadable && n > 0 {
					return errors.New("the scan says " + string(class))
				}
			}
			if r.Incomplete {
				return papyra.ErrIncomplete
			}
			return nil
		}
	}
	readers := map[string]struct {
		read func(context.Context, *fileset.Store) error
		want error
	}{
		"scan":        {scan(false), papyra.ErrIncomplete},
		"scan --full": {scan(true), papyra.ErrIncomplete},
		"read":        {read(papyra.Query{}), papyra.ErrIncomplete},
		"read back":   {read(papyra.Query{Reverse: true}), papyra.ErrIncomplete},
		"read last":   {read(papyra.Query{Limit: 2*len(whole) - 1}), papyra.ErrIncomplete},
		"compact": {func(ctx context.Context, s *fileset.Store) error {
			_, err := s.Compact(ctx, papyra.CompactOptions{At: testrecord.Start, Dedupe: true, Retention: papyra.Retention{General: papyra.Limits{Records: 10}}})
			return err
		}, disk.ErrShrunk},
		"recover --dry-run": {func(ctx context.Context, s *fileset.Store) error {
			r, err := s.Recover(ctx, papyra.RecoverOptions{DryRun: true})
			if err == nil && r.Moved > 0 {
				return errors.New("what was cut is called damaged")
			}
			return err
		}, papyra.ErrIncomplete},
	}
	for name, reader := range readers {
		for size, at := range map[string]int64{"to nothing": 0, "to a line's end": lineEnd, "into a line": lineEnd - 100} {
			for _, number := range []string{"", ".1"} {
				t.Run(name+" "+size+number, func(t *testing.T) {
					reached := 0
					path := filepath.Join(testkit.FastDir(t), "r")
					if err := os.WriteFile(path, data, 0o600); err != nil {
						t.Fatal(err)
					}
					for after := range int64(12) {
						if err := os.WriteFile(path+number, data, 0o600); err != nil { // whole again
							t.Fatal(err)
						}
						d := &shrinkingDisk{base: "r" + number, size: at, after: after}
						s, err := fileset.Open(fileset.Config{Path: path, Numbered: true, Disk: d})
						if err != nil {
							t.Fatal(err)
						}
						err = reader.read(t.Context(), s)
						if err := s.Close(); err != nil {
							t.Fatal(err)
						}
						if d.reads.Load() <= after {
							break // the file was read in fewer reads
						}
						if !d.met.Load() {
							continue // bytes that were read before they went are not missing
						}
						reached++
						if !errors.Is(err, reader.want) {
							t.Fatalf("cut after %d reads: got error %v, want %v", after, err, reader.want)
						}
					}
					if reached == 0 {
						t.Fatal("no read met the shorter file")
					}
				})
			}
		}
	}
}
