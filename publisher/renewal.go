package publisher

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// longestDeaf is how long nothing is sent after the broker has refused an inbox
	// that it served before. Beyond it records are sent and count as confirmed also
	// when nobody listened, as where the inbox is refused from the start.
	longestDeaf = 30 * time.Second

	maxWishes = 64 // wishes that can wait to be read; it takes one to make an audit

	firstRenewal = 250 * time.Millisecond // between two tries to subscribe where the broker refuses it
	lastRenewal  = 10 * time.Second
	// limitWithin is how long nats.go may take to hand over an error for a limit on
	// subscriptions; two such errors cannot be told apart. One that comes later is
	// noticed then.
	limitWithin = 200 * time.Millisecond
)

// renewal is what a link knows of its two subscriptions, the inbox and the wishes
// for audits. A broker can refuse one at any time: at the start, when its
// configuration is loaded again, and after a reconnect. It says so once, and never
// serves that subscription again on this connection. So it is made again, less
// often each time. The link's mu guards all of it.
type renewal struct {
	noWishes  bool          // the subscription to wishes is refused on the present connection
	heard     bool          // the inbox was served once
	deafSince time.Time     // when the inbox was refused that was served before; zero while it is served
	holding   bool          // nothing is sent because of that
	due       time.Time     // no try to subscribe again before
	wait      time.Duration // between the last try and the next one
	trying    string        // the subject that is being subscribed again
}

// noteInboxRefused notes that the broker refuses the inbox. The caller holds mu.
func (l *link) noteInboxRefused() {
	l.inboxRefused++
	l.noReplies = true
	r := &l.renewal
	if r.heard && r.deafSince.IsZero() {
		r.deafSince = time.Now()
	}
	l.scheduleRenewal()
	inbox := l.inbox
	l.notices.log(slog.LevelWarn, "the broker refuses this login the answers of sinks: trying again", func() []any {
		return []any{"subject", inbox + "*"}
	})
}

// noteWishesRefused notes that the broker refuses the subscription to wishes for
// audits. The caller holds mu.
func (l *link) noteWishesRefused() {
	l.renewal.noWishes = true
	l.scheduleRenewal()
	l.notices.log(slog.LevelWarn, "the broker refuses this login the wishes for audits: trying again", func() []any {
		return []any{"subject", l.auditOn}
	})
}

// noteLimit notes that the broker has refused a subscription because there are too
// many. It does not say which one; while one is made again it can only be that
// one. The caller holds mu.
func (l *link) noteLimit() {
	if l.renewal.trying != "" && l.renewal.trying == l.fallback+"*" {
		l.noteFallbackRefused()
		return
	}
	if l.renewal.trying != l.auditOn {
		l.noteInboxRefused()
	}
	if l.renewal.trying == l.auditOn || l.renewal.trying == "" {
		l.noteWishesRefused()
	}
}

// scheduleRenewal lets the sender try again after a while. The caller holds mu.
func (l *link) scheduleRenewal() {
	r := &l.renewal
	if r.wait == 0 {
		r.wait = firstRenewal
	}
	if now := time.Now(); r.due.Before(now) {
		r.due = now.Add(r.wait)
	}
	l.wakeSender()
}

// noteHeard notes that the broker serves the inbox.
func (l *link) noteHeard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.renewal
	r.heard, r.holding, r.deafSince = true, false, time.Time{}
}

// nextRenewal returns when to subscribe again, or false if nothing is refused.
func (l *link) nextRenewal() (at time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewal.due, l.connected && (l.noReplies || l.renewal.noWishes)
}

// holdForInbox reports whether nothing is to be sent because the broker refuses
// the inbox that it served before, for less than bound.
func (l *link) holdForInbox(bound time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.renewal
	r.holding = l.repliesRefused() && !r.deafSince.IsZero() && time.Since(r.deafSince) < bound
	return r.holding
}

