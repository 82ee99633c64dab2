package rotating_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/backendtest"
	"github.com/papyra/papyra/sink/backend/rotating"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The suite appends little. Under the small bounds it rotates all the time, and
// no record is dropped. The random operations sync all the time, which is tried
// on a disk by the laws alone.
func TestConformance(t *testing.T) {
	backendtest.Exercise(t, func(t testing.TB) backendtest.Medium {
		return medium(t, testkit.FastDir(t), rotating.Config{MaxBytes: 10_000, MaxFiles: 1_000_000})
	})
	t.Run("default bound", func(t *testing.T) {
		t.Parallel()
		backendtest.Laws(t, func(t testing.TB) backendtest.Medium { return medium(t, t.TempDir(), rotating.Config{}) })
	})
}

// The same with hardly a record in a file.
func TestConformanceOfTinyFiles(t *testing.T) {
	backendtest.Random(t, func(t testing.TB) backendtest.Medium {
		return medium(t, testkit.FastDir(t), rotating.Config{MaxBytes: 400, MaxFiles: 1_000_000, Sync: "none"})
	})
}

func medium(t testing.TB, dir string, c rotating.Config) backendtest.Medium {
	path := filepath.Join(dir, "dir of [its] own", "records#1.ndjson")
	return backendtest.Medium{
		Open: func(t testing.TB) papyra.Store {
			s, err := rotating.Open(path, c)
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			return s
		},
		Plant: func(t testing.TB, line []byte) {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.Write(append(bytes.Clone(line), '\n')); err != nil {
				t.Fatal(err)
			}
		},
		Quarantined: func(t testing.TB, r *papyra.RecoverReport) [][]byte {
			saved, err := testrecord.SavedLines(r.Quarantine)
			if err != nil {
				t.Fatal(err)
			}
			return saved
		},
	}
}

func TestUnendedAct(t *testing.T) {
	backendtest.Unended(t, func(t testing.TB) backendtest.Medium {
		return medium(t, testkit.FastDir(t), rotating.Config{MaxBytes: 3000, MaxFiles: 1_000_000})
	})
}
