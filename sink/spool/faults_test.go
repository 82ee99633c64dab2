package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// watchRemovals fails the test when a segment goes of which a line is neither synced by
// the store nor moved to a refused segment.
func (w *world) watchRemovals() {
	w.disk.Before(func(_ int, op faultdisk.Op, path string) {
		if op != faultdisk.Remove || strings.HasPrefix(filepath.Base(path), ".") {
			return
		}
		data, err := os.ReadFile(path)
		if err != nil {
			w.t.Errorf("read a segment before it goes: %v", err)
			return
		}
		var moved []byte
		others, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "refused-*"))
		for _, other := range others {
			if other != path {
				text, _ := os.ReadFile(other)
				moved = append(moved, text...)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		synced := map[string]bool{}
		for _, l := range w.lines[:w.synced] {
			synced[l] = true
		}
		for l := range bytes.Lines(data) {
			if !synced[string(bytes.TrimSuffix(l, []byte("\n")))] && !bytes.Contains(moved, l) {
				w.t.Errorf("%s goes, and the store has not synced %.80q", filepath.Base(path), l)
				return
			}
		}
	})
}

// A segment goes only after the store has synced what was in it.
func TestSegmentGoesAfterTheStoreHasSynced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.watchRemovals()
	s, _, lines := w.openSpooling(100)
	before := len(w.segments())
	w.change(func() { w.err, w.syncErr = nil, unix.EIO })
	testkit.Await(t, "the store to take lines", func() bool { return len(w.stored()) > 0 })
	testkit.Await(t, "the sync to fail", func() bool { return errors.Is(s.NotReady(), unix.EIO) })
	if n := len(w.segments()); n < before {
		t.Errorf("%d files are left of %d", n, before)
	}
	w.change(func() { w.syncErr = nil })
	w.wantDrained(s, lines)
}

// What the store took before it failed is synced before anything else is given to it.
func TestStoreSyncsWhatItTookBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	give(t, s, src.Event())
	w.fail(errDown)
	give(t, s, src.Event())
	w.fail(nil)
	awaitEmpty(t, s)
	if w.change(func() {}); w.synced != 2 {
		t.Errorf("%d lines are synced, want 2", w.synced)
	}
}

// The spool's disk is full, or fails: the newest are refused, nothing stays by halves,
// and it goes on by itself.
func TestSpoolWhoseDiskFails(t *testing.T) {
	t.Parallel()
	for _, fault := range []faultdisk.Fault{
		{Op: faultdisk.Write, Err: unix.ENOSPC, Part: 100},
		{Op: faultdisk.Write, Err: unix.EIO, Skip: 3, Times: 2},
		{Op: faultdisk.Write, Err: unix.EDQUOT, Skip: 3},
		{Op: faultdisk.Open, Path: "records-*", Err: unix.EROFS},
		{Op: faultdisk.Open, Path: ".records-*", Err: unix.ENOSPC, Skip: 1},
		{Op: faultdisk.Sync, Path: "records-*", Err: unix.EIO, Skip: 1, Times: 4},
	} {
		t.Run(fmt.Sprintf("%s %v %s", fault.Op, fault.Err, fault.Path), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s, src := w.open(), testrecord.New(1)
			w.fail(errDown)
			w.disk.Fail(fault)
			lines := src.Events(60)
			left, refused := testrecord.Batch(lines...), 0
			for range 5 {
				n, err := s.Append(t.Context(), left)
				left.DropStored(n, err)
				if err == nil {
					break
				}
				if !errors.Is(err, ErrFull) || !errors.Is(err, fault.Err) {
					t.Fatalf("Append() = %d, %v, want ErrFull and %v", n, err, fault.Err)
				}
				refused++
			}
			if refused == 0 {
				t.Error("nothing was refused")
			}
			w.disk.Heal()
			if n, err := s.Append(t.Context(), left); err != nil || n != left.Len() {
				t.Fatalf("after the fault: Append() = %d, %v", n, err)
			}
			w.fail(nil)
			w.wantDrained(s, lines)
		})
	}
}

// Somebody writes to a segment: it is left to the drain, and another one takes what
// comes.
func TestSomebodyElseWritesToASegment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	w.fail(errDown)
	lines := src.Events(3)
	give(t, s, lines[0])
	f, err := os.OpenFile(s.queues[records][0].path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(testrecord.Join(lines[1])); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	// The drain may have closed it; then nothing is wrong.
	if _, err := s.Append(t.Context(), testrecord.Batch(lines[2])); err != nil {
		give(t, s, lines[2])
	}
	w.fail(nil)
	awaitEmpty(t, s)
	if got := w.stored(); !slices.Contains(got, string(lines[0])) || !slices.Contains(got, string(lines[2])) {
		t.Errorf("the store holds %s", numbersOf(got))
	}
}

// A segment that cannot be taken away is stored again by the next start, and not by
// this one.
func TestSegmentThatCannotBeTakenAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _, lines := w.openSpooling(10)
	w.disk.Fail(faultdisk.Fault{Op: faultdisk.Remove, Err: unix.EROFS})
	w.fail(nil)
	w.wantDrained(s, lines)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.disk.Heal()
	w.wantDrained(w.open(), slices.Concat(lines, lines))
}

