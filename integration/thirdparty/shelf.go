// Package shelf is a store of Papyra's that somebody else could have written: it
// imports package papyra and the standard library, nothing more.
//
// A shelf is a directory of books. A book holds the lines of one batch and has a
// number for its name; it is written and synced under another name first, so
// that it is there whole or not at all. Nothing is ever appended to a book, and
// what a compaction or a recovery changes it replaces in one step.
//
//	shelf/
//	  lock                       held by the appender, or during an act
//	  0000000000000001.book      lines, each with its newline
//	  0000000000000002.book
//	  0000000000000003.book.*.part   a book that is being written, or was
//	  quarantine/<act>/          what a recovery has moved away
//	  rejected.ndjson            what a sink has rejected
//
// A power cut takes whole books, from the newest, back to the last Sync. Reading
// needs no lock. A shelf is for a sink that stores large batches: one that
// stores a line now and then makes a file of each.
package shelf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/papyra/papyra"
)

// Shelf is a store in a directory. Its contract is that of papyra.Store.
type Shelf struct {
	dir  string
	ctx  context.Context // ends with Close
	stop context.CancelCauseFunc
	turn chan struct{} // one recovery or compaction at a time

	mu       sync.Mutex // guards what follows, and the writing of books
	lock     *os.File   // while this Shelf holds the directory
	holders  int        // the appender and the acts of this Shelf
	next     uint64     // number of the next book, while lock is held
	appender *appender
}

var _ papyra.Store = (*Shelf)(nil)

// Open returns the shelf in a directory, which need not exist.
func Open(dir string) (*Shelf, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", papyra.ErrConfig, err)
	}
	s := &Shelf{dir: dir, turn: make(chan struct{}, 1)}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	return s, nil
}

// URL returns "shelf:" and the directory.
func (s *Shelf) URL() string { return "shelf:" + s.dir }

// Traits says that books are whole from the beginning and durable with Sync.
func (s *Shelf) Traits() papyra.Traits { return papyra.Traits{Sync: "interval"} }

// RejectFile returns a file in the shelf that is no book.
func (s *Shelf) RejectFile() string { return s.path("rejected.ndjson") }

// Warnings returns nothing: a shelf removes nothing by itself.
func (s *Shelf) Warnings(context.Context, papyra.Retention) ([]string, error) {
	return nil, s.closed()
}

// Examine looks at the directory of the shelf.
func (s *Shelf) Examine(context.Context) []papyra.Check {
	check := papyra.Check{Name: "directory", Status: papyra.StatusOK, Finding: s.dir}
	switch info, err := os.Stat(s.dir); {
	case err != nil:
		check.Status, check.Finding, check.Hint = papyra.StatusFail, err.Error(), "check the path; a sink makes the shelf when it starts"
	case !info.IsDir():
		check.Status, check.Finding = papyra.StatusFail, s.dir+" is not a directory"
	}
	return []papyra.Check{check}
}

// Groups returns nothing: nobody else reads a shelf through a group.
func (s *Shelf) Groups(context.Context) ([]papyra.ConsumerGroup, error) {
	if err := s.closed(); err != nil {
		return nil, err
	}
	_, err := s.list()
	return nil, err
}

// Close ends what runs on the shelf, waits for an act that changes it already,
// closes an open appender and makes later calls fail with papyra.ErrClosed.
func (s *Shelf) Close() error {
	s.stop(papyra.ErrClosed)
	s.turn <- struct{}{}
	<-s.turn
	s.mu.Lock()
	a := s.appender
	s.mu.Unlock()
	if a == nil {
		return nil
	}
	return a.Close()
}

func (s *Shelf) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Shelf) closed() error {
	if s.ctx.Err() != nil {
		return fmt.Errorf("use %s: %w", s.URL(), papyra.ErrClosed)
	}
	return nil
}

