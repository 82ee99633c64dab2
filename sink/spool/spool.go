package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/throttle"
)

// ErrFull is what the error of an Append wraps when the store cannot take lines and the
// spool cannot either: its bound is reached, its disk is full or failed.
var ErrFull = errors.New("the spool cannot take more")

const (
	// DefaultMaxBytes is the default of Config.MaxBytes.
	DefaultMaxBytes = 4_000_000_000
	// MinMaxBytes is the least that Config.MaxBytes may be.
	MinMaxBytes = 2 * segmentBytes
	// reserveShare is which part of the bound only reports may take: one in so many.
	reserveShare = 8
	// closeWithin bounds how long Close waits for a store that does not answer.
	closeWithin = 2 * time.Second
	logEvery    = 10 * time.Second
)

// Config describes a spool. Dir, Open and StoreID are required.
type Config struct {
	Dir      string // is made if it does not exist
	MaxBytes int64  // of all that waits; 0 means DefaultMaxBytes
	// SyncEach makes what is spooled durable before Append returns, otherwise Sync does.
	SyncEach bool
	// Adopt lets what waits for one store be drained into another one.
	Adopt bool

	// Open opens the store for writing. It is called again after an error of a store
	// that is down.
	Open func(context.Context) (papyra.Appender, error)
	// StoreID returns the id of the store, "" if it has none yet. An error means that it
	// cannot be found out now.
	StoreID func(context.Context) (string, error)
	// Failed is called with every error of the store that makes lines wait, perhaps by
	// several goroutines at once; nil is allowed.
	Failed func(error)

	Logger *slog.Logger     // nil means none
	Now    func() time.Time // nil means time.Now
}

// Spool is an Appender in front of a store's. Append, Sync and Close are not safe for
// concurrent use with each other; all other methods are.
//
// Locks, in the order in which they are taken: turn, storeMu, mu.
type Spool struct {
	config       Config
	log          *slog.Logger
	disk         disk.Disk
	segmentBytes int
	control      *control

	// turn is held by Append and Sync, and by the drain where it must not be
	// overtaken. It guards what follows.
	turn   sync.Mutex
	open   [queues]*openSegment // those that are written
	number uint64               // of the last segment
	moving bool                 // lines go from one segment to another: no bound
	part   papyra.Batch
	places []int
	closed bool

	// storeMu is held during each call to the store's appender.
	storeMu sync.Mutex

	mu       sync.Mutex
	appender papyra.Appender    // nil until the store could be opened
	dirty    bool               // the store took something since its last good sync
	direct   bool               // nothing waits but lines of blocked streams
	down     error              // why the store took nothing when it was last tried
	lost     error              // the store is not ours any more
	queues   [queues][]*segment // oldest first
	bytes    [queues]int64
	blocked  map[papyra.Stream]int // of the streams that the store refuses, how many lines wait
	refusal  error                 // of one of them
	rec      papyra.Record
	spooled  uint64 // lines, since the start
	drained  uint64
	aside    int // segments that hold damage
	damage   []papyra.CorruptionDetected

	wake chan struct{} // the drain has something to do
	stop context.CancelFunc
	done chan struct{} // closed after the last thing that the drain does

	// Of the drain alone.
	held        [queues]heldSegment
	reportsUpTo uint64 // reports in segments up to this one go before records

	logs throttle.Keyed
}

// heldSegment is a segment of which lines are still to be stored.
type heldSegment struct {
	*segment
	batch *papyra.Batch
	all   map[papyra.Stream]int // its lines when it was read
}

// Open opens the spool and the store behind it. A store that is down is opened later;
// until then everything waits. Any other error of the store is returned: papyra.ErrBusy,
// papyra.ErrConfig and the like. So is papyra.ErrBusy where another process has the
// spool, and papyra.ErrConfig where records wait in it for another store.
func Open(ctx context.Context, c Config) (*Spool, error) {
	return open(ctx, c, disk.OS{}, segmentBytes)
}

