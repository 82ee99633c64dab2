package publisher

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// This file is what the connection can tell about a window: the answer to a
// flush, errors, and the 503 answers for messages that nobody took. The server
// sends them in this order, and proveWindow looks at them in the same order:
//
//	Publish, Publish, … PING ───►
//	          ◄─── -ERR of a refused publish, 503 of a message without a receiver
//	          ◄─── PONG

const (
	// errorsWithin bounds the wait for callbacks that nats.go has queued.
	errorsWithin = 2 * time.Second

	// flushWithin bounds one flush. A broker that is silent for so long fails the
	// pings before.
	flushWithin = 30 * time.Second
)

// roundTrip flushes, and reports whether an answer came. That alone proves
// nothing; see sendWindow.
func (l *link) roundTrip(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	return l.nc.FlushWithContext(ctx) == nil
}

// noteError is the error callback: it counts err, notes a refusal, and wakes
// awaitErrors. subject is that of the subscription that err is about, "" if it is
// about none. It reports whether err is worth a word: that more wishes came than were
// read is no trouble.
func (l *link) noteError(subject string, err error) bool {
	if subject == l.auditOn && errors.Is(err, nats.ErrSlowConsumer) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.showError(err)
		return false
	}
	l.countError(err, func(e *Errors) *uint64 { return &e.Other })
	refusal := errors.Is(err, nats.ErrPermissionViolation)
	refused, publish := refusedSubject(err.Error())
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		l.noteLimit()
	case refusal && publish && len(l.refused) < 64:
		l.refused[refused]++
	case refusal && !publish && l.inbox != "" && refused == l.inbox+"*":
		l.inboxDenied = true
		l.noteInboxRefused()
	case refusal && !publish && l.fallback != "" && refused == l.fallback+"*":
		l.noteFallbackRefused()
	case refusal && !publish && refused == l.auditOn:
		l.noteWishesRefused()
	}
	l.showError(err)
	return true
}

// showError wakes awaitErrors. The caller holds mu.
func (l *link) showError(err error) {
	l.lastError = err
	close(l.errorSeen)
	l.errorSeen = make(chan struct{})
}

// refusedSubject returns the subject in the text of a permissions violation. It
// reports true if publishing to it was refused, and false if subscribing was.
func refusedSubject(text string) (subject string, publish bool) {
	if _, after, ok := strings.Cut(text, `Publish to "`); ok {
		subject, _, ok = strings.Cut(after, `"`)
		return subject, ok
	}
	if _, after, ok := strings.Cut(text, `Subscription to "`); ok {
		subject, _, _ = strings.Cut(after, `"`)
	}
	return subject, false
}

// awaitErrors waits until the error callback has got every error that the server
// sent before now, and reports whether that is so. nats.go sets its last error and
// queues the callback in one step, before it reads on, and it runs the callbacks
// in their order. So when the callback has got the last error, it has got all
// before it.
func (l *link) awaitErrors(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, errorsWithin)
	defer cancel()
	for {
		last := l.nc.LastError()
		l.mu.Lock()
		seen, changed := l.lastError, l.errorSeen
		l.mu.Unlock()
		if last == nil || sameError(last, seen) {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// sameError compares identities: two violations with the same text are two. It
// reports false for errors of a type that cannot be compared.
func sameError(a, b error) (same bool) {
	defer func() { _ = recover() }() // comparing such a type panics
	return a == b                    //nolint:errorlint // two errors of one kind must not be taken for one
}

// windowMark is what must not change during a window: if it does, a 503 may be
// missing.
type windowMark struct {
	lostReplies  int
	inboxRefused int
}

// beginWindow forgets what came late for earlier windows, and returns the mark of
// now.
func (l *link) beginWindow() windowMark {
	l.ears.takeNobody()
	l.takeRefused()
	return l.markWindow()
}

// markWindow returns the mark of now.
func (l *link) markWindow() windowMark {
	var m windowMark
	m.lostReplies, _ = l.sub.Dropped()
	if l.fallbackSub != nil {
		lost, _ := l.fallbackSub.Dropped()
		m.lostReplies += lost
	}
	m.lostReplies += l.ears.lostReplies()
	l.mu.Lock()
	m.inboxRefused = l.inboxRefused
	l.mu.Unlock()
	return m
}

// takeRefused returns how many publishes were refused, by subject, and sets that
// back to none.
func (l *link) takeRefused() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.refused) == 0 {
		return nil
	}
	r := l.refused
	l.refused = map[string]int{}
	return r
}
