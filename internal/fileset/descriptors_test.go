package fileset_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
)

// withoutDescriptors calls f while this process can open nothing.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max}))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
	f()
}

// Without a free descriptor appends to the open file go on, acts change
// nothing, and both work again afterwards.
func TestNoFileDescriptors(t *testing.T) {
	f := newFixture(t)
	lines := testrecord.New(1).Events(4)
	f.write(append(testrecord.Join(lines[:2]...), "junk\n"...))
	a := f.appender()
	withoutDescriptors(t, func() {
		f.append(a, lines[2])
		must(t, a.Sync(context.Background()))
		if _, err := f.Recover(context.Background(), papyra.RecoverOptions{}); err == nil {
			t.Error("a recovery without descriptors says that it worked")
		}
		if _, err := f.Compact(context.Background(), keepLast(1)); err == nil {
			t.Error("a compaction without descriptors says that it worked")
		}
		f.append(a, lines[3])
	})
	want := append(append(testrecord.Join(lines[:2]...), "junk\n"...), testrecord.Join(lines[2:]...)...)
	if got := f.bytes(); !bytes.Equal(got, want) {
		t.Errorf("the file holds %q, want %q", got, want)
	}
	if r := f.recover(papyra.RecoverOptions{}); r.Moved != 1 || !r.After.Clean() {
		t.Errorf("recover with descriptors again: %+v", r)
	}
	must(t, a.Close())
}

// A rotation that cannot open a file is refused, stores nothing by halves, and
// is made as soon as there are descriptors.
func TestRotateWithoutDescriptors(t *testing.T) {
	f := newBound(t, 1500, 3)
	src := testrecord.New(1)
	a := f.appender()
	f.append(a, src.Events(5)...)
	batch := testrecord.Batch(src.Events(5)...)
	refused := false
	withoutDescriptors(t, func() {
		for range 3 {
			n, err := a.Append(context.Background(), batch)
			refused = refused || errors.Is(err, unix.EMFILE)
			batch.Drop(n)
		}
	})
	if !refused {
		t.Error("the rotation was not refused with EMFILE")
	}
	if n, err := a.Append(context.Background(), batch); n != batch.Len() || err != nil {
		t.Errorf("with descriptors again: stored %d of %d, error %v", n, batch.Len(), err)
	}
	f.checkAccount(src.Run(), 10)
	f.checkBound(1500, 3)
}

// A file system that is read-only can be read, scanned and tried with dry runs;
// what would change it is refused and says what to do.
func TestRootReadOnly(t *testing.T) {
	dir := mountTmpfs(t, "size=1m")
	f := openFixture(t, filepath.Join(dir, "records.ndjson"), fileset.SyncInterval)
	lines := testrecord.New(1).Events(3)
	content := append(testrecord.Join(lines...), "junk\n"...)
	f.write(content)
	remount := func(flags uintptr) {
		t.Helper()
		must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, ""))
	}
	remount(unix.MS_RDONLY)
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"Appender": func() error { _, err := f.Appender(ctx); return err },
		"Recover":  func() error { _, err := f.Recover(ctx, papyra.RecoverOptions{}); return err },
		"Compact":  func() error { _, err := f.Compact(ctx, keepLast(1)); return err },
	} {
		if err := call(); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: got %v, want EROFS", name, err)
		}
	}
	if r := f.scan(papyra.ScanOptions{}); r.Records != 3 || r.AnomalyCounts[papyra.ClassCorrupted] != 1 {
		t.Errorf("scan: %+v", r)
	}
	if got := f.read(papyra.Query{}); len(got) != 3 {
		t.Errorf("read %d records, want 3", len(got))
	}
	if r := f.recover(papyra.RecoverOptions{DryRun: true}); r.Moved != 1 {
		t.Errorf("dry recover: %+v", r)
	}
	if !bytes.Equal(f.bytes(), content) {
		t.Error("the file was changed")
	}
	remount(0)
	if r := f.recover(papyra.RecoverOptions{}); r.Moved != 1 || !r.After.Clean() {
		t.Errorf("recover when it is writable again: %+v", r)
	}
	if _, err := os.Stat(f.path); err != nil {
		t.Error(err)
	}
	must(t, f.Close())
}
