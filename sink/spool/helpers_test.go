package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("connection refused")

// world is the store behind a spool, in memory, and the spool's disk. It outlives the
// spools of a test, as they outlive processes.
type world struct {
	t    *testing.T
	dir  string
	disk *faultdisk.Disk
	logs testkit.Buffer

	mu      sync.Mutex
	id      string
	idErr   error
	openErr error
	err     error                   // of every Append
	refuses map[papyra.Stream]error // answers of single streams
	syncErr error
	before  func() // called before each Append, without the lock
	lines   []string
	synced  int // of lines
	appends int
}

func newWorld(t *testing.T) *world {
	return &world{t: t, dir: filepath.Join(testkit.FastDir(t), "spool"), disk: faultdisk.New(), id: "storestorestore1", refuses: map[papyra.Stream]error{}}
}

// change changes something under the lock.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) fail(err error) { w.change(func() { w.err = err }) }

const smallSegment = 4 << 10

// config is of a spool with small segments.
func (w *world) config() Config {
	return Config{
		Dir: w.dir, MaxBytes: 1 << 20,
		Open: func(context.Context) (papyra.Appender, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.openErr != nil {
				return nil, w.openErr
			}
			return &memoryAppender{w}, nil
		},
		StoreID: func(context.Context) (string, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.id, w.idErr
		},
		Logger: slog.New(slog.NewTextHandler(&w.logs, nil)),
	}
}

func (w *world) open() *Spool {
	w.t.Helper()
	return w.openWith(w.config())
}

func (w *world) openWith(c Config) *Spool {
	w.t.Helper()
	s, err := open(w.t.Context(), c, w.disk, smallSegment)
	if err != nil {
		w.t.Fatalf("open: %v", err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

// memoryAppender appends to the world's lines.
type memoryAppender struct{ w *world }

func (a *memoryAppender) Append(ctx context.Context, b *papyra.Batch) (int, error) {
	w := a.w
	w.mu.Lock()
	before := w.before
	w.mu.Unlock()
	if before != nil {
		before()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.appends++
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if w.err != nil {
		return 0, w.err
	}
	r := &papyra.RefusedError{}
	for i := range b.Len() {
		line, stream := b.Line(i)
		err := w.refuses[stream]
		if err == nil {
			w.lines = append(w.lines, string(line))
		} else if !slices.ContainsFunc(r.Streams, func(s papyra.RefusedStream) bool { return s.Stream == stream }) {
			r.Streams = append(r.Streams, papyra.RefusedStream{Stream: stream, Err: err})
		}
	}
	if len(r.Streams) > 0 {
		return 0, r
	}
	return b.Len(), nil
}

func (a *memoryAppender) Sync(context.Context) error {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	if a.w.err != nil {
		return a.w.err
	}
	if a.w.syncErr != nil {
		return a.w.syncErr
	}
	a.w.synced = len(a.w.lines)
	return nil
}

func (a *memoryAppender) Stats() papyra.AppendStats { return papyra.AppendStats{} }
func (a *memoryAppender) Close() error              { return nil }

// stored returns what the store holds.
func (w *world) stored() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lines)
}

// give appends lines and wants all of them to be taken.
func give(t *testing.T, s *Spool, lines ...[]byte) {
	t.Helper()
	if n, err := s.Append(t.Context(), testrecord.Batch(lines...)); n != len(lines) || err != nil {
		t.Fatalf("Append() = %d, %v, want %d", n, err, len(lines))
	}
}

// awaitEmpty waits until nothing waits in the spool.
func awaitEmpty(t *testing.T, s *Spool) {
	t.Helper()
	testkit.Await(t, "the spool to be empty", func() bool {
		st := s.Status()
		return st.Direct && st.Bytes == 0
	})
}

// openSpooling opens a spool whose store is down, and gives it n events.
func (w *world) openSpooling(n int) (s *Spool, src *testrecord.Source, lines [][]byte) {
	w.t.Helper()
	s, src = w.open(), testrecord.New(1)
	w.fail(errDown)
	lines = src.Events(n)
	give(w.t, s, lines...)
	return s, src, lines
}

// wantDrained waits until nothing waits in the spool, and wants the store to hold the
// lines, those of a stream in order, each once.
func (w *world) wantDrained(s *Spool, want [][]byte) {
	w.t.Helper()
	awaitEmpty(w.t, s)
	wantLines(w.t, w.stored(), want)
}

// awaitTries waits until the store was tried n times more.
func (w *world) awaitTries(n int) {
	w.t.Helper()
	tries := func() (n int) {
		w.change(func() { n = w.appends })
		return n
	}
	before := tries()
	testkit.Await(w.t, "more tries", func() bool { return tries() >= before+n })
}

// segments returns the names in the spool that are not of its own file.
func (w *world) segments() (names []string) {
	w.t.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.Contains(e.Name(), controlName) {
			names = append(names, e.Name())
		}
	}
	return names
}

// wantLines fails the test unless got holds every line of want, those of a stream in
// order, each once.
func wantLines(t *testing.T, got []string, want [][]byte) {
	t.Helper()
	byStream := func(lines []string) map[papyra.Stream][]string {
		out := map[papyra.Stream][]string{}
		for _, l := range lines {
			rec, err := papyra.Parse([]byte(l))
			if err != nil {
				t.Fatalf("the store holds %q: %v", l, err)
			}
			out[rec.Stream()] = append(out[rec.Stream()], l)
		}
		return out
	}
	var lines []string
	for _, l := range want {
		lines = append(lines, string(bytes.TrimSuffix(l, []byte("\n"))))
	}
	have, expected := byStream(got), byStream(lines)
	for stream, list := range expected {
		if !slices.Equal(have[stream], list) {
			t.Errorf("%v: the store holds %d lines %s, want %d %s", stream, len(have[stream]), numbersOf(have[stream]), len(list), numbersOf(list))
		}
	}
	for stream := range have {
		if expected[stream] == nil {
			t.Errorf("the store holds lines of %v", stream)
		}
	}
}

// numbersOf shows the numbers of lines.
func numbersOf(lines []string) string {
	var out []uint64
	for _, l := range lines {
		if rec, err := papyra.Parse([]byte(l)); err == nil {
			out = append(out, rec.Seq)
		}
	}
	return fmt.Sprint(out)
}
