package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/spool"
)

// ErrNotStored is what Run's error wraps when records that the sink had
// received are not in the store at its end.
var ErrNotStored = errors.New("not every received record is stored")

// Sink is one worker: it receives the records of its queue group, checks them
// and appends them to a store. Make it with [New]. Its methods are safe for
// concurrent use.
//
//	NATS ─► inbox ─► intake ─► buffer ─ blocks ─► writer ─► Appender
//	     (bounded)   check     (bounded)          batches    (store)
//	                   └─► reject file
//
// The intake does no I/O; what the store cannot take in time it counts and drops. The writer is the only user of
// the Appender, which is a spool's where there is one.
type Sink struct {
	config  Config
	backend Backend
	log     *slog.Logger

	// The parts. Each has its own lock and gets only the parts that it needs. A
	// part takes another part's lock under its own in one place: the buffer tells
	// the drop ledger.
	buffer   *buffer       // the lines that wait, and the account of all lines
	drops    *dropLedger   // what was dropped since the last report
	health   *health       // whether the sink can do its work
	rejects  *rejectFile   // rejected lines
	peers    *peerList     // the stores of the group's other sinks
	answers  *answers      // tells publishers what is stored
	events   *appendEvents // what the appender had to survive
	acts     *actCounts    // what was done to the store beside appending
	reporter *reporter     // the sink's own reports
	service  *service      // the announcement of the sink
	lag      *lagMeter     // how long records take to the store
	vitals   *vitals       // how the numbers change
	runs     *runList      // what was heard of publishers

	spool    atomic.Pointer[spool.Spool] // nil without one, and until Run has opened it
	ran      atomic.Bool
	conn     atomic.Pointer[conn]   // nil until Run has connected
	writer   atomic.Pointer[writer] // nil until Run has opened the store
	receives chan struct{}          // closed when the subscriptions stand for the first time
}

// New returns a sink that receives as c says and stores into b, which stays the
// caller's to close. An error wraps papyra.ErrConfig.
func New(c Config, b Backend) (*Sink, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &Sink{
		config: c, backend: b,
		log:      c.Logger.With("group", c.Group, "instance", c.Instance),
		drops:    &dropLedger{},
		health:   newHealth(c.Now),
		peers:    &peerList{},
		acts:     &actCounts{},
		lag:      newLagMeter(),
		vitals:   &vitals{},
		runs:     &runList{},
		receives: make(chan struct{}),
	}
	s.buffer = newBuffer(c.BufferBytes, s.drops)
	s.answers = newAnswers(&s.config, s.log, s.buffer)
	s.rejects = newRejectFile(c.RejectFile, s.log)
	if files, ok := b.(ownerGiver); ok && c.RejectFile == b.RejectFile() {
		s.rejects.giveOwner = files.GiveOwner
	}
	s.events = newAppendEvents(s.log)
	s.service = newService(&s.config, s.log, s.peers)
	s.reporter = &reporter{
		config: &s.config, log: s.log, identity: papyra.NewIdentity(c.Instance),
		buffer: s.buffer, health: s.health, peers: s.peers, answers: s.answers, lostMessages: s.lostMessages,
	}
	return s, nil
}

// Config returns the configuration with its defaults filled in.
func (s *Sink) Config() Config { return s.config }

// Receiving is closed when the subscriptions stand for the first time: what is
// published from then on reaches the group. It stays open if Run fails before, and as
// long as the server refuses one of them: the sink is then not ready and tries again.
func (s *Sink) Receiving() <-chan struct{} { return s.receives }

