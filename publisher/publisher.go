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

// Publisher records what happens in one process of one system. All its methods
// are safe for concurrent use. Make it with [Connect] and end it with
// [Publisher.Close].
type Publisher struct {
	system  string
	id      *papyra.Identity
	now     func() time.Time
	clocks  bool // each scratch tells the time, since the user gave no clock
	started time.Time

	lanes      [papyra.KindCount]*lane // by kind; nil for KindUnknown
	background []*lane                 // the same, without the hole
	scratch    sync.Pool               // of *scratch

	// idle is set while the background waits to be woken; whoever clears it
	// sends into wakeup.
	idle   atomic.Bool
	wakeup chan struct{}

	// feeding is set while the feeder looks by itself for lanes that want
	// memory; whoever sets it sends into hungry.
	feeding atomic.Bool
	hungry  chan struct{}

	link        *link
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
	soft      context.Context // ends a little before hard
	endSoft   context.CancelFunc
	left      leftBehind // set before done is closed

	done        chan struct{} // the sender has ended
	auditorDone chan struct{}
	feederDone  chan struct{}
}

// scratch is what one record call needs for itself.
type scratch struct {
	enc    papyra.Encoder
	clock  clock
	fields []slog.Attr // of Crashed, which adds one
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
	p.start()
	return p, nil
}

// newPublisher makes a publisher whose background does not run yet.
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
		p.lanes[kind] = newLane(kind, c.System, c.Buffers.of(kind))
		p.background = append(p.background, p.lanes[kind])
	}
	c.Node = p.id.Node()
	p.auditEvery, p.auditFunc = c.AuditEvery, c.AuditFunc
	p.notices = newNotices(c.Logger)
	p.link = newLink(options, c, p.notices, p.askAudit)
	p.sender = newSender(p)
	return p, nil
}

// start runs the background until Close, which waits for it.
func (p *Publisher) start() {
	go p.notices.run()
	go p.sender.run()
	go p.feeder()
	go p.auditor()
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
	clear(s.fields) // keeps nothing of the caller's alive
	p.record(papyra.KindEvent, s, bad)
}

// errorText runs a method of the caller's own, before any lock.
func errorText(err error) (text slog.Value, ok bool) {
	if err == nil {
		return slog.AnyValue(nil), true
	}
	defer func() { ok = recover() == nil }()
	return slog.StringValue(err.Error()), true
}

// stamp returns the time for a fact that has none.
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

// record puts what s has encoded, or the reason why it could not, into its lane.
func (p *Publisher) record(kind papyra.Kind, s *scratch, err error) {
	o := p.lanes[kind].record(&s.enc, err)
	p.scratch.Put(s)
	if o.hungry && !p.feeding.Load() && p.feeding.CompareAndSwap(false, true) {
		wake(p.hungry)
	}
	if o.taken && p.idle.Load() && p.idle.CompareAndSwap(true, false) {
		wake(p.wakeup)
	}
}

// wake sends into a channel that holds one.
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

func (n *leftBehind) add(closed, unconfirmed uint64) {
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
	// Nothing but this ends a write into a stopped broker.
	stopCut := context.AfterFunc(ctx, p.link.dialer.cut)
	defer stopCut()
	stopSoft := context.AfterFunc(ctx, p.endSoft)
	defer stopSoft()
	defer p.endSoft()
	select {
	case <-p.done:
	case <-ctx.Done():
		// The sender ends within moments now, whatever is buffered, unless a
		// callback of the user's that nats.go calls while it connects hangs.
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

// closeGrace is how long Close waits beyond its deadline for what the user
// gave to the publisher to return.
const closeGrace = 2 * time.Second

// beginClose ends the intake and tells the sender. The order matters: once
// closing is closed, no lane but that of the reports changes from outside.
func (p *Publisher) beginClose(ctx context.Context) {
	for _, l := range p.background {
		if l.kind != papyra.KindReport {
			l.close()
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

// awaitUser waits for goroutines that run the user's code, but not for ever.
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

func (p *Publisher) closeError() error {
	n := p.left
	if n == (leftBehind{}) {
		return nil
	}
	return fmt.Errorf("close publisher: %d records left behind, %d of them never handed over and %d without an answer from the broker: %w",
		n.closed+n.unconfirmed, n.closed, n.unconfirmed, context.Cause(p.hard))
}
