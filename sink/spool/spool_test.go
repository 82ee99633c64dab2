package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

var (
	orders    = papyra.Stream{System: "orders", Kind: papyra.KindEvent}
	deadTexts = papyra.Stream{System: "orders", Kind: papyra.KindDeadLetter}
)

// A store that works gets everything itself, and nothing is written beside it.
func TestStoreThatWorksGetsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	lines := src.Events(50)
	for _, l := range lines {
		give(t, s, l)
	}
	wantLines(t, w.stored(), lines)
	if names := w.segments(); len(names) > 0 {
		t.Errorf("the spool holds %q, want nothing", names)
	}
	if st := s.Status(); !st.Direct || st.Records+st.Bytes > 0 || st.Spooled > 0 || s.NotReady() != nil {
		t.Errorf("status %+v, not ready: %v", st, s.NotReady())
	}
}

// While the store is down everything waits, in segments of at most the size that they
// may have; when it comes back it gets all of it in order, once, and what comes
// meanwhile goes behind.
func TestStoreThatIsDownGetsAllInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	var want [][]byte
	add := func(n int) {
		for range n {
			lines := [][]byte{src.Event(), src.Line("orders", papyra.KindDeadLetter, strings.Repeat("x", 100)), src.Line("billing", papyra.KindReport, "")}
			want = append(want, lines...)
			give(t, s, lines...)
		}
	}
	add(10)
	w.fail(errDown)
	add(100)
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := s.Status()
	if st.Records != 300 || st.Direct || st.Spooled != 300 || st.Oldest.IsZero() || time.Since(st.Oldest) > time.Hour {
		t.Errorf("status %+v, want 300 records that wait", st)
	}
	if err := s.NotReady(); !errors.Is(err, errDown) || !strings.Contains(err.Error(), "300 records") || !strings.Contains(err.Error(), w.dir) {
		t.Errorf("NotReady() = %v, want why, how many, where", err)
	}
	names, size := w.segments(), int64(0)
	for _, name := range names {
		info, err := os.Stat(filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if size += info.Size(); info.Size() > smallSegment {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	w.fail(nil)
	for !s.Status().Direct {
		add(1)
		time.Sleep(time.Millisecond) // not faster than the store, which syncs each segment
	}
	add(5)
	w.wantDrained(s, want)
	if names := w.segments(); len(names) > 0 {
		t.Errorf("the spool still holds %q", names)
	}
	if st := s.Status(); st.Drained != st.Spooled || s.NotReady() != nil {
		t.Errorf("status %+v, not ready: %v", st, s.NotReady())
	}
}

// Reports wait apart from records, and the store gets them first.
func TestReportsAreDrainedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	w.fail(errDown)
	var want [][]byte
	for range 100 {
		want = append(want, src.Event())
		give(t, s, want[len(want)-1])
	}
	for range 20 {
		want = append(want, src.Line("orders", papyra.KindReport, ""))
		give(t, s, want[len(want)-1])
	}
	w.awaitTries(2)
	w.fail(nil)
	awaitEmpty(t, s)
	got := w.stored()
	wantLines(t, got, want)
	for i, l := range got[:20] {
		if !strings.Contains(l, `"kind":"report"`) {
			t.Fatalf("line %d of the store is %s, want the 20 reports first", i+1, l)
		}
	}
}

// Reports that come all the time do not keep the records waiting.
func TestReportsThatKeepComingDoNotStarveRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	w.fail(errDown)
	lines := src.Events(1000)
	for chunk := range slices.Chunk(lines, 10) {
		give(t, s, chunk...)
	}
	w.change(func() {
		w.err = nil
		w.before = func() { // a report for each thing that the store is given
			if s.turn.TryLock() {
				s.turn.Unlock()
				give(t, s, src.Line("orders", papyra.KindReport, strings.Repeat("x", smallSegment/2)))
			}
		}
	})
	testkit.Await(t, "the records to be drained", func() bool {
		return slices.Contains(w.stored(), string(lines[len(lines)-1]))
	})
	w.change(func() { w.before = nil })
	awaitEmpty(t, s)
}

