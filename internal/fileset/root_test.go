package fileset_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// mountTmpfs mounts a small file system, or skips the test.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a tmpfs")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("needs to mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// On a disk that is really full no partial line stays, the batch can be appended
// when there is room, and nothing was lost.
func TestRootFullDisk(t *testing.T) {
	dir := mountTmpfs(t, "size=256k")
	filler := filepath.Join(dir, "filler")
	must(t, os.WriteFile(filler, make([]byte, 120<<10), 0o600))
	f := openFixture(t, filepath.Join(dir, "records.ndjson"), fileset.SyncInterval)
	a := f.appender()
	src := testrecord.New(1)
	var want []string
	var batch *papyra.Batch
	for {
		lines := src.Events(20)
		batch = testrecord.Batch(lines...)
		n, err := a.Append(context.Background(), batch)
		want = append(want, text(lines)...)
		if err == nil {
			continue
		}
		if n != 0 || !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "make room") {
			t.Fatalf("stored %d, error %v; want 0, ENOSPC and what to do", n, err)
		}
		break
	}
	if len(want) < 40 {
		t.Fatal("the disk was full at once")
	}
	if r := f.scan(papyra.ScanOptions{}); !r.Clean() || r.Records != int64(len(want)-20) || !bytes.HasSuffix(f.bytes(), []byte("\n")) {
		t.Errorf("on the full disk: %d records and %v, want %d and nothing", r.Records, r.AnomalyCounts, len(want)-20)
	}
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: int64(len(want) - 25)}}, At: testrecord.Start}
	before := f.bytes()
	if _, err := f.Compact(context.Background(), o); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("compact on the full disk: got %v, want ENOSPC", err)
	}
	if !bytes.HasPrefix(f.bytes(), before) {
		t.Error("compact on the full disk changed the file")
	}
	must(t, os.Remove(filler))
	if n, err := a.Append(context.Background(), batch); n != 20 || err != nil {
		t.Fatalf("when there is room: stored %d, error %v", n, err)
	}
	must(t, a.Sync(context.Background()))
	if diff := cmp.Diff(want, f.read(papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	must(t, a.Close())
	must(t, f.Close())
}

// Without a free inode acts change nothing, and appends go on.
func TestRootNoInodes(t *testing.T) {
	dir := mountTmpfs(t, "nr_inodes=12")
	f := openFixture(t, filepath.Join(dir, "records.ndjson"), fileset.SyncInterval)
	content := append(testrecord.Join(testrecord.New(1).Events(50)...), "junk\n"...)
	f.write(content)
	a := f.appender()
	for i := 0; ; i++ {
		file, err := os.Create(filepath.Join(dir, fmt.Sprint("filler", i)))
		if err != nil {
			break
		}
		must(t, file.Close())
	}
	if _, err := f.Recover(context.Background(), papyra.RecoverOptions{}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("recover: got %v, want ENOSPC", err)
	}
	if !bytes.Equal(f.bytes(), content) {
		t.Error("the file was changed")
	}
	// To another file system it goes.
	elsewhere := filepath.Join(t.TempDir(), "quarantine")
	must(t, os.Remove(filepath.Join(dir, "filler0"))) // for the new file
	must(t, os.Remove(filepath.Join(dir, "filler1"))) // for the room that the act reserves
	r := f.recover(papyra.RecoverOptions{QuarantineDir: elsewhere})
	if !r.After.Clean() || !strings.HasPrefix(r.Quarantine, elsewhere) {
		t.Errorf("recover to another file system: %+v", r)
	}
	f.checkConserved(content, r)
	f.append(a, testrecord.New(2).Event())
	must(t, a.Close())
	must(t, f.Close())
}

// The limit on the size of a file is a full disk like any other.
func TestFileSizeLimit(t *testing.T) {
	f := newFixture(t)
	a := f.appender()
	src := testrecord.New(1)
	f.append(a, src.Events(10)...)
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	size := uint64(len(f.bytes()))
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size + 300, Max: old.Max}))
	batch := testrecord.Batch(src.Events(5)...)
	n, err := a.Append(context.Background(), batch)
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
	if n != 0 || !errors.Is(err, unix.EFBIG) {
		t.Fatalf("stored %d, error %v; want 0 and EFBIG", n, err)
	}
	if uint64(len(f.bytes())) != size {
		t.Error("a part stays")
	}
	if n, err := a.Append(context.Background(), batch); n != 5 || err != nil {
		t.Errorf("without the limit: stored %d, error %v", n, err)
	}
}

// powerCuts runs an act on a fresh store once to count what it does to the disk,
// and then cuts the power before each of these operations, or some of them.
func powerCuts(t *testing.T, points int, prepare func(f *fixture), act func(f *fixture) error, check func(t *testing.T, f *fixture)) {
	t.Helper()
	one := func(path string) *fixture { return openFixture(t, path, fileset.SyncInterval) }
	powerCutsOf(t, points, one, prepare, act, check)
}

