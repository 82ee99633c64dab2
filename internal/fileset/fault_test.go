package fileset_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// A write that fails is cut off again: no partial line stays, nothing counts as
// stored, and the same batch can be appended later.
func TestFailedWriteIsCutOff(t *testing.T) {
	lines := testrecord.New(1).Events(10)
	for _, c := range []struct {
		name string
		err  error
		part int
	}{
		{"nothing written", unix.ENOSPC, 0},
		{"within a line", unix.ENOSPC, 100},
		{"after a line", unix.EDQUOT, len(lines[4]) + 1},
		{"within the third line", unix.EFBIG, len(lines[4]) + len(lines[5]) + 12},
		{"an I/O error", unix.EIO, 77},
		{"a short write that says nothing", nil, 77},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			a := f.appender()
			f.append(a, lines[:4]...)
			f.disk.Fail(faultdisk.Fault{Op: faultdisk.Write, Err: c.err, Part: c.part, Times: 3})
			rest := testrecord.Batch(lines[4:]...)
			want := c.err
			if want == nil {
				want = io.ErrShortWrite
			}
			for range 3 {
				if n, err := a.Append(context.Background(), rest); n != 0 || !errors.Is(err, want) {
					t.Fatalf("stored %d, error %v; want 0 and %v", n, err, want)
				}
				if diff := cmp.Diff(string(testrecord.Join(lines[:4]...)), string(f.bytes())); diff != "" {
					t.Fatalf("a part stays (-want +got):\n%s", diff)
				}
			}
			if n, err := a.Append(context.Background(), rest); n != 6 || err != nil {
				t.Fatalf("when there is room again: stored %d, error %v", n, err)
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

// Where the failed write cannot be cut off, its whole lines count as stored, and
// the fragment can merge with nothing.
func TestFailedWriteThatStays(t *testing.T) {
	lines := testrecord.New(1).Events(10)
	end := func(n int) int { return len(testrecord.Join(lines[4 : 4+n]...)) }
	for _, c := range []struct {
		name     string
		part     int
		stored   int
		fragment int
	}{
		{"nothing written", 0, 0, 0},
		{"within the first line", 50, 0, 50},
		{"all but the newline", end(1) - 1, 0, end(1) - 1},
		{"exactly one line", end(1), 1, 0},
		{"within the third line", end(2) + 9, 2, 9},
		{"everything, and an error all the same", end(6), 6, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			a := f.appender()
			f.append(a, lines[:4]...)
			f.disk.Fail(faultdisk.Fault{Op: faultdisk.Write, Err: unix.EIO, Part: c.part, Times: 1})
			f.disk.Fail(faultdisk.Fault{Op: faultdisk.Truncate, Err: unix.EIO})
			rest := testrecord.Batch(lines[4:]...)
			n, err := a.Append(context.Background(), rest)
			if n != c.stored || !errors.Is(err, unix.EIO) {
				t.Fatalf("stored %d, error %v; want %d and EIO", n, err, c.stored)
			}
			rest.Drop(n)
			if n, err := a.Append(context.Background(), rest); n != 6-c.stored || err != nil {
				t.Fatalf("the rest: stored %d, error %v", n, err)
			}
			if err := a.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
			want := text(lines)
			if c.fragment == end(1)-1 {
				// A whole record that lacks its newline is not counted, comes again, and
				// is an exact duplicate.
				if r := f.scan(papyra.ScanOptions{Full: true}); r.Duplicates != 1 || !r.Clean() {
					t.Errorf("scan: %+v", r)
				}
			} else if r := f.scan(papyra.ScanOptions{}); c.fragment > 0 && (len(r.Anomalies) != 1 ||
				r.Anomalies[0].Class != papyra.ClassTruncated || r.Anomalies[0].Length != int64(c.fragment)) || c.fragment == 0 && !r.Clean() {
				t.Errorf("scan: %+v, want one fragment of %d bytes", r.Anomalies, c.fragment)
			}
			if diff := cmp.Diff(want, f.read(papyra.Query{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Each batch is one write, up to 8 MiB, always of whole lines.
func TestOneWriteForEachBatch(t *testing.T) {
	f := fastFixture(t)
	a := f.appender()
	before := f.disk.Calls(faultdisk.Write)
	f.append(a, testrecord.New(1).Events(1000)...)
	if n := f.disk.Calls(faultdisk.Write) - before; n != 1 {
		t.Errorf("a batch of 1,000 lines took %d writes, want 1", n)
	}
	src := testrecord.New(2)
	var big [][]byte
	for range 100 {
		big = append(big, src.Line("orders", papyra.KindEvent, strings.Repeat("x", 200_000)))
	}
	// The second write fails: the lines of the first are stored.
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.Write, Err: unix.ENOSPC, Skip: 1, Part: 12345, Times: 1})
	size := int64(len(f.bytes()))
	batch := testrecord.Batch(big...)
	n, err := a.Append(context.Background(), batch)
	if !errors.Is(err, unix.ENOSPC) || n == 0 || n > 42 {
		t.Fatalf("stored %d, error %v; want the lines of 8 MiB and ENOSPC", n, err)
	}
	if got := int64(len(f.bytes())) - size; got != int64(batch.End(n)) || got > 8<<20 {
		t.Errorf("%d bytes stand for %d lines, want %d", got, n, batch.End(n))
	}
	batch.Drop(n)
	if n, err := a.Append(context.Background(), batch); n != batch.Len() || err != nil {
		t.Errorf("the rest: stored %d, error %v", n, err)
	}
	if got := f.read(papyra.Query{Types: []string{papyra.ActorStarted}, Since: testrecord.Start}); len(got) != 1100 {
		t.Errorf("%d records, want 1100", len(got))
	}
}

// After a failed fsync the bytes are written again at the same offsets through a
// new descriptor; another fsync of the old one would prove nothing.
func TestFailedSyncWritesAgain(t *testing.T) {
	lines := testrecord.New(1).Events(6)
	f := newFixture(t)
	a := f.appender()
	f.append(a, lines[:2]...)
	sync := func() error { return a.Sync(context.Background()) }
	if err := sync(); err != nil {
		t.Fatalf("sync: %v", err)
	}
	f.append(a, lines[2:4]...)
	// What the kernel may do to the pages of a failed fsync: the bytes are lost.
	lost := int64(len(testrecord.Join(lines[:2]...)))
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.Sync, Path: "records.ndjson", Err: unix.EIO, Times: 2})
	if err := sync(); !errors.Is(err, unix.EIO) {
		t.Fatalf("got %v, want EIO", err)
	}
	wipe(t, f.path, lost, int64(len(testrecord.Join(lines[2:4]...))))
	f.append(a, lines[4:]...)
	again := f.disk.Calls(faultdisk.WriteAt)
	if err := sync(); err != nil {
		t.Fatalf("sync after the fault: %v", err)
	}
	if n := f.disk.Calls(faultdisk.WriteAt) - again; n != 1 {
		t.Errorf("the bytes were written again %d times, want once", n)
	}
	if got := f.bytes(); !bytes.Equal(got, testrecord.Join(lines...)) {
		t.Errorf("the file holds %q", got)
	}
	if err := sync(); err != nil {
		t.Errorf("sync with nothing to do: %v", err)
	}
	f.append(a, testrecord.New(2).Event())
	if err := sync(); err != nil {
		t.Errorf("the next sync: %v", err)
	}
	if n := f.disk.Calls(faultdisk.WriteAt) - again; n != 1 {
		t.Errorf("a good sync wrote again")
	}
	if s := a.Stats(); s.SyncFailures != 2 {
		t.Errorf("stats %+v, want 2 failed syncs", s)
	}
}

// wipe makes a part of a file NUL bytes.
func wipe(t *testing.T, path string, off, n int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(make([]byte, n), off); err != nil {
		t.Fatal(err)
	}
}

// In sync mode batch Append tells of an fsync that failed, with all lines
// stored, and the next one makes good.
func TestFailedSyncInBatchMode(t *testing.T) {
	f := openFixture(t, filepath.Join(t.TempDir(), "records.ndjson"), fileset.SyncBatch)
	a := f.appender()
	lines := testrecord.New(1).Events(4)
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.Sync, Path: "records.ndjson", Err: unix.EIO, Times: 2})
	if n, err := a.Append(context.Background(), testrecord.Batch(lines[:2]...)); n != 2 || !errors.Is(err, unix.EIO) {
		t.Fatalf("stored %d, error %v; want 2 and EIO", n, err)
	}
	f.append(a, lines[2:]...)
	if got := f.bytes(); !bytes.Equal(got, testrecord.Join(lines...)) {
		t.Errorf("the file holds %q", got)
	}
}

// Bytes without fsync are bounded: 64 MiB force one.
func TestUnsyncedBytesForceASync(t *testing.T) {
	f := fastFixture(t)
	a := f.appender()
	src := testrecord.New(1)
	line := src.Line("orders", papyra.KindEvent, strings.Repeat("x", 250_000))
	batch := &papyra.Batch{}
	for range 32 {
		batch.Append(batch.StreamIndex(papyra.Stream{System: "orders", Kind: papyra.KindEvent}), line)
	}
	before := f.disk.Calls(faultdisk.Sync)
	for range 9 { // 72 MB
		if n, err := a.Append(context.Background(), batch); n != 32 || err != nil {
			t.Fatalf("stored %d, error %v", n, err)
		}
	}
	if n := f.disk.Calls(faultdisk.Sync) - before; n == 0 {
		t.Error("72 MB were appended without a sync")
	}
	// While the disk refuses, no more is taken than can be kept.
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.Sync, Err: unix.EIO})
	var err error
	for range 9 {
		if _, err = a.Append(context.Background(), batch); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.EIO) {
		t.Errorf("appends go on without bound: %v", err)
	}
	f.disk.Heal()
	if n, err := a.Append(context.Background(), batch); n != 32 || err != nil {
		t.Errorf("after the fault: stored %d, error %v", n, err)
	}
}

// A directory whose sync failed is synced again.
func TestFailedDirectorySync(t *testing.T) {
	f := newFixture(t)
	a := f.appender()
	f.append(a, testrecord.New(1).Event())
	dir := filepath.Base(filepath.Dir(f.path))
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.Sync, Path: dir, Err: unix.EIO, Times: 1})
	if err := a.Sync(context.Background()); !errors.Is(err, unix.EIO) {
		t.Fatalf("got %v, want EIO", err)
	}
	before := f.disk.Calls(faultdisk.Sync)
	if err := a.Sync(context.Background()); err != nil {
		t.Fatalf("sync: %v", err)
	}
	if n := f.disk.Calls(faultdisk.Sync) - before; n != 2 {
		t.Errorf("%d syncs, want those of the directory and the file", n)
	}
}

