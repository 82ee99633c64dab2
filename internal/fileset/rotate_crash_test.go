package fileset_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// fullSet makes a set that the next append rotates and that is full: the events
// 1 to n of run 1.
func fullSet(t *testing.T, path string) (n int) {
	t.Helper()
	f := bound(t, path, childMaxBytes, childMaxFiles)
	src := testrecord.New(1)
	a := f.appender()
	for len(f.members()) < childMaxFiles || len(f.members()[childMaxFiles-1].data) < childMaxBytes-300 {
		f.append(a, src.Event())
		n++
	}
	must(t, f.Close())
	return n
}

// Killed before any system call that changes files, a rotation leaves a valid
// set in which nothing is twice. The next appender finishes what was begun: every
// event is stored or was dropped by the bound and told, once.
func TestStraceKillRotate(t *testing.T) {
	t.Parallel()
	set := func() (string, int) {
		path := filepath.Join(testkit.FastDir(t), "records.ndjson")
		return path, fullSet(t, path)
	}
	path, _ := set()
	points := killPoints(t, "append-set", path)
	for _, p := range some(t, points, 60) {
		path, before := set()
		out := killAt(t, "append-set", path, p)
		said := 0
		for _, word := range strings.Fields(string(out)) {
			n, err := strconv.Atoi(word)
			must(t, err)
			said = n
		}
		f := bound(t, path, childMaxBytes, childMaxFiles)
		scan := f.scan(papyra.ScanOptions{Full: true})
		if scan.Duplicates > 0 {
			t.Errorf("after the kill there are duplicates: %+v", scan)
		}
		for _, an := range scan.Anomalies {
			if an.Class != papyra.ClassLeftover && (an.Class != papyra.ClassTruncated || an.File != "records.ndjson") {
				t.Errorf("after the kill: %+v, want at most what was about to go and a fragment", an)
			}
		}
		checkBoth(t, f, before, said, "after the kill")

		a := f.appender()
		last := testrecord.New(3)
		f.append(a, last.Events(3)...)
		f.checkBound(childMaxBytes, childMaxFiles)
		checkBoth(t, f, before, said, "after the next appender")
		must(t, a.Close())
		for _, base := range f.beside() {
			if strings.HasPrefix(base, ".records.ndjson.dropping-") {
				t.Errorf("%s is left over", base)
			}
		}
		checkNamed(t, f, testrecord.New(1).Run(), before)
		if r := f.recover(papyra.RecoverOptions{}); !r.After.Clean() || r.Moved > 1 {
			t.Errorf("recovery: %+v", r)
		}
		if t.Failed() {
			t.Fatalf("killed before %s %d", p.call, p.n)
		}
	}
}

// checkBoth makes sure that of the events of run 1, and behind them of run 77,
// an unbroken end is stored, that nothing of it is twice, and that what was said
// to be stored was not lost but by the bound.
func checkBoth(t *testing.T, f *fixture, before, said int, when string) {
	t.Helper()
	var got []int
	for _, seq := range f.seqs(testrecord.New(1).Run()) {
		got = append(got, int(seq))
	}
	for _, seq := range f.seqs(testrecord.New(77).Run()) {
		got = append(got, before+int(seq))
	}
	if len(got) == 0 || got[len(got)-1] < before+said {
		t.Fatalf("%s: stored are %v, want them to reach %d", when, got, before+said)
	}
	for i := range got {
		if got[i] != got[0]+i {
			t.Fatalf("%s: stored are %v, want no gap and none twice", when, got)
		}
	}
	seqs, records, _ := f.removed(testrecord.New(1).Run())
	if gone := min(got[0]-1, before); len(seqs) > gone || int(records) > got[0]-1 {
		t.Errorf("%s: %d events are gone, the reports name %d and count %d", when, gone, len(seqs), records)
	}
}

// checkNamed makes sure that the events 1 to n of a run are stored or named.
func checkNamed(t *testing.T, f *fixture, run string, n int) {
	t.Helper()
	named, _, _ := f.removed(run)
	stored := f.seqs(run)
	for seq := uint64(1); seq <= uint64(n); seq++ {
		if named[seq] == slices.Contains(stored, seq) {
			t.Errorf("event %d: named %v, stored %v", seq, named[seq], !named[seq])
		}
	}
}

