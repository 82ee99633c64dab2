package sink

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natswire"
	"github.com/papyra/papyra/internal/redact"
	"github.com/papyra/papyra/internal/throttle"
)

const (
	// maxPendingMessages bounds the messages that the NATS client holds before the
	// intake sees them, and maxWaiting their bytes. Beyond either the client throws
	// messages away and counts them.
	maxPendingMessages = 512 << 10
	connectPause       = 100 * time.Millisecond
	reconnectWait      = 250 * time.Millisecond
	pingEvery          = 10 * time.Second
)

// conn is the sink's connection and its subscriptions. It takes no other part's
// lock under its own.
type conn struct {
	config  *Config
	log     *slog.Logger
	buffer  *buffer // how much waits, and how many messages the intake has seen
	health  *health
	answers *answers
	nc      *nats.Conn

	newIntake   func() *intake
	renewals    chan struct{} // one slot: the server refuses a subscription
	reconnected chan struct{} // one slot: there is another connection
	served      chan struct{} // closed when the server has served all subscriptions at one time
	receiving   atomic.Bool   // the subscriptions stand: refusals are logged
	refusals    atomic.Uint64 // subscriptions that the server refused; each time counts
	lastError   atomic.Pointer[error]

	mu             sync.Mutex
	wanted         []subscription
	inboxes        map[string]*inbox // by the subject of the subscription
	retired        []retiredSub
	lost           uint64 // messages that the subscriptions threw away, as long as they told
	lostRetired    uint64 // the same of those that are forgotten
	received       uint64 // messages in all, when closed is set
	renewing       string // the subject of the subscription that is being renewed
	renewalRefused bool   // and whether the server refuses it again
	closed         bool   // nothing is received any more

	reading atomic.Pointer[[]*nats.Subscription] // for holdRead, on the client's goroutine
	waiting atomic.Pointer[[]*inbox]             // likewise
}

// connect tries to reach the server until it does or Config.ConnectTimeout is
// over.
func connect(ctx context.Context, cfg *Config, log *slog.Logger, b *buffer, h *health, a *answers) (*conn, error) {
	c := &conn{
		config: cfg, log: log, buffer: b, health: h, answers: a,
		renewals: make(chan struct{}, 1), reconnected: make(chan struct{}, 1), served: make(chan struct{}),
	}
	opts, err := c.connOptions()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", papyra.ErrConfig, err)
	}
	deadline := time.Now().Add(cfg.ConnectTimeout)
	for {
		nc, err := opts.Connect()
		if err == nil {
			c.nc = nc
			h.setConnected(true)
			return c, nil
		}
		if time.Now().Add(connectPause).After(deadline) {
			return nil, fmt.Errorf("%w: connect to the NATS server within %v: %w: start it, or see to its address and the login",
				papyra.ErrUnavailable, cfg.ConnectTimeout, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the NATS server: %w", ctx.Err())
		case <-time.After(connectPause):
		}
	}
}

// connOptions returns the caller's options, and then those that make the client
// try for ever, whatever the server says.
func (c *conn) connOptions() (*nats.Options, error) {
	cfg, log := c.config, c.log
	// The client calls handlers one after the other.
	lost, errs := throttle.Single{Every: logEvery}, throttle.Single{Every: logEvery}
	o, err := cfg.natsOptions(
		nats.Name("papyra-sink "+cfg.Group+"/"+cfg.Instance),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, time.Second),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(answerWrite), nats.ReconnectOnFlusherError(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if !c.health.connectionLost() {
				return
			}
			if n, ok := lost.Allow(); ok {
				log.Warn("lost the connection to NATS, trying again", "error", err, "suppressed", n)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.answers.retry()
			c.health.setConnected(true)
			log.Info("connected to NATS again", "server", redact.URL(nc.ConnectedUrl()))
			select {
			case c.reconnected <- struct{}{}:
			default:
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if isRefusal(err) {
				c.noteRefusal(err)
				c.lastError.Store(&err)
				return
			}
			c.lastError.Store(&err)
			if c.answers.noteError(err) {
				return
			}
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if n, ok := errs.Allow(); ok {
				log.Error("NATS reports an error", "error", err, "subject", subject, "suppressed", n)
			}
		}),
	)
	if err != nil {
		return nil, err
	}
	c.holdReads(o)
	natswire.Protect(o, 0)
	return o, nil
}

