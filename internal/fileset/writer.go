package fileset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
)

const (
	maxWrite   = 8 << 20  // bytes of one write
	maxKept    = 64 << 20 // bytes without fsync; more forces one
	checkEvery = time.Second
)

// writer appends to the active file. All its methods are called under the
// append lock, while the store's lock is held.
type writer struct {
	s        *Store
	f        *os.File // opened with O_APPEND
	dev, ino uint64
	size     int64 // that we left; anything else is somebody else's doing
	torn     bool  // the file ends in a fragment: the next write begins with a newline

	dirty    bool // something was written since the last good fsync
	kept     kept // the bytes since then, unless the sync mode is "none"
	failed   bool // an fsync of f failed: only a new descriptor proves anything
	dirDirty bool // a name was made or changed and the directory is not synced

	moved bool       // by a rotation: f has its number, and the new file is not made yet
	fresh bool       // nothing but the reports of the rotation was written
	drops []*dropped // out of the set, and not yet unlinked
	ahead ahead      // of the rotation that comes next

	checked time.Time // when the lock file was last looked at
	broken  error     // somebody else writes: for good
	stats   papyra.AppendStats
}

// openWriter opens the active file, makes it if it is not there, and heals its
// end. The append lock is held.
func (s *Store) openWriter() error {
	if s.writer != nil {
		return nil
	}
	w := &writer{s: s, checked: s.now()}
	if err := w.open(); err != nil {
		return err
	}
	s.writer = w
	return nil
}

// open opens or makes the active file and heals it.
func (w *writer) open() error {
	s := w.s
	f, err := s.disk.Open(s.path(), os.O_RDWR|os.O_APPEND|disk.OpenSafely, 0)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		f, err = disk.MakeFile(s.disk, s.path(), os.O_RDWR|os.O_APPEND, 0o600)
	}
	if err != nil {
		return &papyra.StoreError{Op: "open", Path: s.path(), Offset: -1, Err: err}
	}
	if err := w.adopt(f); err != nil {
		f.Close()
		return err
	}
	w.dirDirty = w.dirDirty || made
	if err := w.heal(); err != nil {
		f.Close()
		return err
	}
	return nil
}

// adopt makes f the file that is written to. What is kept of another one is
// forgotten.
func (w *writer) adopt(f *os.File) error {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is a %s: %w", what(info.Mode()), papyra.ErrConfig)
	}
	if err != nil {
		return &papyra.StoreError{Op: "open", Path: w.s.path(), Offset: -1, Err: err}
	}
	w.f = f
	w.dev, w.ino = inode(info)
	w.size = info.Size()
	w.kept = kept{} // not reset: a copy of w may share its memory
	w.dirty, w.failed = false, false
	return w.lookAtEnd()
}

// lookAtEnd finds out whether the file ends in a newline.
func (w *writer) lookAtEnd() error {
	w.torn = false
	if w.size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := w.s.disk.ReadAt(w.f, last[:], w.size-1); err != nil {
		return &papyra.StoreError{Op: "read", Path: w.s.path(), Offset: w.size - 1, Err: err}
	}
	w.torn = last[0] != '\n'
	return nil
}

// heal ends a file that does not end in a newline with one. It never cuts:
// a complete last record survives, and a fragment can merge with nothing.
func (w *writer) heal() error {
	if !w.torn {
		return nil
	}
	if _, err := w.write(nil); err != nil {
		return err
	}
	w.stats.Healed++
	return nil
}

func (w *writer) is(dev, ino uint64) bool { return w.dev == dev && w.ino == ino }

