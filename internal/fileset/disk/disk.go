// Package disk is the seam between a store of files and the operating system: the
// system calls whose failure a store must survive, and what is built from them
// alone. Tests break these calls by operation and path, with package faultdisk.
// All other calls go to package os directly.
package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is the system calls that a test can make fail. The methods may be called
// concurrently.
type Disk interface {
	Open(path string, flag int, perm fs.FileMode) (*os.File, error)
	ReadAt(f *os.File, b []byte, off int64) (int, error)
	Write(f *os.File, b []byte) (int, error)
	WriteAt(f *os.File, b []byte, off int64) (int, error)
	Truncate(f *os.File, size int64) error
	Sync(f *os.File) error
	Rename(from, to string) error
	// Move is a rename that never replaces what has the name: unix.EEXIST.
	Move(from, to string) error
	Remove(path string) error

	// OpenAt, RenameAt and RemoveAt do the same with names in an open directory. The
	// file that OpenAt returns is called by the path of the directory and its name.
	OpenAt(dir *os.File, name string, flag int, perm fs.FileMode) (*os.File, error)
	RenameAt(dir *os.File, from, to string) error
	RemoveAt(dir *os.File, name string, flags int) error
}

// interruptible is what Interruptible returns.
type interruptible struct {
	Disk
	ctx context.Context
}

// Interruptible returns a disk whose reads fail with the cause of ctx once ctx has
// ended. So somebody can stop a read also within a line of many gigabytes.
func Interruptible(ctx context.Context, d Disk) Disk { return interruptible{d, ctx} }

// ReadAt reads as the disk does, until the context has ended.
func (d interruptible) ReadAt(f *os.File, b []byte, off int64) (int, error) {
	if d.ctx.Err() != nil {
		return 0, context.Cause(d.ctx)
	}
	return d.Disk.ReadAt(f, b, off)
}

// OS is the real disk.
type OS struct{}

// Open is [os.OpenFile].
func (OS) Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(path, flag, perm)
}

// ReadAt is [os.File.ReadAt].
func (OS) ReadAt(f *os.File, b []byte, off int64) (int, error) { return f.ReadAt(b, off) }

// Write is [os.File.Write]: one write(2) unless that is cut short.
func (OS) Write(f *os.File, b []byte) (int, error) { return f.Write(b) }

// WriteAt is [os.File.WriteAt].
func (OS) WriteAt(f *os.File, b []byte, off int64) (int, error) { return f.WriteAt(b, off) }

// Truncate is [os.File.Truncate].
func (OS) Truncate(f *os.File, size int64) error { return f.Truncate(size) }

// Sync is [os.File.Sync].
func (OS) Sync(f *os.File) error { return f.Sync() }

// Rename is [os.Rename].
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Move is renameat2(2) with RENAME_NOREPLACE. On a file system without that it
// looks first, which keeps out everybody who respects the store's lock.
func (OS) Move(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		if _, err = os.Lstat(to); err == nil {
			err = unix.EEXIST
		} else if errors.Is(err, fs.ErrNotExist) {
			return os.Rename(from, to)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// Remove is [os.Remove].
func (OS) Remove(path string) error { return os.Remove(path) }

// OpenAt is openat(2).
func (OS) OpenAt(dir *os.File, name string, flag int, perm fs.FileMode) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, flag|unix.O_CLOEXEC, uint32(perm.Perm()))
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case !errors.Is(err, unix.EINTR):
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// RenameAt is renameat(2) within one directory.
func (OS) RenameAt(dir *os.File, from, to string) error {
	if err := unix.Renameat(int(dir.Fd()), from, int(dir.Fd()), to); err != nil {
		return &os.LinkError{Op: "rename", Old: filepath.Join(dir.Name(), from), New: filepath.Join(dir.Name(), to), Err: err}
	}
	return nil
}

// RemoveAt is unlinkat(2).
func (OS) RemoveAt(dir *os.File, name string, flags int) error {
	if err := unix.Unlinkat(int(dir.Fd()), name, flags); err != nil {
		return &fs.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return nil
}