// natsOptions returns the caller's options, and then the sink's own.
func (c *Config) natsOptions(own ...nats.Option) (*nats.Options, error) {
	o := nats.GetDefaultOptions()
	o.Servers = c.servers()
	for _, opt := range slices.Concat(c.NATS, own) {
		if err := opt(&o); err != nil {
			return nil, fmt.Errorf("read the NATS options: %w", err)
		}
	}
	if err := natswire.CheckOptions(&o); err != nil {
		return nil, err
	}
	return &o, nil
}

// drain stops receiving without losing what the server has already given to
// this member of its group. The connection stays for the answers.
//
//  1. Drain sends UNSUB. The server marks the subscription closed under the
//     lock under which it queues deliveries, and then gives messages to the
//     other members of the group.
//  2. Flush: the PONG comes behind everything that was queued before.
//  3. Barrier: its function runs when the callbacks have returned from all
//     messages that had arrived before, which are then in the inboxes.
//  4. The intakes empty the inboxes.
//
// Without a server steps 1 and 2 do nothing. When the time is over before the end of
// step 4, the connection is closed. It returns how many messages no intake had seen
// then.
func (c *conn) drain(timeout time.Duration) (left int) {
	deadline := time.Now().Add(timeout)
	var subs []*nats.Subscription
	if reading := c.reading.Load(); reading != nil {
		subs = *reading
	}
	for _, sub := range subs {
		_ = sub.Drain() // fails only when it is closed or drained already
	}
	if c.nc.IsConnected() {
		if err := c.nc.FlushTimeout(time.Until(deadline)); err != nil {
			c.log.Warn("the NATS server did not confirm the end of the subscription: what it had on the way is lost", "error", err)
		}
	}
	seen := make(chan struct{})
	whole := false
	if err := c.nc.Barrier(func() { close(seen) }); err == nil {
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-seen:
			left = c.emptyInboxes(timer.C)
			whole = left == 0
		case <-timer.C:
			for _, sub := range subs {
				if n, _, err := sub.Pending(); err == nil {
					left += n
				}
			}
		}
		timer.Stop()
	}
	if whole {
		c.endReceiving()
		return 0
	}
	return left + c.closeConn()
}

// endReceiving notes that nothing is received any more.
func (c *conn) endReceiving() {
	c.reading.Store(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed, c.received = true, c.nc.Stats().InMsgs
	}
}

// emptyInboxes lets the intakes see what is in the inboxes until the time is over.
// It returns how many messages are left.
func (c *conn) emptyInboxes(timeout <-chan time.Time) (left int) {
	list := c.inboxList()
	for _, q := range list {
		q.finish()
	}
	for _, q := range list {
		select {
		case <-q.done:
			continue
		case <-timeout:
		}
		return c.giveUpInboxes()
	}
	return 0
}

// giveUpInboxes ends the inboxes and returns how many messages were left in them.
func (c *conn) giveUpInboxes() (left int) {
	for _, q := range c.inboxList() {
		left += q.giveUp()
	}
	return left
}

// inboxList returns the inboxes there are.
func (c *conn) inboxList() []*inbox {
	if list := c.waiting.Load(); list != nil {
		return *list
	}
	return nil
}

// closeConn ends the connection and the inboxes. What no intake has seen is lost; it
// returns how many messages were left in the inboxes. It is safe to call twice.
func (c *conn) closeConn() (left int) {
	c.health.setConnected(false)
	c.nc.Close()
	left = c.giveUpInboxes()
	c.endReceiving()
	return left
}

// flushAnswers waits until the server has what was answered, for at most answerWrite.
func (c *conn) flushAnswers() {
	if c.nc.IsConnected() {
		_ = c.nc.FlushTimeout(answerWrite) // a publisher without an answer sends again
	}
}

// lostMessages returns how many messages no intake will ever see. While the sink
// receives these are what the subscriptions and the inboxes threw away. Afterwards
// nothing waits any more: what came in and was not seen is lost.
func (c *conn) lostMessages() uint64 {
	if lost, open := c.thrownAway(); open {
		return lost
	}
	return c.received - min(c.received, c.buffer.messages())
}

// thrownAway returns what the subscriptions of a connection that receives, and their inboxes,
// threw away.
func (c *conn) thrownAway() (lost uint64, open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, false
	}
	lost = c.countRetired()
	for _, q := range c.inboxes {
		lost += q.thrownAway()
	}
	for i := range c.wanted {
		n, err := c.wanted[i].sub.Dropped()
		if err != nil {
			return c.lost, true // drained: it does not tell any more
		}
		lost += uint64(n)
	}
	c.lost = max(c.lost, lost)
	lost = c.lost
	return lost, true
}
