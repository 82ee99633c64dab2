package fileset

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
)

const (
	// fillBuffer is how much of the new file is written at once.
	fillBuffer = 1 << 20
	// swapWithin is how much may be left to copy while appends wait, as long as
	// copying beside the appends gains on them.
	swapWithin = 256 << 10
	// slice is how much is copied and synced at a time while appends wait, beside an
	// appender that is as fast as the disk.
	slice = 4 << 20
	// syncEvery is how much is written between two syncs of the new file. A sync of
	// everything at once would hold up the appender's syncs, which share the disk and
	// mostly the journal of the file system.
	syncEvery = 16 << 20
)

// errGone says that a pinned file has left the set, so that there is nothing to
// replace.
var errGone = errors.New("the file is no longer part of the store")

// prepareFile writes and syncs a new file that is to replace a pinned one, with its
// owner and mode. fill writes what stays of the pinned bytes. Of the active file, what
// is appended behind offset tail until the replacement is placed follows then. The
// caller places it or abandons it.
func (s *Store) prepareFile(f *pinnedFile, tail int64, fill func(io.Writer) error) (*replacement, error) {
	path := s.temporary()
	to, err := s.makeLike(path, f)
	if err != nil {
		return nil, err
	}
	rp := &replacement{s: s, f: f, path: path, to: to, out: disk.SparseWriter{Disk: s.disk, File: to}, tail: tail}
	buffered := bufio.NewWriterSize(rp, int(min(fillBuffer, max(f.size, 4096))))
	err = fill(buffered)
	if err == nil {
		if err = buffered.Flush(); err != nil {
			err = rp.wrapError("write", err)
		}
	}
	if err == nil {
		err = rp.syncNew()
	}
	if err != nil {
		rp.abandon()
		return nil, err
	}
	return rp, nil
}

// abandon removes a new file that was not placed.
func (rp *replacement) abandon() {
	if !rp.placed {
		rp.to.Close()
		_ = rp.s.disk.Remove(rp.path)
	}
}

// place gives the new file the name, where the writer goes on in it. pause is the
// longest time for which appends waited; placed says that the name leads to the new
// file.
//
// The new file is durable before it takes the name. After an error the name leads
// to the old file, whole, or, where only the sync of the directory or opening the
// new file failed, to the new one.
func (rp *replacement) place(ctx context.Context) (pause time.Duration, placed bool, err error) {
	defer rp.abandon()
	err = rp.takeName(ctx)
	return rp.pause, rp.placed, err
}

// replacement is a new file that is about to take the name of a pinned one.
type replacement struct {
	s    *Store
	f    *pinnedFile // the pinned one
	path string
	to   *os.File // the new one, durable
	out  disk.SparseWriter
	tail int64 // what f has before it is copied, or not to be copied

	unsynced int           // bytes of the new file since its last sync
	pause    time.Duration // the longest for which appends waited
	placed   bool          // the new file has the name
}

func (rp *replacement) wrapError(op string, err error) error {
	return &papyra.StoreError{Op: op, Path: rp.path, Offset: -1, Err: err, Hint: hintFor(err)}
}

// Write writes to the new file, and syncs it every syncEvery bytes.
func (rp *replacement) Write(b []byte) (int, error) {
	n, err := rp.out.Write(b)
	if rp.unsynced += n; err == nil && rp.unsynced >= syncEvery {
		err = rp.syncNew()
	}
	return n, err
}

// syncNew makes the new file durable.
func (rp *replacement) syncNew() error {
	rp.unsynced = 0
	if err := rp.out.Flush(); err != nil {
		return rp.wrapError("write", err)
	}
	if err := rp.s.disk.Sync(rp.to); err != nil {
		return rp.wrapError("sync", err)
	}
	return nil
}

// copyUpTo copies what f has up to an offset, and makes it durable.
func (rp *replacement) copyUpTo(ctx context.Context, end int64) error {
	if rp.tail >= end {
		return nil
	}
	if err := disk.CopyRange(ctx, rp.s.disk, rp, rp.f.f, rp.tail, end); err != nil {
		return err
	}
	rp.tail = end
	return rp.syncNew()
}

// takeName gives the new file the name, after it was brought up to date with what
// was appended meanwhile.
func (rp *replacement) takeName(ctx context.Context) error {
	left, err := rp.catchUp(ctx)
	if err != nil || rp.placed {
		return err
	}
	return rp.holdAndCopy(ctx, left)
}