// Killed anywhere, a compaction of a set leaves every file, old or
// new, and the view.
func TestStraceKillCompactSet(t *testing.T) {
	t.Parallel()
	set := func() *fixture {
		path := filepath.Join(testkit.FastDir(t), "records.ndjson")
		fullSet(t, path)
		return bound(t, path, childMaxBytes, childMaxFiles)
	}
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 3}}, At: testrecord.Start}
	f := set()
	all := len(f.read(papyra.Query{}))
	points := killPoints(t, "compact-set", f.path)
	for _, p := range some(t, points, 20) {
		f := set()
		want := f.read(papyra.Query{Retention: o.Retention, At: o.At})
		killAt(t, "compact-set", f.path, p)
		if diff := gocmp.Diff(want, f.read(papyra.Query{Retention: o.Retention, At: o.At})); diff != "" {
			t.Errorf("the view (-want +got):\n%s", diff)
		}
		if got := len(f.members()); got != childMaxFiles {
			t.Errorf("%d files, want %d", got, childMaxFiles)
		}
		if _, err := f.Compact(t.Context(), o); err != nil {
			t.Errorf("compact again: %v", err)
		}
		if diff := gocmp.Diff(want, f.read(papyra.Query{})); diff != "" {
			t.Errorf("after the second compaction (-want +got):\n%s", diff)
		}
		if seqs, _, _ := f.removed(testrecord.New(1).Run()); len(seqs) < all-3 {
			t.Errorf("the reports name %d events, want at least %d", len(seqs), all-3)
		}
		if t.Failed() {
			t.Fatalf("killed before %s %d", p.call, p.n)
		}
	}
}

// Whoever reads, scans or compacts while the names shift sees each
// file once, in this process and in others.
func TestReadersBesideRotation(t *testing.T) {
	const maxBytes, maxFiles = 3000, 6
	f := bound(t, filepath.Join(testkit.FastDir(t), "records.ndjson"), maxBytes, maxFiles)
	other := bound(t, f.path, maxBytes, maxFiles) // as another process: it knows nothing of the first
	src := testrecord.New(1)
	a := f.appender()
	f.append(a, src.Events(100)...)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	report := func(err error) {
		if err != nil && ctx.Err() == nil {
			t.Error(err)
			cancel()
		}
	}
	reads := make([]int, 3)
	for i, s := range []*fileset.Store{f.Store, other.Store} {
		for _, reverse := range []bool{false, true} {
			running.Go(func() {
				for ctx.Err() == nil {
					report(readInOrder(ctx, s, reverse))
					if !reverse {
						reads[i]++
					}
				}
			})
		}
	}
	running.Go(func() {
		for ctx.Err() == nil {
			r, err := other.Scan(ctx, papyra.ScanOptions{Full: true})
			if err == nil && (!r.Clean() || r.Duplicates > 0) {
				err = fmt.Errorf("scan: %v, %d duplicates", r.Anomalies, r.Duplicates)
			}
			report(err)
			reads[2]++
		}
	})
	rotations := int64(300)
	for a.Stats().Rotations < rotations && ctx.Err() == nil {
		f.append(a, src.Events(5)...)
	}
	cancel()
	running.Wait()
	if slices.Min(reads) < 3 {
		t.Errorf("only %v readings beside %d rotations", reads, rotations)
	}
	t.Logf("%v readings beside %d rotations", reads, a.Stats().Rotations)
}

// readInOrder reads the events, of which none may be missing in between.
func readInOrder(ctx context.Context, s *fileset.Store, reverse bool) error {
	var got []uint64
	damaged, err := s.Read(ctx, papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}, Reverse: reverse, Duplicates: true},
		func(r *papyra.Record, _ papyra.Place) error {
			got = append(got, r.Seq)
			return nil
		})
	if err != nil {
		return err
	}
	if reverse {
		slices.Reverse(got)
	}
	if damaged > 0 || len(got) < 20 {
		return fmt.Errorf("%d events, %d damaged", len(got), damaged)
	}
	for i := range got {
		if got[i] != got[0]+uint64(i) {
			return fmt.Errorf("reverse %v: %v has a gap or one twice", reverse, got)
		}
	}
	return nil
}

