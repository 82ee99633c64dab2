package publisher

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/papyra/papyra"
)

// The background is four goroutines. The callbacks of nats.go run on a goroutine
// of its own.
//
//	goroutine  does                               ends
//	sender     windows, reports, the connection   after Close has begun, with the final report
//	feeder     memory for the lanes               when Close begins
//	auditor    AuditFunc                          when Close begins and AuditFunc has returned
//	notices    the user's Logger and callbacks    after the sender, when what waits is done
//
// Each lane, the link, the dialer and the notices have a mutex. No goroutine takes
// one of them while it holds another, and none calls nats.go or the user's code
// while it holds one: there is no lock order to keep. A record call takes only the
// mutex of its lane.

// Publisher records what happens in one process of one system. All its methods
// are safe for concurrent use. Make it with [Connect] and end it with
// [Publisher.Close].
type Publisher struct {
	system  string
	id      *papyra.Identity
	now     func() time.Time
	clocks  bool // the user gave no clock: each scratch has one
	started time.Time

	lanes      [papyra.KindCount]*lane // by kind; nil for KindUnknown
	background []*lane                 // the same, without the hole
	scratch    sync.Pool               // of *scratch

	// idle is set while the sender waits to be woken. Who clears it sends into
	// wakeup.
	idle   atomic.Bool
	wakeup chan struct{}

	// feeding is set while the feeder looks at the lanes by itself. Who sets it
	// sends into hungry.
	feeding atomic.Bool
	hungry  chan struct{}

	link        *link
	groupNames  []string // configured
	notices     *notices
	sender      *sender
	reportEvery time.Duration

	auditEvery  time.Duration
	auditFunc   func() papyra.Audit
	auditAsked  chan struct{}
	auditPanics atomic.Uint64

	closeOnce sync.Once
	closing   chan struct{}
	hard      context.Context // Close's; set before closing is closed
	soft      context.Context // ends a little before hard, so that time is left for the final report
	endSoft   context.CancelFunc
	left      leftBehind // set before done is closed

	done        chan struct{} // the sender has ended
	auditorDone chan struct{}
	feederDone  chan struct{}
}

// scratch is the memory that one record call uses alone.
type scratch struct {
	enc    papyra.Encoder
	clock  recordClock
	fields []slog.Attr // of Crashed, which adds one to the caller's
}

// Connect makes a publisher for the broker at url, which may list several
// servers, separated by commas; an empty url means nats://127.0.0.1:4222. It
// returns at once, also while the broker is down: records wait in the buffer
// until it is there. An error is only a wrong configuration and wraps
// [papyra.ErrConfig].
func Connect(url string, c Config) (*Publisher, error) {
	p, err := newPublisher(url, c)
	if err != nil {
		return nil, fmt.Errorf("configure publisher: %w", err)
	}
	p.startBackground()
	return p, nil
}

// newPublisher makes a publisher without starting its background.
func newPublisher(url string, c Config) (*Publisher, error) {
	noClock := c.Now == nil
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	options, err := natsOptions(url, c.NATS)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		system:      c.System,
		id:          papyra.NewIdentity(c.Node),
		now:         c.Now,
		clocks:      noClock,
		started:     time.Now(),
		wakeup:      make(chan struct{}, 1),
		hungry:      make(chan struct{}, 1),
		reportEvery: c.ReportEvery,
		auditAsked:  make(chan struct{}, 1),
		closing:     make(chan struct{}),
		done:        make(chan struct{}),
		auditorDone: make(chan struct{}),
		feederDone:  make(chan struct{}),
	}
	p.scratch.New = func() any { return new(scratch) }
	p.soft, p.endSoft = context.WithCancel(context.Background())
	for _, kind := range papyra.Kinds() {
		p.lanes[kind] = newLane(kind, c.System, c.Buffers.boundOf(kind))
		p.background = append(p.background, p.lanes[kind])
	}
	c.Node = p.id.Node()
	p.auditEvery, p.auditFunc = c.AuditEvery, c.AuditFunc
	p.notices = newNotices(c.Logger)
	p.groupNames = c.Groups
	p.link = newLink(options, c, p.id.Run(), p.notices, p.askAudit)
	p.sender = newSender(p)
	return p, nil
}