func open(ctx context.Context, c Config, d disk.Disk, size int) (*Spool, error) {
	c.MaxBytes = cmp.Or(c.MaxBytes, DefaultMaxBytes)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Failed == nil {
		c.Failed = func(error) {}
	}
	c.Dir = filepath.Clean(c.Dir)
	s := &Spool{
		config: c, log: c.Logger.With("spool", c.Dir), disk: d, segmentBytes: size, blocked: map[papyra.Stream]int{},
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		logs: throttle.Keyed{Every: logEvery},
	}
	var err error
	if s.control, err = s.openControl(ctx); err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	if err = s.list(); err == nil {
		for q := range s.queues {
			for _, seg := range s.queues[q] {
				s.bytes[q] += seg.size
			}
		}
		err = s.openStore(ctx)
	}
	if isDown(err) && ctx.Err() == nil {
		s.noteDown(err)
		err = nil
	}
	if err != nil {
		return nil, errors.Join(err, s.closeStore(), s.control.close())
	}
	s.reportsUpTo = math.MaxUint64
	s.direct = s.appender != nil && !s.waits()
	if s.waits() {
		s.log.Info("records wait in the spool", "bytes", s.bytesLocked())
	}
	if s.aside > 0 {
		s.log.Warn("damaged segments lie in the spool: what could be read of them is stored; look at them with 'papyra-ctl scan' and remove them", "files", s.aside, "names", asidePrefix+"*")
	}
	draining, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go s.drain(draining)
	return s, nil
}

// isDown reports whether the error of a store may pass by itself.
func isDown(err error) bool {
	if err == nil || isLost(err) {
		return false
	}
	for _, other := range []error{papyra.ErrBusy, papyra.ErrConfig, papyra.ErrUsage} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// isLost reports whether a store is no longer ours.
func isLost(err error) bool {
	return errors.Is(err, papyra.ErrForeignWriter) || errors.Is(err, papyra.ErrClosed)
}

// refusedOf returns the streams that an Append's error names, nil where it concerns the
// whole store.
func refusedOf(err error) *papyra.RefusedError {
	var r *papyra.RefusedError
	if errors.As(err, &r) && len(r.Streams) > 0 {
		return r
	}
	return nil
}

// openStore opens the store if it is not open, and makes sure that it is the one for
// which the spool holds records.
func (s *Spool) openStore(ctx context.Context) error {
	if s.opened() == nil {
		a, err := s.config.Open(ctx)
		if err != nil {
			return fmt.Errorf("open the store: %w", err)
		}
		s.mu.Lock()
		s.appender = a
		s.mu.Unlock()
	}
	return s.control.bindStore(ctx, &s.config, s.waits())
}

// holdTurn takes turn, unless the caller holds it already.
func (s *Spool) holdTurn(holding bool) (release func()) {
	if holding {
		return func() {}
	}
	s.turn.Lock()
	return s.turn.Unlock
}

// opened returns the store's appender, nil until the store could be opened.
func (s *Spool) opened() papyra.Appender {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appender
}

// isDirect reports whether the store takes the records.
func (s *Spool) isDirect() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.direct
}

// closeStore closes the store's appender, if it is open.
func (s *Spool) closeStore() error {
	a := s.opened()
	if a == nil {
		return nil
	}
	return a.Close()
}

// waits reports whether anything waits.
func (s *Spool) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for q := range s.queues {
		if len(s.queues[q]) > 0 {
			return true
		}
	}
	return false
}

// Append gives the lines to the store, or, where that cannot take them or others wait
// already, appends them to the spool. Lines that neither takes are those of a
// papyra.RefusedError, whose reasons wrap ErrFull. Any other error means that the store
// is lost: papyra.ErrForeignWriter or papyra.ErrClosed. The lines are in the spool even
// then, as far as it takes them.
func (s *Spool) Append(ctx context.Context, b *papyra.Batch) (stored int, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.closed {
		return 0, fmt.Errorf("append to the spool: %w", papyra.ErrClosed)
	}
	s.mu.Lock()
	direct, lost := s.direct, s.lost
	s.mu.Unlock()
	if direct {
		return s.appendDirect(ctx, b)
	}
	err = s.put(b, b, queueOf)
	s.wakeDrain()
	return s.result(b, err, lost)
}

// appendToStore calls the store's Append.
func (s *Spool) appendToStore(ctx context.Context, b *papyra.Batch) (int, error) {
	if b.Len() == 0 {
		return 0, nil
	}
	s.storeMu.Lock()
	defer s.storeMu.Unlock()
	n, err := s.appender.Append(ctx, b)
	n = min(max(n, 0), b.Len())
	if err == nil && n < b.Len() {
		err = fmt.Errorf("the store took %d of %d lines and names no reason", n, b.Len())
	}
	s.mu.Lock()
	s.dirty = s.dirty || n > 0 || refusedOf(err) != nil
	s.mu.Unlock()
	if err == nil {
		s.control.noteReported(b)
	}
	return n, err
}

