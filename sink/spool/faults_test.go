package spool

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	s, src := w.open(), testrecord.New(1)
	w.fail(errDown)
	lines := src.Events(100)
	give(t, s, lines...)
	before := len(w.segments())
	w.change(func() { w.err, w.syncErr = nil, unix.EIO })
	testkit.Await(t, "the store to take lines", func() bool { return len(w.stored()) > 0 })
	testkit.Await(t, "the sync to fail", func() bool { return errors.Is(s.NotReady(), unix.EIO) })
	if n := len(w.segments()); n < before {
		t.Errorf("%d files are left of %d", n, before)
	}
	w.change(func() { w.syncErr = nil })
	awaitEmpty(t, s)
	wantLines(t, w.stored(), lines)
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

// The refusal of one stream holds up neither the others nor the spool: its lines wait,
// also those that come later, and keep their order.
func TestRefusedStreamHoldsUpNobody(t *testing.T) {
	t.Parallel()
	refusal := errors.New("WRONGTYPE")
	for _, tt := range []struct {
		name      string
		draining  bool // refused when the spool is drained, otherwise while the store is direct
		cannotPut bool // and its lines cannot be moved
	}{{"direct", false, false}, {"draining", true, false}, {"draining on a full disk", true, true}} {
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
					w.disk.Fail(faultdisk.Fault{Op: faultdisk.Write, Path: "refused-*", Err: unix.ENOSPC})
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
			awaitEmpty(t, s)
			wantLines(t, w.stored(), want)
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
	awaitEmpty(t, s)
	wantLines(t, w.stored(), want)
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
	w.change(func() { clear(w.refuses) })
	testkit.Await(t, "the stream to be taken again", func() bool {
		add(5)
		return s.Status().Refused == 0
	})
	before := s.Status().Spooled
	add(5)
	if after := s.Status().Spooled; after != before {
		t.Errorf("%d records still went into the spool", after-before)
	}
	awaitEmpty(t, s)
	wantLines(t, w.stored(), want)
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
	tries := func() (n int) {
		w.change(func() { n = w.appends })
		return n
	}
	before := tries()
	testkit.Await(t, "two more tries", func() bool { return tries() >= before+4 })
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
	awaitEmpty(t, s)
	wantLines(t, w.stored(), want)
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
			awaitEmpty(t, s)
			wantLines(t, w.stored(), lines)
		})
	}
}