// Reading a segment fails: it is tried again, and what cannot be read does not hold up
// the others.
func TestSegmentThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, passes := range []bool{true, false} {
		w := newWorld(t)
		s, src := w.open(), testrecord.New(1)
		w.fail(errDown)
		lines := src.Events(60)
		for _, l := range lines {
			give(t, s, l)
		}
		// The drain has read the first one already.
		before, broken := s.queues[records][0].lines, s.queues[records][1]
		first, held := filepath.Base(broken.path), before+broken.lines
		fault := faultdisk.Fault{Op: faultdisk.ReadAt, Path: first, Err: unix.EIO}
		if passes {
			fault.Times = 2
		}
		w.disk.Fail(fault)
		w.fail(nil)
		awaitEmpty(t, s)
		if passes {
			wantLines(t, w.stored(), lines)
			continue
		}
		wantLines(t, w.stored(), append(slices.Clone(lines[:before]), lines[held:]...))
		if st := s.Status(); st.SetAside != 1 {
			t.Errorf("%d segments are set aside, want 1", st.SetAside)
		}
		if _, err := os.Stat(filepath.Join(w.dir, asidePrefix+first)); err != nil {
			t.Error(err)
		}
	}
}

// A damaged segment never holds up the start or the others: what can be read of it is
// stored, the rest is reported and set aside with the file.
func TestDamagedSegmentsAreSetAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	w.fail(errDown)
	lines := src.Events(120)
	for _, l := range lines {
		give(t, s, l)
	}
	var paths []string
	var segments []*segment
	for _, seg := range s.queues[records] {
		if seg.lines >= 5 { // the drain has sealed small ones
			paths, segments = append(paths, seg.path), append(segments, seg)
		}
	}
	if len(paths) < 5 {
		t.Fatalf("%d segments", len(paths))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit := func(path string, f func([]byte) []byte) {
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, f(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lost := map[string]bool{}
	lose := func(line []byte) { lost[strings.TrimSuffix(string(line), "\n")] = true }
	edit(paths[0], func(data []byte) []byte { // a flipped bit
		list := slices.Collect(bytes.Lines(data))
		lose(list[2])
		list[2][bytes.Index(list[2], []byte("text"))] ^= 1
		return data
	})
	edit(paths[1], func(data []byte) []byte { return data[:len(data)-1] }) // a last line without its newline
	edit(paths[2], func(data []byte) []byte {                              // half a line
		list := slices.Collect(bytes.Lines(data))
		lose(list[len(list)-1])
		return data[:len(data)-20]
	})
	edit(paths[3], func(data []byte) []byte { return append(data, make([]byte, 500)...) }) // as a power cut leaves it
	if err := os.Remove(paths[4]); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(paths[4], 0o700); err != nil { // something else in its place
		t.Fatal(err)
	}
	for _, seg := range segments[4:5] {
		for key := range seg.numbers.byRun {
			for _, r := range seg.numbers.byRun[key].Ranges {
				for n := r[0]; n <= r[1]; n++ {
					lose(lines[n-1])
				}
			}
		}
	}
	w.fail(nil)
	s = w.open()
	awaitEmpty(t, s)
	want := slices.DeleteFunc(lines, func(l []byte) bool { return lost[string(l)] })
	wantLines(t, w.stored(), want)
	if st := s.Status(); st.SetAside != 3 {
		t.Errorf("%d segments are set aside, want 3", st.SetAside)
	}
	found := s.TakeDamage()
	counts := map[papyra.Class]int64{}
	for _, f := range found {
		for class, n := range f.Counts {
			counts[class] += n
		}
		if len(f.First) == 0 || !strings.HasPrefix(f.First[0].File, "records-") {
			t.Errorf("the report names no place: %+v", f)
		}
	}
	if len(found) != 3 || counts[papyra.ClassTruncated] != 1 || counts[papyra.ClassNULRun] != 1 || len(s.TakeDamage()) > 0 {
		t.Errorf("reports %+v", found)
	}
	for _, i := range []int{0, 2, 3} {
		if _, err := os.Stat(filepath.Join(w.dir, asidePrefix+filepath.Base(paths[i]))); err != nil {
			t.Error(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(w.dir, asidePrefix+filepath.Base(paths[2]))); err != nil || !bytes.HasSuffix(text, []byte("\n")) {
		t.Errorf("half a line was not ended: %v", err)
	}
	// The next start says so again, and leaves them.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = w.open(); s.Status().SetAside != 3 || !s.Status().Direct {
		t.Errorf("after another start: %+v", s.Status())
	}
}

// A tool has a segment open: the spool waits for it.
func TestSegmentThatAToolHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src, lines := w.openSpooling(5)
	path := s.queues[records][0].path
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	store, err := s.store(path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	held, err := store.Appender(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.fail(nil)
	s = w.open()
	testkit.Await(t, "the lines to be stored", func() bool { return len(w.stored()) == len(lines) })
	give(t, s, src.Event())
	testkit.Await(t, "the log to say why", func() bool { return strings.Contains(w.logs.String(), "cannot be drained now") })
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	awaitEmpty(t, s)
	if n := len(w.stored()); n != len(lines)+1 {
		t.Errorf("%d lines are stored, want %d", n, len(lines)+1)
	}
}
