// Package faultdisk breaks a disk for tests: by operation, path and count.
package faultdisk

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/papyra/papyra/internal/fileset/disk"
)

// Op is an operation of [disk.Disk].
type Op string

// The operations.
const (
	Open     Op = "open"
	ReadAt   Op = "readat"
	Write    Op = "write"
	WriteAt  Op = "writeat"
	Truncate Op = "truncate"
	Sync     Op = "sync"
	Rename   Op = "rename"
	Remove   Op = "remove"
)

// Fault makes calls of an operation fail.
type Fault struct {
	Op  Op
	Err error
	// Path is a pattern as in filepath.Match for the last element of the path,
	// of a rename the one that is renamed. Empty matches everything.
	Path string
	// Skip is how many calls that match pass before.
	Skip int
	// Times is how many calls fail; 0 means all of them.
	Times int
	// Part of a write is done before it fails: so many bytes. With a nil Err it is
	// a short write that says nothing.
	Part int

	seen int
}

// Disk is a real disk with faults. Its methods may be called concurrently.
type Disk struct {
	disk.OS

	mu     sync.Mutex
	faults []*Fault
	calls  map[Op]int
	before func(n int, op Op, path string)
	total  int
}

// New returns a disk without faults.
func New() *Disk { return &Disk{calls: map[Op]int{}} }

// Fail adds a fault.
func (d *Disk) Fail(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, &f)
}

// Heal removes every fault.
func (d *Disk) Heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = nil
}

// Calls returns how often an operation was called, failed or not.
func (d *Disk) Calls(op Op) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[op]
}

// Before has f called before each operation that can change something, with its
// number from 1. f may use the disk. It may be nil.
func (d *Disk) Before(f func(n int, op Op, path string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before, d.total = f, 0
}

func (d *Disk) fault(op Op, path string) *Fault {
	d.mu.Lock()
	before := d.before
	if op != ReadAt {
		d.total++
	}
	n := d.total
	d.mu.Unlock()
	if before != nil && op != ReadAt {
		before(n, op, path)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[op]++
	for _, f := range d.faults {
		if f.Op != op {
			continue
		}
		if f.Path != "" {
			if ok, _ := filepath.Match(f.Path, filepath.Base(path)); !ok {
				continue
			}
		}
		f.seen++
		if f.seen > f.Skip && (f.Times == 0 || f.seen <= f.Skip+f.Times) {
			return f
		}
	}
	return nil
}

func failed(op Op, path string, err error) error {
	return &fs.PathError{Op: string(op), Path: path, Err: err}
}

// Open opens a file unless a fault says otherwise.
func (d *Disk) Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	if f := d.fault(Open, path); f != nil {
		return nil, failed(Open, path, f.Err)
	}
	return d.OS.Open(path, flag, perm)
}

// ReadAt reads unless a fault says otherwise.
func (d *Disk) ReadAt(file *os.File, b []byte, off int64) (int, error) {
	if f := d.fault(ReadAt, file.Name()); f != nil {
		return 0, failed(ReadAt, file.Name(), f.Err)
	}
	return d.OS.ReadAt(file, b, off)
}

// Write writes unless a fault says otherwise.
func (d *Disk) Write(file *os.File, b []byte) (int, error) {
	f := d.fault(Write, file.Name())
	if f == nil {
		return d.OS.Write(file, b)
	}
	n, err := d.OS.Write(file, b[:min(f.Part, len(b))])
	if err == nil && f.Err != nil {
		err = failed(Write, file.Name(), f.Err)
	}
	return n, err
}

// WriteAt writes unless a fault says otherwise.
func (d *Disk) WriteAt(file *os.File, b []byte, off int64) (int, error) {
	if f := d.fault(WriteAt, file.Name()); f != nil {
		return 0, failed(WriteAt, file.Name(), f.Err)
	}
	return d.OS.WriteAt(file, b, off)
}

// Truncate cuts unless a fault says otherwise.
func (d *Disk) Truncate(file *os.File, size int64) error {
	if f := d.fault(Truncate, file.Name()); f != nil {
		return failed(Truncate, file.Name(), f.Err)
	}
	return d.OS.Truncate(file, size)
}

// Sync syncs unless a fault says otherwise.
func (d *Disk) Sync(file *os.File) error {
	if f := d.fault(Sync, file.Name()); f != nil {
		return failed(Sync, file.Name(), f.Err)
	}
	return d.OS.Sync(file)
}

// Rename renames unless a fault says otherwise.
func (d *Disk) Rename(from, to string) error {
	if f := d.fault(Rename, from); f != nil {
		return failed(Rename, from, f.Err)
	}
	return d.OS.Rename(from, to)
}

// Move renames unless a fault of Rename says otherwise.
func (d *Disk) Move(from, to string) error {
	if f := d.fault(Rename, from); f != nil {
		return failed(Rename, from, f.Err)
	}
	return d.OS.Move(from, to)
}

// Remove removes unless a fault says otherwise.
func (d *Disk) Remove(path string) error {
	if f := d.fault(Remove, path); f != nil {
		return failed(Remove, path, f.Err)
	}
	return d.OS.Remove(path)
}

// OpenAt opens a file unless a fault of Open says otherwise.
func (d *Disk) OpenAt(dir *os.File, name string, flag int, perm fs.FileMode) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	if f := d.fault(Open, path); f != nil {
		return nil, failed(Open, path, f.Err)
	}
	return d.OS.OpenAt(dir, name, flag, perm)
}

// RenameAt renames unless a fault of Rename says otherwise.
func (d *Disk) RenameAt(dir *os.File, from, to string) error {
	path := filepath.Join(dir.Name(), from)
	if f := d.fault(Rename, path); f != nil {
		return failed(Rename, path, f.Err)
	}
	return d.OS.RenameAt(dir, from, to)
}

// RemoveAt removes unless a fault of Remove says otherwise.
func (d *Disk) RemoveAt(dir *os.File, name string, flags int) error {
	path := filepath.Join(dir.Name(), name)
	if f := d.fault(Remove, path); f != nil {
		return failed(Remove, path, f.Err)
	}
	return d.OS.RemoveAt(dir, name, flags)
}