// catchUp copies what was appended while appends go on, round by round, and gives
// the new file the name as soon as no more than swapWithin is left. Each round must
// leave less than half of the one before, so that there are few. Otherwise the
// appender is as fast as the disk, and catchUp returns how many bytes are left.
func (rp *replacement) catchUp(ctx context.Context) (left int64, err error) {
	for before := int64(math.MaxInt64); ; before = left {
		end := rp.tail
		err := rp.holdAppends(ctx, func(written int64) error {
			if end = written; end-rp.tail > swapWithin {
				return nil
			}
			return rp.copyAndSwap(ctx, end, end)
		})
		left = end - rp.tail
		if err != nil || rp.placed || left > before/2 {
			return left, err
		}
		if err := rp.copyUpTo(ctx, end); err != nil {
			return left, err
		}
	}
}

// holdAndCopy holds back an appender that is as fast as the disk: between any two
// appends it copies a slice, until nothing is left. Then it gives the new file the
// name. Where a slice does not gain on the appends, because each of them is larger,
// the next slice is twice as large. before is how much catchUp has left.
func (rp *replacement) holdAndCopy(ctx context.Context, before int64) error {
	for most := int64(slice); !rp.placed; {
		end := rp.tail
		err := rp.holdAppends(ctx, func(written int64) error {
			end = written
			return rp.copyAndSwap(ctx, min(end, rp.tail+most), end)
		})
		if err != nil {
			return err
		}
		left := end - rp.tail
		if left >= before {
			most *= 2
		}
		before = left
	}
	return nil
}

// holdAppends calls step while appends wait. written is where f ends now, all of
// it synced; for a file to which nobody appends it is what is copied already.
func (rp *replacement) holdAppends(ctx context.Context, step func(written int64) error) error {
	s, f := rp.s, rp.f
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	defer func() { rp.pause = max(rp.pause, time.Since(began)) }()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if f.number > 0 || s.writer == nil {
		return step(rp.tail)
	}
	// What is copied must not be what a failing disk has thrown away: that stands
	// only in the memory that the swap forgets.
	if err := s.writer.sync(); err != nil {
		return err
	}
	written, err := s.endOf(f)
	if err != nil {
		return err
	}
	return step(written)
}

// copyAndSwap copies up to an offset, and gives the new file the name if f ends
// there. The append lock is held.
func (rp *replacement) copyAndSwap(ctx context.Context, upTo, end int64) error {
	s, f := rp.s, rp.f
	if err := rp.copyUpTo(ctx, upTo); err != nil || upTo < end {
		return err
	}
	if w := s.writer; f.number == 0 && w != nil && w.active.torn && w.active.is(f.dev, f.ino) {
		return &papyra.StoreError{Op: "replace", Path: s.path(), Offset: -1, Err: papyra.ErrUnavailable, Hint: "an append has just failed half-way; try again"}
	}
	return rp.swap()
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
		return rp.wrapError("rename", err)
	}
	rp.placed = true
	syncErr := disk.SyncDirectory(s.disk, s.dir)
	if s.writer != nil {
		s.writer.ahead.noteReplaced(f)
	}
	if s.writer != nil && s.writer.active.is(f.dev, f.ino) {
		// From now on an append must not go to the old inode, and one to the new
		// inode is durable only with the directory.
		err = s.writer.goOnAfterSwap(syncErr != nil)
	}
	return errors.Join(err, syncErr, rp.to.Close())
}

// makeLike makes a temporary file with the owner, mode and attributes of f.
func (s *Store) makeLike(path string, f *pinnedFile) (*os.File, error) {
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
		err = keepAttributes(to, f.f)
	}
	if err == nil {
		err = to.Chmod(info.Mode().Perm()) // after the list, whose mask it sets
	}
	if err != nil {
		to.Close()
		_ = s.disk.Remove(path)
		return nil, likeError(path, f, err)
	}
	return to, nil
}

// endOf returns where the file ends that was pinned as the active one: where the
// writer is, or, if a rotation gave the file a number meanwhile, its size.
func (s *Store) endOf(f *pinnedFile) (int64, error) {
	if s.writer.active.is(f.dev, f.ino) {
		return s.writer.active.size, nil
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
func (s *Store) locate(f *pinnedFile) (string, error) {
	if info, err := os.Lstat(s.beside(f.base)); err == nil {
		if dev, ino := inodeOf(info); dev == f.dev && ino == f.ino {
			return s.beside(f.base), nil
		}
	}
	members, _, _, err := s.listSet()
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