// A segment is an ordinary store: every tool works on it.
func TestSegmentsAreStores(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _, lines := w.openSpooling(100)
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	var read []string
	for _, name := range w.segments() {
		if !strings.HasSuffix(name, extension) || strings.HasPrefix(name, ".") {
			continue
		}
		store, err := s.store(filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := store.Scan(t.Context(), papyra.ScanOptions{Full: true})
		if err != nil || !r.Clean() || r.Sealed != r.Records {
			t.Errorf("scan of %s: %+v, %v", name, r, err)
		}
		if _, err := store.Read(t.Context(), papyra.Query{}, func(rec *papyra.Record, _ papyra.Place) error {
			read = append(read, string(rec.Line))
			return nil
		}); err != nil {
			t.Error(err)
		}
		_ = store.Close()
	}
	wantLines(t, read, lines)
}

// The bound refuses the newest records and says so of each stream; reports have a
// reserve that it cannot take, and nothing that waits is removed to make room.
func TestBoundRefusesTheNewest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config()
	c.MaxBytes = 80 << 10
	s, src := w.openWith(c), testrecord.New(1)
	w.fail(errDown)
	var taken, want [][]byte
	for {
		batch := append(src.Events(20), src.Line("billing", papyra.KindEvent, "x"))
		n, err := s.Append(t.Context(), testrecord.Batch(batch...))
		if err == nil {
			taken = append(taken, batch...)
			continue
		}
		r := refusedOf(err)
		if n != 0 || r == nil || !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), w.dir) {
			t.Fatalf("Append() = %d, %v, want a refusal of the streams that is ErrFull", n, err)
		}
		rest := testrecord.Batch(batch...)
		rest.DropStored(n, err)
		taken = append(taken, batch[:len(batch)-rest.Len()]...)
		break
	}
	full := s.Status().Bytes
	if limit := c.MaxBytes - c.MaxBytes/reserveShare; full > limit || full < limit-1000 {
		t.Errorf("%d bytes wait, want nearly %d", full, limit)
	}
	want = append(want, taken...)
	// In the middle of what is refused, reports are taken.
	reports, event := 0, src.Event()
	for {
		report := src.Line("orders", papyra.KindReport, "")
		_, err := s.Append(t.Context(), testrecord.Batch(event, report))
		r := refusedOf(err)
		if r == nil || r.Streams[0].Stored != 0 {
			t.Fatalf("Append() = %v, want that the event is refused", err)
		}
		if len(r.Streams) == 2 {
			break
		}
		want = append(want, report)
		reports++
	}
	if reports < 20 {
		t.Errorf("%d reports found room, want the reserve", reports)
	}
	w.fail(nil)
	w.wantDrained(s, want)
	give(t, s, src.Line("shop", papyra.KindEvent, "x"))
}