// renewRefused subscribes again to what the broker refuses, if it is time. It
// returns false when the connection does not answer.
func (l *link) renewRefused(ctx context.Context) bool {
	at, ok := l.nextRenewal()
	if !ok || time.Now().Before(at) {
		return true
	}
	l.mu.Lock()
	r := &l.renewal
	r.wait = min(max(2*r.wait, firstRenewal), lastRenewal)
	r.due = time.Now().Add(r.wait)
	inbox, wishes := l.noReplies, r.noWishes
	l.mu.Unlock()
	// Both are given up first, so that neither takes the place of the other.
	if inbox {
		_ = l.sub.Unsubscribe() // fails only on a connection that is closed
	}
	if wishes {
		_ = l.ask.Unsubscribe()
	}
	if inbox {
		if !l.subscribeAgain(ctx, l.inbox+"*", &l.noReplies, l.subscribeInbox) {
			return false
		}
		if headers, replies := l.hearing(); headers && replies {
			l.noteHeard()
		}
		if !l.answersRefused() {
			l.closeFallback()
			l.notices.log(slog.LevelInfo, "the broker serves the answers of sinks again", func() []any { return nil })
		}
	}
	if wishes && !l.subscribeAgain(ctx, l.auditOn, &l.renewal.noWishes, l.subscribeWishes) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.noReplies && !r.noWishes {
		r.wait = 0
	}
	return true
}

// subscribeAgain makes a subscription again, and waits until the broker has taken
// or refused it; refused, which mu guards, says which. It returns false when the
// connection does not answer.
func (l *link) subscribeAgain(ctx context.Context, subject string, refused *bool, subscribe func() bool) bool {
	l.mu.Lock()
	l.renewal.trying, *refused = subject, false
	l.mu.Unlock()
	answered := subscribe() && l.roundTrip(ctx) && l.awaitErrors(ctx)
	if answered && errors.Is(l.nc.LastError(), nats.ErrMaxSubscriptionsExceeded) {
		l.awaitLimit(refused)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewal.trying = ""
	if !answered {
		*refused = true // it is not known
	}
	return answered
}

// awaitLimit waits until refused is true, for limitWithin at most.
func (l *link) awaitLimit(refused *bool) {
	for until := time.Now().Add(limitWithin); time.Now().Before(until); time.Sleep(time.Millisecond) {
		l.mu.Lock()
		known := *refused
		l.mu.Unlock()
		if known {
			return
		}
	}
}

// subscribeInbox subscribes to the answers to what is sent. An error here means
// that the connection was closed meanwhile.
func (l *link) subscribeInbox() bool {
	var err error
	l.sub, err = l.nc.ChanSubscribe(l.inbox+"*", l.ears.replies)
	return err == nil
}

// repliesRefused reports whether nobody tells that nobody listened. The caller holds
// mu.
func (l *link) repliesRefused() bool { return l.noReplies && (l.fallback == "" || l.noFallback) }

// answersRefused reports whether no answer of a sink can come.
func (l *link) answersRefused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.noReplies
}

// needsFallback reports whether the inbox is denied and there is no plain inbox yet.
func (l *link) needsFallback() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.noReplies && l.inboxDenied && l.fallback == ""
}

// openFallback subscribes to a plain inbox, as a login of version 0.1 may, and waits
// until the broker has taken or refused it. It returns false when the connection does
// not answer.
func (l *link) openFallback(ctx context.Context) bool {
	l.mu.Lock()
	l.fallback = l.nc.NewInbox() + "."
	l.mu.Unlock()
	if l.subscribeAgain(ctx, l.fallback+"*", &l.noFallback, l.subscribeFallback) {
		l.replyOn = l.fallback
		return true
	}
	l.closeFallback()
	return false
}

func (l *link) subscribeFallback() bool {
	var err error
	l.fallbackSub, err = l.nc.ChanSubscribe(l.fallback+"*", l.ears.replies)
	return err == nil
}

// closeFallback goes back to the inbox that sinks answer.
func (l *link) closeFallback() {
	l.replyOn = l.inbox
	if l.fallbackSub != nil {
		_ = l.fallbackSub.Unsubscribe() // fails only on a connection that is closed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fallback, l.fallbackSub, l.noFallback = "", nil, false
}

// noteFallbackRefused notes that the broker refuses the plain inbox too. The caller
// holds mu.
func (l *link) noteFallbackRefused() {
	l.inboxRefused++
	l.noFallback = true
	if r := &l.renewal; r.heard && r.deafSince.IsZero() {
		r.deafSince = time.Now()
	}
}

// subscribeWishes subscribes to wishes for audits.
func (l *link) subscribeWishes() bool {
	var err error
	if l.ask, err = l.nc.Subscribe(l.auditOn, func(*nats.Msg) { l.asked() }); err != nil {
		return false
	}
	// The callback only sets a flag, so a flood of requests costs nothing by being cut;
	// see noteError.
	return l.ask.SetPendingLimits(maxWishes, maxWishes*maxHeard) == nil
}