// syncStore calls the store's Sync if that took anything since the last one.
func (s *Spool) syncStore(ctx context.Context) error {
	s.storeMu.Lock()
	defer s.storeMu.Unlock()
	s.mu.Lock()
	dirty := s.dirty
	s.mu.Unlock()
	if !dirty {
		return nil
	}
	if err := s.appender.Sync(ctx); err != nil {
		return fmt.Errorf("sync the store: %w", err)
	}
	s.mu.Lock()
	s.dirty = false
	s.mu.Unlock()
	s.control.noteNamed(ctx)
	return nil
}

// noteRefused notes which streams the store refuses.
func (s *Spool) noteRefused(r *papyra.RefusedError) {
	s.config.Failed(r)
	s.mu.Lock()
	s.refusal = r
	s.mu.Unlock()
	if n, ok := s.logs.Allow("refused"); ok {
		s.log.Error("the store refuses a stream: its records wait in the spool; others are stored", "stream", r.Streams[0].Stream.String(),
			"error", r.Streams[0].Err, "streams", len(r.Streams), "suppressed", n)
	}
}

// noteDown notes why the store takes nothing.
func (s *Spool) noteDown(err error) {
	s.config.Failed(err)
	s.mu.Lock()
	news := s.down == nil
	s.down = err
	s.mu.Unlock()
	if n, ok := s.logs.Allow("down"); ok || news {
		s.log.Error("the store takes no records: they wait in the spool", "error", err, "suppressed", n)
	}
}

// setLost notes that the store is not ours any more.
func (s *Spool) setLost(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost, s.direct = err, false
}

// Sync makes durable what was appended: in the store, or in the spool.
func (s *Spool) Sync(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.closed {
		return fmt.Errorf("sync the spool: %w", papyra.ErrClosed)
	}
	errs := []error{s.syncSegments()}
	if s.isDirect() {
		errs = append(errs, s.syncStore(ctx))
	}
	return errors.Join(errs...)
}

// syncSegments syncs the segments that are written. The caller holds turn.
func (s *Spool) syncSegments() error {
	var errs []error
	for q := range queues {
		errs = append(errs, s.syncSegment(q))
	}
	return errors.Join(errs...)
}

// syncSegment syncs the segment of a queue that is written, if there is one. The caller
// holds turn.
func (s *Spool) syncSegment(q queue) error {
	o := s.open[q]
	if o == nil || !o.dirty {
		return nil
	}
	err := o.appender.Sync(context.Background())
	o.dirty = err != nil
	return err
}

// Close syncs and closes the spool and the store. What waits stays for the next start.
// A store that does not answer is left to the end of the process.
func (s *Spool) Close() error {
	s.stop() // first: the drain may wait for the store while it holds turn
	s.turn.Lock()
	closed := s.closed
	s.closed = true
	s.turn.Unlock()
	if closed {
		return nil
	}
	ended := true
	select {
	case <-s.done:
	case <-time.After(closeWithin):
		ended = false
		s.log.Warn("the store does not answer: it is left as it is")
	}
	var errs []error
	if ended {
		s.turn.Lock()
		for q := range queues {
			errs = append(errs, s.seal(q))
		}
		s.turn.Unlock()
		err := s.closeStore()
		if s.isDirect() { // otherwise the store is down, and the error is no news
			errs = append(errs, err)
		}
	} else {
		errs = append(errs, s.syncWithout())
	}
	return errors.Join(append(errs, s.control.close())...)
}

// syncWithout syncs what is written while the drain may still hold turn.
func (s *Spool) syncWithout() error {
	if !s.turn.TryLock() {
		return nil // it was synced by the last Sync, and survives the end of the process
	}
	defer s.turn.Unlock()
	return s.syncSegments()
}

// Stats returns what the store's appender had to survive.
func (s *Spool) Stats() papyra.AppendStats {
	a := s.opened()
	if a == nil {
		return papyra.AppendStats{}
	}
	return a.Stats()
}

func (s *Spool) wakeDrain() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

var _ papyra.Appender = (*Spool)(nil)
