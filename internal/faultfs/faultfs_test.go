package faultfs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra/internal/faultfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openFile(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Each operation fails as it is told, as often as it is told, and else does what
// it does everywhere.
func TestRootOperationsFail(t *testing.T) {
	fs := faultfs.Mount(t)
	path := filepath.Join(fs.Dir, "a")
	f := openFile(t, path)
	for op, call := range map[faultfs.Op]func() error{
		faultfs.Open: func() error {
			f, err := os.Open(path)
			if err == nil {
				f.Close()
			}
			return err
		},
		faultfs.Create: func() error {
			f, err := os.OpenFile(filepath.Join(fs.Dir, "new"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
			if err == nil {
				f.Close()
				_ = os.Remove(f.Name())
			}
			return err
		},
		faultfs.Read:     func() error { _, err := f.ReadAt(make([]byte, 2), 0); return err },
		faultfs.Write:    func() error { _, err := f.Write([]byte("xy")); return err },
		faultfs.Truncate: func() error { return f.Truncate(2) },
		faultfs.Sync:     f.Sync,
		faultfs.SyncDir: func() error {
			dir, err := os.Open(fs.Dir)
			must(t, err)
			defer dir.Close()
			return dir.Sync()
		},
		faultfs.Rename: func() error {
			err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, filepath.Join(fs.Dir, "b"), unix.RENAME_NOREPLACE)
			if err == nil {
				err = os.Rename(filepath.Join(fs.Dir, "b"), path)
			}
			return err
		},
		faultfs.Unlink: func() error {
			must(t, os.WriteFile(filepath.Join(fs.Backing, "c"), nil, 0o600))
			return unix.Unlink(filepath.Join(fs.Dir, "c"))
		},
		faultfs.Mkdir: func() error {
			err := os.Mkdir(filepath.Join(fs.Dir, "d"), 0o700)
			_ = os.Remove(filepath.Join(fs.Dir, "d"))
			return err
		},
	} {
		for _, errno := range []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT} {
			fs.Reset()
			_, err := f.Write([]byte("xy"))
			must(t, err)
			fault := faultfs.Fault{Op: op, Err: errno, Skip: 1, Times: 2}
			if op == faultfs.Rename {
				fault.Path = "a" // not the way back
			}
			fs.Fail(fault)
			for i, want := range []error{nil, errno, errno, nil} {
				if err := call(); !errors.Is(err, want) {
					t.Errorf("%s, call %d: %v, want %v", op, i, err, want)
				}
			}
			if fs.Hit() != 2 || fs.Calls()[op] < 4 {
				t.Errorf("%s: %d hit of %v, want 2", op, fs.Hit(), fs.Calls())
			}
		}
	}
}

// Nothing replaces a file that a rename must not replace.
func TestRootRenameKeepsWhatIsThere(t *testing.T) {
	fs := faultfs.Mount(t)
	for _, name := range []string{"a", "b"} {
		must(t, os.WriteFile(filepath.Join(fs.Dir, name), []byte(name), 0o600))
	}
	err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(fs.Dir, "a"), unix.AT_FDCWD, filepath.Join(fs.Dir, "b"), unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EEXIST) {
		t.Errorf("got %v, want EEXIST", err)
	}
}

// A failed sync loses what was not synced, and the next one says that all is
// well: the fault that only writing again survives.
func TestRootFailedSyncLosesBytes(t *testing.T) {
	fs := faultfs.Mount(t)
	f := openFile(t, filepath.Join(fs.Dir, "a"))
	_, err := f.WriteString("synced,")
	must(t, err)
	must(t, f.Sync())
	_, err = f.WriteString("not synced")
	must(t, err)
	fs.Fail(faultfs.Fault{Op: faultfs.Sync, Err: unix.EIO, Times: 1})
	if err := f.Sync(); !errors.Is(err, unix.EIO) {
		t.Fatalf("got %v, want EIO", err)
	}
	must(t, f.Sync())
	want := append([]byte("synced,"), make([]byte, len("not synced"))...)
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file holds %q, %v, want %q", got, err, want)
	}
}

