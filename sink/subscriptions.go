package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

const (
	// firstRenewal and lastRenewal are the times between two tries to subscribe
	// where the server refuses it.
	firstRenewal = 250 * time.Millisecond
	lastRenewal  = 10 * time.Second
	// refusalWithin is how long the client may take to hand over an error that it
	// has read. A refusal that is handed over later is noticed then.
	refusalWithin = 200 * time.Millisecond
)

// A server can refuse a subscription at any time: at the start, when its
// configuration is loaded again, and after a reconnect. It says so once, as an
// error, and never serves that subscription again, whatever its configuration
// becomes. The client goes on as if nothing had happened.
//
//	subscribed ── the server refuses ──► refused: not ready, with the reason
//	     ▲                                  │ again and again, less often each time
//	     └───── the server takes it ── renew: a new subscription in its place
//
// A refusal for a permission names the subject. One for a limit names nothing:
// then each subscription may be the one that is missing, and each is renewed. The
// old one of a pair is given up first, so that it takes no place from the new one;
// both go to the server together, and it does not see a time without either.

// subscription is one that the sink wants.
type subscription struct {
	subject string
	sub     *nats.Subscription
	refused error // why the server does not serve it; nil if it does, as far as is known
	ended   int64 // the connection on which a permission ended it, as connNumber counts
}

// retiredSub is a subscription that another one has replaced. What it received
// still goes to the intake.
type retiredSub struct {
	sub  *nats.Subscription
	lost uint64 // messages that it threw away, as long as it told
}

// subscribe begins to receive; each subject gets an intake of its own. It returns
// after the server has answered. A subscription that it refused is made again by
// keepSubscribed, and served is closed when it serves all of them.
func (c *conn) subscribe(newIntake func() *intake) error {
	cfg := c.config
	c.newIntake = newIntake
	c.receiving.Store(true)
	for i, subject := range cfg.subjects() {
		c.mu.Lock()
		c.wanted = append(c.wanted, subscription{subject: subject}) // a refusal finds it
		c.mu.Unlock()
		sub, err := c.queueSubscribe(subject)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.wanted[i].sub = sub
		c.showReading()
		c.mu.Unlock()
	}
	if err := c.nc.FlushTimeout(cfg.ConnectTimeout); err != nil {
		return fmt.Errorf("%w: subscribe: %w", papyra.ErrUnavailable, err)
	}
	// A refused subscription is an error that arrives before the answer to the flush.
	// The client hands it over a moment later, and then the renewals begin.
	err := c.nc.LastError()
	if !isRefusal(err) {
		close(c.served)
		return nil
	}
	if c.awaitErrors(); !c.isRefused() {
		c.health.setRefused(fmt.Errorf("the NATS server refuses a subscription: %w: %s", err, c.refusalHint(err)))
	}
	return nil
}

// queueSubscribe makes one subscription; the server has not confirmed it yet.
func (c *conn) queueSubscribe(subject string) (*nats.Subscription, error) {
	sub, err := c.nc.QueueSubscribe(subject, papyra.QueueGroup(c.config.Group), c.inbox(subject).put)
	if err == nil {
		err = sub.SetPendingLimits(maxPendingMessages, max(maxWaiting/len(c.config.subjects()), minBuffer))
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return sub, nil
}

// inbox returns the inbox of a subject. A subscription that replaces another one goes
// on with its inbox.
func (c *conn) inbox(subject string) *inbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.inboxes[subject]
	if q == nil {
		if c.inboxes == nil {
			c.inboxes = map[string]*inbox{}
		}
		q = newInbox(c.newIntake(), max(maxWaiting/len(c.config.subjects()), minBuffer))
		c.inboxes[subject] = q
		list := slices.Collect(maps.Values(c.inboxes))
		c.waiting.Store(&list)
	}
	return q
}

// isRefusal reports whether an error of the server says that it does not serve a
// subscription.
func isRefusal(err error) bool {
	if errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		return true
	}
	return errors.Is(err, nats.ErrPermissionViolation) && refusedSubject(err) != ""
}

