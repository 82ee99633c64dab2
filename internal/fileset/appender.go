package fileset

import (
	"context"
	"errors"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
)

// Appender appends to the active file and holds the store's lock. Its methods
// are not safe for concurrent use with each other; recovery and compaction of
// the same [Store] may run meanwhile.
type Appender struct {
	s      *Store
	stats  papyra.AppendStats // of the writer, when last asked
	closed bool
}

// Appender opens the store for writing: it makes the directory and the file if
// they do not exist, takes the lock (papyra.ErrBusy) and heals the end of the
// file. A set that rotates and whose files cannot be renamed is papyra.ErrConfig.
func (s *Store) Appender(ctx context.Context) (papyra.Appender, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.life.Closed(); err != nil {
		return nil, err
	}
	if err := s.checkPlace(); err != nil {
		return nil, err
	}
	if err := disk.MakeDirectory(s.disk, s.dir, nil); err != nil {
		return nil, err
	}
	if err := s.checkRotation(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.appender != nil {
		return nil, &papyra.StoreError{Op: "open", Path: s.path(), Offset: -1, Err: papyra.ErrBusy, Hint: "this process already appends to it"}
	}
	if err := s.holdStoreLocked(); err != nil {
		return nil, err
	}
	s.appender = &Appender{s: s}
	err := s.openWriter()
	if err == nil && s.rotates() {
		s.writer.active.fresh, err = s.holdsOnlyReports()
	}
	if err == nil {
		err = s.resumeDrops(ctx)
	}
	if err != nil {
		s.appender = nil
		return nil, errors.Join(err, s.letGoLocked())
	}
	return s.appender, nil
}

// Append stores the lines of b in order and returns how many of them, from the
// first, stand in the file. In sync mode "batch" they are durable when the error
// is nil; after an error with all lines stored they stand but may not be durable.
// Errors to test for: papyra.ErrClosed; papyra.ErrForeignWriter, after which nothing
// is written any more; papyra.ErrBusy when somebody took away the lock file and
// holds a new one; a system call's errno, after which the caller may try again.
func (a *Appender) Append(ctx context.Context, b *papyra.Batch) (stored int, err error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.closed {
		return 0, a.s.life.ClosedError()
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return a.s.writer.appendBatch(ctx, b)
}

// Sync makes what was stored durable, unless the sync mode is "none". After an
// error the next Sync tries again.
func (a *Appender) Sync(ctx context.Context) error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.closed {
		return a.s.life.ClosedError()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w := a.s.writer
	if err := w.checkActive(); err != nil {
		return err
	}
	if a.s.mode == SyncNone {
		return nil
	}
	return w.sync()
}

// Stats returns what the appender had to survive so far. It may be called
// concurrently with the other methods, and after Close.
func (a *Appender) Stats() papyra.AppendStats {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.writer != nil && !a.closed {
		a.stats = a.s.writer.stats
	}
	return a.stats
}

// Close syncs in every sync mode, closes the file and lets the lock go. An
// act of the same store that still runs keeps the lock until it ends. It is safe
// to call twice.
func (a *Appender) Close() error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	a.s.appender = nil
	err := a.s.writer.sync()
	a.stats = a.s.writer.stats
	return errors.Join(err, a.s.letGoLocked())
}
