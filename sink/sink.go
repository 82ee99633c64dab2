package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/papyra/papyra"
)

// ErrNotStored is what Run's error wraps when records that the sink had
// received are not in the store at its end.
var ErrNotStored = errors.New("not every received record is stored")

// Sink is one worker: it receives the records of its queue group, checks them
// and appends them to a store. Make it with [New]. Its methods are safe for
// concurrent use.
//
//	NATS ─► client queue ─► intake ─► buffer ═ swap ═► writer ─► Appender
//	        (bounded)       check      (bounded)       batches    (store)
//	                          └─► reject file
//
// The intake runs on the NATS client's goroutine and does no I/O; what the
// store cannot take in time it counts and drops. The writer is the only user of
// the Appender.
type Sink struct {
	config   Config
	backend  Backend
	identity *papyra.Identity
	log      *slog.Logger
	rejects  *rejectFile
	wake     chan struct{} // tells the writer that there is something to do
	ran      atomic.Bool
	conn     atomic.Pointer[conn]
	early    []papyra.Report // for the store as soon as it is open
	store    string          // the store's id; set before the first SinkReport
	receives chan struct{}   // closed when the subscriptions stand

	// identified is closed when the store durably holds a report that names it.
	identified chan struct{}

	// mu guards what is below. It is held for a message or a batch, never
	// during I/O, and no other lock but the reject file's is taken under it.
	mu                 sync.Mutex
	started            time.Time
	stats              Stats
	drops              ledger
	backlog            backlog
	writing            written       // the block that the writer has taken out of the backlog
	workedAt           time.Time     // when the store last took records, or synced
	steady             time.Duration // for so long after workedAt the store counts as one that works
	askedAt            time.Time     // when the store was asked what it has not answered yet; zero if it has
	closed             bool          // nothing more goes into the backlog
	connected          bool
	appendErr, syncErr error // of the last try; nil when it worked
	ownSeq             uint64
	reported           marks
	peers              peers
	peersTold          time.Time // when a report last named them
}

// New returns a sink that receives as c says and stores into b, which stays the
// caller's to close. An error wraps papyra.ErrConfig.
func New(c Config, b Backend) (*Sink, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	id := papyra.NewIdentity(c.Instance)
	s := &Sink{
		config: c, backend: b, identity: id,
		log:  c.Logger.With("group", c.Group, "instance", c.Instance),
		wake: make(chan struct{}, 1), receives: make(chan struct{}), identified: make(chan struct{}),
		peers: peers{},
		stats: Stats{
			State:    "starting",
			Rejected: map[papyra.RejectReason]uint64{},
			Dropped:  map[papyra.DropReason]uint64{},

			AppendErrors: map[papyra.Cause]uint64{},
		},
	}
	s.rejects = newRejectFile(c.RejectFile, s.log)
	return s, nil
}

// Config returns the configuration with its defaults filled in.
func (s *Sink) Config() Config { return s.config }

// Receiving is closed when the subscriptions stand: what is published from then
// on reaches the group. It stays open if Run fails before.
func (s *Sink) Receiving() <-chan struct{} { return s.receives }

// Run checks the store, opens it, connects, and receives until ctx is done;
// then it stops gracefully. It returns after its last side effect: nil when
// every received record is stored, rejected or was dropped as sink_full, all
// counted. It may be called once.
//
// The order of the stop, within Config.StopTimeout:
//
//  1. The connection is drained and closed: nothing more comes in, and what the
//     server had given to this worker is in the buffer.
//  2. The writer appends what is buffered, trying again while there is time.
//     What is left is counted as sink_stopped.
//  3. The last SinkReport, which must count all of that, is appended.
//  4. The store is synced and closed, which releases its lock. Only now can
//     another worker take it over.
//  5. The reject file is written out and closed.
//
// Errors before anything was received: papyra.ErrBusy, papyra.ErrUnavailable,
// ErrAnomalies, ErrNotClean and what the store returns. Afterwards an error
// means that the store was lost (papyra.ErrForeignWriter, papyra.ErrClosed) or
// could not take what was left (ErrNotStored). If the store does not even
// answer when the time is over, Run gives up on it and returns while that call
// still runs.
func (s *Sink) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return fmt.Errorf("%w: run a sink twice", papyra.ErrUsage)
	}
	s.mu.Lock()
	s.started = time.Now()
	s.mu.Unlock()
	defer s.setState("stopped")

	if err := s.check(ctx); err != nil {
		return err
	}
	appender, err := s.backend.Appender(ctx)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	s.warn(ctx)
	if s.store, err = s.storeID(ctx); err != nil {
		return errors.Join(err, appender.Close())
	}
	c, err := connect(ctx, s)
	if err != nil {
		return errors.Join(err, appender.Close())
	}
	s.conn.Store(c)

	stopRejects, rejectsDone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(rejectsDone)
		s.rejects.run(stopRejects)
	}()
	defer func() {
		close(stopRejects)
		<-rejectsDone
	}()

	storeCtx, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	w := newWriter(s, appender)
	for i := range s.early {
		s.own(&s.early[i])
	}
	s.report("started")
	go w.run(storeCtx)

	serving, endService := context.WithCancel(ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.serve(serving)
	}()
	defer func() {
		endService()
		<-served
	}()

	err = c.subscribe()
	if err == nil {
		s.setState("running")
		close(s.receives)
		s.log.Debug("subscribed", "store", s.backend.URL(), "subjects", len(s.config.subjects()))
		select {
		case <-ctx.Done():
		case <-w.lost:
		}
	}
	return errors.Join(err, s.stop(c, w, giveUp))
}

