package ndjson

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/papyra/papyra"
)

const (
	copySize = 1 << 20
	// catchUp is how much may be left to copy under the append lock; while more
	// is appended than that, it is copied without the lock, at most maxRounds
	// times.
	catchUp   = 256 << 10
	maxRounds = 8
)

// errGone says that a pinned file has left the set, so that there is nothing to
// replace.
var errGone = errors.New("the file is no longer part of the store")

// rewrite replaces one pinned file by a new one with its owner and mode. fill
// writes what stays of the pinned bytes. Of the active file, what was appended
// behind offset tail meanwhile is copied too, and the writer goes on in the new
// file; appends wait for the returned pause. The new file is durable before it
// takes the name. After an error the old file is untouched, but for one that
// says so.
func (s *Store) rewrite(ctx context.Context, f *file, tail int64, fill func(io.Writer) error) (pause time.Duration, err error) {
	path := s.temporary()
	to, err := s.makeLike(path, f)
	if err != nil {
		return 0, err
	}
	placed := false
	defer func() {
		if !placed {
			to.Close()
			_ = s.disk.Remove(path)
		}
	}()
	fail := func(op string, err error) error {
		return &papyra.StoreError{Op: op, Path: path, Offset: -1, Err: err, Hint: hintFor(err)}
	}
	buffered := bufio.NewWriterSize(diskWriter{s.disk, to}, int(min(copySize, max(f.size, 4096))))
	if err := fill(buffered); err != nil {
		return 0, err
	}
	if err := buffered.Flush(); err != nil {
		return 0, fail("write", err)
	}
	if f.number == 0 {
		if tail, err = s.copyTail(ctx, f, to, tail); err != nil {
			return 0, err
		}
	}
	if err := s.disk.Sync(to); err != nil {
		return 0, fail("sync", err)
	}

	// From here on appends wait.
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	if f.number == 0 && s.writer != nil {
		if s.writer.torn && s.writer.is(f.dev, f.ino) {
			return 0, &papyra.StoreError{Op: "replace", Path: s.path(), Offset: -1, Err: papyra.ErrUnavailable, Hint: "an append has just failed half-way; try again"}
		}
		if s.writer.failed {
			// What a failed sync has thrown away stands only in the memory that the
			// swap forgets.
			if err := s.writer.sync(); err != nil {
				return 0, err
			}
		}
		end, err := s.endOf(f)
		if err != nil {
			return 0, err
		}
		if tail < end {
			if err := copyRange(ctx, s.disk, diskWriter{s.disk, to}, f.f, tail, end); err != nil {
				return 0, err
			}
			if err := s.disk.Sync(to); err != nil {
				return 0, fail("sync", err)
			}
		}
	}
	// The name may have been shifted by a rotation: the inode counts.
	name, err := s.locate(f)
	if err != nil {
		return 0, err
	}
	if err := s.disk.Rename(path, name); err != nil {
		return 0, fail("rename", err)
	}
	placed = true
	syncErr := syncDir(s.disk, s.dir)
	if s.writer != nil && s.writer.is(f.dev, f.ino) {
		// From now on an append must not go to the old inode, and one to the new
		// inode is durable only with the directory.
		err = s.writer.swapped(syncErr != nil)
	}
	return time.Since(began), errors.Join(err, syncErr, to.Close())
}

// makeLike makes a temporary file with the owner and mode of f.
func (s *Store) makeLike(path string, f *file) (*os.File, error) {
	info, err := f.f.Stat()
	if err != nil {
		return nil, &papyra.StoreError{Op: "look at", Path: s.beside(f.base), Offset: -1, Err: err}
	}
	to, err := makeFile(s.disk, path, os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, &papyra.StoreError{Op: "make", Path: path, Offset: -1, Err: err, Hint: hintFor(err)}
	}
	err = keepOwner(to, info)
	if err == nil {
		err = to.Chmod(info.Mode().Perm())
	}
	if err != nil {
		to.Close()
		_ = s.disk.Remove(path)
		return nil, &papyra.StoreError{Op: "give owner and mode of " + f.base + " to", Path: path, Offset: -1, Err: err, Hint: "run as the owner of the file"}
	}
	return to, nil
}

func keepOwner(to *os.File, info os.FileInfo) error {
	made, err := to.Stat()
	if err != nil {
		return err
	}
	want, ok1 := info.Sys().(*syscall.Stat_t)
	have, ok2 := made.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 {
		return errors.New("the file system tells no owner")
	}
	if want.Uid == have.Uid && want.Gid == have.Gid {
		return nil
	}
	return to.Chown(int(want.Uid), int(want.Gid))
}

// copyTail copies what the writer appended since, without holding appends up,
// until little is left, and returns how far it came.
func (s *Store) copyTail(ctx context.Context, f *file, to *os.File, tail int64) (int64, error) {
	for range maxRounds {
		s.mu.Lock()
		size := tail
		var err error
		if s.writer != nil {
			// What is copied must not be what a failing disk has thrown away.
			if err = s.writer.sync(); err == nil {
				size, err = s.endOf(f)
			}
		}
		s.mu.Unlock()
		if err != nil {
			return tail, err
		}
		if size-tail <= catchUp {
			return tail, nil
		}
		if err := copyRange(ctx, s.disk, diskWriter{s.disk, to}, f.f, tail, size); err != nil {
			return tail, err
		}
		tail = size
	}
	return tail, nil
}

// endOf returns where the file ends that was pinned as the active one: where the
// writer is, or, if a rotation gave it a number meanwhile, where it was left.
func (s *Store) endOf(f *file) (int64, error) {
	if s.writer.is(f.dev, f.ino) {
		return s.writer.size, nil
	}
	if _, err := s.locate(f); err != nil {
		return 0, err
	}
	info, err := f.f.Stat()
	if err != nil {
		return 0, &papyra.StoreError{Op: "look at", Path: s.beside(f.base), Offset: -1, Err: err}
	}
	return info.Size(), nil
}

// locate returns the path that leads to a pinned file now.
func (s *Store) locate(f *file) (string, error) {
	if info, err := os.Lstat(s.beside(f.base)); err == nil {
		if dev, ino := inode(info); dev == f.dev && ino == f.ino {
			return s.beside(f.base), nil
		}
	}
	members, _, _, err := s.list()
	if err != nil {
		return "", err
	}
	for _, m := range members {
		if m.dev == f.dev && m.ino == f.ino {
			return s.beside(m.base), nil
		}
	}
	return "", &papyra.StoreError{Op: "replace", Path: s.beside(f.base), Offset: -1, Err: errGone, Hint: "somebody renamed or removed it; try again"}
}

// diskWriter writes through the disk.
type diskWriter struct {
	disk Disk
	f    *os.File
}

func (w diskWriter) Write(b []byte) (int, error) {
	n, err := w.disk.Write(w.f, b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// copyRange copies the bytes [from, to) of f verbatim.
func copyRange(ctx context.Context, d Disk, w io.Writer, f *os.File, from, to int64) error {
	if from >= to {
		return nil
	}
	buf := make([]byte, min(copySize, to-from))
	for from < to {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := buf[:min(int64(len(buf)), to-from)]
		n, err := d.ReadAt(f, b, from)
		if n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = errShrunk
			}
			return &papyra.StoreError{Op: "read", Path: f.Name(), Offset: from + int64(n), Err: err}
		}
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		from += int64(n)
	}
	return nil
}