// The file is renamed, deleted or cut from outside: noticed, reopened, counted.
func TestFileChangedFromOutside(t *testing.T) {
	src := testrecord.New(1)
	for _, c := range []struct {
		name   string
		change func(t *testing.T, path string)
		want   papyra.AppendStats
		keeps  int // of the four records before
	}{
		{"renamed", func(t *testing.T, path string) { must(t, os.Rename(path, path+".old")) }, papyra.AppendStats{Reopened: 1}, 0},
		{"deleted", func(t *testing.T, path string) { must(t, os.Remove(path)) }, papyra.AppendStats{Reopened: 1}, 0},
		{"cut to nothing", func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, papyra.AppendStats{Truncated: 1}, 0},
		{"cut within a line", func(t *testing.T, path string) { must(t, os.Truncate(path, 300)) }, papyra.AppendStats{Truncated: 1, Healed: 1}, 1},
		{"replaced", func(t *testing.T, path string) {
			must(t, os.WriteFile(path+".new", []byte("x"), 0o600))
			must(t, os.Rename(path+".new", path))
		}, papyra.AppendStats{Reopened: 1, Healed: 1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			a := f.appender()
			before, after := src.Events(4), src.Events(3)
			f.append(a, before...)
			c.change(t, f.path)
			f.append(a, after...)
			if err := a.Sync(context.Background()); err != nil {
				t.Errorf("sync: %v", err)
			}
			want := append(text(before[:c.keeps]), text(after)...)
			if diff := cmp.Diff(want, f.read(papyra.Query{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, a.Stats()); diff != "" {
				t.Errorf("stats (-want +got):\n%s", diff)
			}
			info, err := os.Stat(f.path)
			must(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, want 0600", info.Mode())
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A length that is not ours means that somebody else writes: stop and say so.
func TestForeignWriter(t *testing.T) {
	f := newFixture(t)
	a := f.appender()
	lines := testrecord.New(1).Events(4)
	f.append(a, lines[:2]...)
	other, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer other.Close()
	_, err = other.Write(testrecord.Join(lines[2]))
	must(t, err)
	for range 2 {
		if n, err := a.Append(context.Background(), testrecord.Batch(lines[3])); n != 0 || !errors.Is(err, papyra.ErrForeignWriter) {
			t.Errorf("stored %d, error %v; want 0 and papyra.ErrForeignWriter", n, err)
		}
		// It stays so, whatever happens to the length.
		must(t, os.Truncate(f.path, int64(len(testrecord.Join(lines[:2]...)))))
	}
	if got := f.bytes(); !bytes.Equal(got, testrecord.Join(lines[:2]...)) {
		t.Errorf("something was written: %q", got)
	}
}

// A full disk during an act changes nothing and leaves nothing behind.
func TestActsOnAFullDisk(t *testing.T) {
	src := testrecord.New(1)
	var content []byte
	for range 50 {
		content = append(content, testrecord.Join(src.Events(30)...)...)
		content = append(content, "junk\n"...)
	}
	compact := func(f *fixture) error {
		_, err := f.Compact(context.Background(), papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 1200}}, At: testrecord.Start})
		return err
	}
	recovery := func(f *fixture) error {
		_, err := f.Recover(context.Background(), papyra.RecoverOptions{})
		return err
	}
	for _, c := range []struct {
		name     string
		act      func(*fixture) error
		fault    faultdisk.Fault
		reported bool // the RemovalReport was already appended
	}{
		{"compact: making the new file", compact, faultdisk.Fault{Op: faultdisk.Open, Path: ".records.ndjson.tmp-*", Err: unix.ENOSPC}, false},
		{"compact: writing it", compact, faultdisk.Fault{Op: faultdisk.Write, Path: ".records.ndjson.tmp-*", Err: unix.ENOSPC, Part: 5000}, false},
		{"compact: syncing it", compact, faultdisk.Fault{Op: faultdisk.Sync, Path: ".records.ndjson.tmp-*", Err: unix.EIO}, false},
		{"compact: renaming it", compact, faultdisk.Fault{Op: faultdisk.Rename, Err: unix.EIO}, true},
		{"compact: the report", compact, faultdisk.Fault{Op: faultdisk.Write, Path: "records.ndjson", Err: unix.ENOSPC}, false},
		{"compact: syncing the report", compact, faultdisk.Fault{Op: faultdisk.Sync, Path: "records.ndjson", Err: unix.EIO}, true},
		{"compact: reading", compact, faultdisk.Fault{Op: faultdisk.ReadAt, Path: "records.ndjson", Err: unix.EIO}, false},
		{"recover: the quarantine", recovery, faultdisk.Fault{Op: faultdisk.Open, Path: "bytes", Err: unix.ENOSPC}, false},
		{"recover: the bytes", recovery, faultdisk.Fault{Op: faultdisk.Write, Path: "bytes", Err: unix.ENOSPC, Part: 3}, false},
		{"recover: the index", recovery, faultdisk.Fault{Op: faultdisk.Write, Path: ".index.tmp", Err: unix.ENOSPC}, false},
		{"recover: syncing the bytes", recovery, faultdisk.Fault{Op: faultdisk.Sync, Path: "bytes", Err: unix.EIO}, false},
		{"recover: completing the act", recovery, faultdisk.Fault{Op: faultdisk.Rename, Path: ".index.tmp", Err: unix.EIO}, false},
		{"recover: syncing the complete act", recovery, faultdisk.Fault{Op: faultdisk.Sync, Path: "20231114T*", Err: unix.EIO}, false},
		{"recover: what was saved reads back wrong", recovery, faultdisk.Fault{Op: faultdisk.ReadAt, Path: "bytes", Err: unix.EIO}, false},
		{"recover: writing the new file", recovery, faultdisk.Fault{Op: faultdisk.Write, Path: ".records.ndjson.tmp-*", Err: unix.ENOSPC, Part: 5000}, false},
		{"recover: renaming it", recovery, faultdisk.Fault{Op: faultdisk.Rename, Path: ".records.ndjson.tmp-*", Err: unix.EIO}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.write(content)
			f.disk.Fail(c.fault)
			if err := c.act(f); !errors.Is(err, c.fault.Err) && c.fault.Op != faultdisk.ReadAt || err == nil {
				t.Fatalf("got %v, want %v", err, c.fault.Err)
			}
			got := f.bytes()
			if !bytes.HasPrefix(got, content) {
				t.Fatal("the old bytes are not there any more")
			}
			if rest := got[len(content):]; c.reported != (len(rest) > 0) || len(rest) > 0 && !bytes.Contains(rest, []byte("RemovalReport")) {
				t.Errorf("behind the old bytes stands %q, reported should be %v", rest, c.reported)
			}
			for _, name := range f.beside() {
				if strings.Contains(name, ".tmp-") {
					t.Errorf("%s is left behind", name)
				}
			}
			completeActs(t, f) // whatever has an index has its bytes
			// The same command finishes the job when there is room again.
			f.disk.Heal()
			if err := c.act(f); err != nil {
				t.Fatalf("again: %v", err)
			}
		})
	}
}

// A directory sync that fails after the rename is an error, and a later sync of
// the appender makes it good: otherwise appended records could vanish with the
// new name.
func TestDirectorySyncAfterSwap(t *testing.T) {
	f := newFixture(t)
	a := f.appender()
	src := testrecord.New(1)
	f.append(a, src.Events(100)...)
	must(t, a.Sync(context.Background()))
	dir := filepath.Base(filepath.Dir(f.path))
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.Sync, Path: dir, Err: unix.EIO})
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 10}}, At: testrecord.Start}
	if _, err := f.Compact(context.Background(), o); !errors.Is(err, unix.EIO) {
		t.Fatalf("got %v, want EIO", err)
	}
	if err := a.Sync(context.Background()); !errors.Is(err, unix.EIO) {
		t.Errorf("sync with the directory still failing: got %v, want EIO", err)
	}
	f.disk.Heal()
	last := src.Events(1)
	f.append(a, last...)
	must(t, a.Sync(context.Background()))
	if got := f.read(papyra.Query{}); len(got) != 11 || got[10] != string(last[0]) {
		t.Errorf("%d records, want 11", len(got))
	}
}