// startBackground starts the goroutines of the background. They run until Close,
// which waits for them.
func (p *Publisher) startBackground() {
	go p.notices.run()
	go p.sender.sendUntilClosed()
	go p.runFeeder()
	go p.runAuditor()
}

// Run returns the 16 random characters that stand in every record of this
// publisher.
func (p *Publisher) Run() string { return p.id.Run() }

// Event records an event with fields of its payload. What is passed is encoded
// before the call returns and not kept; the fields stay on the caller's stack.
func (p *Publisher) Event(e papyra.Event, fields ...slog.Attr) {
	s := p.scratch.Get().(*scratch)
	p.record(papyra.KindEvent, s, s.enc.Event(p.id, p.system, &e, fields, p.stamp(s, e.Time)))
}

// DeadLetter records a message that reached nobody, as Event does.
func (p *Publisher) DeadLetter(d papyra.DeadLetter, fields ...slog.Attr) {
	s := p.scratch.Get().(*scratch)
	p.record(papyra.KindDeadLetter, s, s.enc.DeadLetter(p.id, p.system, &d, fields, p.stamp(s, d.Time)))
}

// Audit records a count of the system's actors.
func (p *Publisher) Audit(a papyra.Audit) {
	s := p.scratch.Get().(*scratch)
	p.record(papyra.KindAudit, s, s.enc.Audit(p.id, p.system, &a, p.stamp(s, a.Time)))
}

// Started records that an actor started now.
func (p *Publisher) Started(a papyra.Address, fields ...slog.Attr) {
	p.Event(papyra.Event{Actor: a, Type: papyra.ActorStarted}, fields...)
}

// Stopped records that an actor stopped now.
func (p *Publisher) Stopped(a papyra.Address, fields ...slog.Attr) {
	p.Event(papyra.Event{Actor: a, Type: papyra.ActorStopped}, fields...)
}

// Restarted records that an actor was restarted now, in place of a stop and a
// start.
func (p *Publisher) Restarted(a papyra.Address, fields ...slog.Attr) {
	p.Event(papyra.Event{Actor: a, Type: papyra.ActorRestarted}, fields...)
}

// Crashed records that an actor crashed now. The payload is the error's text as
// "error", null without one, followed by fields. An error whose Error method
// panics is dropped as "encode".
func (p *Publisher) Crashed(a papyra.Address, err error, fields ...slog.Attr) {
	s := p.scratch.Get().(*scratch)
	text, ok := errorText(err)
	if !ok {
		p.record(papyra.KindEvent, s, papyra.ErrEncode)
		return
	}
	s.fields = append(append(s.fields[:0], slog.Attr{Key: "error", Value: text}), fields...)
	e := papyra.Event{Actor: a, Type: papyra.ActorCrashed}
	bad := s.enc.Event(p.id, p.system, &e, s.fields, p.stamp(s, e.Time))
	clear(s.fields) // scratch must not keep what the caller gave alive
	p.record(papyra.KindEvent, s, bad)
}

// errorText returns the text of err, or false if its Error method panics. That
// method is the caller's own, so it is called before any lock is taken.
func errorText(err error) (text slog.Value, ok bool) {
	if err == nil {
		return slog.AnyValue(nil), true
	}
	defer func() { ok = recover() == nil }()
	return slog.StringValue(err.Error()), true
}

// stamp returns the time of a fact: its own, or now if it has none.
func (p *Publisher) stamp(s *scratch, t time.Time) time.Time {
	switch {
	case !t.IsZero():
		return t
	case p.clocks:
		return s.clock.now()
	default:
		return p.now()
	}
}

// record gives the record that s has encoded to its lane. err is what the encoder
// returned. record wakes the background if it sleeps and there is work for it.
func (p *Publisher) record(kind papyra.Kind, s *scratch, err error) {
	a := p.lanes[kind].record(&s.enc, err)
	p.scratch.Put(s)
	if a.wantsMemory && !p.feeding.Load() && p.feeding.CompareAndSwap(false, true) {
		wake(p.hungry)
	}
	if a.numbered && p.idle.Load() && p.idle.CompareAndSwap(true, false) {
		wake(p.wakeup)
	}
}