// storeGrace is how long a store may take to come back after its time is over
// and its context is cancelled.
const storeGrace = 2 * time.Second

func (s *Sink) stop(c *conn, w *writer, giveUp context.CancelFunc) error {
	s.setState("stopping")
	began := time.Now()
	timeout := time.AfterFunc(s.config.StopTimeout, giveUp)
	defer timeout.Stop()

	// A server that does not answer must leave time for the store.
	if left := c.drain(s.config.StopTimeout / 3); left > 0 {
		s.log.Error("stopped before every message was read", "messages", left)
	}
	close(w.stop)
	select {
	case <-w.done:
		s.log.Info("stopped", "took", time.Since(began).Round(time.Millisecond).String())
		return w.err
	case <-time.After(time.Until(began.Add(s.config.StopTimeout)) + storeGrace):
		return fmt.Errorf("%w: the store has not answered for %v: %d records are left in the buffer",
			ErrNotStored, time.Since(began).Round(time.Second), s.Stats().Pending)
	}
}

// written counts the block at which the writer is. It changes the block without
// the mutex.
type written struct {
	lines, own, size int
}

// take accounts for the lines of one message and copies the good ones into the
// buffer, as far as it has room.
func (s *Sink) take(subject string, stream papyra.Stream, good []line, bad []reject) {
	size := 0
	for i := range good {
		size += len(good[i].bytes)
	}
	for i := range bad {
		size += len(bad[i].bytes)
	}

	s.mu.Lock()
	s.stats.Messages++
	s.stats.Received += uint64(len(good) + len(bad))
	s.stats.Bytes += uint64(size)
	before := s.backlog.size
	if len(good) > 0 {
		s.buffer(stream, good)
	}
	after := s.backlog.size
	for i := range bad {
		s.stats.Rejected[bad[i].reason]++
		if len(bad[i].run) > 0 {
			s.drops.add(papyra.DropSinkRejected, papyra.Stream{System: stream.System, Kind: bad[i].kind}, bad[i].run, bad[i].seq)
		}
	}
	s.mu.Unlock()

	if before == 0 && after > 0 || before < eagerBytes && after >= eagerBytes {
		s.wakeWriter()
	}
	for i := range bad {
		s.rejects.add(s.config.Now(), subject, bad[i].reason, bad[i].bytes)
	}
}

// buffer is called with mu held.
func (s *Sink) buffer(stream papyra.Stream, good []line) {
	reason := papyra.DropSinkFull
	room := s.config.BufferBytes - s.writing.size - s.backlog.size
	if s.closed {
		reason, room = papyra.DropSinkStopped, 0
	}
	var b *block
	index := 0
	for i := range good {
		l := &good[i]
		if room -= len(l.bytes) + 1; room < 0 {
			s.drop(reason, stream, l.run, l.seq)
			continue
		}
		if b == nil || !b.fits(len(l.bytes)+1) {
			b = s.backlog.filling(len(l.bytes) + 1)
			index = b.batch.StreamIndex(stream)
		}
		s.backlog.add(b, index, l.bytes)
	}
}

// drop is called with mu held.
func (s *Sink) drop(reason papyra.DropReason, stream papyra.Stream, run []byte, seq uint64) {
	s.stats.Dropped[reason]++
	s.drops.add(reason, stream, run, seq)
}

func (s *Sink) wakeWriter() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pending is called with mu held.
func (s *Sink) pending() (lines, bytes int) {
	return s.writing.lines + s.backlog.lines, s.writing.size + s.backlog.size
}

// messages is how many the intake has seen.
func (s *Sink) messages() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats.Messages
}

func (s *Sink) setState(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.State = state
}

func (s *Sink) setConnected(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connected = yes
}

// disconnected notes that the connection was lost. It reports whether that is
// news to the operator.
func (s *Sink) disconnected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connected = false
	if s.stats.State == "stopping" || s.stats.State == "stopped" {
		return false
	}
	s.stats.Disconnects++
	return true
}

// asks notes that the store is asked something now, for which it took so long
// the last time.
func (s *Sink) asks(before time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.askedAt, s.steady = time.Now(), min(max(2*before, maxHold), maxSteady)
}

// answered notes that it has answered, and returns how long that took. s.mu is
// held.
func (s *Sink) answered() time.Duration {
	took := time.Since(s.askedAt)
	s.askedAt = time.Time{}
	return took
}

// storeSilence is how long a store may take for one answer while the sink is said
// to be ready: a disk that hangs returns no error.
const storeSilence = 10 * time.Second

// notReady is called with mu held.
func (s *Sink) notReady() error {
	switch {
	case s.stats.State != "running":
		return fmt.Errorf("the sink is %s", s.stats.State)
	case !s.connected:
		return errors.New("there is no connection to the NATS server")
	case s.appendErr != nil:
		return fmt.Errorf("the store takes no records (%s): %w", CauseOf(s.appendErr), s.appendErr)
	case s.syncErr != nil:
		return fmt.Errorf("the store cannot make records durable (%s): %w", CauseOf(s.syncErr), s.syncErr)
	}
	if silent := time.Since(s.askedAt); !s.askedAt.IsZero() && silent > storeSilence {
		return fmt.Errorf("the store has not answered for %v", silent.Round(time.Second))
	}
	return nil
}

func (s *Sink) lostMessages() uint64 {
	if c := s.conn.Load(); c != nil {
		return c.lostMessages()
	}
	return 0
}
