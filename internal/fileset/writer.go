package fileset

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
)

const (
	maxWrite    = 8 << 20  // bytes of one write
	maxUnsynced = 64 << 20 // bytes without fsync; more forces one
	checkEvery  = time.Second
)

// writer appends to the active file and rotates. All its methods are called under
// the append lock, while the store's lock is held.
type writer struct {
	s      *Store
	active *activeFile // replaced as a whole when another file takes its place

	dirDirty   bool         // a name was made or changed since the last good sync of the directory
	departures []*departure // renamed or reported
	ahead      dropReader   // of the rotation that comes next

	lockSeen time.Time // when the lock file was last looked at
	broken   error     // somebody else writes: for good
	stats    papyra.AppendStats
}

// openWriter opens the active file, makes it if it is not there, and heals its
// end. The append lock is held.
func (s *Store) openWriter() error {
	if s.writer != nil {
		return nil
	}
	w := &writer{s: s, lockSeen: s.now()}
	if err := w.openActive(); err != nil {
		return err
	}
	s.writer = w
	return nil
}

// openActive opens or makes the file that has the name, heals its end, and goes on
// in it. After an error the writer is as before.
func (w *writer) openActive() error {
	s := w.s
	f, err := s.disk.Open(s.path(), activeFlags, 0)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		others := s.anyMember() // of a set that lacks only its active file
		if f, err = disk.MakeFile(s.disk, s.path(), os.O_RDWR|os.O_APPEND, 0o600); err == nil && others != nil {
			_ = keepOwner(f, others)
		}
	}
	if err != nil {
		return &papyra.StoreError{Op: "open", Path: s.path(), Offset: -1, Err: err}
	}
	next, err := s.newActiveFile(f)
	healed := err == nil && next.torn
	if healed {
		_, _, err = next.writeData(nil)
	}
	if err != nil {
		f.Close()
		return err
	}
	if healed {
		w.stats.Healed++
	}
	w.dirDirty = w.dirDirty || made
	w.goOnIn(next)
	return nil
}

// goOnIn makes next the active file.
func (w *writer) goOnIn(next *activeFile) {
	if w.active != nil {
		w.active.f.Close()
	}
	w.active = next
}

// heal ends the active file with a newline if it lacks one. It never cuts: a last
// record that is complete survives, and a fragment can merge with nothing.
func (w *writer) heal() error {
	if !w.active.torn {
		return nil
	}
	if _, err := w.writeData(nil); err != nil {
		return err
	}
	w.stats.Healed++
	return nil
}

// appendBatch writes the lines of b and returns how many stand.
func (w *writer) appendBatch(ctx context.Context, b *papyra.Batch) (stored int, err error) {
	if err := w.checkActive(); err != nil {
		return 0, err
	}
	for stored < b.Len() {
		if err := ctx.Err(); err != nil {
			return stored, err
		}
		from := b.End(stored)
		room, err := w.makeRoom(ctx, b.End(stored+1)-from)
		if err != nil {
			return stored, err
		}
		upTo := max(b.LinesWithin(from+room), stored+1)
		n, err := w.writeData(b.Bytes()[from:b.End(upTo)])
		if err != nil {
			return b.LinesWithin(from + n), err
		}
		w.active.fresh = false
		stored = upTo
		w.readAhead(ctx)
	}
	if w.s.mode == SyncBatch {
		return stored, w.sync()
	}
	return stored, nil
}

// appendReports appends lines of an act and makes them durable whatever the sync
// mode.
func (w *writer) appendReports(lines []byte) error {
	if err := w.checkActive(); err != nil {
		return err
	}
	if _, err := w.makeRoom(w.s.life.Context(), len(lines)); err != nil {
		return err
	}
	if _, err := w.writeData(lines); err != nil {
		return err
	}
	w.active.fresh = false
	return w.sync()
}

// writeData appends data, which ends in a newline, in one write, and returns how
// many bytes of it stand: all of them, or after an error what could not be cut off
// again.
func (w *writer) writeData(data []byte) (int, error) {
	if a := w.active; a.keepsUnsynced() && a.unsynced.size+len(data) > maxUnsynced {
		if err := w.sync(); err != nil {
			return 0, err
		}
	}
	stand, cutOff, err := w.active.writeData(data)
	switch {
	case err == nil:
	case cutOff:
		w.stats.CutBack++
	default:
		w.stats.Torn++
	}
	return stand, err
}

