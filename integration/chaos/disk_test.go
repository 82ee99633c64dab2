package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// diskBytes is the size of a small disk: more than a run stores.
const diskBytes = 64 << 20

// newDisk makes a small file system and returns a path to it, which also other
// processes may use. It is mounted nowhere any more when this returns, so that
// it goes with the test's process, however that ends.
func newDisk(t *testing.T) string {
	at := t.TempDir()
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", diskBytes)); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	root, err := os.Open(at)
	if err := errors.Join(err, unix.Unmount(at, unix.MNT_DETACH)); err != nil {
		t.Fatalf("use a small file system: %v", err)
	}
	t.Cleanup(func() { root.Close() })
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), root.Fd())
}

// fillDisk leaves no room on the disk of a store for a while.
func (w *worker) fillDisk(long time.Duration) {
	path := filepath.Join(w.dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer f.Close()
	var size int64
	for step := int64(diskBytes); step >= 4096; {
		if unix.Fallocate(int(f.Fd()), 0, size, step) == nil {
			size += step
		} else {
			step /= 2
		}
	}
	time.Sleep(long)
	if err := os.Remove(path); err != nil {
		w.t.Error(err)
	}
}

// limitFiles lets no file of the worker's process grow for a while, but by a
// part of a record.
func (w *worker) limitFiles(long time.Duration) {
	w.mu.Lock()
	pid := w.pid
	w.mu.Unlock()
	limit := unix.Rlimit{Cur: 100, Max: unix.RLIM_INFINITY}
	if info, err := os.Stat(filepath.Join(w.dir, "records.ndjson")); err == nil {
		limit.Cur += uint64(info.Size())
	}
	var old unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, &old); err != nil {
		w.t.Errorf("limit the files of %s: %v", w.name(), err)
		return
	}
	time.Sleep(long)
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &old, nil); err != nil && !errors.Is(err, syscall.ESRCH) {
		w.t.Errorf("free the files of %s: %v", w.name(), err)
	}
}
