package fileset_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
)

// TestInterruptWithinALine stops each act in the middle of a line that would
// take it hours.
func TestInterruptWithinALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.ndjson")
	if err := os.WriteFile(path, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<42); err != nil {
		t.Skipf("the file system has no sparse file of 4 TiB: %v", err)
	}
	s, err := fileset.Open(fileset.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := time.Unix(1700000000, 0)
	for name, act := range map[string]func(context.Context) error{
		"scan": func(ctx context.Context) error {
			_, err := s.Scan(ctx, papyra.ScanOptions{})
			return err
		},
		"read": func(ctx context.Context) error {
			_, err := s.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error { return nil })
			return err
		},
		"read from the end": func(ctx context.Context) error {
			_, err := s.Read(ctx, papyra.Query{Limit: 1}, func(*papyra.Record, papyra.Place) error { return nil })
			return err
		},
		"compact": func(ctx context.Context) error {
			_, err := s.Compact(ctx, papyra.CompactOptions{At: now, Retention: papyra.Retention{General: papyra.Limits{Records: 1}}})
			return err
		},
		"recover": func(ctx context.Context) error {
			_, err := s.Recover(ctx, papyra.RecoverOptions{Now: now})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := act(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want that its time is over", err)
			}
		})
	}
}