// A part that cannot be read is an anomaly of its own, makes the scan
// incomplete, and stops acts before they change anything.
func TestUnreadablePart(t *testing.T) {
	f := newFixture(t)
	f.write(testrecord.Join(testrecord.New(1).Events(100)...))
	before := f.bytes()
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.ReadAt, Path: "records.ndjson", Err: unix.EIO})
	r := f.scan(papyra.ScanOptions{})
	if len(r.Anomalies) != 1 || r.Anomalies[0].Class != papyra.ClassUnreadable || !r.Incomplete {
		t.Errorf("scan: %+v", r)
	}
	if _, err := f.Read(context.Background(), papyra.Query{}, func(*papyra.Record, papyra.Place) error { return nil }); !errors.Is(err, papyra.ErrIncomplete) {
		t.Errorf("read: got %v, want papyra.ErrIncomplete", err)
	}
	if _, err := f.Recover(context.Background(), papyra.RecoverOptions{}); !errors.Is(err, papyra.ErrIncomplete) {
		t.Errorf("recover: got %v, want papyra.ErrIncomplete", err)
	}
	f.disk.Heal()
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.Open, Path: "records.ndjson", Err: unix.EACCES})
	r = f.scan(papyra.ScanOptions{})
	if len(r.Anomalies) != 1 || r.Anomalies[0].Class != papyra.ClassUnreadable || !r.Incomplete {
		t.Errorf("scan without permission: %+v", r)
	}
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 1}}, At: testrecord.Start}
	if _, err := f.Compact(context.Background(), o); !errors.Is(err, papyra.ErrIncomplete) {
		t.Errorf("compact without permission: got %v, want papyra.ErrIncomplete", err)
	}
	if !bytes.Equal(before, f.bytes()) {
		t.Error("the file was changed")
	}
}

