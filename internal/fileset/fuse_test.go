package fileset_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultfs"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// The faults of fault_test.go are injected into the calls of this package. Here
// they come from a file system, through the kernel.

// A store on a FUSE mount is locked as on a local disk.
func TestRootFuseLock(t *testing.T) {
	fs := faultfs.Mount(t)
	f := openFixture(t, filepath.Join(fs.Dir, "records.ndjson"), fileset.SyncInterval)
	a := f.appender()
	other := openFixture(t, f.path, fileset.SyncInterval)
	if _, err := other.Appender(t.Context()); !errors.Is(err, papyra.ErrBusy) {
		t.Errorf("a second appender: %v, want papyra.ErrBusy", err)
	}
	must(t, a.Close())
	must(t, other.appender().Close())
	must(t, f.Close())
	must(t, other.Close())
}

// A write that is refused, or is short and then refused, leaves no part behind,
// and the same batch is taken when the disk takes it.
func TestRootFuseFailedWrite(t *testing.T) {
	fs := faultfs.Mount(t)
	lines := testrecord.New(1).Events(10)
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EFBIG} {
		for _, part := range []int{0, 1, 100, len(lines[4]), len(lines[4]) + 1, len(lines[4]) + len(lines[5]) + 12} {
			t.Run(fmt.Sprint(unix.ErrnoName(errno), " after ", part), func(t *testing.T) {
				fs.Reset()
				f := fuseFixture(t, fs)
				a := f.appender()
				f.append(a, lines[:4]...)
				rest := testrecord.Batch(lines[4:]...)
				for range 3 {
					fs.Fail(faultfs.Fault{Op: faultfs.Write, Err: errno, Part: part, Times: 1})
					if n, err := a.Append(t.Context(), rest); n != 0 || !errors.Is(err, errno) {
						t.Fatalf("stored %d, error %v; want 0 and %v", n, err, errno)
					}
					if got := f.bytes(); !bytes.Equal(got, testrecord.Join(lines[:4]...)) {
						t.Fatalf("a part stays: %q", got)
					}
				}
				if n, err := a.Append(t.Context(), rest); n != 6 || err != nil {
					t.Fatalf("when the disk takes it: stored %d, error %v", n, err)
				}
				if got := f.bytes(); !bytes.Equal(got, testrecord.Join(lines...)) {
					t.Errorf("the file holds %q", got)
				}
				if s := a.Stats(); s.CutBack != 3 || s.Torn != 0 {
					t.Errorf("stats %+v, want 3 cut back", s)
				}
			})
		}
	}
	t.Run("short", func(t *testing.T) {
		fs.Reset()
		f := fuseFixture(t, fs)
		a := f.appender()
		fs.Fail(faultfs.Fault{Op: faultfs.Write, Part: 77})
		f.append(a, lines...)
		if got := f.bytes(); fs.Hit() < 10 || !bytes.Equal(got, testrecord.Join(lines...)) {
			t.Errorf("after %d short writes the file holds %q", fs.Hit(), got)
		}
	})
}

// fuseFixture is a store in a new directory of a faulty file system.
func fuseFixture(t *testing.T, fs *faultfs.FS) *fixture {
	t.Helper()
	return openFixture(t, filepath.Join(fuseDir(t, fs), "records.ndjson"), fileset.SyncInterval)
}

func fuseDir(t *testing.T, fs *faultfs.FS) string {
	t.Helper()
	dir, err := os.MkdirTemp(fs.Dir, "") //nolint:usetesting // it must lie in the mount
	must(t, err)
	return dir
}

// A failed fsync loses the bytes, and the next one succeeds without them: they
// are written again at their places, as often as it takes.
func TestRootFuseFailedSync(t *testing.T) {
	fs := faultfs.Mount(t)
	for _, times := range []int{1, 2, 5} {
		t.Run(strconv.Itoa(times), func(t *testing.T) {
			fs.Reset()
			f := fuseFixture(t, fs)
			a := f.appender()
			src := testrecord.New(1)
			lines := src.Events(3)
			f.append(a, lines...)
			must(t, a.Sync(t.Context()))
			fs.Fail(faultfs.Fault{Op: faultfs.Sync, Path: "records.ndjson", Err: unix.EIO, Times: times})
			failed := 0
			for range 2 + times {
				more := src.Events(2)
				lines = append(lines, more...)
				f.append(a, more...)
				if err := a.Sync(t.Context()); err != nil {
					failed++
				}
			}
			must(t, a.Sync(t.Context()))
			if got := f.bytes(); !bytes.Equal(got, testrecord.Join(lines...)) {
				t.Errorf("the file holds %q", got)
			}
			// The second try follows the first at once.
			if s := a.Stats(); s.SyncFailures != int64(times) || failed != max(times-1, 0) && times > 2 || fs.Hit() != times {
				t.Errorf("stats %+v, %d syncs failed", s, failed)
			}
		})
	}
}

