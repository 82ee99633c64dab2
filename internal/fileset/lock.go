package fileset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/terminal"
)

// lock is an open-file-description record lock on .NAME.lock. It belongs to the
// descriptor: the kernel lets it go when the process dies, another descriptor
// of the same process does not share it, and closing another one does not drop
// it. The file is never renamed and never removed by us: a lock follows the
// inode, so that a second holder could lock a new file of the same name.
type lock struct {
	path string
	f    *os.File
}

// hint is what the holder writes into the lock file, only for the message to
// whoever is refused.
type hint struct {
	Host  string `json:"host"`
	PID   int    `json:"pid"`
	Start string `json:"start"`
}

// takeLock takes the lock or returns an error that wraps papyra.ErrBusy and
// names the holder. The directory must exist.
func (n names) takeLock(d disk.Disk, now time.Time) (*lock, error) {
	path := n.lock()
	for {
		f, err := n.openLock(d, path)
		if err != nil {
			return nil, err
		}
		whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			err = busy(path, readHint(f))
			f.Close()
			return nil, err
		}
		if err != nil {
			f.Close()
			return nil, &papyra.StoreError{Op: "lock", Path: path, Offset: -1, Err: err, Hint: "the file system must know record locks"}
		}
		l := &lock{path: path, f: f}
		if l.inPlace() {
			if n.mayWrite(f) {
				l.writeHint(now)
			}
			return l, nil
		}
		f.Close() // removed between open and lock: begin again with the new one
	}
}

func (n names) openLock(d disk.Disk, path string) (*os.File, error) {
	for {
		f, err := d.Open(path, os.O_RDWR|disk.OpenSafely, 0)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = disk.MakeFile(d, path, os.O_RDWR, 0o600)
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			if err == nil {
				n.giveOwner(f)
			}
		}
		if errors.Is(err, unix.ELOOP) {
			return nil, &papyra.StoreError{Op: "open lock", Path: path, Offset: -1, Err: papyra.ErrConfig, Hint: "it is a symlink; remove it"}
		}
		if err != nil {
			return nil, &papyra.StoreError{Op: "open lock", Path: path, Offset: -1, Err: err}
		}
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			f.Close()
			return nil, &papyra.StoreError{Op: "open lock", Path: path, Offset: -1, Err: papyra.ErrConfig, Hint: "it is not a regular file; remove it"}
		}
		return f, nil
	}
}

// inPlace reports whether the lock file's name still leads to the locked inode.
func (l *lock) inPlace() bool {
	var have, want unix.Stat_t
	return unix.Fstat(int(l.f.Fd()), &want) == nil && unix.Lstat(l.path, &have) == nil &&
		have.Dev == want.Dev && have.Ino == want.Ino
}

// maxHint is more than a hint has. A longer file is none of ours.
const maxHint = 1024

// mayWrite reports whether the lock file is one that a store made: it has one name,
// belongs to us or the store's owner, and holds a hint or nothing. In a directory that
// others may write to, the name may lead to somebody's file: that is locked all the
// same, which harms nothing, and never written to.
func (n names) mayWrite(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() > maxHint || !n.ours(info) {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 1 && (info.Size() == 0 || readHint(f) != hint{})
}

// writeHint is best effort: on a full disk the lock holds without it.
func (l *lock) writeHint(now time.Time) {
	host, _ := os.Hostname()
	text, err := json.Marshal(hint{Host: host, PID: os.Getpid(), Start: now.UTC().Format(time.RFC3339)})
	if err != nil {
		return
	}
	text = append(text, '\n')
	// Written before it is cut, so that a reader never finds it empty.
	if n, err := l.f.WriteAt(text, 0); err == nil {
		_ = l.f.Truncate(int64(n))
	}
}

// release lets the lock go. It does so by name, before it closes the file: a child
// process that is just being started holds a copy of the descriptor, and with it
// the lock, until it executes its program.
func (l *lock) release() {
	free := unix.Flock_t{Type: unix.F_UNLCK, Whence: io.SeekStart}
	_ = unix.FcntlFlock(l.f.Fd(), unix.F_OFD_SETLK, &free)
	l.f.Close()
}

// whoWrites says why somebody, this process included, may be writing to the store
// of a lock: "" means that nobody is. Whoever may read a store need not be allowed
// to look at its lock, and a file system need not know locks: what cannot be asked
// is perhaps held, never free. It takes nothing and makes nothing.
func whoWrites(d disk.Disk, path string) string {
	held, _, err := testLock(d, path)
	switch {
	case held:
		return "a writer holds the store"
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return ""
	}
	return "perhaps a writer holds the store: its lock cannot be looked at: " + systemError(err)
}

// testLock reports whether somebody, this process included, holds the lock, and
// what the holder wrote into it. It takes nothing and makes nothing. An error of
// the file is an *fs.PathError; another says that it cannot be locked at all.
func testLock(d disk.Disk, path string) (held bool, holder hint, err error) {
	f, err := d.Open(path, os.O_RDONLY|disk.OpenSafely, 0)
	if err != nil {
		return false, hint{}, err
	}
	defer f.Close()
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &whole); err != nil {
		return false, hint{}, err
	}
	if whole.Type == unix.F_UNLCK {
		return false, hint{}, nil
	}
	return true, readHint(f), nil
}

func readHint(f *os.File) (h hint) {
	var buf [maxHint]byte
	n, _ := f.ReadAt(buf[:], 0)
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	_ = json.Unmarshal([]byte(line), &h)
	return h
}

func busy(path string, h hint) error {
	return &papyra.StoreError{
		Op: "lock", Path: filepath.Clean(path), Offset: -1, Err: papyra.ErrBusy,
		Hint: "held by " + h.String() + "; stop it, or ask it to do the work",
	}
}

// String names the holder: "process 12 on eu-1 since 2024-01-01T12:00:00Z".
func (h hint) String() string {
	if h.PID <= 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s since %s", h.PID, printable(h.Host), printable(h.Start))
}

// printable makes harmless what somebody else wrote into the lock file.
func printable(s string) string {
	if s == "" {
		return "?"
	}
	return terminal.Escape(s[:min(len(s), 128)])
}