// A cancelled act is abandoned whole.
func TestCancelledActsLeaveNothing(t *testing.T) {
	f := openFixture(t, filepath.Join(testkit.FastDir(t), "records.ndjson"), fileset.SyncInterval)
	src := testrecord.New(1)
	var content []byte
	for range 60 {
		content = append(append(content, testrecord.Join(src.Events(40)...)...), "junk\n"...)
	}
	content = append(append(content, make([]byte, 9<<20)...), '\n') // several blocks
	for name, act := range map[string]func(context.Context, papyra.Progress) error{
		"compact": func(ctx context.Context, p papyra.Progress) error {
			_, err := f.Compact(ctx, papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 1700}}, At: testrecord.Start, Progress: p})
			return err
		},
		"recover": func(ctx context.Context, p papyra.Progress) error {
			_, err := f.Recover(ctx, papyra.RecoverOptions{Progress: p})
			return err
		},
		"scan": func(ctx context.Context, p papyra.Progress) error {
			_, err := f.Scan(ctx, papyra.ScanOptions{Progress: p})
			return err
		},
	} {
		cancelled := 0
		for _, after := range []float64{0, 0.1, 0.4, 0.9} {
			f.write(content)
			ctx, cancel := context.WithCancel(context.Background())
			finished := false
			err := act(ctx, func(done, total int64) {
				if done < 0 || done > total {
					t.Errorf("%s: progress %d of %d", name, done, total)
				}
				if finished = done == total; float64(done) > after*float64(total) {
					cancel()
				}
			})
			cancel()
			if finished {
				continue // the last step was the one that cancelled
			}
			cancelled++
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s after %v: got %v, want context.Canceled", name, after, err)
			}
			if !bytes.HasPrefix(f.bytes(), content) {
				t.Errorf("%s after %v: the old bytes are not there any more", name, after)
			}
			for _, other := range f.beside() {
				if strings.Contains(other, ".tmp-") {
					t.Errorf("%s after %v: %s is left behind", name, after, other)
				}
			}
		}
		if cancelled < 2 {
			t.Errorf("%s: only %d of 4 were cancelled before the end", name, cancelled)
		}
	}
}