// wake sends into a channel with one slot, unless the slot is taken.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// accepted returns how many numbers were taken in all.
func (p *Publisher) accepted() (n uint64) {
	for _, l := range p.background {
		n += l.accepted()
	}
	return n
}

// leftBehind counts what Close could not deliver.
type leftBehind struct {
	closed, unconfirmed uint64
}

func (n *leftBehind) addLane(closed, unconfirmed uint64) {
	n.closed += closed
	n.unconfirmed += unconfirmed
}

// Close ends the intake, sends what is buffered until everything is confirmed
// or ctx is done, then sends a final report, ends the connection and returns.
// It keeps the deadline whatever the broker does; a little of the time before
// it is left to the final report. Without a deadline it waits for as long as it
// takes, also for a sink that never comes.
//
// The error says how many records were left behind and wraps the cause of ctx;
// they are counted as DroppedClosed, or as Unconfirmed when a broker may have
// them. Records that come later are Refused. Close may be called more than once
// and while others record; a second call waits for the first and returns the
// same.
//
// When it returns, every goroutine of the publisher's has ended, except one
// that hangs in the user's AuditFunc, Logger or callbacks.
func (p *Publisher) Close(ctx context.Context) error {
	first := false
	p.closeOnce.Do(func() {
		first = true
		p.beginClose(ctx)
	})
	if !first {
		select {
		case <-p.done:
			return p.closeError()
		case <-ctx.Done():
			return fmt.Errorf("wait for publisher to close: %w", context.Cause(ctx))
		}
	}
	// Nothing but this ends a write to a stopped broker.
	stopCut := context.AfterFunc(ctx, p.link.dialer.cutAll)
	defer stopCut()
	stopSoft := context.AfterFunc(ctx, p.endSoft)
	defer stopSoft()
	defer p.endSoft()
	select {
	case <-p.done:
	case <-ctx.Done():
		// The sender ends within moments now, whatever is buffered. The exception
		// is a callback of the user that nats.go calls while it connects and that
		// hangs.
		select {
		case <-p.done:
		case <-time.After(closeGrace):
			return fmt.Errorf("close publisher: its connection did not end within %v after the deadline, probably because a callback of the NATS options hangs: %w", closeGrace, context.Cause(ctx))
		}
	}
	<-p.feederDone
	p.awaitUser(ctx, p.auditorDone, p.notices.done)
	return p.closeError()
}

// closeGrace is how long Close waits beyond its deadline for the user's code to
// return: AuditFunc, Logger and callbacks.
const closeGrace = 2 * time.Second

// beginClose ends the intake and then tells the background. The order matters:
// once closing is closed, record calls add no record to any lane.
func (p *Publisher) beginClose(ctx context.Context) {
	for _, l := range p.background {
		if l.kind != papyra.KindReport {
			l.closeIntake()
		}
	}
	p.hard = ctx
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		timer := time.AfterFunc(left-min(left/10, 500*time.Millisecond), p.endSoft)
		context.AfterFunc(p.soft, func() { timer.Stop() })
	}
	close(p.closing)
}

// awaitUser waits for goroutines that run the user's code: until ctx ends, and no
// longer than closeGrace.
func (p *Publisher) awaitUser(ctx context.Context, ended ...<-chan struct{}) {
	limit := time.NewTimer(closeGrace)
	defer limit.Stop()
	for _, c := range ended {
		select {
		case <-c:
			continue
		default:
		}
		select {
		case <-c:
		case <-ctx.Done():
		case <-limit.C:
		}
	}
}

// closeError returns the error of Close: what was left behind. The sender has
// ended.
func (p *Publisher) closeError() error {
	n := p.left
	if n == (leftBehind{}) {
		return nil
	}
	return fmt.Errorf("close publisher: %d records left behind, %d of them never handed over and %d without an answer from the broker: %w",
		n.closed+n.unconfirmed, n.closed, n.unconfirmed, context.Cause(p.hard))
}
