package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// Read yields the records that q chooses; see [maintain.Read].
func (s *Store) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error) {
	return maintain.Read(ctx, medium{s}, q, yield)
}

// Scan looks at every stored line.
func (s *Store) Scan(ctx context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	ctx, end, err := s.life.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	return s.pin(ctx).Scan(o, nil)
}

// Compact removes what is outside the view at o.At, and duplicates if o says so;
// see [maintain.Compact].
func (s *Store) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	return maintain.Compact(ctx, medium{s}, o)
}

// Recover moves damaged lines into a quarantine within the memory; see
// [maintain.Recover]. RecoverOptions.QuarantineDir is refused: a memory has no
// directories.
func (s *Store) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	if o.QuarantineDir != "" {
		return nil, errNoDirectory
	}
	return maintain.Recover(ctx, medium{s}, o)
}

// medium shows a memory to package maintain.
type medium struct{ s *Store }

func (m medium) URL() string          { return m.s.URL() }
func (m medium) Now() time.Time       { return m.s.m.now() }
func (m medium) Life() *maintain.Life { return m.s.life }

// Pin fixes what is stored now. A change has to wait for none: each is one step
// under the memory's lock.
func (m medium) Pin(ctx context.Context, purpose maintain.Purpose) (maintain.Held, error) {
	if purpose.Change {
		if err := m.s.m.busyFor(m.s); err != nil {
			return nil, err
		}
	}
	return m.s.pin(ctx), nil
}

// busyFor returns papyra.ErrBusy if another Store's appender holds the memory.
func (m *Memory) busyFor(s *Store) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.appender != nil && m.appender.s != s {
		return fmt.Errorf("change memory: %w", papyra.ErrBusy)
	}
	return nil
}

// pinned is what was stored at one moment.
type pinned struct {
	s       *Store
	ctx     context.Context
	entries []entry // not to be changed
	line    memoryLine
}

func (s *Store) pin(ctx context.Context) *pinned {
	return &pinned{s: s, ctx: ctx, entries: s.m.pin()}
}

// Alone is true: one act at a time has its turn.
func (p *pinned) Alone() bool { return true }

// Release has nothing to release.
func (p *pinned) Release() {}

// Incomplete returns nil: a memory can be read.
func (p *pinned) Incomplete(string) error { return nil }

// Size returns the bytes of all lines.
func (p *pinned) Size() (bytes, lines int64) {
	for _, e := range p.entries {
		bytes += int64(len(e.line)) + 1
	}
	return bytes, int64(len(p.entries))
}

// memoryLine is an entry as package maintain sees it.
type memoryLine struct{ entry }

func (l *memoryLine) Judge(rec *papyra.Record, full bool) (judge.Verdict, *papyra.LineError) {
	return judge.Line(rec, l.line, full)
}
func (l *memoryLine) Size() int64         { return int64(len(l.line)) + 1 }
func (l *memoryLine) Place() papyra.Place { return papyra.Place{ID: l.id()} }
func (l *memoryLine) Unfinished() bool    { return false }

// NewMarks returns marks that are empty: one for each entry.
func (p *pinned) NewMarks() maintain.Marks { return make([]bool, len(p.entries)) }

// Backward visits the entries from the newest to the oldest.
func (p *pinned) Backward(all maintain.Marks, _ maintain.Part, visit maintain.Visit) error {
	marks, _ := all.([]bool)
	for i := len(p.entries) - 1; i >= 0; i-- {
		if marks != nil && marks[i] {
			continue
		}
		p.line.entry = p.entries[i]
		mark, err := visit(&p.line)
		if mark && marks != nil {
			marks[i] = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Forward visits the entries from the oldest to the newest.
func (p *pinned) Forward(all maintain.Marks, visit maintain.Visit) error {
	marks, _ := all.([]bool)
	for i := range p.entries {
		if marks != nil && !marks[i] {
			continue
		}
		p.line.entry = p.entries[i]
		if _, err := visit(&p.line); err != nil {
			return err
		}
	}
	return nil
}

// Announce stores reports.
func (p *pinned) Announce(lines ...[]byte) error {
	m := p.s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range lines {
		m.add(line[:len(line)-1])
	}
	return nil
}

// EndLines does nothing: a line has no newline here.
func (p *pinned) EndLines(bool) (int64, error) { return 0, nil }

// TouchedGroups returns nothing.
func (p *pinned) TouchedGroups(maintain.Marks, maintain.Part) ([]papyra.RemovedGroup, error) {
	return nil, nil
}

// Prepare has nothing to prepare.
func (p *pinned) Prepare(maintain.Marks, func(int64)) error { return nil }

// Remove puts what stays in the place of the pinned entries.
func (p *pinned) Remove(all maintain.Marks, advance func(int64)) (pause time.Duration, changed bool, err error) {
	marks, _ := all.([]bool)
	return p.swap(func(i int) bool { return marks[i] }, nil, advance), true, nil
}

// VisitLeft visits nothing: a Remove does not fail.
func (p *pinned) VisitLeft(maintain.Marks, maintain.Part, func(l maintain.Line)) error { return nil }

// Reserve reserves nothing.
func (p *pinned) Reserve(int64) (shrink func(to int64), err error) { return func(int64) {}, nil }

// Under returns the pinned entries under another context.
func (p *pinned) Under(ctx context.Context) maintain.Held {
	return &pinned{s: p.s, ctx: ctx, entries: p.entries}
}

// swap replaces the pinned entries by those of them that stay, keeps saved, and
// returns how long appends had to wait. What stays is copied, so that what goes
// is freed.
func (p *pinned) swap(goes func(i int) bool, saved []Quarantined, advance func(int64)) time.Duration {
	size := 0
	for i, e := range p.entries {
		if !goes(i) {
			size += len(e.line)
		}
	}
	kept, data := make([]entry, 0, len(p.entries)), make([]byte, 0, size)
	for i, e := range p.entries {
		advance(int64(len(e.line)) + 1)
		if goes(i) {
			continue
		}
		data = append(data, e.line...)
		kept = append(kept, entry{e.number, data[len(data)-len(e.line) : len(data) : len(data)]})
	}
	began := time.Now()
	m := p.s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = append(kept, m.entries[len(p.entries):]...)
	m.saved = append(m.saved, saved...)
	return time.Since(began)
}
