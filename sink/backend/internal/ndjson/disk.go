package ndjson

import (
	"io/fs"
	"os"
)

// Disk is the system calls whose failure this package must survive. It is
// there only so that tests can break them by operation and path; everything
// else goes to package os directly. See package faultdisk.
type Disk interface {
	Open(path string, flag int, perm fs.FileMode) (*os.File, error)
	ReadAt(f *os.File, b []byte, off int64) (int, error)
	Write(f *os.File, b []byte) (int, error)
	WriteAt(f *os.File, b []byte, off int64) (int, error)
	Truncate(f *os.File, size int64) error
	Sync(f *os.File) error
	Rename(from, to string) error
	Remove(path string) error
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

// Remove is [os.Remove].
func (OS) Remove(path string) error { return os.Remove(path) }
