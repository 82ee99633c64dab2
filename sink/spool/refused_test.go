package spool

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// The refusal of one stream holds up neither the others nor the spool: its lines wait,
// also those that come later, and keep their order.
func TestRefusedStreamHoldsUpNobody(t *testing.T) {
	t.Parallel()
	refusal := errors.New("WRONGTYPE")
	for _, tt := range []struct {
		name      string
		draining  bool // refused when the spool is drained, otherwise while the store is direct
		cannotPut bool // and its lines cannot be moved
		once      bool // but for one segment
	}{
		{"direct", false, false, false}, {"draining", true, false, false},
		{"draining on a full disk", true, true, false}, {"draining on a disk that is full for a moment", true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.watchRemovals()
			s, src := w.open(), testrecord.New(1)
			var want, good [][]byte
			add := func() {
				event, dead := src.Event(), src.Line("orders", papyra.KindDeadLetter, strings.Repeat("y", 50))
				want, good = append(want, event, dead), append(good, event)
				give(t, s, event, dead)
			}
			add()
			if tt.draining {
				w.fail(errDown)
				for range 50 {
					add()
				}
				if tt.cannotPut {
					fault := faultdisk.Fault{Op: faultdisk.Write, Path: "refused-*", Err: unix.ENOSPC}
					if tt.once {
						fault.Skip, fault.Times = 2, 1
					}
					w.disk.Fail(fault)
				}
			}
			w.change(func() { w.err, w.refuses[deadTexts] = nil, refusal })
			for range 20 {
				if tt.cannotPut {
					event := src.Event()
					want, good = append(want, event), append(good, event)
					give(t, s, event)
				} else {
					add()
				}
			}
			events := func() (out []string) {
				for _, l := range w.stored() {
					if strings.Contains(l, `"kind":"event"`) {
						out = append(out, l)
					}
				}
				return out
			}
			testkit.Await(t, "the others to be stored", func() bool { return len(events()) == len(good) })
			wantLines(t, events(), good)
			testkit.Await(t, "the store to be direct", func() bool { return s.Status().Direct })
			if st := s.Status(); st.Refused != 1 || st.Records != int64(len(want)-len(w.stored())) {
				t.Errorf("status %+v, want the lines of one stream that wait, %d", st, len(want)-len(w.stored()))
			}
			if err := s.NotReady(); !errors.Is(err, refusal) {
				t.Errorf("NotReady() = %v, want the refusal", err)
			}
			w.disk.Heal()
			w.change(func() { w.refuses = map[papyra.Stream]error{} })
			testkit.Await(t, "the stream to be taken again", func() bool { return s.Status().Refused == 0 })
			add()
			w.wantDrained(s, want)
			if err := s.NotReady(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Two streams are refused, and one of them is taken again before the other.
func TestRefusedStreamsComeBackOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	w.change(func() { w.refuses[deadTexts], w.refuses[orders] = errors.New("one"), errors.New("two") })
	var want [][]byte
	add := func() {
		lines := [][]byte{src.Event(), src.Line("orders", papyra.KindDeadLetter, strings.Repeat("z", 60)), src.Line("shop", papyra.KindEvent, "")}
		want = append(want, lines...)
		give(t, s, lines...)
	}
	for range 60 {
		add()
	}
	w.change(func() { delete(w.refuses, orders) })
	testkit.Await(t, "the first to come back", func() bool { return s.Status().Refused == 1 })
	add()
	w.change(func() { delete(w.refuses, deadTexts) })
	w.wantDrained(s, want)
}

// A stream that is taken again under load goes to the store again, though something of
// it always comes.
func TestRefusedStreamComesBackUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	w.change(func() { w.refuses[orders] = errors.New("CLUSTERDOWN") })
	var want [][]byte
	add := func(n int) {
		lines := src.Events(n)
		want = append(want, lines...)
		give(t, s, lines...)
	}
	for range 20 {
		add(50)
	}
	w.change(func() {
		clear(w.refuses)
		w.before = func() { // something comes with everything that the store is given
			if s.turn.TryLock() {
				s.turn.Unlock()
				add(5)
			}
		}
	})
	testkit.Await(t, "the stream to be taken again", func() bool { return s.Status().Refused == 0 })
	w.change(func() { w.before = nil })
	before := s.Status().Spooled
	add(5)
	if after := s.Status().Spooled; after != before {
		t.Errorf("%d records still went into the spool", after-before)
	}
	w.wantDrained(s, want)
}

// A cluster that is down as a whole answers for each stream: everything waits as
// refused, reports keep their reserve and come first.
func TestAllStreamsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config()
	c.MaxBytes = 80 << 10
	s, src := w.openWith(c), testrecord.New(1)
	ofReports := papyra.Stream{System: "orders", Kind: papyra.KindReport}
	w.change(func() { w.refuses[orders], w.refuses[ofReports] = errDown, errDown })
	var want, reports [][]byte
	for {
		l := src.Event()
		if _, err := s.Append(t.Context(), testrecord.Batch(l)); err != nil {
			break
		}
		want = append(want, l)
	}
	for range 20 {
		l := src.Line("orders", papyra.KindReport, "")
		reports = append(reports, l)
		give(t, s, l)
	}
	if err := s.NotReady(); !errors.Is(err, errDown) || !strings.Contains(err.Error(), "refuses 2 streams") {
		t.Errorf("NotReady() = %v", err)
	}
	w.awaitTries(4)
	w.change(func() { clear(w.refuses) })
	awaitEmpty(t, s)
	got := w.stored()
	wantLines(t, got, append(want, reports...))
	if !strings.Contains(got[0], `"kind":"report"`) {
		t.Errorf("the store got %s first, want a report", got[0])
	}
}

// Refused lines wait over a restart too.
func TestRefusedLinesWaitOverARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	w.change(func() { w.refuses[deadTexts] = errors.New("NOPERM") })
	var want [][]byte
	for range 5 {
		want = append(want, src.Line("orders", papyra.KindDeadLetter, "x"))
		give(t, s, want[len(want)-1])
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = w.open()
	testkit.Await(t, "the store to be direct", func() bool { st := s.Status(); return st.Direct && st.Refused == 1 })
	want = append(want, src.Line("orders", papyra.KindDeadLetter, "y"), src.Event())
	give(t, s, want[5:]...)
	w.change(func() { delete(w.refuses, deadTexts) })
	w.wantDrained(s, want)
}

// A segment goes only when the lines of it that were moved are synced.
func TestSegmentGoesAfterWhatWasMovedIsSynced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	w.fail(errDown)
	event, dead := src.Event(), src.Line("orders", papyra.KindDeadLetter, "x")
	give(t, s, event, dead)
	w.disk.Fail(faultdisk.Fault{Op: faultdisk.Sync, Path: "refused-*", Err: unix.EIO})
	w.change(func() { w.err, w.refuses[deadTexts] = nil, errors.New("WRONGTYPE") })
	testkit.Await(t, "the sync to fail", func() bool { return strings.Contains(w.logs.String(), "cannot be drained now") })
	if names := w.segments(); !slices.Contains(names, records.name(1)) {
		t.Errorf("the spool holds %q: the segment went", names)
	}
	w.disk.Heal()
	testkit.Await(t, "the store to be direct", func() bool { return s.Status().Direct })
	w.change(func() { clear(w.refuses) })
	w.wantDrained(s, [][]byte{event, dead})
}
