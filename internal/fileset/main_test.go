package fileset_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

func TestMain(m *testing.M) {
	if act := os.Getenv("PAPYRA_TEST_ACT"); act != "" {
		os.Exit(child(act, os.Args[1:]))
	}
	if err := testkit.EndAtOnce(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// fixture is a store on a disk that can be broken.
type fixture struct {
	*fileset.Store
	t     testing.TB
	path  string
	disk  *faultdisk.Disk
	clock *clock

	decoded map[string]papyra.RemovalReport // by their lines
}

// clock is a clock that only moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return openFixture(t, filepath.Join(t.TempDir(), "records.ndjson"), fileset.SyncInterval)
}

// fastFixture is newFixture in memory, where there is such a place.
func fastFixture(t testing.TB) *fixture {
	t.Helper()
	return openFixture(t, filepath.Join(testkit.FastDir(t), "records.ndjson"), fileset.SyncInterval)
}

func openFixture(t testing.TB, path string, mode fileset.Sync) *fixture {
	t.Helper()
	f := &fixture{t: t, path: path, disk: faultdisk.New(), clock: &clock{now: testrecord.Start}}
	c := fileset.Config{Path: path, Sync: mode, Disk: f.disk, Now: f.clock.Now}
	if strings.HasPrefix(t.Name(), onASet) {
		c.Numbered, c.MaxBytes, c.MaxFiles = true, 1<<30, 3
	}
	var err error
	f.Store, err = fileset.Open(c)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// write makes the file with these bytes.
func (f *fixture) write(data []byte) {
	f.t.Helper()
	if err := os.WriteFile(f.path, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// bytes returns what the file holds.
func (f *fixture) bytes() []byte {
	f.t.Helper()
	data, err := os.ReadFile(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	return data
}

func (f *fixture) appender() papyra.Appender {
	f.t.Helper()
	a, err := f.Appender(context.Background())
	if err != nil {
		f.t.Fatalf("open appender: %v", err)
	}
	return a
}

// store appends lines with an appender of its own.
func (f *fixture) store(lines ...[]byte) {
	f.t.Helper()
	a := f.appender()
	f.append(a, lines...)
	if err := a.Close(); err != nil {
		f.t.Fatalf("close appender: %v", err)
	}
}

func (f *fixture) append(a papyra.Appender, lines ...[]byte) {
	f.t.Helper()
	if n, err := a.Append(context.Background(), testrecord.Batch(lines...)); n != len(lines) || err != nil {
		f.t.Fatalf("append %d lines: stored %d, error %v", len(lines), n, err)
	}
}

func (f *fixture) scan(o papyra.ScanOptions) *papyra.ScanReport {
	f.t.Helper()
	r, err := f.Scan(context.Background(), o)
	if err != nil {
		f.t.Fatalf("scan: %v", err)
	}
	return r
}

func (f *fixture) recover(o papyra.RecoverOptions) *papyra.RecoverReport {
	f.t.Helper()
	r, err := f.Recover(context.Background(), o)
	if err != nil {
		f.t.Fatalf("recover: %v", err)
	}
	return r
}

// read returns the lines of all records but the acts' own reports.
func (f *fixture) read(q papyra.Query) []string {
	f.t.Helper()
	var out []string
	_, err := f.Read(context.Background(), q, func(r *papyra.Record, _ papyra.Place) error {
		if string(r.System) != papyra.SystemReserved {
			out = append(out, string(r.Line))
		}
		return nil
	})
	if err != nil {
		f.t.Fatalf("read: %v", err)
	}
	return out
}

func text(lines [][]byte) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = string(l)
	}
	return out
}

// beside lists what lies beside the store's file.
func (f *fixture) beside() []string {
	f.t.Helper()
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		f.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Name() != filepath.Base(f.path) {
			out = append(out, e.Name())
		}
	}
	return out
}

// checkConserved makes sure that the file, after recovery r, and r's quarantine
// together are the bytes before.
func (f *fixture) checkConserved(before []byte, r *papyra.RecoverReport) {
	f.t.Helper()
	if r.Quarantine == "" {
		return
	}
	saved, err := testrecord.ReadAct(r.Quarantine)
	if err != nil {
		f.t.Fatalf("read quarantine: %v", err)
	}
	got, err := testrecord.Undo(f.bytes(), saved, filepath.Base(f.path), int64(len(before)))
	if err != nil {
		f.t.Fatalf("put together again: %v", err)
	}
	if string(got) != string(before) {
		f.t.Fatalf("kept and quarantined bytes are not the original:\nbefore %.2000q\nafter  %.2000q", before, got)
	}
}