// append writes the lines of b and returns how many stand.
func (w *writer) append(ctx context.Context, b *papyra.Batch) (stored int, err error) {
	if err := w.check(); err != nil {
		return 0, err
	}
	for stored < b.Len() {
		if err := ctx.Err(); err != nil {
			return stored, err
		}
		from := b.End(stored)
		room, err := w.room(ctx, b.End(stored+1)-from)
		if err != nil {
			return stored, err
		}
		upTo := max(b.LinesWithin(from+room), stored+1)
		n, err := w.write(b.Bytes()[from:b.End(upTo)])
		if err != nil {
			return b.LinesWithin(from + n), err
		}
		w.fresh = false
		stored = upTo
		w.readAhead(ctx)
	}
	if w.s.mode == SyncBatch {
		return stored, w.sync()
	}
	return stored, nil
}

// report appends lines of an act and makes them durable whatever the sync mode.
func (w *writer) report(lines []byte) error {
	if err := w.check(); err != nil {
		return err
	}
	if _, err := w.room(w.s.life.Context(), len(lines)); err != nil {
		return err
	}
	if _, err := w.write(lines); err != nil {
		return err
	}
	w.fresh = false
	return w.sync()
}

// write appends data, which ends in a newline, in one write, and returns how
// many bytes of it stand: all of them, or after an error what could not be cut
// off again.
func (w *writer) write(data []byte) (int, error) {
	keep := w.s.mode != SyncNone
	if keep && w.kept.size+len(data) > maxKept {
		if err := w.sync(); err != nil {
			return 0, err
		}
	}
	out, lead := data, 0
	if w.torn {
		out, lead = append([]byte{'\n'}, data...), 1
	}
	if len(out) == 0 {
		return 0, nil
	}
	n, err := w.s.disk.Write(w.f, out)
	if err == nil && n == len(out) {
		w.grown(out, keep)
		return len(data), nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	err = &papyra.StoreError{Op: "append to", Path: w.s.path(), Offset: w.size, Err: err, Hint: hintFor(err)}
	if cut := w.s.disk.Truncate(w.f, w.size); cut == nil {
		w.stats.CutBack++
		return 0, err
	}
	// What was written cannot be taken back: its whole lines count.
	w.stats.Torn++
	info, statErr := w.f.Stat()
	if statErr != nil {
		return 0, errors.Join(err, statErr)
	}
	stands := info.Size() - w.size
	if stands < 0 || stands > int64(len(out)) {
		return 0, errors.Join(err, w.foreign(info.Size()))
	}
	w.grown(out[:stands], keep)
	return max(int(stands)-lead, 0), err
}

// grown notes bytes that now stand at the end of the file.
func (w *writer) grown(written []byte, keep bool) {
	if len(written) == 0 {
		return
	}
	if keep {
		w.kept.add(w.size, written)
	}
	w.size += int64(len(written))
	w.dirty = true
	w.torn = written[len(written)-1] != '\n'
}

// check makes sure that we still write where the store is: the lock file is in
// its place (looked at once a second), the name leads to our descriptor, and
// nobody else has changed the length.
func (w *writer) check() error {
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
	if gone && w.moved {
		return w.begin()
	}
	if gone {
		return w.reopen()
	}
	if !w.is(inode(info)) {
		return w.reopen()
	}
	switch size := info.Size(); {
	case size > w.size:
		w.broken = w.foreign(size)
		return w.broken
	case size < w.size:
		return w.truncated(size)
	}
	return nil
}

func (w *writer) checkLock() error {
	now := w.s.now()
	if passed := now.Sub(w.checked); passed >= 0 && passed < checkEvery {
		return nil
	}
	if !w.s.lock.inPlace() {
		// Somebody removed the lock file, and perhaps took a new one.
		l, err := takeLock(w.s.disk, w.s.names.lock(), now)
		if err != nil {
			return err
		}
		w.s.lock.release()
		w.s.lock = l
		w.stats.LockRetaken++
	}
	w.checked = now
	return nil
}

func (w *writer) foreign(size int64) error {
	return &papyra.StoreError{
		Op: "append to", Path: w.s.path(), Offset: w.size,
		Err:  fmt.Errorf("it has %d bytes: %w", size, papyra.ErrForeignWriter),
		Hint: "find and stop whoever writes there without taking " + w.s.names.lock(),
	}
}

// reopen goes on in the file that has the name now, or makes it. The bytes
// written before are where their file went; they are synced there as far as
// that goes.
func (w *writer) reopen() error {
	if w.dirty {
		_ = w.s.disk.Sync(w.f)
	}
	next := *w
	next.moved, next.fresh = false, false
	if err := next.open(); err != nil {
		return err
	}
	w.f.Close()
	*w = next
	w.stats.Reopened++
	return nil
}

// truncated goes on after somebody made the file shorter.
func (w *writer) truncated(size int64) error {
	w.size = size
	w.kept.cut(size)
	w.stats.Truncated++
	if err := w.lookAtEnd(); err != nil {
		return err
	}
	return w.heal()
}

// sync makes everything written durable. It is done with nothing to do.
func (w *writer) sync() error {
	if w.dirDirty {
		if err := disk.SyncDirectory(w.s.disk, w.s.dir); err != nil {
			w.stats.SyncFailures++
			return err
		}
		w.dirDirty = false
	}
	if !w.dirty {
		return nil
	}
	if !w.failed {
		err := w.s.disk.Sync(w.f)
		if err == nil {
			w.synced()
			return nil
		}
		w.failed = true
		w.stats.SyncFailures++
	}
	// The first try through a new descriptor follows at once: after a passing
	// fault there is nothing left to report.
	if err := w.writeAgain(); err != nil {
		w.stats.SyncFailures++
		return err
	}
	w.failed = false
	w.synced()
	return nil
}

func (w *writer) synced() {
	w.dirty = false
	w.kept.reset()
}

// writeAgain writes the kept bytes at their offsets through a new descriptor,
// syncs that, and goes on with one that has no failure behind it.
func (w *writer) writeAgain() error {
	fail := func(op string, err error) error {
		return &papyra.StoreError{Op: op, Path: w.s.path(), Offset: w.kept.at, Err: err, Hint: "the last records may not survive a power cut; check the disk"}
	}
	if w.kept.size == 0 {
		return fail("sync", errors.New("the bytes since the last good sync are not kept in sync mode none"))
	}
	f, err := w.s.disk.Open(w.s.path(), os.O_WRONLY|disk.OpenSafely, 0)
	if err != nil {
		return fail("open for a second sync", err)
	}
	defer f.Close()
	next, err := w.s.disk.Open(w.s.path(), os.O_RDWR|os.O_APPEND|disk.OpenSafely, 0)
	if err != nil {
		return fail("open for a second sync", err)
	}
	for _, other := range []*os.File{f, next} {
		if info, err := other.Stat(); err != nil || !w.is(inode(info)) {
			next.Close()
			return fail("open for a second sync", errors.New("the name leads to another file"))
		}
	}
	if err = w.kept.writeTo(w.s.disk, f); err == nil {
		err = w.s.disk.Sync(f)
	}
	if err != nil {
		next.Close()
		return fail("write and sync again", err)
	}
	w.f.Close()
	w.f = next
	return nil
}

// swapped goes on in the file that has taken the active one's place. It is
// synced; dirDirty says that its directory is not. Should it not open, nothing
// goes to the old inode any more either: the next append finds another one under
// the name and opens it.
func (w *writer) swapped(dirDirty bool) error {
	w.dirDirty = w.dirDirty || dirDirty
	f, err := w.s.disk.Open(w.s.path(), os.O_RDWR|os.O_APPEND|disk.OpenSafely, 0)
	if err != nil {
		return &papyra.StoreError{Op: "open", Path: w.s.path(), Offset: -1, Err: err}
	}
	next := *w
	if err := next.adopt(f); err != nil {
		f.Close()
		return err
	}
	w.f.Close()
	*w = next
	return nil
}

// close closes the file. Whoever wants it durable has called sync.
func (w *writer) close() error {
	w.ahead.giveUp()
	return w.f.Close()
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
	}
	return ""
}