// Run checks the store, opens it, connects, and receives until ctx is done;
// then it stops gracefully. It returns after its last side effect: nil when
// every received record is stored, waits in the spool, is rejected or was dropped as
// sink_full or spool_full, all counted, and every received message was read. It may be called once.
//
// The order of the stop, within Config.StopTimeout:
//
//  0. Config.Admin ends: an act comes to the end of its step.
//  1. The connection is drained: nothing more comes in, and what the server had
//     given to this worker is in the buffer. From now on no publisher is answered
//     before its records are stored.
//  2. The writer appends what is buffered, trying again while there is time. A spool
//     takes it at once where the store does not. What is left is counted as
//     sink_stopped.
//  3. The last SinkReport, which must count all of that, is appended.
//  4. The store is synced and closed, which releases its lock. Only now can
//     another worker take it over.
//  5. The publishers get the last answers, and the connection is closed.
//  6. The reject file is written out and closed.
//
// Errors before anything was received: papyra.ErrBusy, papyra.ErrUnavailable,
// ErrAnomalies, ErrNotClean and what the store returns. Afterwards an error
// means that the store was lost (papyra.ErrForeignWriter, papyra.ErrClosed),
// could not take what was left, or that messages were left unread (ErrNotStored). If the store does not even
// answer when the time is over, Run gives up on it and returns while that call
// still runs.
func (s *Sink) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return fmt.Errorf("%w: run a sink twice", papyra.ErrUsage)
	}
	s.reporter.started = time.Now()
	defer s.health.setState(stateStopped)

	early, err := s.checkStore(ctx)
	if err != nil {
		return err
	}
	appender, store, err := s.openStore(ctx)
	if err != nil {
		return err
	}
	s.reporter.store, s.service.store = store, store
	url := shownURL(s.backend.URL())
	s.reporter.url, s.service.url = url, url
	c, err := connect(ctx, &s.config, s.log, s.buffer, s.health, s.answers)
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
	for i := range early {
		s.reporter.addReport(&early[i])
	}
	s.reporter.addSinkReport(reportStarted)
	w := newWriter(s, appender)
	s.writer.Store(w)
	go w.run(storeCtx) // the reporter is the writer's from here on
	endAdmin := s.serveAdmin(ctx)
	defer endAdmin()

	serving, endService := context.WithCancel(ctx)
	served, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(served)
		s.service.run(serving, w.identified)
	}()
	go func() {
		defer close(watched)
		s.keepVitals(serving)
	}()
	defer func() {
		endService()
		<-served
		<-watched
	}()

	defer s.startAnswers(c)()

	err = c.subscribe(s.newIntake)
	if err == nil {
		s.health.setState(stateRunning)
		receiving, endReceiving := context.WithCancel(ctx)
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			c.keepSubscribed(receiving)
		}()
		select {
		case <-ctx.Done():
		case <-w.lost:
		case <-c.served:
			close(s.receives)
			s.log.Debug("subscribed", "store", s.backend.URL(), "subjects", len(s.config.subjects()))
		}
		select {
		case <-ctx.Done():
		case <-w.lost:
		}
		endReceiving()
		<-kept // no subscription is made while the connection is drained
	}
	endAdmin()
	return errors.Join(err, s.stop(c, w, giveUp))
}

// startAnswers begins to answer publishers. What it returns sends what is left to be
// said and closes the connection.
func (s *Sink) startAnswers(c *conn) (finish func()) {
	s.answers.publish = c.nc.Publish
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		s.answers.run(end)
		c.flushAnswers()
		c.closeConn()
	}()
	return func() {
		close(end)
		<-ended
	}
}

// newIntake returns what takes the messages of one subject.
func (s *Sink) newIntake() *intake {
	return newIntake(&s.config, s.buffer, s.rejects, s.answers, s.runs)
}

// storeGrace is how long a store may take to come back after its time is over
// and its context is cancelled.
const storeGrace = 2 * time.Second

// stop does steps 1 to 4 of the stop that Run describes.
func (s *Sink) stop(c *conn, w *writer, giveUp context.CancelFunc) error {
	s.health.setState(stateStopping)
	s.answers.stops.Store(true)
	began := time.Now()
	timeout := time.AfterFunc(s.config.StopTimeout, giveUp)
	defer timeout.Stop()

	// A server that does not answer must leave time for the store.
	left := uint64(c.drain(s.config.StopTimeout / 3))
	if left > 0 {
		s.log.Error("stopped before every message was read", "messages", left)
		s.reporter.unread = left
	}
	close(w.stop)
	select {
	case <-w.done:
		s.log.Info("stopped", "took", time.Since(began).Round(time.Millisecond).String())
		// The one that was being read at that moment may have been read since.
		if left = min(left, s.lostMessages()); left > 0 {
			return errors.Join(fmt.Errorf("%w: %d messages were received and not read when the time to stop was over: "+
				"raise it, or see to who floods the broker", ErrNotStored, left), w.err)
		}
		return w.err
	case <-time.After(time.Until(began.Add(s.config.StopTimeout)) + storeGrace):
		return fmt.Errorf("%w: the store has not answered for %v: %d records are left in the buffer",
			ErrNotStored, time.Since(began).Round(time.Second), s.Stats().Pending)
	}
}

// refusedSubscriptions returns how often the server refused a subscription.
func (s *Sink) refusedSubscriptions() uint64 {
	if c := s.conn.Load(); c != nil {
		return c.refusals.Load()
	}
	return 0
}

// lostMessages returns how many messages the intake will never see.
func (s *Sink) lostMessages() uint64 {
	if c := s.conn.Load(); c != nil {
		return c.lostMessages()
	}
	return 0
}
