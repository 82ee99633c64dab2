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

	closeTimeout time.Duration
	closeOnce    sync.Once
	closing      chan struct{}
	hard         context.Context // Close's; set before closing is closed
	soft         context.Context // ends a little before hard, so that time is left for the final report
	endSoft      context.CancelFunc
	beforeCut    atomic.Pointer[Stats] // of the connection, before Close cut it
	closeError   error                 // set before done is closed

	done        chan struct{} // the sender has ended
	auditorDone chan struct{}
	feederDone  chan struct{}
}

// scratch is the memory that one record call uses alone.
type scratch struct {
	enc      papyra.Encoder
	clock    recordClock
	fields   []slog.Attr // of Crashed, which adds one to the caller's
	replaced uint64      // 1 if the payload of the record in enc was replaced
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
	p.closeTimeout = c.CloseTimeout
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

// Run returns the 16 random characters of [0-9a-z] that stand in every record of this
// publisher. They are made by Connect and never change.
func (p *Publisher) Run() string { return p.id.Run() }

// Event records an event with fields of its payload. What is passed is encoded
// before the call returns and not kept; the fields stay on the caller's stack.
//
// A payload that cannot be encoded is replaced by an object with the one member
// [papyra.PayloadError], and counted as PayloadReplaced: a value that JSON cannot
// show, that nests deeper than [papyra.MaxDepth], or whose own method fails or panics.
// If the event does not fit even so, it is dropped as "encode". One whose line is longer
// than [papyra.MaxPublishedLine] is dropped as "too_large".
//
// Methods of the payload run before any lock of ours is taken, and for as long as they
// like. Nobody may change what is passed before the call returns: Go ends a process in
// which a map is written while it is read.
func (p *Publisher) Event(e papyra.Event, fields ...slog.Attr) {
	s := p.scratch.Get().(*scratch)
	at := p.stamp(s, e.Time)
	err := s.enc.Event(p.id, p.system, &e, fields, at)
	if err != nil {
		err = p.replaceEventPayload(s, &e, at, err)
	}
	p.record(papyra.KindEvent, s, err)
}

// DeadLetter records a message that reached nobody, as Event does.
func (p *Publisher) DeadLetter(d papyra.DeadLetter, fields ...slog.Attr) {
	s := p.scratch.Get().(*scratch)
	at := p.stamp(s, d.Time)
	err := s.enc.DeadLetter(p.id, p.system, &d, fields, at)
	if err != nil {
		err = p.replaceDeadLetterPayload(s, &d, at, err)
	}
	p.record(papyra.KindDeadLetter, s, err)
}

// Audit records a count of the system's actors. It makes no difference whether
// AuditFunc is set.
func (p *Publisher) Audit(a papyra.Audit) {
	s := p.scratch.Get().(*scratch)
	p.record(papyra.KindAudit, s, s.enc.Audit(p.id, p.system, &a, p.stamp(s, a.Time)))
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
	a := p.lanes[kind].admit(&s.enc, err, s.replaced)
	s.replaced = 0
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
