package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Directory is an open directory. Names in it are used through its descriptor: who
// renames something on the way to it, or puts a symlink there, changes nothing. It is
// safe for concurrent use.
type Directory struct {
	disk Disk
	file *os.File
}

// OpenDirectory opens a directory by its path, in which symlinks are followed.
func OpenDirectory(d Disk, path string) (*Directory, error) {
	f, err := d.Open(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &Directory{d, f}, nil
}

// Path returns the path by which the directory was opened, for messages.
func (x *Directory) Path() string { return x.file.Name() }

// Stat looks at the directory itself.
func (x *Directory) Stat() (fs.FileInfo, error) { return x.file.Stat() }

// Close closes it.
func (x *Directory) Close() { x.file.Close() }

// Sync makes the names in it durable.
func (x *Directory) Sync() error { return x.disk.Sync(x.file) }

// Names returns the names in it, in order.
func (x *Directory) Names() ([]string, error) {
	// A descriptor of its own, so that the position of the other one does not matter.
	f, err := x.disk.OpenAt(x.file, ".", os.O_RDONLY|unix.O_DIRECTORY|OpenSafely, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Directory opens a directory in it. A symlink is not followed (unix.ELOOP or
// unix.ENOTDIR).
func (x *Directory) Directory(name string) (*Directory, error) {
	f, err := x.disk.OpenAt(x.file, name, os.O_RDONLY|unix.O_DIRECTORY|OpenSafely, 0)
	if err != nil {
		return nil, err
	}
	return &Directory{x.disk, f}, nil
}

// MakeDirectory makes a directory in it, with mode 0700 whatever the umask, and opens
// it. The error is fs.ErrExist where the name is taken. The name is durable only after
// Sync. made is called with the new one unless it is nil.
func (x *Directory) MakeDirectory(name string, made func(*os.File)) (*Directory, error) {
	if err := unix.Mkdirat(int(x.file.Fd()), name, 0o700); err != nil {
		return nil, &fs.PathError{Op: "mkdir", Path: filepath.Join(x.Path(), name), Err: err}
	}
	sub, err := x.Directory(name)
	if err != nil {
		return nil, err
	}
	if err := ownNew(sub.file, made); err != nil {
		sub.Close()
		return nil, err
	}
	return sub, nil
}

// ownNew gives a directory that was just made its mode.
func ownNew(f *os.File, made func(*os.File)) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return &fs.PathError{Op: "make", Path: f.Name(), Err: errors.New("somebody else has put another one in its place")}
	}
	if err := f.Chmod(0o700); err != nil { // the umask may have taken bits away
		return err
	}
	if made != nil {
		made(f)
	}
	return nil
}

// Open opens a file in it, with [OpenSafely].
func (x *Directory) Open(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return x.disk.OpenAt(x.file, name, flag|OpenSafely, perm)
}

// MakeFile is [MakeFile] of a name in it.
func (x *Directory) MakeFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := x.Open(name, flag|os.O_CREATE|os.O_EXCL, perm)
	return withMode(f, err, perm, func() error { return x.Remove(name) })
}

// Rename renames a file in it.
func (x *Directory) Rename(from, to string) error { return x.disk.RenameAt(x.file, from, to) }

// Remove removes a file in it, RemoveDirectory an empty directory.
func (x *Directory) Remove(name string) error { return x.disk.RemoveAt(x.file, name, 0) }

// RemoveDirectory removes an empty directory in it.
func (x *Directory) RemoveDirectory(name string) error {
	return x.disk.RemoveAt(x.file, name, unix.AT_REMOVEDIR)
}