// sweep tries an act with each single operation failing that it makes, once with
// each error.
type sweep struct {
	name string
	open func(t *testing.T, path string) *fixture
	// prepare makes what is there before; the faults begin behind it.
	prepare func(f *fixture)
	// act does the work, again after an error as whoever calls it does. settled
	// is called after each error.
	act func(t *testing.T, f *fixture, settled func()) (failed bool)
	// check looks at what is there in the end.
	check func(t *testing.T, f *fixture)
	// whole: after an error, but that of a sync, each file ends in a newline.
	whole bool
}

// sweepFaults are what an operation may meet.
func sweepFaults(op faultfs.Op) []faultfs.Fault {
	out := []faultfs.Fault{{Err: unix.EIO}, {Err: unix.ENOSPC}, {Err: unix.EDQUOT}}
	if op == faultfs.Write {
		out = append(out, faultfs.Fault{Part: 60}, faultfs.Fault{Part: 60, Err: unix.ENOSPC})
	}
	for i := range out {
		out[i].Op, out[i].Times = op, 1
	}
	return out
}

func (s *sweep) run(t *testing.T, fs *faultfs.FS, points int) {
	var trace map[faultfs.Op]int
	one := func(t *testing.T, fault *faultfs.Fault) (failed bool) {
		f := s.open(t, filepath.Join(fuseDir(t, fs), "records.ndjson"))
		s.prepare(f)
		fs.Reset()
		if fault != nil {
			fs.Fail(*fault)
		}
		failed = s.act(t, f, func() {
			if s.whole && fault != nil && fault.Op != faultfs.Sync {
				checkWhole(t, f)
			}
		})
		if fault == nil {
			trace = fs.Calls()
		} else if fs.Hit() == 0 {
			t.Errorf("%s %d was not reached", fault.Op, fault.Skip+1)
		}
		fs.Heal()
		s.check(t, f)
		must(t, f.Close())
		must(t, os.RemoveAll(filepath.Dir(f.path)))
		return failed
	}
	one(t, nil)
	var all []faultfs.Fault
	for _, op := range faultfs.Ops() {
		for n := range trace[op] {
			for _, fault := range sweepFaults(op) {
				fault.Skip = n
				all = append(all, fault)
			}
		}
	}
	chosen := all
	if !testkit.Long() && len(all) > points {
		chosen = nil
		for i := range points {
			chosen = append(chosen, all[i*len(all)/points])
		}
	}
	failed := 0
	for _, fault := range chosen {
		if one(t, &fault) {
			failed++
		}
		if t.Failed() {
			t.Fatalf("after %s %d of %d failed with %v, %d bytes taken", fault.Op, fault.Skip+1, trace[fault.Op], fault.Err, fault.Part)
		}
	}
	if failed*4 < len(chosen) {
		t.Errorf("only %d of %d faults were noticed", failed, len(chosen))
	}
	t.Logf("%d of %d faults, %d noticed, in the trace %v", len(chosen), len(all), failed, trace)
}

// checkWhole makes sure that nothing stands in the store by halves.
func checkWhole(t *testing.T, f *fixture) {
	t.Helper()
	for _, m := range f.members() {
		if len(m.data) > 0 && m.data[len(m.data)-1] != '\n' {
			t.Errorf("file %d ends in %q", m.number, m.data[max(len(m.data)-80, 0):])
		}
	}
}

// appendThrough appends batches of events, each until it is stored, and syncs.
func appendThrough(t *testing.T, f *fixture, src *testrecord.Source, batches, lines int, settled func()) (failed bool) {
	t.Helper()
	var a papyra.Appender
	for tries := 0; a == nil; tries++ {
		var err error
		if a, err = f.Appender(t.Context()); err != nil {
			failed = true
			if settled(); tries > 3 {
				t.Fatalf("open still fails: %v", err)
			}
		}
	}
	for range batches {
		batch := testrecord.Batch(src.Events(lines)...)
		for tries := 0; batch.Len() > 0; tries++ {
			n, err := a.Append(t.Context(), batch)
			batch.Drop(n)
			if err != nil {
				failed = true
				if settled(); tries > 3 {
					t.Fatalf("append still fails: %v", err)
				}
			}
		}
		for tries := 0; ; tries++ {
			err := a.Sync(t.Context())
			if err == nil {
				break
			}
			failed = true
			if tries > 3 {
				t.Fatalf("sync still fails: %v", err)
			}
		}
	}
	if err := a.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	return failed
}