// refusedSubject returns the subject of the subscription that a permissions
// violation names, or "" if it names none.
func refusedSubject(err error) string {
	_, rest, ok := strings.Cut(err.Error(), `Subscription to "`)
	if !ok {
		return ""
	}
	subject, _, _ := strings.Cut(rest, `"`)
	return subject
}

// refusalHint says what an operator can do about a refusal.
func (c *conn) refusalHint(err error) string {
	if errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		return fmt.Sprintf("a sink with these filters needs %d subscriptions: raise the server's limit for this login, or give fewer filters", len(c.config.subjects()))
	}
	return fmt.Sprintf("allow this login to subscribe with queue %q", papyra.QueueGroup(c.config.Group))
}

// noteRefusal notes that the server refuses a subscription. It is called from the
// client's error handler, which gets the errors in the order of the server.
func (c *conn) noteRefusal(err error) {
	c.refusals.Add(1)
	named := refusedSubject(err) // "": a limit
	at := int64(-1)
	if named != "" {
		at = c.connNumber()
	}
	var news []string
	c.mu.Lock()
	for i := range c.wanted {
		w := &c.wanted[i]
		switch {
		case named != "" && named != w.subject:
			continue
		case named == "" && c.renewing != "" && c.renewing != w.subject:
			continue // only the one that is renewed can be meant
		}
		if c.renewing == w.subject {
			c.renewalRefused = true
		}
		if w.refused == nil {
			news = append(news, w.subject)
		}
		w.refused, w.ended = err, at
	}
	c.showRefused()
	c.mu.Unlock()
	if len(news) > 0 && c.receiving.Load() {
		// Each refusal is said once, whatever else happens at the same time.
		c.log.Error("the NATS server refuses a subscription: records may not arrive; trying again",
			"error", err, "subjects", news, "hint", c.refusalHint(err))
	}
	c.wakeRenewals()
}

// connNumber counts the connections: the client subscribes again on each.
func (c *conn) connNumber() int64 { return int64(c.nc.Stats().Reconnects) } //nolint:gosec // a count

func (c *conn) wakeRenewals() {
	select {
	case c.renewals <- struct{}{}:
	default:
	}
}

// showRefused tells the health of the first refusal. The caller holds the lock.
func (c *conn) showRefused() {
	var refused error
	for i := range c.wanted {
		if w := &c.wanted[i]; w.refused != nil {
			refused = fmt.Errorf("the NATS server refuses the subscription to %s: %w: %s", w.subject, w.refused, c.refusalHint(w.refused))
			break
		}
	}
	c.health.setRefused(refused)
}

// keepSubscribed renews refused subscriptions until ctx ends.
func (c *conn) keepSubscribed(ctx context.Context) {
	defer c.receiving.Store(false)
	served := c.served
	wait := firstRenewal
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	timer.Stop()
	waiting := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.renewals:
			if !waiting && c.isRefused() {
				timer.Reset(wait/2 + rand.N(wait/2+1))
				waiting = true
			}
			continue
		case <-c.reconnected:
			wait = firstRenewal // another server, or another configuration
			timer.Reset(wait)
		case <-timer.C:
		}
		waiting = false
		if !c.nc.IsConnected() {
			continue // the next connection wakes this
		}
		c.renewAll(ctx)
		if c.isRefused() && ctx.Err() == nil {
			wait = min(2*wait, lastRenewal)
			timer.Reset(wait/2 + rand.N(wait/2+1))
			waiting = true
			continue
		}
		wait = firstRenewal
		select {
		case <-served:
		default:
			if !c.isRefused() {
				close(served)
			}
		}
	}
}

// isRefused reports whether the server refuses a subscription.
func (c *conn) isRefused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.wanted, func(w subscription) bool { return w.refused != nil })
}

// renewAll renews each subscription that is refused.
func (c *conn) renewAll(ctx context.Context) {
	c.mu.Lock()
	n := len(c.wanted)
	c.mu.Unlock()
	for i := range n {
		if ctx.Err() != nil {
			return
		}
		c.renew(i)
	}
}