// begin starts a call: the context that it returns also ends with Close.
func (s *Shelf) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if err := errors.Join(s.closed(), context.Cause(ctx)); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(s.ctx, func() { cancel(papyra.ErrClosed) })
	return ctx, func() { unhook(); cancel(nil) }, nil
}

// beginAct starts a recovery or compaction: it waits for its turn and, unless
// the act changes nothing, holds the shelf.
func (s *Shelf) beginAct(ctx context.Context, dry bool) (context.Context, context.CancelFunc, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return nil, nil, context.Cause(ctx)
	}
	end := func() { <-s.turn; cancel() }
	if dry {
		return ctx, end, nil
	}
	if _, err = s.list(); err == nil { // an act does not make a shelf
		s.mu.Lock()
		err = s.hold()
		s.mu.Unlock()
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return ctx, func() { s.release(); end() }, nil
}

// hold takes the lock that keeps every other Shelf from writing. The caller
// holds mu.
func (s *Shelf) hold() error {
	if s.holders == 0 {
		lock, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return failed("lock", s.dir, err)
		}
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = papyra.ErrBusy
		}
		var books []string
		if err == nil {
			books, err = s.list()
		}
		if err != nil {
			lock.Close()
			return failed("lock", s.dir, err)
		}
		s.lock, s.next = lock, 1
		if n := len(books); n > 0 {
			s.next = bookNumber(books[n-1]) + 1
		}
	}
	s.holders++
	return nil
}

func (s *Shelf) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holders--; s.holders == 0 {
		s.lock.Close() // and with it the lock goes
	}
}

// failed returns an error at a path of the shelf.
func failed(op, path string, err error) error {
	return &papyra.StoreError{Op: op, Path: path, Offset: -1, Err: err}
}

// appender puts each batch into a book of its own.
type appender struct {
	s      *Shelf
	done   bool // guarded by s.mu, as is dirty
	dirty  bool // a book has a name that is not durable yet
	failed atomic.Int64
}

// Appender makes the directory if it is not there, and holds the shelf.
func (s *Shelf) Appender(ctx context.Context) (papyra.Appender, error) {
	if err := errors.Join(s.closed(), context.Cause(ctx)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, failed("make", s.dir, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.appender != nil {
		return nil, failed("append to", s.dir, papyra.ErrBusy)
	}
	if err := s.hold(); err != nil {
		return nil, err
	}
	s.appender = &appender{s: s}
	return s.appender, nil
}

// Append stores all of the batch, or nothing of it.
func (a *appender) Append(ctx context.Context, b *papyra.Batch) (stored int, err error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if err := a.usable(ctx); err != nil || b.Len() == 0 {
		return 0, err
	}
	if err := a.s.put(b.Bytes()); err != nil {
		return 0, err
	}
	a.dirty = true
	return b.Len(), nil
}

// Sync makes the names of the stored books durable.
func (a *appender) Sync(ctx context.Context) error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if err := a.usable(ctx); err != nil {
		return err
	}
	return a.sync()
}

func (a *appender) usable(ctx context.Context) error {
	if a.done {
		return fmt.Errorf("append to %s: %w", a.s.URL(), papyra.ErrClosed)
	}
	return context.Cause(ctx)
}

func (a *appender) sync() error {
	if !a.dirty {
		return nil
	}
	if err := syncDir(a.s.dir); err != nil {
		a.failed.Add(1)
		return err
	}
	a.dirty = false
	return nil
}

// Stats counts failed Syncs. Nothing else can happen to a shelf.
func (a *appender) Stats() papyra.AppendStats {
	return papyra.AppendStats{SyncFailures: a.failed.Load()}
}

// Close syncs and lets the next appender in.
func (a *appender) Close() error {
	a.s.mu.Lock()
	if a.done {
		a.s.mu.Unlock()
		return nil
	}
	err := a.sync()
	a.done, a.s.appender = true, nil
	a.s.mu.Unlock()
	a.s.release()
	return err
}
