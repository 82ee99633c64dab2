// Package memory stores records in the memory of the process: the backend
// "memory:", for tests and for trying things out. It does everything that the
// other backends do, and forgets everything when the process ends.
package memory

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/maintain"
)

// Memory is what is stored. It grows without bound until it is compacted. The
// zero Memory is not usable; make it with [New].
type Memory struct {
	now func() time.Time

	mu       sync.Mutex // guards what follows
	entries  []entry    // never changed in place, only appended to or replaced
	last     int64      // number of the newest entry
	appender *Appender  // the open one
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
	return &Memory{now: now}
}

// Open returns a backend on the memory. Several may be open at a time; closing
// one does not forget what is stored.
func (m *Memory) Open() *Store {
	return &Store{m: m, life: maintain.NewLife(closedError())}
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
	life *maintain.Life
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
	s.life.Close()
	s.m.mu.Lock()
	a := s.m.appender
	s.m.mu.Unlock()
	if a == nil || a.s != s {
		return nil
	}
	return a.Close()
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
	if err := s.life.Closed(); err != nil {
		return nil, err
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