// A segment that cannot be taken away is stored again by the next start, and not by
// this one.
func TestSegmentThatCannotBeTakenAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, src := w.open(), testrecord.New(1)
	w.fail(errDown)
	lines := src.Events(10)
	give(t, s, lines...)
	w.disk.Fail(faultdisk.Fault{Op: faultdisk.Remove, Err: unix.EROFS})
	w.fail(nil)
	awaitEmpty(t, s)
	wantLines(t, w.stored(), lines)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.disk.Heal()
	awaitEmpty(t, w.open())
	wantLines(t, w.stored(), slices.Concat(lines, lines))
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
	lines := src.Events(90)
	for _, l := range lines {
		give(t, s, l)
	}
	var paths []string
	for _, seg := range s.queues[records] {
		paths = append(paths, seg.path)
	}
	if len(paths) < 6 {
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
		lose(slices.Collect(bytes.Lines(data))[2])
		at := bytes.Index(data, []byte(`"seq":3`))
		data[at-30] ^= 1
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
	for _, seg := range s.queues[records][4:5] {
		for key := range seg.numbers.byRun {
			for _, r := range seg.numbers.byRun[key].ranges {
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
	s, src := w.open(), testrecord.New(1)
	w.fail(errDown)
	lines := src.Events(5)
	give(t, s, lines...)
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

// Everything at random: the store goes and comes, refuses streams, the spool's disk
// fails, and now and then what is on the disk at that moment is what the next start
// finds, as after a kill. Nothing that was taken is missing in the end, each stream
// comes in order but for what a kill repeats, and a repeated line is the same line.
func TestRandomLife(t *testing.T) {
	t.Parallel()
	rounds := 6
	if testkit.Long() {
		rounds = 200
	}
	for round := range rounds {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			t.Parallel()
			randomLife(t, rand.New(rand.NewPCG(uint64(round), 42)))
		})
	}
}

func randomLife(t *testing.T, r *rand.Rand) {
	w := newWorld(t)
	w.watchRemovals()
	c := w.config()
	s, src := w.openWith(c), testrecord.New(1)
	var taken []string
	kills := 0
	streams := []papyra.Stream{orders, deadTexts, {System: "shop", Kind: papyra.KindEvent}, {System: "orders", Kind: papyra.KindReport}}
	line := func() []byte {
		stream := streams[r.IntN(len(streams))]
		return src.Line(stream.System, stream.Kind, strings.Repeat("x", r.IntN(300)))
	}
	for range 300 {
		switch r.IntN(20) {
		case 0, 1:
			w.fail(errDown)
		case 2, 3, 4:
			w.fail(nil)
		case 5:
			w.change(func() { w.refuses[streams[r.IntN(len(streams))]] = errors.New("NOPERM") })
		case 6, 7:
			w.change(func() { clear(w.refuses) })
		case 8:
			w.disk.Fail(faultdisk.Fault{Op: faultdisk.Write, Err: unix.ENOSPC, Part: r.IntN(200), Times: 1 + r.IntN(3)})
		case 9:
			w.disk.Heal()
		case 10:
			if err := s.Sync(t.Context()); err != nil && !errors.Is(err, errDown) && !errors.Is(err, unix.ENOSPC) {
				t.Errorf("Sync() = %v", err)
			}
		case 11:
			if r.IntN(3) > 0 {
				continue
			}
			s = w.kill(s, c)
			kills++
		default:
			b := &papyra.Batch{}
			for range 1 + r.IntN(20) {
				l := line()
				rec, err := papyra.Parse(l)
				if err != nil {
					t.Fatal(err)
				}
				b.Append(b.StreamIndex(rec.Stream()), l)
			}
			for b.Len() > 0 { // a sink gives again what was not taken
				before := &papyra.Batch{}
				copyLines(before, b, func(int) bool { return true })
				n, err := s.Append(t.Context(), b)
				b.DropStored(n, err)
				left := map[string]bool{}
				for i := range b.Len() {
					l, _ := b.Line(i)
					left[string(l)] = true
				}
				for i := range before.Len() {
					if l, _ := before.Line(i); !left[string(l)] {
						taken = append(taken, string(l))
					}
				}
				if err != nil && !errors.Is(err, ErrFull) {
					t.Fatalf("Append() = %v", err)
				}
				if err != nil {
					w.disk.Heal()
				}
			}
		}
	}
	w.disk.Heal()
	w.change(func() {
		w.err = nil
		clear(w.refuses)
	})
	awaitEmpty(t, s)
	got := w.stored()
	count := map[string]int{}
	for _, l := range got {
		count[l]++
	}
	repeated := 0
	for _, l := range taken {
		if count[l] == 0 {
			t.Fatalf("a line that was taken is not stored: %.200s", l)
		}
		repeated += count[l] - 1
	}
	if len(count) != len(taken) {
		t.Errorf("%d lines are stored, want the %d that were taken", len(count), len(taken))
	}
	if kills == 0 && repeated > 0 {
		t.Errorf("%d lines are stored twice, and nothing was killed", repeated)
	}
	if kills == 0 {
		var want [][]byte
		for _, l := range taken {
			want = append(want, []byte(l))
		}
		wantLines(t, got, want)
	}
	t.Logf("%d lines, %d of them again after %d kills", len(taken), repeated, kills)
}

// kill copies the spool's directory as it is at one moment, and opens a spool on the
// copy. Nothing of the first one counts afterwards.
func (w *world) kill(s *Spool, c Config) *Spool {
	w.t.Helper()
	copied := filepath.Join(testkit.FastDir(w.t), "spool")
	w.change(func() { // the store takes nothing of the old one from here on
		if err := os.CopyFS(copied, os.DirFS(w.dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
			w.t.Error(err)
		}
		w.err = errDown
	})
	if err := s.Close(); err != nil {
		w.t.Logf("close: %v", err)
	}
	w.dir = copied
	c.Dir = copied
	return w.openWith(c)
}