// Compactions and recoveries of the appender's own store go on while the files
// under them are shifted and dropped.
func TestActsBesideRotation(t *testing.T) {
	const maxBytes, maxFiles = 20_000, 4
	f := bound(t, filepath.Join(testkit.FastDir(t), "records.ndjson"), maxBytes, maxFiles)
	src := testrecord.New(1)
	a := f.appender()
	f.append(a, src.Events(300)...)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	acts := 0
	running.Go(func() {
		for ctx.Err() == nil {
			_, err := f.Compact(ctx, papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 100}}, At: testrecord.Start})
			if err == nil {
				_, err = f.Recover(ctx, papyra.RecoverOptions{})
			}
			if err != nil && ctx.Err() == nil {
				t.Errorf("act: %v", err)
				return
			}
			acts++
		}
	})
	n := 300
	deadline := time.Now().Add(time.Minute)
	for a.Stats().Rotations < 60 && time.Now().Before(deadline) {
		f.append(a, src.Events(9)...)
		n += 9
	}
	cancel()
	running.Wait()
	stored := f.seqs(src.Run())
	if got := len(stored); got < 100 || stored[got-1] != uint64(n) {
		t.Fatalf("%d events stored, the last is %d, want at least 100 to %d", got, stored[got-1], n)
	}
	for i, seq := range stored {
		if seq != stored[0]+uint64(i) {
			t.Fatalf("stored are %v, want no gap and none twice", stored)
		}
	}
	seqs, _, _ := f.removed(src.Run())
	for seq := uint64(1); seq < stored[0]; seq++ {
		if !seqs[seq] {
			t.Errorf("%d is not stored, and no report tells why", seq)
		}
	}
	f.checkBound(maxBytes, maxFiles)
	if r := f.scan(papyra.ScanOptions{Full: true}); len(r.AnomalyCounts) > 0 || acts < 3 {
		t.Errorf("scan after %d acts: %+v", acts, r)
	}
	t.Logf("%d acts beside %d rotations", acts, a.Stats().Rotations)
}

// dyingDisk is a disk whose calls that change something all fail from the n-th
// on, as if the process were gone.
type dyingDisk struct {
	disk.OS
	left int
}

var errDead = errors.New("dead")

func (d *dyingDisk) call(flag int) error {
	if flag&(os.O_CREATE|os.O_TRUNC) == 0 && flag >= 0 {
		return nil
	}
	if d.left--; d.left < 0 {
		return errDead
	}
	return nil
}

func (d *dyingDisk) Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	if err := d.call(flag); err != nil {
		return nil, err
	}
	return d.OS.Open(path, flag, perm)
}

func (d *dyingDisk) Write(f *os.File, b []byte) (int, error) {
	if err := d.call(-1); err != nil {
		// A part of the last write may have reached the file.
		n, _ := d.OS.Write(f, b[:min(len(b), -d.left%2*90)])
		return n, err
	}
	return d.OS.Write(f, b)
}

func (d *dyingDisk) Truncate(f *os.File, size int64) error {
	if err := d.call(-1); err != nil {
		return err
	}
	return d.OS.Truncate(f, size)
}

func (d *dyingDisk) Sync(f *os.File) error {
	if err := d.call(-1); err != nil {
		return err
	}
	return d.OS.Sync(f)
}

func (d *dyingDisk) Rename(from, to string) error {
	if err := d.call(-1); err != nil {
		return err
	}
	return d.OS.Rename(from, to)
}

func (d *dyingDisk) Move(from, to string) error {
	if err := d.call(-1); err != nil {
		return err
	}
	return d.OS.Move(from, to)
}

func (d *dyingDisk) Remove(path string) error {
	if err := d.call(-1); err != nil {
		return err
	}
	return d.OS.Remove(path)
}

// Random appends, changes of both limits and deaths at any call, against a
// model: the newest events are stored, in order and once, what is not was
// dropped and told, and nothing was dropped that had a place.
func TestRotateAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := &rotateModel{t: t, rt: rt, path: filepath.Join(testkit.FastDir(t), "records.ndjson"), src: testrecord.New(1), maxBytes: 1500, maxFiles: 3, decoded: map[string]papyra.RemovalReport{}}
		m.open(1 << 30)
		defer func() { _ = m.store.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"append": m.append,
			"limits": m.limits,
			"die":    m.die,
			"":       m.check,
		})
	})
}

