package publisher

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/papyra/papyra"
)

const (
	// doneGrace is the time of a Close whose context is done already.
	doneGrace = time.Second

	// userGrace is how long Close waits for the user's code to return: AuditFunc,
	// Logger and callbacks. When its time is up it waits for lastWord only, in which
	// a Logger can say what was left behind.
	userGrace = 2 * time.Second
	lastWord  = 250 * time.Millisecond
)

// Close ends the intake, sends what is buffered until everything is confirmed or
// its time is up, then sends a final report, ends the connection and returns. It
// keeps its time whatever the broker does; a little of it is left to the final
// report. The time is that of ctx:
//
//   - It is up at the deadline of ctx, or when ctx is cancelled while Close waits.
//   - A ctx without a deadline gets [Config.CloseTimeout].
//   - A ctx that is done at the call, such as that of a signal that ends the
//     process, gets one second. A healthy broker takes everything within it.
//
// The error is nil if everything was confirmed. Otherwise it says how many records
// were left behind and why, with the last error of the connection, and wraps the
// cause of ctx, or [context.DeadlineExceeded] for a time of Close's own. Those
// records are counted as DroppedClosed, or as Unconfirmed when a broker may have
// them. The Logger gets a warning.
//
// Records that come later are Refused. Close may be called more than once and
// while others record; a second call waits for the first, for no longer than its
// own time, and returns the same.
//
// When it returns, every goroutine of the publisher's has ended, except one that
// hangs in the user's AuditFunc, Logger or callbacks. It waits for those for a
// quarter of a second beyond its time, and for one that hangs while it connects for
// two seconds.
func (p *Publisher) Close(ctx context.Context) error {
	ctx, release := p.timeToClose(ctx)
	defer release()
	first := false
	p.closeOnce.Do(func() {
		first = true
		p.beginClose(ctx)
	})
	if !first {
		select {
		case <-p.done:
			return p.closeError
		case <-ctx.Done():
			return fmt.Errorf("wait for publisher to close: %w", context.Cause(ctx))
		}
	}
	// Nothing but this ends a write to a stopped broker.
	stopCut := context.AfterFunc(ctx, p.cutConnection)
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
		case <-time.After(userGrace):
			return fmt.Errorf("close publisher: its connection did not end within %v after the deadline, probably because a callback of the NATS options hangs: %w", userGrace, context.Cause(ctx))
		}
	}
	<-p.feederDone
	p.awaitUser(ctx, p.auditorDone, p.notices.done)
	return p.closeError
}

// timeToClose returns ctx with a bound where it says none; see Close. The caller
// calls the function when it waits no more.
func (p *Publisher) timeToClose(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		cause := fmt.Errorf("%w before Close began, and %v more", context.Cause(ctx), doneGrace)
		return context.WithTimeoutCause(context.WithoutCancel(ctx), doneGrace, cause)
	}
	if _, ok := ctx.Deadline(); !ok {
		cause := fmt.Errorf("CloseTimeout of %v: %w", p.closeTimeout, context.DeadlineExceeded)
		return context.WithTimeoutCause(ctx, p.closeTimeout, cause)
	}
	return ctx, func() {}
}

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

// isClosing reports whether Close has begun.
func (p *Publisher) isClosing() bool {
	select {
	case <-p.closing:
		return true
	default:
		return false
	}
}

// cutConnection ends whatever the sender waits for. What the connection was like
// is noted before, because the cut itself makes errors.
func (p *Publisher) cutConnection() {
	p.noteConnection()
	p.link.dialer.cutAll()
}

// noteConnection returns the connection's part of Stats as it was before Close cut
// the connection, or as it is.
func (p *Publisher) noteConnection() Stats {
	s := new(Stats)
	p.link.fillStats(s)
	if !p.beforeCut.CompareAndSwap(nil, s) {
		s = p.beforeCut.Load()
	}
	return *s
}

// awaitUser waits for goroutines that run the user's code, no longer than userGrace
// in all and lastWord after ctx has ended.
func (p *Publisher) awaitUser(ctx context.Context, ended ...<-chan struct{}) {
	limit := time.NewTimer(userGrace)
	defer limit.Stop()
	stop := context.AfterFunc(ctx, func() { limit.Reset(lastWord) })
	defer stop()
	for _, c := range ended {
		select {
		case <-c:
		case <-limit.C:
			return
		}
	}
}

// leftBehind is what Close could not deliver.
type leftBehind struct {
	closed, unconfirmed uint64
	reasons             []string // of lanes that were held
}

// giveUp empties a lane and notes what was in it, and why it was held.
func (n *leftBehind) giveUp(l *lane) {
	hold := l.currentHold().reason
	closed, unconfirmed := l.abandon()
	if closed+unconfirmed == 0 {
		return
	}
	n.closed += closed
	n.unconfirmed += unconfirmed
	category := l.kind.Category()
	switch hold {
	case HoldNone:
	case HoldUnheard:
		n.reasons = append(n.reasons, "nobody listens to "+category)
	case HoldUnanswered:
		n.reasons = append(n.reasons, "somebody takes "+category+", and no sink answers")
	case HoldDenied:
		n.reasons = append(n.reasons, "the broker does not permit publishing "+category)
	default:
		n.reasons = append(n.reasons, category+" are held as "+string(hold))
	}
}

// endClose notes the error of Close and logs it. Only the sender calls it, once,
// before it ends the connection.
func (p *Publisher) endClose(n leftBehind) {
	if n.closed+n.unconfirmed == 0 {
		return
	}
	connection := p.noteConnection()
	if n.unconfirmed > 0 {
		for _, g := range p.sender.groups.stats(time.Now()) {
			if g.Silent > 0 && !g.Left {
				n.reasons = append(n.reasons, fmt.Sprintf("group %s has not answered for %v", g.Group, g.Silent.Round(time.Millisecond)))
			}
		}
	}
	switch {
	case !connection.Connected:
		n.reasons = append(n.reasons, "there is no connection to a broker")
	case len(n.reasons) == 0:
		n.reasons = append(n.reasons, "the time was too short")
	}
	if last := connection.Errors.Last; last != "" {
		n.reasons = append(n.reasons, "the last error of the connection is: "+last)
	}
	why := strings.Join(n.reasons, "; ")
	cause := context.Cause(p.hard)
	if cause == nil {
		cause = context.DeadlineExceeded // the final report came through in the time that was left to it
	}
	p.closeError = fmt.Errorf("close publisher: %d records left behind, %d of them never handed over and %d without an answer from the broker: %s: %w",
		n.closed+n.unconfirmed, n.closed, n.unconfirmed, why, cause)
	p.notices.log(slog.LevelWarn, "records left behind when the publisher closed", func() []any {
		return []any{"never_sent", n.closed, "unconfirmed", n.unconfirmed, "why", why}
	})
}
