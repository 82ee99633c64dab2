package sink_test

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// askedStore is a store that answers what a sink asks at its start.
type askedStore struct {
	fakeStore
	warnings []string
	warnErr  error
	asked    []papyra.Retention
	read     func(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) error
}

func (s *askedStore) Warnings(_ context.Context, r papyra.Retention) ([]string, error) {
	s.asked = append(s.asked, r)
	return s.warnings, s.warnErr
}

func (s *askedStore) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (int64, error) {
	if s.read == nil {
		return 0, papyra.ErrNotFound
	}
	return 0, s.read(ctx, q, yield)
}

// countingStore is a store whose appender's counts are the test's.
type countingStore struct {
	fakeStore
	counting sync.Mutex
	count    func() papyra.AppendStats // called under counting
}

type countingAppender struct {
	sink.Appender
	s *countingStore
}

func (s *countingStore) Appender(ctx context.Context) (sink.Appender, error) {
	a, err := s.fakeStore.Appender(ctx)
	return countingAppender{a, s}, err
}

func (a countingAppender) Stats() papyra.AppendStats {
	a.s.counting.Lock()
	defer a.s.counting.Unlock()
	return a.s.count()
}

func refuse(context.Context, *papyra.Batch) (int, error) { return 0, errors.New("input/output error") }

// fakeStore is a store whose medium the test breaks: it keeps whole lines in
// memory and does what its hooks say.
type fakeStore struct {
	// before is called before an Append, without a lock; it says how many lines
	// to store and what to return. Nil stores all.
	before  func(ctx context.Context, b *papyra.Batch) (int, error)
	onSync  func() error
	openErr error
	scans   []*papyra.ScanReport // what the next scans find; none: not found
	scanErr error
	recover func() error

	mu      sync.Mutex
	lines   []string
	streams []papyra.Stream
	appends int
	syncs   int
	open    int
	closes  int
}

func (f *fakeStore) URL() string { return "fake:" }

func (f *fakeStore) RejectFile() string { return "" }

func (f *fakeStore) Close() error { return nil }

func (f *fakeStore) Traits() papyra.Traits { return papyra.Traits{} }

func (f *fakeStore) Warnings(context.Context, papyra.Retention) ([]string, error) { return nil, nil }

func (f *fakeStore) Groups(context.Context) ([]papyra.ConsumerGroup, error) { return nil, nil }

func (f *fakeStore) Examine(context.Context) []papyra.Check { return nil }

func (f *fakeStore) Read(context.Context, papyra.Query, func(*papyra.Record, papyra.Place) error) (int64, error) {
	return 0, papyra.ErrNotFound
}

func (f *fakeStore) Scan(context.Context, papyra.ScanOptions) (*papyra.ScanReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.scanErr != nil {
		return nil, f.scanErr
	}
	if len(f.scans) == 0 {
		return nil, papyra.ErrNotFound
	}
	r := f.scans[0]
	f.scans = f.scans[1:]
	return r, nil
}

func (f *fakeStore) Recover(context.Context, papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	if f.recover != nil {
		if err := f.recover(); err != nil {
			return nil, err
		}
	}
	return &papyra.RecoverReport{Moved: 1}, nil
}

func (f *fakeStore) Compact(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
	return nil, papyra.ErrUsage
}

func (f *fakeStore) Appender(context.Context) (sink.Appender, error) {
	if f.openErr != nil {
		return nil, f.openErr
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open > 0 {
		return nil, papyra.ErrBusy
	}
	f.open++
	return &fakeAppender{f}, nil
}

type fakeAppender struct{ f *fakeStore }

func (a *fakeAppender) Append(ctx context.Context, b *papyra.Batch) (int, error) {
	n, err := b.Len(), error(nil)
	if a.f.before != nil {
		n, err = a.f.before(ctx, b)
	}
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.f.appends++
	for i := range n {
		l, stream := b.Line(i)
		a.f.lines = append(a.f.lines, string(l))
		a.f.streams = append(a.f.streams, stream)
	}
	return n, err
}

func (a *fakeAppender) Sync(context.Context) error {
	a.f.mu.Lock()
	a.f.syncs++
	a.f.mu.Unlock()
	if a.f.onSync != nil {
		return a.f.onSync()
	}
	return nil
}

func (a *fakeAppender) Stats() papyra.AppendStats { return papyra.AppendStats{} }

func (a *fakeAppender) Close() error {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.f.closes++
	a.f.open = 0
	return nil
}

// stored returns the lines that came from the wire, and the sink's own reports.
func (f *fakeStore) stored() (wire, own []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, l := range f.lines {
		if f.streams[i].System == papyra.SystemReserved {
			own = append(own, l)
		} else {
			wire = append(wire, l)
		}
	}
	return wire, own
}

// text is the wire lines as a file would hold them.
func (f *fakeStore) text() string {
	wire, _ := f.stored()
	if len(wire) == 0 {
		return ""
	}
	return strings.Join(wire, "\n") + "\n"
}
