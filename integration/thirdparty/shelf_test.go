package shelf_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/backendtest"
	"go.uber.org/goleak"

	"example.com/shelf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	inMemory(t)
	backendtest.Exercise(t, func(t testing.TB) backendtest.Medium {
		dir := filepath.Join(t.TempDir(), "shelf")
		return backendtest.Medium{
			Open:        func(t testing.TB) papyra.Store { return open(t, dir) },
			Plant:       func(t testing.TB, line []byte) { plant(t, dir, append(bytes.Clone(line), '\n')) },
			Quarantined: quarantined,
		}
	})
}

// inMemory lets t.TempDir lie in memory where that is possible: these tests are
// not about how long a disk takes to sync.
func inMemory(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		t.Setenv("TMPDIR", "/dev/shm")
	}
}

func open(t testing.TB, dir string) *shelf.Shelf {
	t.Helper()
	s, err := shelf.Open(dir)
	if err != nil {
		t.Fatalf("open %s: %v", dir, err)
	}
	return s
}

// plant puts a book behind the others.
func plant(t testing.TB, dir string, data []byte) {
	t.Helper()
	books, err := filepath.Glob(filepath.Join(dir, "*.book"))
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	if n := len(books); n > 0 {
		if _, err := fmt.Sscanf(filepath.Base(books[n-1]), "%d.book", &number); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%016d.book", number+1)), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// quarantined returns the damaged lines that a recovery has moved away.
func quarantined(t testing.TB, r *papyra.RecoverReport) (lines [][]byte) {
	t.Helper()
	index, err := os.ReadFile(filepath.Join(r.Quarantine, "places.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	left := map[string][]byte{}
	for raw := range bytes.Lines(index) {
		var at papyra.Anomaly
		if err := json.Unmarshal(raw, &at); err != nil {
			t.Fatalf("index line %q: %v", raw, err)
		}
		if left[at.File] == nil {
			if left[at.File], err = os.ReadFile(filepath.Join(r.Quarantine, at.File)); err != nil {
				t.Fatal(err)
			}
		}
		line, rest, found := bytes.Cut(left[at.File], []byte("\n"))
		if !found || int64(len(line)) != at.Length {
			t.Fatalf("%s holds %d bytes where the index says %d", at.File, len(line), at.Length)
		}
		lines, left[at.File] = append(lines, line), rest
	}
	for file, rest := range left {
		if len(rest) > 0 {
			t.Errorf("%s holds %d bytes more than the index says", file, len(rest))
		}
	}
	return lines
}