// powerCutsOf is powerCuts for stores that open returns.
func powerCutsOf(t *testing.T, points int, open func(path string) *fixture, prepare func(f *fixture), act func(f *fixture) error, check func(t *testing.T, f *fixture)) {
	p := faultdisk.NewPowerDisk(t, 16<<20, t.TempDir())
	run := func(name string, cutAt int) (f *fixture, total int) {
		path := filepath.Join(p.Dir, name, "records.ndjson")
		must(t, os.Mkdir(filepath.Dir(path), 0o700))
		f = open(path)
		prepare(f)
		syncAll(t, p.Dir)
		f.disk.Before(func(n int, _ faultdisk.Op, _ string) {
			if total = n; n == cutAt {
				p.Cut()
			}
		})
		err := act(f)
		if cutAt == 0 {
			must(t, err)
		}
		_ = f.Close()
		f.disk.Before(nil)
		return f, total
	}
	_, total := run("baseline", 0)
	if strings.HasPrefix(t.Name(), onASet) {
		points /= 3 // the same act, which was cut at all of them in one file
	}
	var cuts []int
	for n := 1; n <= total; n++ {
		cuts = append(cuts, n)
	}
	if !testkit.Long() && len(cuts) > points {
		var some []int
		for i := range points {
			some = append(some, cuts[i*len(cuts)/points])
		}
		cuts = some
	}
	t.Logf("%d of %d places for a power cut", len(cuts), total)
	for _, n := range cuts {
		f, _ := run(fmt.Sprint("cut", n), n)
		p.Restore()
		again := open(f.path)
		check(t, again)
		must(t, again.Close())
		must(t, os.RemoveAll(filepath.Dir(f.path)))
		if t.Failed() {
			t.Fatalf("power cut before operation %d", n)
		}
	}
}

// syncAll syncs the file system on which a directory lies, and no other.
func syncAll(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	defer f.Close()
	must(t, unix.Syncfs(int(f.Fd())))
}

// After a power cut everything that was synced is there, what was not does at
// most damage behind it, and nothing merges.
func TestRootPowerCutAppend(t *testing.T) {
	src := testrecord.New(1)
	var synced int
	var lines []string
	powerCuts(t, 60,
		func(*fixture) { src, synced, lines = testrecord.New(1), 0, nil },
		func(f *fixture) error {
			a, err := f.Appender(context.Background())
			if err != nil {
				return err
			}
			for i := range 8 {
				batch := src.Events(10)
				if _, err := a.Append(context.Background(), testrecord.Batch(batch...)); err != nil {
					return err
				}
				lines = append(lines, text(batch)...)
				if i%2 == 1 {
					if err := a.Sync(context.Background()); err != nil {
						return err
					}
					synced = len(lines)
				}
			}
			return nil
		},
		func(t *testing.T, f *fixture) {
			next := testrecord.New(2).Event()
			f.store(next)
			got := f.read(papyra.Query{})
			if len(got) <= synced || got[len(got)-1] != string(next) || !slices.Equal(got[:len(got)-1], lines[:len(got)-1]) {
				t.Errorf("%d records are there, %d were synced", len(got)-1, synced)
			}
			if r := f.recover(papyra.RecoverOptions{}); !r.After.Clean() {
				t.Errorf("recovery left %v", r.After.AnomalyCounts)
			}
		})
}

// After a power cut during a compaction the view is what it was.
func TestRootPowerCutCompact(t *testing.T) {
	content, records, _ := crashContent()
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 3}}, At: testrecord.Start}
	content = content[:bytes.LastIndexByte(content, '\n')+1]
	powerCuts(t, 60,
		func(f *fixture) { f.write(content) },
		func(f *fixture) error { _, err := f.Compact(context.Background(), o); return err },
		func(t *testing.T, f *fixture) {
			for _, when := range []string{"before", "after"} {
				if diff := cmp.Diff(records[len(records)-3:], f.read(papyra.Query{Retention: o.Retention, At: o.At})); diff != "" {
					t.Errorf("%s the second compaction (-want +got):\n%s", when, diff)
				}
				if _, err := f.Compact(context.Background(), o); err != nil {
					t.Errorf("compact again: %v", err)
				}
			}
			if got := f.read(papyra.Query{}); len(got) != 3 {
				t.Errorf("the second compaction left %d records", len(got))
			}
		})
}

// After a power cut during a recovery every undamaged record is there, and every
// damaged byte in the file or in quarantine.
func TestRootPowerCutRecover(t *testing.T) {
	content, records, damaged := crashContent()
	powerCuts(t, 60,
		func(f *fixture) { f.write(content) },
		func(f *fixture) error {
			_, err := f.Recover(context.Background(), papyra.RecoverOptions{})
			return err
		},
		func(t *testing.T, f *fixture) {
			for _, when := range []string{"before", "after"} {
				if diff := cmp.Diff(records, f.read(papyra.Query{})); diff != "" {
					t.Errorf("%s the second recovery (-want +got):\n%s", when, diff)
				}
				saved := completeActs(t, f)
				for _, d := range damaged {
					if !bytes.Contains(f.bytes(), d) && !slices.ContainsFunc(saved, func(s testrecord.Saved) bool { return bytes.Equal(s.Bytes, d) }) {
						t.Errorf("%s the second recovery %q is nowhere any more", when, d)
					}
				}
				if r := f.recover(papyra.RecoverOptions{}); !r.After.Clean() {
					t.Errorf("recovery left %v", r.After.AnomalyCounts)
				}
			}
		})
}
