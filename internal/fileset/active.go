package fileset

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
)

// activeFlags open the file that is appended to.
const activeFlags = os.O_RDWR | os.O_APPEND | disk.OpenSafely

// activeFile is the file that is appended to, as its writer has left it. Where
// another file takes its place the writer gets a new activeFile, so that nothing
// that is true of one file is ever believed of another.
type activeFile struct {
	s        *Store
	f        *os.File // opened with activeFlags
	dev, ino uint64
	size     int64 // that the writer left; any other size is somebody else's doing
	torn     bool  // it ends in a fragment: the next write begins with a newline

	dirty      bool     // something was written since the last good fsync
	unsynced   unsynced // the bytes since then, unless the sync mode is "none"
	syncFailed bool     // an fsync of f failed: only a new descriptor proves anything

	numbered bool // a rotation gave it its number, and the file after it is not made yet
	fresh    bool // a rotation made it, and nothing but the rotation's reports was written
}

// newActiveFile returns the active file of which f is open. Everything in it
// counts as synced.
func (s *Store) newActiveFile(f *os.File) (*activeFile, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is a %s: %w", fileKind(info.Mode()), papyra.ErrConfig)
	}
	if err != nil {
		return nil, &papyra.StoreError{Op: "open", Path: s.path(), Offset: -1, Err: err}
	}
	a := &activeFile{s: s, f: f, size: info.Size()}
	a.dev, a.ino = inodeOf(info)
	return a, a.lookAtEnd()
}

// lookAtEnd finds out whether the file ends in a newline.
func (a *activeFile) lookAtEnd() error {
	a.torn = false
	if a.size == 0 {
		return nil
	}
	var last [1]byte
	if err := disk.ReadFull(a.s.disk, a.f, last[:], a.size-1); err != nil {
		return &papyra.StoreError{Op: "read", Path: a.s.path(), Offset: a.size - 1, Err: err}
	}
	a.torn = last[0] != '\n'
	return nil
}

// is reports whether the file has this inode.
func (a *activeFile) is(dev, ino uint64) bool { return a.dev == dev && a.ino == ino }

// lead is how many bytes the next write puts before its data: the newline that a
// fragment lacks.
func (a *activeFile) lead() int {
	if a.torn {
		return 1
	}
	return 0
}

// fits reports whether n bytes more keep the file within a bound, or the file is
// empty.
func (a *activeFile) fits(n int, bound int64) bool {
	return a.size == 0 || a.size+int64(a.lead()+n) <= bound
}

// keepsUnsynced reports whether unsynced bytes are kept, to be written again.
func (a *activeFile) keepsUnsynced() bool { return a.s.mode != SyncNone }

// writeData appends data, which ends in a newline, in one write. It returns how
// many bytes of data stand: all of them, or after an error those that could not be
// cut off again; cutOff says that all of them could.
func (a *activeFile) writeData(data []byte) (stand int, cutOff bool, err error) {
	out, lead := data, a.lead()
	if lead > 0 {
		out = append([]byte{'\n'}, data...)
	}
	if len(out) == 0 {
		return 0, false, nil
	}
	n, err := a.s.disk.Write(a.f, out)
	if err == nil && n == len(out) {
		a.noteWritten(out)
		return len(data), false, nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	err = &papyra.StoreError{Op: "append to", Path: a.s.path(), Offset: a.size, Err: err, Hint: hintFor(err)}
	if cut := a.s.disk.Truncate(a.f, a.size); cut == nil {
		return 0, true, err
	}
	// What was written cannot be taken back: its whole lines count.
	info, statErr := a.f.Stat()
	if statErr != nil {
		return 0, false, errors.Join(err, statErr)
	}
	part := info.Size() - a.size
	if part < 0 || part > int64(len(out)) {
		return 0, false, errors.Join(err, a.foreignWriter(info.Size()))
	}
	a.noteWritten(out[:part])
	return max(int(part)-lead, 0), false, err
}

// noteWritten notes bytes that now stand at the end of the file.
func (a *activeFile) noteWritten(written []byte) {
	if len(written) == 0 {
		return
	}
	if a.keepsUnsynced() {
		a.unsynced.addBytes(a.size, written)
	}
	a.size += int64(len(written))
	a.dirty = true
	a.torn = written[len(written)-1] != '\n'
}

// foreignWriter is the error for a size that the writer did not leave.
func (a *activeFile) foreignWriter(size int64) error {
	return &papyra.StoreError{
		Op: "append to", Path: a.s.path(), Offset: a.size,
		Err:  fmt.Errorf("it has %d bytes: %w", size, papyra.ErrForeignWriter),
		Hint: "find and stop whoever writes there without taking " + a.s.names.lock(),
	}
}

// shrink goes on after somebody made the file shorter.
func (a *activeFile) shrink(size int64) error {
	a.size = size
	a.unsynced.cutAt(size)
	return a.lookAtEnd()
}

// syncData makes the file durable through its descriptor.
func (a *activeFile) syncData() error {
	if err := a.s.disk.Sync(a.f); err != nil {
		a.syncFailed = true
		return err
	}
	a.noteSynced()
	return nil
}

// noteSynced notes that everything written is durable.
func (a *activeFile) noteSynced() {
	a.dirty, a.syncFailed = false, false
	a.unsynced.forget()
}

// writeAgain writes the unsynced bytes at their offsets through a new descriptor,
// syncs that, and goes on with one that has no failure behind it. After a failed
// fsync the kernel may count the pages as clean, so that another fsync of the old
// descriptor proves nothing.
func (a *activeFile) writeAgain() error {
	d, path := a.s.disk, a.s.path()
	fail := func(op string, err error) error {
		return &papyra.StoreError{Op: op, Path: path, Offset: a.unsynced.at, Err: err, Hint: "the last records may not survive a power cut; check the disk"}
	}
	if a.unsynced.size == 0 {
		return fail("sync", errors.New("the bytes since the last good sync are not kept in sync mode none"))
	}
	f, err := d.Open(path, os.O_WRONLY|disk.OpenSafely, 0)
	if err != nil {
		return fail("open for a second sync", err)
	}
	defer f.Close()
	next, err := d.Open(path, activeFlags, 0)
	if err != nil {
		return fail("open for a second sync", err)
	}
	for _, other := range []*os.File{f, next} {
		if info, err := other.Stat(); err != nil || !a.is(inodeOf(info)) {
			next.Close()
			return fail("open for a second sync", errors.New("the name leads to another file"))
		}
	}
	if err = a.unsynced.writeTo(d, f); err == nil {
		err = d.Sync(f)
	}
	if err != nil {
		next.Close()
		return fail("write and sync again", err)
	}
	a.f.Close()
	a.f = next
	a.noteSynced()
	return nil
}