type rotateModel struct {
	t    *testing.T
	rt   *rapid.T
	path string
	src  *testrecord.Source

	maxBytes int64
	maxFiles int
	disk     *dyingDisk
	store    *fileset.Store
	appender papyra.Appender
	decoded  map[string]papyra.RemovalReport

	made  int // events, by their number
	known int // of them these are surely stored, or dropped
}

func (m *rotateModel) open(calls int) {
	m.disk = &dyingDisk{left: 1 << 30}
	var err error
	m.store, err = fileset.Open(fileset.Config{
		Path: m.path, Numbered: true, MaxBytes: m.maxBytes, MaxFiles: m.maxFiles, Disk: m.disk, Now: func() time.Time { return testrecord.Start },
	})
	must(m.t, err)
	m.appender, err = m.store.Appender(context.Background())
	if err != nil {
		m.rt.Fatalf("open appender: %v", err)
	}
	m.disk.left = calls
}

func (m *rotateModel) append(rt *rapid.T) {
	lines := m.src.Events(rapid.IntRange(1, 14).Draw(rt, "lines"))
	before := m.made
	m.made += len(lines)
	n, err := m.appender.Append(context.Background(), testrecord.Batch(lines...))
	if n != len(lines) || err != nil {
		rt.Fatalf("append stored %d of %d, error %v", n, len(lines), err)
	}
	m.known = before + n
}

func (m *rotateModel) limits(rt *rapid.T) {
	if err := m.store.Close(); err != nil {
		rt.Fatalf("close: %v", err)
	}
	m.maxBytes = rapid.Int64Range(1, 4000).Draw(rt, "max_bytes")
	m.maxFiles = rapid.IntRange(2, 6).Draw(rt, "max_files")
	m.open(1 << 30)
}

// die appends until a call fails, and leaves everything as it is.
func (m *rotateModel) die(rt *rapid.T) {
	m.disk.left = rapid.IntRange(0, 60).Draw(rt, "calls")
	for m.disk.left >= 0 {
		lines := m.src.Events(rapid.IntRange(1, 14).Draw(rt, "lines"))
		before := m.made
		m.made += len(lines)
		n, err := m.appender.Append(context.Background(), testrecord.Batch(lines...))
		m.known = before + n
		if err != nil {
			break
		}
		if err := m.appender.Sync(context.Background()); err != nil {
			break
		}
	}
	m.disk.left = 0
	_ = m.store.Close() // lets the lock go and can do nothing else
	m.open(1 << 30)
	// What was lost with the process comes again, as a publisher's new records.
	f := &fixture{Store: m.store, t: rtb{m.t, rt}, path: m.path, decoded: m.decoded}
	stored := f.seqs(m.src.Run())
	last := uint64(0)
	if len(stored) > 0 {
		last = stored[len(stored)-1]
	} else if m.known > 0 {
		rt.Fatalf("nothing is stored, %d events were", m.known)
	}
	if int(last) < m.known {
		rt.Fatalf("stored up to %d, want at least %d", last, m.known)
	}
	m.src.Rewind(papyra.KindEvent, last)
	m.made, m.known = int(last), int(last)
}

func (m *rotateModel) check(rt *rapid.T) {
	if m.made == 0 {
		return
	}
	f := &fixture{Store: m.store, t: rtb{m.t, rt}, path: m.path, decoded: m.decoded}
	f.checkAccount(m.src.Run(), m.made)
}

// rtb lets a fixture fail a rapid test.
type rtb struct {
	testing.TB
	rt *rapid.T
}

func (b rtb) Helper()                      {}
func (b rtb) Fatal(args ...any)            { b.rt.Fatal(args...) }
func (b rtb) Fatalf(f string, args ...any) { b.rt.Fatalf(f, args...) }
func (b rtb) Error(args ...any)            { b.rt.Error(args...) }
func (b rtb) Errorf(f string, args ...any) { b.rt.Errorf(f, args...) }
