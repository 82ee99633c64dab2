// Package memory stores records in the memory of the process: the backend
// "memory:", for tests and for trying things out. It does everything that the
// other backends do, and forgets everything when the process ends.
package memory

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/selection"
)

// Memory is what is stored. It grows without bound until it is compacted. The
// zero Memory is not usable; make it with [New].
type Memory struct {
	now func() time.Time

	acts     chan struct{} // the turn: one recovery or compaction at a time
	mu       sync.Mutex    // guards what follows
	entries  []entry       // never changed in place, only appended to or replaced
	last     int64         // number of the newest entry
	appender *Appender     // the open one
	saved    []Quarantined
}

// entry is one stored line without its newline.
type entry struct {
	number int64
	line   []byte
}

func (e entry) id() string { return strconv.FormatInt(e.number, 10) }

// Quarantined is a damaged line that a recovery has moved out.
type Quarantined struct {
	Act   string
	ID    string // of the entry
	Class papyra.Class
	Bytes []byte
}

// New returns an empty memory. A nil now means time.Now.
func New(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, acts: make(chan struct{}, 1)}
}

// Open returns a backend on the memory. Several may be open at a time; closing
// one does not forget what is stored.
func (m *Memory) Open() *Store {
	s := &Store{m: m}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	return s
}

// Plant stores a line as it is, whatever it is, for tests that need damage.
func (m *Memory) Plant(line []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(append([]byte(nil), line...))
}

// Quarantined returns the damaged lines that recoveries have moved out.
func (m *Memory) Quarantined() []Quarantined {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Quarantined(nil), m.saved...)
}

// add stores a line that nobody else will change. The caller holds mu.
func (m *Memory) add(line []byte) {
	m.last++
	m.entries = append(m.entries, entry{m.last, line})
}

// pin returns what is stored now. The slice is not to be changed.
func (m *Memory) pin() []entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries[:len(m.entries):len(m.entries)]
}

// Store is an open backend on a [Memory]. Its methods may be called
// concurrently; their contract is that of papyra.Store.
type Store struct {
	m    *Memory
	ctx  context.Context // ends with Close
	stop context.CancelCauseFunc
}

// URL returns "memory:".
func (s *Store) URL() string { return "memory:" }

// RejectFile returns "": a memory has no place for rejected lines.
func (s *Store) RejectFile() string { return "" }

// Traits returns nothing: a memory has no bound and does not become durable.
func (s *Store) Traits() papyra.Traits { return papyra.Traits{} }

// Warnings returns nothing.
func (s *Store) Warnings(context.Context, papyra.Retention) ([]string, error) { return nil, nil }

// Groups returns nothing: nobody else reads a memory.
func (s *Store) Groups(context.Context) ([]papyra.ConsumerGroup, error) { return nil, nil }

// Close closes an appender opened through this Store and makes every later call
// fail with papyra.ErrClosed. It is safe to call twice.
func (s *Store) Close() error {
	s.stop(papyra.ErrClosed)
	s.m.mu.Lock()
	a := s.m.appender
	s.m.mu.Unlock()
	if a == nil || a.s != s {
		return nil
	}
	return a.Close()
}

func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if s.ctx.Err() != nil {
		return nil, nil, closedError()
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(papyra.ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }, nil
}

func closedError() error { return fmt.Errorf("use memory: %w", papyra.ErrClosed) }

// Appender appends records to a [Memory]. Its methods are not safe for
// concurrent use.
type Appender struct {
	s      *Store
	closed bool
}

// Appender opens the memory for writing: papyra.ErrBusy if somebody has it.
func (s *Store) Appender(ctx context.Context) (papyra.Appender, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.ctx.Err() != nil {
		return nil, closedError()
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.m.appender != nil {
		return nil, fmt.Errorf("open memory for writing: %w", papyra.ErrBusy)
	}
	s.m.appender = &Appender{s: s}
	return s.m.appender, nil
}

// Append stores the lines of b in order.
func (a *Appender) Append(ctx context.Context, b *papyra.Batch) (stored int, err error) {
	a.s.m.mu.Lock()
	defer a.s.m.mu.Unlock()
	if a.closed {
		return 0, closedError()
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	data := append([]byte(nil), b.Bytes()...)
	for i := range b.Len() {
		a.s.m.add(data[b.End(i) : b.End(i+1)-1 : b.End(i+1)-1])
	}
	return b.Len(), nil
}

// Sync does nothing: a memory does not become durable.
func (a *Appender) Sync(ctx context.Context) error {
	a.s.m.mu.Lock()
	defer a.s.m.mu.Unlock()
	if a.closed {
		return closedError()
	}
	return ctx.Err()
}

// Stats returns nothing but zeros: nothing can happen to a memory.
func (a *Appender) Stats() papyra.AppendStats { return papyra.AppendStats{} }

// Close lets the next appender in. It is safe to call twice.
func (a *Appender) Close() error {
	a.s.m.mu.Lock()
	defer a.s.m.mu.Unlock()
	if !a.closed {
		a.closed = true
		a.s.m.appender = nil
	}
	return nil
}

// Read yields the records that q chooses.
func (s *Store) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error) {
	sel, err := selection.New(&q)
	if err != nil {
		return 0, err
	}
	ctx, cancel, err := s.within(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	entries := s.m.pin()
	var (
		rec    papyra.Record
		chosen []int
	)
	show := func(i int) error {
		return yield(&rec, papyra.Place{ID: entries[i].id()})
	}
	// take reports whether the i-th entry is chosen, and leaves it in rec.
	take := func(i int) (bool, error) {
		if i%1024 == 0 && ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		verdict, _ := judge.Line(&rec, entries[i].line, true)
		if verdict == judge.Damaged {
			damaged++
		}
		return verdict == judge.Valid && sel.Take(&rec), nil
	}
	if !sel.NewestFirst() {
		for i := range entries {
			if ok, err := take(i); err != nil {
				return damaged, err
			} else if !ok {
				continue
			}
			if err := show(i); err != nil {
				return damaged, err
			}
		}
		return damaged, nil
	}
	for i := len(entries) - 1; i >= 0 && !sel.Done(); i-- {
		ok, err := take(i)
		switch {
		case err != nil:
			return damaged, err
		case !ok:
		case q.Reverse:
			if err := show(i); err != nil {
				return damaged, err
			}
		default:
			chosen = append(chosen, i)
		}
	}
	for k := len(chosen) - 1; k >= 0; k-- {
		if err := papyra.ParseInto(&rec, entries[chosen[k]].line); err != nil {
			return damaged, errors.Join(papyra.ErrIncomplete, err)
		}
		if err := show(chosen[k]); err != nil {
			return damaged, err
		}
	}
	return damaged, nil
}
