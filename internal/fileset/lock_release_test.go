package fileset

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/testrecord"
)

// A lock that is let go is free, also while a copy of its descriptor lives, as in a
// child process between fork and exec.
func TestReleasedLockIsFree(t *testing.T) {
	n, err := newNames(filepath.Join(t.TempDir(), "records.ndjson"), false)
	if err != nil {
		t.Fatal(err)
	}
	l, err := n.takeLock(disk.OS{}, testrecord.Start)
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := unix.Dup(int(l.f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(inherited) }()
	l.release()
	again, err := n.takeLock(disk.OS{}, testrecord.Start)
	if err != nil {
		t.Fatalf("the lock is not free: %v", err)
	}
	again.release()
}
