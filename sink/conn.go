package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redact"
)

const (
	// maxPendingMessages, with maxWaiting, bounds what the NATS client holds
	// before the intake sees it. Beyond either it throws messages away and counts
	// them.
	maxPendingMessages = 512 << 10
	connectPause       = 100 * time.Millisecond
	reconnectWait      = 250 * time.Millisecond
	pingEvery          = 10 * time.Second
)

// conn is the sink's connection and its subscriptions.
type conn struct {
	sink *Sink
	nc   *nats.Conn

	mu   sync.Mutex
	subs []*nats.Subscription
	// lost is the sum of what the subscriptions threw away, as long as they told.
	lost   uint64
	closed bool

	reading atomic.Pointer[[]*nats.Subscription] // for hold, on the client's goroutine
}

// connect tries to reach the server until it does or the time is over.
func connect(ctx context.Context, s *Sink) (*conn, error) {
	c := &conn{sink: s}
	opts, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", papyra.ErrConfig, err)
	}
	deadline := time.Now().Add(s.config.ConnectTimeout)
	for {
		nc, err := opts.Connect()
		if err == nil {
			c.nc = nc
			s.setConnected(true)
			return c, nil
		}
		if time.Now().Add(connectPause).After(deadline) {
			return nil, fmt.Errorf("%w: connect to the NATS server within %v: %w: start it, or see to its address and the login",
				papyra.ErrUnavailable, s.config.ConnectTimeout, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the NATS server: %w", ctx.Err())
		case <-time.After(connectPause):
		}
	}
}

// options are the caller's, and then those that make the client try for ever
// whatever the server says.
func (c *conn) options() (*nats.Options, error) {
	cfg, log := &c.sink.config, c.sink.log
	repeated := throttle{every: logEvery} // the client calls handlers one after the other
	o, err := cfg.natsOptions(
		nats.Name("papyra-sink "+cfg.Group+"/"+cfg.Instance),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, time.Second),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if !c.sink.disconnected() {
				return
			}
			if n, ok := repeated.allow(); ok {
				log.Warn("lost the connection to NATS, trying again", "error", err, "suppressed", n)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.sink.setConnected(true)
			log.Info("connected to NATS again", "server", redact.URL(nc.ConnectedUrl()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if n, ok := repeated.allow(); ok {
				log.Error("NATS reports an error", "error", err, "subject", subject, "suppressed", n)
			}
		}),
	)
	if err != nil {
		return nil, err
	}
	c.underPressure(o)
	return o, nil
}

// natsOptions are the caller's, and then the sink's own.
func (c *Config) natsOptions(own ...nats.Option) (*nats.Options, error) {
	o := nats.GetDefaultOptions()
	o.Servers = c.servers()
	for _, opt := range slices.Concat(c.NATS, own) {
		if err := opt(&o); err != nil {
			return nil, fmt.Errorf("read the NATS options: %w", err)
		}
	}
	return &o, nil
}

// subscribe begins to receive. It returns after the server has confirmed the
// subscriptions.
func (c *conn) subscribe() error {
	cfg := &c.sink.config
	subjects := cfg.subjects()
	for _, subject := range subjects {
		sub, err := c.nc.QueueSubscribe(subject, papyra.QueueGroup(cfg.Group), newIntake(c.sink).message)
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		if err := sub.SetPendingLimits(maxPendingMessages, max(maxWaiting/len(subjects), minBuffer)); err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		c.mu.Lock()
		c.subs = append(slices.Clip(c.subs), sub) // never in place: reading has the old ones
		subs := c.subs
		c.mu.Unlock()
		c.reading.Store(&subs)
	}
	if err := c.nc.FlushTimeout(cfg.ConnectTimeout); err != nil {
		return fmt.Errorf("%w: subscribe: %w", papyra.ErrUnavailable, err)
	}
	// A refused subscription is an error that arrives before the answer to the
	// flush.
	if err := c.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("%w: subscribe: %w: allow this login to subscribe with queue %q",
			papyra.ErrUnavailable, err, papyra.QueueGroup(cfg.Group))
	}
	return nil
}

// drain stops receiving without losing what the server has already given to
// this member of its group, and closes the connection.
//
//  1. Drain sends UNSUB. The server marks the subscription closed under the
//     lock under which it queues deliveries, and then gives messages to the
//     other members of the group.
//  2. Flush: the PONG comes behind everything that was queued before.
//  3. Barrier: its function runs when the callbacks have returned from all
//     messages that had arrived before.
//  4. Only then Close, which throws away what no callback has seen.
//
// Without a server steps 1 and 2 have no meaning. It returns the number of
// messages that no callback has seen when the time was over.
func (c *conn) drain(timeout time.Duration) (left int) {
	deadline := time.Now().Add(timeout)
	c.mu.Lock()
	subs := c.subs
	c.mu.Unlock()
	for _, sub := range subs {
		_ = sub.Drain() // fails only when it is closed already
	}
	if c.nc.IsConnected() {
		if err := c.nc.FlushTimeout(time.Until(deadline)); err != nil {
			c.sink.log.Warn("the NATS server did not confirm the end of the subscription: what it had on the way is lost", "error", err)
		}
	}
	seen := make(chan struct{})
	if err := c.nc.Barrier(func() { close(seen) }); err == nil {
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-seen:
		case <-timer.C:
			for _, sub := range subs {
				if n, _, err := sub.Pending(); err == nil {
					left += n
				}
			}
		}
		timer.Stop()
	}
	c.close()
	return left
}

// close ends the connection. What no callback has seen is lost.
func (c *conn) close() {
	c.reading.Store(nil)
	c.sink.setConnected(false)
	c.nc.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// lostMessages is how many messages no callback will ever see.
func (c *conn) lostMessages() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		var lost uint64
		for _, sub := range c.subs {
			n, err := sub.Dropped()
			if err != nil {
				return c.lost // drained: it does not tell any more
			}
			lost += uint64(n)
		}
		c.lost = lost
		return lost
	}
	// What came in and was not seen is lost. Only now, when nothing waits.
	in, seen := c.nc.Stats().InMsgs, c.sink.messages()
	return in - min(in, seen)
}