// Whatever single operation of appending, rotating, compacting or recovering
// fails on a real file system: nothing stands by halves, the batch is taken
// later, the act can be done again, and nothing is lost, stored twice or
// unexplained.
func TestRootFuseSweep(t *testing.T) {
	t.Parallel()
	fs := faultfs.Mount(t)
	plain := func(t *testing.T, path string) *fixture { return openFixture(t, path, fileset.SyncInterval) }
	set := func(t *testing.T, path string) *fixture { return bound(t, path, childMaxBytes, childMaxFiles) }
	var src *testrecord.Source
	clean := func(t *testing.T, f *fixture) {
		t.Helper()
		if r := f.scan(papyra.ScanOptions{Full: true}); !r.Clean() || r.Duplicates > 0 {
			t.Errorf("scan: %+v, %d duplicates", r.Anomalies, r.Duplicates)
		}
	}
	content, records, damaged := crashContent()
	whole := content[:bytes.LastIndexByte(content, '\n')+1]
	keep3 := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 3}}, At: testrecord.Start}
	again := func(do func(*fixture) error) func(*testing.T, *fixture, func()) bool {
		return func(t *testing.T, f *fixture, settled func()) (failed bool) {
			for tries := 0; ; tries++ {
				err := do(f)
				if err == nil {
					return failed
				}
				failed = true
				if settled(); tries > 3 {
					t.Fatalf("it still fails: %v", err)
				}
			}
		}
	}
	compact := again(func(f *fixture) error { _, err := f.Compact(t.Context(), keep3); return err })
	recovery := again(func(f *fixture) error {
		_, err := f.Recover(t.Context(), papyra.RecoverOptions{})
		return err
	})
	checkRecovered := func(t *testing.T, f *fixture) {
		t.Helper()
		if diff := cmp.Diff(records, f.read(papyra.Query{})); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		saved := completeActs(t, f)
		for _, d := range damaged {
			if !slices.ContainsFunc(saved, func(s testrecord.Saved) bool { return bytes.Equal(s.Bytes, d) }) {
				t.Errorf("%q is nowhere any more", d)
			}
		}
		for _, name := range f.beside() {
			if strings.Contains(name, ".tmp-") {
				// Where even removing it failed, the next recovery does.
				f.recover(papyra.RecoverOptions{})
			}
		}
		clean(t, f)
	}
	damage := func(path string) func(*fixture) {
		return func(f *fixture) { must(f.t, os.WriteFile(f.path+path, content, 0o600)) }
	}
	for _, s := range []*sweep{
		{
			name: "append", open: plain, whole: true,
			prepare: func(*fixture) { src = testrecord.New(1) },
			act: func(t *testing.T, f *fixture, settled func()) bool {
				return appendThrough(t, f, src, 4, 5, settled)
			},
			check: func(t *testing.T, f *fixture) { f.checkAccount(src.Run(), 20); clean(t, f) },
		}, {
			name: "rotate", open: set, whole: true,
			prepare: func(f *fixture) { src = testrecord.New(1); f.store(src.Events(25)...) },
			act: func(t *testing.T, f *fixture, settled func()) bool {
				return appendThrough(t, f, src, 3, 8, settled)
			},
			check: func(t *testing.T, f *fixture) {
				f.store(src.Event()) // finishes what was begun
				f.checkAccount(src.Run(), 50)
				f.checkBound(childMaxBytes, childMaxFiles)
				clean(t, f)
			},
		}, {
			name: "compact", open: plain,
			prepare: func(f *fixture) { f.write(whole) },
			act:     compact,
			check: func(t *testing.T, f *fixture) {
				if diff := cmp.Diff(records[len(records)-3:], f.read(papyra.Query{})); diff != "" {
					t.Errorf("the view (-want +got):\n%s", diff)
				}
				if r := f.scan(papyra.ScanOptions{}); r.AnomalyCounts[papyra.ClassCorrupted] != int64(len(damaged)-1) {
					t.Errorf("scan: %v, want the %d damaged lines where they were", r.AnomalyCounts, len(damaged)-1)
				}
			},
		}, {
			name: "compact set", open: set, whole: true,
			prepare: func(f *fixture) { src = testrecord.New(1); f.store(src.Events(20)...) },
			act:     compact,
			check: func(t *testing.T, f *fixture) {
				if got := f.seqs(src.Run()); !slices.Equal(got, []uint64{18, 19, 20}) {
					t.Errorf("stored are %v, want the last three", got)
				}
				checkNamed(t, f, src.Run(), 20)
			},
		},
		{name: "recover", open: plain, prepare: damage(""), act: recovery, check: checkRecovered},
		{name: "recover set", open: set, prepare: damage(".2"), act: recovery, check: checkRecovered},
	} {
		t.Run(s.name, func(t *testing.T) { s.run(t, fs, 12) })
	}
}