// A store is closed or somebody else's: that is no reason to spool. Append says so, and
// keeps the lines for the next start.
func TestLostStoreIsNotDown(t *testing.T) {
	t.Parallel()
	for _, lost := range []error{papyra.ErrForeignWriter, papyra.ErrClosed} {
		for _, draining := range []bool{false, true} {
			w := newWorld(t)
			s, src := w.open(), testrecord.New(1)
			lines := src.Events(30)
			if draining {
				w.fail(errDown)
				give(t, s, lines[:10]...)
				w.fail(lost)
				testkit.Await(t, "the drain to find out", func() bool { return errors.Is(s.NotReady(), lost) })
			} else {
				give(t, s, lines[:10]...)
				w.fail(lost)
			}
			if n, err := s.Append(t.Context(), testrecord.Batch(lines[10:20]...)); n != 10 || !errors.Is(err, lost) {
				t.Errorf("draining %v: Append() = %d, %v, want that all are in the spool, and %v", draining, n, err, lost)
			}
			if n, err := s.Append(t.Context(), testrecord.Batch(lines[20:]...)); n != 10 || !errors.Is(err, lost) {
				t.Errorf("draining %v: the second Append() = %d, %v", draining, n, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			w.fail(nil)
			w.wantDrained(w.open(), lines)
		}
	}
}

// A store that is down at the start is opened when it comes back.
func TestStoreThatIsDownAtTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.openErr = errDown
	s, src := w.open(), testrecord.New(1)
	lines := src.Events(100)
	give(t, s, lines[:50]...)
	if s.StoreID() != "" || !errors.Is(s.NotReady(), errDown) {
		t.Errorf("the store is %q, not ready: %v", s.StoreID(), s.NotReady())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = w.open()
	give(t, s, lines[50:]...)
	w.change(func() { w.openErr = nil })
	w.wantDrained(s, lines)
	if s.StoreID() != w.id {
		t.Errorf("the store is %q, want %q", s.StoreID(), w.id)
	}
}

// What is wrong with the store but will not pass ends the start.
func TestStoreThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	for _, err := range []error{papyra.ErrBusy, papyra.ErrConfig, context.Canceled} {
		w := newWorld(t)
		w.openErr = err
		ctx := t.Context()
		if errors.Is(err, context.Canceled) {
			cancelled, cancel := context.WithCancel(ctx)
			cancel()
			ctx = cancelled
		}
		if s, got := open(ctx, w.config(), w.disk, smallSegment); !errors.Is(got, err) {
			t.Errorf("open = %v, %v, want %v", s, got, err)
		}
	}
}

// Two processes do not share a spool.
func TestSpoolBelongsToOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	if _, err := open(t.Context(), w.config(), w.disk, smallSegment); !errors.Is(err, papyra.ErrBusy) {
		t.Errorf("a second one: %v, want ErrBusy", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.Append(t.Context(), testrecord.Batch(testrecord.New(1).Event())); !errors.Is(err, papyra.ErrClosed) {
		t.Errorf("Append after Close: %v", err)
	}
	w.open()
}

// A spool is for one store. Nothing of it goes into another one unasked.
func TestSpoolIsBoundToItsStore(t *testing.T) {
	t.Parallel()
	const other = "otherotherother1"
	for _, tt := range []struct {
		name   string
		isNew  bool // the store had no id when the spool met it
		named  bool // and then a sink's report
		waits  bool
		id     string // of the store at the second start
		adopt  bool
		refuse bool
	}{
		{"the same", false, false, true, "storestorestore1", false, false},
		{"another", false, false, true, other, false, true},
		{"another, adopted", false, false, true, other, true, false},
		{"another, and nothing waits", false, false, false, other, false, false},
		{"emptied", false, false, true, "", false, true},
		{"emptied, adopted", false, false, true, "", true, false},
		{"new, and still without a report", true, false, true, "", false, false},
		{"new, and now another", true, false, true, other, false, true},
		{"new, reported, and emptied", true, true, true, "", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.isNew {
				w.id = ""
			}
			s, src := w.open(), testrecord.New(1)
			var lines [][]byte
			if tt.named {
				give(t, s, testrecord.New(2).Line(papyra.SystemReserved, papyra.KindReport, ""))
				if err := s.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.change(func() { w.lines = nil })
			}
			if tt.waits {
				w.fail(errDown)
				lines = src.Events(10)
				give(t, s, lines...)
			}
			bound := s.StoreID()
			if bound == "" || !tt.isNew && bound != w.id {
				t.Errorf("the spool is for store %q", bound)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			w.change(func() { w.err, w.id = nil, tt.id })
			c := w.config()
			c.Adopt = tt.adopt
			if tt.refuse {
				_, err := open(t.Context(), c, w.disk, smallSegment)
				if !errors.Is(err, papyra.ErrConfig) || !strings.Contains(err.Error(), bound) || !strings.Contains(err.Error(), "--spool-adopt") {
					t.Errorf("open: %v, want ErrConfig that names the store and the flag", err)
				}
				if len(w.stored()) > 0 {
					t.Errorf("the other store got %d lines", len(w.stored()))
				}
				return
			}
			s = w.openWith(c)
			w.wantDrained(s, lines)
			if id := s.StoreID(); id == "" || tt.id != "" && id != tt.id {
				t.Errorf("the spool is for store %q, want %q", id, tt.id)
			}
		})
	}
}

// A store that comes back as another one, while the sink runs, gets nothing.
func TestStoreThatComesBackAsAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src, _ := w.openSpooling(10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.change(func() { w.err, w.openErr, w.id = nil, errDown, "otherotherother1" })
	s = w.open()
	w.change(func() { w.openErr = nil })
	testkit.Await(t, "the spool to refuse", func() bool { return errors.Is(s.NotReady(), papyra.ErrConfig) })
	give(t, s, src.Event())
	if got := w.stored(); len(got) > 0 {
		t.Errorf("the other store got %d lines", len(got))
	}
	w.change(func() { w.id = "storestorestore1" })
	awaitEmpty(t, s)
	if got := w.stored(); len(got) != 11 {
		t.Errorf("the store got %d lines, want 11", len(got))
	}
}