// Close ends a running act and returns when it has ended.
func TestCloseEndsActs(t *testing.T) {
	f := fastFixture(t)
	f.write(bytes.Repeat(testrecord.Join(testrecord.New(1).Events(1000)...), 20))
	started, ended := make(chan struct{}), make(chan error)
	go func() {
		begun := false
		_, err := f.Compact(context.Background(), papyra.CompactOptions{
			Retention: papyra.Retention{General: papyra.Limits{Records: 10_000}}, At: testrecord.Start,
			Progress: func(int64, int64) {
				if !begun {
					begun = true
					close(started)
					time.Sleep(10 * time.Millisecond) // so that Close comes first; not needed for the result
				}
			},
		})
		ended <- err
	}()
	<-started
	closed := make(chan error, 1)
	go func() { closed <- f.Close() }()
	if err := <-ended; err != nil && !errors.Is(err, papyra.ErrClosed) {
		t.Errorf("compact: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
}

// A sync that fails in the middle of a compaction loses bytes that the new file
// is still to get: they are written again before.
func TestFailedSyncDuringCompact(t *testing.T) {
	f := newFixture(t)
	a := f.appender()
	src := testrecord.New(1)
	lines := src.Events(30)
	f.append(a, lines...)
	must(t, a.Sync(t.Context()))
	done := false
	f.disk.Before(func(_ int, op faultdisk.Op, path string) {
		if done || op != faultdisk.Sync || !strings.Contains(path, ".tmp-") {
			return
		}
		done = true
		end := int64(len(f.bytes()))
		more := src.Events(2)
		lines = append(lines, more...)
		f.append(a, more...)
		f.disk.Fail(faultdisk.Fault{Op: faultdisk.Sync, Path: "records.ndjson", Err: unix.EIO, Times: 2})
		if err := a.Sync(t.Context()); !errors.Is(err, unix.EIO) {
			t.Errorf("sync: %v, want EIO", err)
		}
		wipe(t, f.path, end, int64(len(testrecord.Join(more...))))
	})
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 10}}, At: testrecord.Start}
	if _, err := f.Compact(t.Context(), o); err != nil || !done {
		t.Fatalf("compact: %v", err)
	}
	f.disk.Before(nil)
	must(t, a.Sync(t.Context()))
	if diff := cmp.Diff(text(lines[20:]), f.read(papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r := f.scan(papyra.ScanOptions{}); !r.Clean() {
		t.Errorf("scan: %+v", r.Anomalies)
	}
}