// checkActive makes sure that the writer still writes where the store is: the lock
// file is in its place (looked at once a second), the name leads to the active
// file, and nobody else has changed its length.
func (w *writer) checkActive() error {
	if w.broken != nil {
		return w.broken
	}
	if err := w.checkLock(); err != nil {
		return err
	}
	info, err := os.Lstat(w.s.path())
	if err == nil && !info.Mode().IsRegular() {
		return w.s.checkPlace()
	}
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return &papyra.StoreError{Op: "look at", Path: w.s.path(), Offset: -1, Err: err}
	}
	if gone && w.active.numbered {
		return w.beginFile()
	}
	if gone || !w.active.is(inodeOf(info)) {
		return w.reopen()
	}
	switch size := info.Size(); {
	case size > w.active.size:
		w.broken = w.active.foreignWriter(size)
		return w.broken
	case size < w.active.size:
		w.stats.Truncated++
		if err := w.active.shrink(size); err != nil {
			return err
		}
		return w.heal()
	}
	return nil
}

// checkLock takes the lock anew if the lock file was removed.
func (w *writer) checkLock() error {
	now := w.s.now()
	if passed := now.Sub(w.lockSeen); passed >= 0 && passed < checkEvery {
		return nil
	}
	if !w.s.lock.inPlace() {
		// Somebody removed the lock file, and perhaps took a new one.
		l, err := w.s.takeLock(w.s.disk, now)
		if err != nil {
			return err
		}
		w.s.lock.release()
		w.s.lock = l
		w.stats.LockRetaken++
	}
	w.lockSeen = now
	return nil
}

// reopen goes on in the file that has the name now, or makes it. What was written
// before is where its file went; it is synced there as far as possible.
func (w *writer) reopen() error {
	if w.active.dirty {
		_ = w.s.disk.Sync(w.active.f)
	}
	if err := w.openActive(); err != nil {
		return err
	}
	w.stats.Reopened++
	return nil
}

// sync makes everything written durable. It does nothing where nothing is to do.
func (w *writer) sync() error {
	if w.dirDirty {
		if err := disk.SyncDirectory(w.s.disk, w.s.dir); err != nil {
			w.stats.SyncFailures++
			return err
		}
		w.dirDirty = false
	}
	a := w.active
	if !a.dirty {
		return nil
	}
	if !a.syncFailed {
		if a.syncData() == nil {
			return nil
		}
		w.stats.SyncFailures++
	}
	// The first try through a new descriptor follows at once: after a passing
	// fault there is nothing left to report.
	if err := a.writeAgain(); err != nil {
		w.stats.SyncFailures++
		return err
	}
	return nil
}

// goOnAfterSwap goes on in the file that a replacement has put in the place of the
// active one. That file is synced; dirDirty says that its directory is not. Should
// it not open, nothing goes to the old inode any more either: the next append finds
// another one under the name and opens it.
func (w *writer) goOnAfterSwap(dirDirty bool) error {
	w.dirDirty = w.dirDirty || dirDirty
	f, err := w.s.disk.Open(w.s.path(), activeFlags, 0)
	if err != nil {
		return &papyra.StoreError{Op: "open", Path: w.s.path(), Offset: -1, Err: err}
	}
	next, err := w.s.newActiveFile(f)
	if err != nil {
		f.Close()
		return err
	}
	next.numbered, next.fresh = w.active.numbered, w.active.fresh
	w.goOnIn(next)
	return nil
}

// close closes the file. Whoever wants it durable has called sync.
func (w *writer) close() error {
	w.ahead.giveUp()
	return w.active.f.Close()
}

// hintFor tells the operator what to do about a failed write.
func hintFor(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "make room; it goes on by itself"
	case errors.Is(err, unix.EFBIG):
		return "raise the limit on the size of a file, or compact"
	case errors.Is(err, unix.EROFS):
		return "the file system is read-only; mount it writable"
	case errors.Is(err, unix.EIO):
		return "check the disk"
	case errors.Is(err, unix.EBUSY):
		return hintMount
	}
	return ""
}
