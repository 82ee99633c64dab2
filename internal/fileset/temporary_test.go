package fileset_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// What a killed compaction leaves is gone after the same command, also where the
// command finds nothing more to remove. Nobody else's files go, and a dry run and a
// recovery leave them alone, or save them first.
func TestCompactRemovesWhatAKilledOneLeft(t *testing.T) {
	const temporary = ".records.ndjson.tmp-0123456789abcdef"
	others := []string{".records.ndjson.tmp-xyz", ".records.ndjson.tmp", ".other.ndjson.tmp-0123456789abcdef", "records.ndjson.compact.tmp"}
	compact := func(f *fixture, keep int64, dry bool) error {
		_, err := f.Compact(t.Context(), papyra.CompactOptions{At: testrecord.Start, DryRun: dry, Retention: papyra.Retention{General: papyra.Limits{Records: keep}}})
		return err
	}
	for name, keep := range map[string]int64{"something goes": 3, "nothing goes": 1000} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.store(testrecord.New(1).Events(10)...)
			in := func(base string) string { return filepath.Join(filepath.Dir(f.path), base) }
			exists := func(base string) bool { _, err := os.Lstat(in(base)); return err == nil }
			for _, base := range append(others, temporary) {
				must(t, os.WriteFile(in(base), []byte("a copy"), 0o600))
			}
			must(t, compact(f, keep, true))
			if !exists(temporary) {
				t.Error("a dry run removed the file")
			}
			f.disk.Fail(faultdisk.Fault{Op: faultdisk.Remove, Path: temporary, Err: unix.EACCES, Times: 1})
			if err := compact(f, keep, false); !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), temporary) {
				t.Errorf("a file that cannot be removed: got %v", err)
			}
			must(t, compact(f, keep, false))
			if exists(temporary) {
				t.Error("the file of the killed compaction is there")
			}
			for _, base := range others {
				if !exists(base) {
					t.Errorf("%s is gone", base)
				}
			}
			if got, want := len(f.read(papyra.Query{})), int(min(keep, 10)); got != want {
				t.Errorf("%d records, want %d", got, want)
			}
		})
	}
}

// A compaction that is stopped at any step and given again leaves no file of its own.
func TestCompactAgainLeavesNothing(t *testing.T) {
	o := papyra.CompactOptions{At: testrecord.Start, Retention: papyra.Retention{General: papyra.Limits{Records: 3}}}
	stopped := 0
	for step := 1; ; step++ {
		f := openFixture(t, filepath.Join(testkit.FastDir(t), "records.ndjson"), fileset.SyncInterval)
		f.store(testrecord.New(1).Events(10)...)
		// As after a kill, what was begun stays: nothing can be removed any more.
		f.disk.Before(func(n int, _ faultdisk.Op, _ string) {
			if n != step {
				return
			}
			stopped++
			for _, op := range []faultdisk.Op{faultdisk.Open, faultdisk.Write, faultdisk.WriteAt, faultdisk.Truncate, faultdisk.Sync, faultdisk.Rename, faultdisk.Remove} {
				f.disk.Fail(faultdisk.Fault{Op: op, Err: unix.EIO})
			}
		})
		_, err := f.Compact(t.Context(), o)
		if stopped < step {
			break // it has fewer steps
		}
		f.disk.Before(nil)
		f.disk.Heal()
		must(t, f.Close())
		again := openFixture(t, f.path, fileset.SyncInterval)
		if _, err := again.Compact(t.Context(), o); err != nil {
			t.Fatalf("step %d: again: %v", step, err)
		}
		for _, base := range again.beside() {
			if strings.Contains(base, ".tmp-") {
				t.Errorf("step %d (%v): %s stays", step, err, base)
			}
		}
		if r := again.scan(papyra.ScanOptions{}); !r.Clean() {
			t.Errorf("step %d: %v", step, r.AnomalyCounts)
		}
	}
	if stopped < 8 {
		t.Fatalf("only %d steps", stopped)
	}
}
