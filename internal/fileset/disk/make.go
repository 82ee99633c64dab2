package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
)

// OpenSafely are the flags that every open of a file gets: a symlink is not
// followed, a FIFO does not block, and no child process inherits the descriptor.
const OpenSafely = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

// MakeFile makes a file that does not exist yet (fs.ErrExist), with exactly this
// mode whatever the umask. After an error the file does not exist. The name is
// durable only after [SyncDirectory].
func MakeFile(d Disk, path string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := d.Open(path, flag|os.O_CREATE|os.O_EXCL|OpenSafely, perm)
	return withMode(f, err, perm, func() error { return d.Remove(path) })
}

// withMode gives a file that was just made exactly this mode, or removes it.
func withMode(f *os.File, err error, perm fs.FileMode, remove func() error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(perm); err != nil { // the umask may have taken bits away
		f.Close()
		_ = remove()
		return nil, err
	}
	return f, nil
}

// MakeDirectory makes a directory and those above it that are missing, with mode
// 0700 whatever the umask, calls made with each new one unless that is nil, and makes
// the new names durable. A directory that is there stays as it is.
func MakeDirectory(d Disk, dir string, made func(dir *os.File)) error {
	fail := func(err error, hint string) error {
		return &papyra.StoreError{Op: "make directory", Path: dir, Offset: -1, Err: err, Hint: hint}
	}
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fail(unix.ENOTDIR, "something else has its name")
	case !errors.Is(err, fs.ErrNotExist):
		return fail(err, "")
	}
	parent := filepath.Dir(dir)
	if err := MakeDirectory(d, parent, made); err != nil {
		return err
	}
	// Through its descriptor: what has the name later may be something else.
	above, err := OpenDirectory(d, parent)
	if err != nil {
		return fail(err, "")
	}
	defer above.Close()
	sub, err := above.MakeDirectory(filepath.Base(dir), made)
	switch {
	case errors.Is(err, fs.ErrExist): // somebody was faster
	case err != nil:
		return fail(err, "")
	default:
		sub.Close()
	}
	return SyncDirectory(d, parent)
}

// SyncDirectory makes the names in a directory durable.
func SyncDirectory(d Disk, dir string) error {
	f, err := d.Open(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &papyra.StoreError{Op: "open directory", Path: dir, Offset: -1, Err: err}
	}
	defer f.Close()
	if err := d.Sync(f); err != nil {
		return &papyra.StoreError{Op: "sync directory", Path: dir, Offset: -1, Err: err}
	}
	return nil
}
