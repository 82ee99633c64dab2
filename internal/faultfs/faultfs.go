// Package faultfs is a real file system for tests that breaks on demand: a FUSE
// mount that passes everything through to a directory, but for the operations
// that a [Fault] names. What a test sees of it went through the kernel, so that
// programs can be tried that know nothing of faults.
//
// Nothing is cached: each read and write reaches the file system. Locks are kept
// by the kernel, as on a local one.
package faultfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Op is an operation that can be made to fail.
type Op string

// The operations.
const (
	Open     Op = "open"
	Create   Op = "create"
	Read     Op = "read"
	Write    Op = "write"
	Truncate Op = "truncate"
	Sync     Op = "sync" // of a file
	SyncDir  Op = "syncdir"
	Rename   Op = "rename"
	Unlink   Op = "unlink"
	Mkdir    Op = "mkdir"
)

// Ops returns all operations.
func Ops() []Op {
	return []Op{Open, Create, Read, Write, Truncate, Sync, SyncDir, Rename, Unlink, Mkdir}
}

// Fault makes calls of an operation fail. A [Sync] that fails does what Linux
// does: what was written since the last good one is lost, here at once and as
// NUL bytes, and the next Sync succeeds all the same.
type Fault struct {
	Op  Op
	Err syscall.Errno // 0 is no failure: only a short write, or a slow call
	// Path is a pattern as in filepath.Match for the last element of the path, of
	// a rename for the one that is renamed. Empty matches everything.
	Path string
	// Skip is how many calls that match pass before.
	Skip int
	// Times is how many calls fail; 0 means all of them.
	Times int
	// Part makes a write short, as a disk does that is getting full: so many bytes
	// are taken, and the call says so. Err is for the write behind it.
	Part int
	// Gate makes the call wait until it is closed, or the file system goes.
	Gate <-chan struct{}

	seen int
}

// FS is a mounted file system. Its methods may be called concurrently.
type FS struct {
	Dir     string // where it is mounted
	Backing string // the directory that it shows

	done chan struct{} // closed when it goes

	mu     sync.Mutex
	faults []*Fault
	calls  map[Op]int
	hit    int
	dirty  map[uint64][]span // by inode: what was written since the last good sync
}

type span struct{ from, to int64 }

// Mount mounts a new, empty file system, and unmounts it when the test ends,
// also under files that are still open: calls that hang in it then fail. Where it
// cannot be mounted, the test is skipped.
func Mount(t testing.TB) *FS {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a FUSE file system")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("needs FUSE: %v", err)
	}
	base := tempDir(t)
	f := &FS{
		Dir: filepath.Join(base, "mnt"), Backing: filepath.Join(base, "backing"),
		done: make(chan struct{}), calls: map[Op]int{}, dirty: map[uint64][]span{},
	}
	for _, dir := range []string{f.Dir, f.Backing} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(f.Backing, &st); err != nil {
		t.Fatal(err)
	}
	root := &fs.LoopbackRoot{Path: f.Backing, Dev: st.Dev}
	node := &node{LoopbackNode: fs.LoopbackNode{RootData: root}, fs: f}
	root.RootNode = node
	root.NewNode = func(r *fs.LoopbackRoot, _ *fs.Inode, _ string, _ *syscall.Stat_t) fs.InodeEmbedder { //nolint:staticcheck // the other way cannot carry our state
		return newNode(r, f)
	}
	server, err := fs.Mount(f.Dir, node, &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, DisableXAttrs: true, FsName: "faultfs",
	}})
	if err != nil {
		t.Skipf("needs to mount a FUSE file system: %v", err)
	}
	connection := fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", mountedAs(f.Dir))
	t.Cleanup(func() { f.unmount(t, server, connection) })
	return f
}

// tempDir returns a directory in memory where there is one: what a disk does
// with a sync is not what these tests are about.
func tempDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "faultfs-") //nolint:usetesting // not where other temporary files are
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// mountedAs returns the number of the mount's device, which names its connection.
func mountedAs(dir string) uint32 {
	var st unix.Stat_t
	_ = unix.Stat(dir, &st)
	return unix.Minor(st.Dev)
}

func (f *FS) unmount(t testing.TB, server *fuse.Server, connection string) {
	f.Heal()
	close(f.done)
	if err := server.Unmount(); err == nil {
		return
	}
	// Somebody has files open: nothing may hang in them.
	if err := unix.Unmount(f.Dir, unix.MNT_DETACH); err != nil {
		t.Errorf("unmount: %v", err)
	}
	if err := os.WriteFile(connection, []byte("1"), 0); err != nil {
		t.Logf("abort the connection: %v: what is open keeps the file system", err)
		return
	}
	server.Wait()
}

// Fail adds a fault.
func (f *FS) Fail(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault)
}

// Heal removes every fault. Calls that wait for a gate go on waiting.
func (f *FS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Calls returns how often each operation was called since the last Reset, failed
// or not.
func (f *FS) Calls() map[Op]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[Op]int{}
	for op, n := range f.calls {
		out[op] = n
	}
	return out
}

// Hit returns how many calls met a fault since the last Reset.
func (f *FS) Hit() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

// Reset removes every fault and begins to count anew. What was written before
// counts as synced.
func (f *FS) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults, f.calls, f.hit = nil, map[Op]int{}, 0
	clear(f.dirty)
}

// meet returns what a call meets: how many bytes of a write pass, -1 for all of
// them, or the error that it fails with.
func (f *FS) meet(ctx context.Context, op Op, base string) (part int, errno syscall.Errno) {
	f.mu.Lock()
	f.calls[op]++
	fault := f.match(op, base)
	if fault == nil {
		f.mu.Unlock()
		return -1, 0
	}
	f.hit++
	gate, part, errno := fault.Gate, -1, fault.Err
	if fault.Part > 0 {
		if part = fault.Part; errno != 0 {
			f.faults = append([]*Fault{{Op: op, Path: literal(base), Err: errno, Times: 1}}, f.faults...)
		}
		errno = 0
	}
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-f.done:
			return 0, syscall.EIO
		case <-ctx.Done():
			return 0, syscall.EINTR
		}
	}
	return part, errno
}

func (f *FS) match(op Op, base string) *Fault {
	for _, fault := range f.faults {
		if fault.Op != op {
			continue
		}
		if ok, _ := filepath.Match(fault.Path, base); fault.Path != "" && !ok {
			continue
		}
		fault.seen++
		if fault.seen > fault.Skip && (fault.Times == 0 || fault.seen <= fault.Skip+fault.Times) {
			return fault
		}
	}
	return nil
}

// literal is a pattern for this name only.
func literal(base string) string {
	var out []rune
	for _, r := range base {
		out = append(out, '\\', r)
	}
	return string(out)
}

// wrote notes bytes that are not synced.
func (f *FS) wrote(ino uint64, s span) {
	f.mu.Lock()
	defer f.mu.Unlock()
	spans := f.dirty[ino]
	if n := len(spans); n > 0 && spans[n-1].to == s.from {
		spans[n-1].to = s.to
		return
	}
	f.dirty[ino] = append(spans, s)
}

// cut forgets unsynced bytes that a truncation took away.
func (f *FS) cut(ino uint64, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []span
	for _, s := range f.dirty[ino] {
		if s.from < size {
			left = append(left, span{s.from, min(s.to, size)})
		}
	}
	f.dirty[ino] = left
}

// clean returns what was not synced, and forgets it.
func (f *FS) clean(ino uint64) []span {
	f.mu.Lock()
	defer f.mu.Unlock()
	spans := f.dirty[ino]
	delete(f.dirty, ino)
	return spans
}