// renew puts a new subscription in the place of the i-th one if that is refused.
func (c *conn) renew(i int) {
	c.mu.Lock()
	w := c.wanted[i]
	if w.refused == nil || c.closed {
		c.mu.Unlock()
		return
	}
	c.renewing, c.renewalRefused = w.subject, false
	c.mu.Unlock()
	served := c.replace(i, w)
	c.mu.Lock()
	served = served && !c.renewalRefused
	c.renewing = ""
	if served {
		c.wanted[i].refused = nil
	}
	c.showRefused()
	c.mu.Unlock()
	if served {
		c.log.Info("the NATS server serves the subscription again", "subject", w.subject)
	}
}

// replace subscribes anew in the place of w, the i-th subscription, and waits for
// the server's answer. It reports whether one came.
func (c *conn) replace(i int, w subscription) bool {
	// A subscription that the server has ended on this connection gets nothing more,
	// so that there is nothing to drain when nothing waits.
	waiting, _, err := w.sub.Pending()
	if err == nil && waiting == 0 && w.ended == c.connNumber() {
		_ = w.sub.Unsubscribe() // fails only where it is closed already
	} else {
		_ = w.sub.Drain()
	}
	sub, err := c.queueSubscribe(w.subject)
	if err != nil {
		return false // the connection is closed
	}
	c.mu.Lock()
	c.retire(w.sub)
	c.wanted[i].sub = sub
	c.showReading()
	c.mu.Unlock()
	if c.nc.FlushTimeout(c.config.ConnectTimeout) != nil {
		return false
	}
	c.awaitErrors()
	return true
}

// retire keeps a subscription that was replaced until it has no messages any more.
// The caller holds the lock.
func (c *conn) retire(sub *nats.Subscription) {
	c.countRetired()
	c.retired = append(c.retired, retiredSub{sub: sub})
	c.countRetired()
}

// countRetired reads what the replaced subscriptions have thrown away, forgets
// those that have ended, and returns the sum. The caller holds the lock.
func (c *conn) countRetired() (lost uint64) {
	kept := c.retired[:0]
	for _, r := range c.retired {
		n, err := r.sub.Dropped()
		if err != nil {
			c.lostRetired += r.lost
			continue
		}
		r.lost = uint64(n)
		lost += r.lost
		kept = append(kept, r)
	}
	c.retired = kept
	return lost + c.lostRetired
}

// showReading tells holdRead which subscriptions there are. The caller holds the
// lock.
func (c *conn) showReading() {
	subs := make([]*nats.Subscription, 0, len(c.wanted)+len(c.retired))
	for i := range c.wanted {
		if sub := c.wanted[i].sub; sub != nil {
			subs = append(subs, sub)
		}
	}
	for i := range c.retired {
		subs = append(subs, c.retired[i].sub)
	}
	c.reading.Store(&subs)
}

// awaitErrors waits until the error handler has got the error that the server sent
// last. Two errors for a limit are one and the same value: then it waits for
// refusalWithin.
func (c *conn) awaitErrors() {
	last := c.nc.LastError()
	if last == nil {
		return
	}
	limit := errors.Is(last, nats.ErrMaxSubscriptionsExceeded)
	for until := time.Now().Add(refusalWithin); time.Now().Before(until); time.Sleep(time.Millisecond) {
		c.mu.Lock()
		refused := c.renewalRefused || c.renewing == "" && limit && c.wanted[0].refused != nil
		c.mu.Unlock()
		if seen := c.lastError.Load(); refused || !limit && seen != nil && sameError(*seen, last) {
			return
		}
	}
}

// sameError compares identities: two violations with the same text are two. It
// reports false for errors of a type that cannot be compared.
func sameError(a, b error) (same bool) {
	defer func() { _ = recover() }() // comparing such a type panics
	return a == b                    //nolint:errorlint // two errors of one kind must not be taken for one
}