// A short write takes a part, and what is written behind it fails.
func TestRootShortWrite(t *testing.T) {
	fs := faultfs.Mount(t)
	f := openFile(t, filepath.Join(fs.Dir, "a"))
	fs.Fail(faultfs.Fault{Op: faultfs.Write, Err: unix.ENOSPC, Part: 3, Times: 1})
	if n, err := unix.Write(int(f.Fd()), []byte("0123456789")); n != 3 || err != nil {
		t.Errorf("write(2) took %d, %v, want 3", n, err)
	}
	if n, err := unix.Write(int(f.Fd()), []byte("3456789")); n > 0 || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("the second took %d, %v, want ENOSPC", n, err)
	}
	if n, err := unix.Write(int(f.Fd()), []byte("3456789")); n != 7 || err != nil {
		t.Errorf("the third took %d, %v, want 7", n, err)
	}
	fs.Fail(faultfs.Fault{Op: faultfs.Write, Part: 1, Times: 1})
	if n, err := f.Write([]byte("ab")); n != 2 || err != nil {
		t.Errorf("the library's write took %d, %v, want that it goes on by itself", n, err)
	}
	if got, _ := os.ReadFile(f.Name()); string(got) != "0123456789ab" {
		t.Errorf("the file holds %q", got)
	}
}

// Record locks belong to a descriptor and exclude another one.
func TestRootLocks(t *testing.T) {
	fs := faultfs.Mount(t)
	one, two := openFile(t, filepath.Join(fs.Dir, "a")), openFile(t, filepath.Join(fs.Dir, "a"))
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	must(t, unix.FcntlFlock(one.Fd(), unix.F_OFD_SETLK, &whole))
	if err := unix.FcntlFlock(two.Fd(), unix.F_OFD_SETLK, &whole); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("a second lock: %v, want EAGAIN", err)
	}
	asked := whole
	if err := unix.FcntlFlock(two.Fd(), unix.F_OFD_GETLK, &asked); err != nil || asked.Type != unix.F_WRLCK {
		t.Errorf("asked: %+v, %v, want that it is held", asked, err)
	}
	must(t, one.Close())
	if err := unix.FcntlFlock(two.Fd(), unix.F_OFD_SETLK, &whole); err != nil {
		t.Errorf("after the first was closed: %v", err)
	}
}

// A call that waits holds up no other one, and goes on when it may.
func TestRootSlowCall(t *testing.T) {
	fs := faultfs.Mount(t)
	f := openFile(t, filepath.Join(fs.Dir, "a"))
	gate := make(chan struct{})
	fs.Fail(faultfs.Fault{Op: faultfs.Sync, Times: 1, Gate: gate})
	synced := make(chan error, 1)
	go func() { synced <- f.Sync() }()
	for fs.Hit() == 0 {
		time.Sleep(time.Millisecond)
	}
	must(t, os.WriteFile(filepath.Join(fs.Dir, "b"), []byte("meanwhile"), 0o600))
	select {
	case err := <-synced:
		t.Errorf("the sync did not wait: %v", err)
	default:
	}
	close(gate)
	must(t, <-synced)
}

// Whatever is still open or waits in a call, the file system goes with its test.
func TestRootUnmountEndsWaitingCalls(t *testing.T) {
	ended := make(chan error, 1)
	t.Run("mounted", func(t *testing.T) {
		fs := faultfs.Mount(t)
		f, err := os.Create(filepath.Join(fs.Dir, "a")) // never closed by the test
		must(t, err)
		fs.Fail(faultfs.Fault{Op: faultfs.Sync, Gate: make(chan struct{})})
		go func() {
			ended <- f.Sync()
			f.Close()
		}()
		for fs.Hit() == 0 {
			time.Sleep(time.Millisecond)
		}
	})
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the waiting call succeeded")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the call still hangs")
	}
}
