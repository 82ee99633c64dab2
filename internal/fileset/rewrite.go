package fileset

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
)

const (
	copySize = 1 << 20
	// catchUp is how much may be left to copy under the append lock as long as
	// copying without it gains on the appender.
	catchUp = 256 << 10
	// slice is how much is copied and synced at a time while appends wait.
	slice = 4 << 20
	// syncEvery is how much is written between two syncs of the new file. One sync
	// of everything would hold up those of the appender: they share the disk, and
	// mostly the journal of the file system.
	syncEvery = 16 << 20
)

// errGone says that a pinned file has left the set, so that there is nothing to
// replace.
var errGone = errors.New("the file is no longer part of the store")

// rewrite replaces one pinned file by a new one with its owner and mode. fill
// writes what stays of the pinned bytes. Of the active file, what was appended
// behind offset tail meanwhile is copied too, and the writer goes on in the new
// file; pause is the longest time for which appends waited. The new file is
// durable before it takes the name. After an error the old file is untouched, but
// for one that says so.
func (s *Store) rewrite(ctx context.Context, f *file, tail int64, fill func(io.Writer) error) (pause time.Duration, err error) {
	path := s.temporary()
	to, err := s.makeLike(path, f)
	if err != nil {
		return 0, err
	}
	rp := &replacement{s: s, f: f, path: path, to: to, tail: tail}
	defer func() {
		if !rp.placed {
			to.Close()
			_ = s.disk.Remove(path)
		}
	}()
	buffered := bufio.NewWriterSize(rp, int(min(copySize, max(f.size, 4096))))
	if err := fill(buffered); err != nil {
		return 0, err
	}
	if err := buffered.Flush(); err != nil {
		return 0, rp.fail("write", err)
	}
	if err := rp.sync(); err != nil {
		return 0, err
	}
	err = rp.place(ctx)
	return rp.pause, err
}

// replacement is a new file that is about to take the name of a pinned one.
type replacement struct {
	s    *Store
	f    *file // the pinned one
	path string
	to   *os.File // the new one, durable
	tail int64    // what f has behind it is not copied

	unsynced int           // bytes of the new file
	pause    time.Duration // the longest for which appends waited
	placed   bool          // it has the name
}

func (rp *replacement) fail(op string, err error) error {
	return &papyra.StoreError{Op: op, Path: rp.path, Offset: -1, Err: err, Hint: hintFor(err)}
}

// Write writes to the new file, and makes it durable bit by bit.
func (rp *replacement) Write(b []byte) (int, error) {
	n, err := disk.Writer{Disk: rp.s.disk, File: rp.to}.Write(b)
	if rp.unsynced += n; err == nil && rp.unsynced >= syncEvery {
		err = rp.sync()
	}
	return n, err
}

// sync makes the new file durable.
func (rp *replacement) sync() error {
	rp.unsynced = 0
	if err := rp.s.disk.Sync(rp.to); err != nil {
		return rp.fail("sync", err)
	}
	return nil
}

// copy copies what f has up to an offset, and makes it durable.
func (rp *replacement) copy(ctx context.Context, end int64) error {
	if rp.tail >= end {
		return nil
	}
	if err := disk.CopyRange(ctx, rp.s.disk, rp, rp.f.f, rp.tail, end); err != nil {
		return err
	}
	rp.tail = end
	return rp.sync()
}

// place catches up with the appender and gives the new file the name. What was
// appended is copied and synced while appends go on, round by round, as long as
// each round leaves less than half of the one before, so that there are few. An
// appender that is as fast as the disk is held back from then on: it waits for a
// slice to be copied between any two appends.
func (rp *replacement) place(ctx context.Context) error {
	held, most := false, int64(slice)
	for before := int64(math.MaxInt64); ; {
		end, err := rp.try(ctx, held, most)
		if err != nil || rp.placed {
			return err
		}
		left := end - rp.tail
		switch {
		case held && left >= before:
			most *= 2 // each append is longer than what is copied before the next
		case !held && left > before/2:
			held = true
		}
		before = left
		if held {
			continue
		}
		if err := rp.copy(ctx, end); err != nil {
			return err
		}
	}
}

// try gives the new file the name if that is possible at once: if no more than
// catchUp is to be copied before, or, with held, no more than most; otherwise it
// copies that much. It returns where f ended. Appends wait meanwhile.
func (rp *replacement) try(ctx context.Context, held bool, most int64) (end int64, err error) {
	s, f := rp.s, rp.f
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	defer func() { rp.pause = max(rp.pause, time.Since(began)) }()
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	if f.number == 0 && s.writer != nil {
		// What is copied must not be what a failing disk has thrown away: that
		// stands only in the memory that the swap forgets.
		if err := s.writer.sync(); err != nil {
			return 0, err
		}
		if end, err = s.endOf(f); err != nil {
			return 0, err
		}
		if !held && end-rp.tail > catchUp {
			return end, nil
		}
		if err := rp.copy(ctx, min(end, rp.tail+most)); err != nil {
			return 0, err
		}
		if rp.tail < end {
			return end, nil
		}
		if s.writer.torn && s.writer.is(f.dev, f.ino) {
			return 0, &papyra.StoreError{Op: "replace", Path: s.path(), Offset: -1, Err: papyra.ErrUnavailable, Hint: "an append has just failed half-way; try again"}
		}
	}
	return end, rp.swap()
}

// swap gives the new file the name. The append lock is held.
func (rp *replacement) swap() error {
	s, f := rp.s, rp.f
	// The name may have been shifted by a rotation: the inode counts.
	name, err := s.locate(f)
	if err != nil {
		return err
	}
	if err := s.disk.Rename(rp.path, name); err != nil {
		return rp.fail("rename", err)
	}
	rp.placed = true
	syncErr := disk.SyncDirectory(s.disk, s.dir)
	if s.writer != nil {
		s.writer.ahead.replaced(f)
	}
	if s.writer != nil && s.writer.is(f.dev, f.ino) {
		// From now on an append must not go to the old inode, and one to the new
		// inode is durable only with the directory.
		err = s.writer.swapped(syncErr != nil)
	}
	return errors.Join(err, syncErr, rp.to.Close())
}

// makeLike makes a temporary file with the owner and mode of f.
func (s *Store) makeLike(path string, f *file) (*os.File, error) {
	info, err := f.f.Stat()
	if err != nil {
		return nil, &papyra.StoreError{Op: "look at", Path: s.beside(f.base), Offset: -1, Err: err}
	}
	to, err := disk.MakeFile(s.disk, path, os.O_RDWR|os.O_APPEND, 0o600)
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
