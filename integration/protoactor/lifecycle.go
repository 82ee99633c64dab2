package protoactor

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/papyra/papyra"
)

// phase is where an actor stands between its first message and its last.
type phase int

const (
	alive phase = iota
	stopping
	restarting
	phases // the number of phases
)

// life is what is known of one actor. Recorder.mu guards it.
type life struct {
	phase phase

	// The Recorder sees a crash twice: the middleware sees the panic, and the event
	// stream tells what the supervisor has decided. unsupervised counts the recorded
	// crashes of which the event stream has not told yet, so that they are not
	// recorded again. failed is the message of the last crash: two middlewares of
	// one Recorder in one actor see the same panic.
	unsupervised int
	failed       *actor.MessageEnvelope
}

// Props is an option for the props of the actors to be recorded. Children are
// recorded if their own props carry it too. Applied twice it records once.
func (r *Recorder) Props() actor.PropsOption { return actor.WithReceiverMiddleware(r.Middleware()) }

// Middleware is the receiver middleware of [Recorder.Props], for chains where
// the order matters: it sees a panic only of what comes after it.
func (r *Recorder) Middleware() actor.ReceiverMiddleware {
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
			if r.stopped.Load() {
				next(ctx, envelope)
				return
			}
			switch envelope.Message.(type) {
			case *actor.Started, *actor.Restarting, *actor.Stopping, *actor.Stopped:
				r.recordLifecycle(ctx, envelope.Message)
			}
			defer func() {
				if reason := recover(); reason != nil {
					r.recordCrash(ctx, envelope, reason)
					// The supervisor gets the actor's own panic. The frames below are
					// still on the stack for a handler that prints it.
					panic(reason)
				}
			}()
			next(ctx, envelope)
		}
	}
}

// recordLifecycle records a lifecycle message before the actor sees it. So a child
// that the actor then spawns is recorded after it.
func (r *Recorder) recordLifecycle(ctx actor.ReceiverContext, message any) {
	event := r.nextPhase(ctx.Self(), message)
	if p := r.publisher(); event != "" && p != nil {
		p.Event(papyra.Event{Actor: r.Address(ctx.Self()), Type: event}, slog.String("actor", typeName(ctx.Actor())))
	}
}

// nextPhase moves an actor to its next phase and returns the event type to record,
// or "" for none:
//
//	message      phase before   phase after   recorded
//	Started      none           alive         ActorStarted
//	Restarting   any            restarting
//	Started      restarting     alive         ActorRestarted
//	Stopping     any            stopping
//	Stopped      any            none          ActorStopped
//
// Any other message changes nothing and is not recorded, so a second middleware of
// this Recorder, which finds the phase already changed, records nothing. The children
// of an actor that restarts stop between Restarting and Started.
func (r *Recorder) nextPhase(self *actor.PID, message any) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lives[self]
	if l == nil {
		if _, ok := message.(*actor.Started); !ok {
			return ""
		}
		r.lives[self] = &life{phase: alive}
		r.count[alive]++
		return papyra.ActorStarted
	}
	switch message.(type) {
	case *actor.Started:
		if l.phase != restarting {
			return ""
		}
		*l = life{phase: restarting} // the crashes were of the old incarnation
		r.movePhase(l, alive)
		return papyra.ActorRestarted
	case *actor.Restarting:
		r.movePhase(l, restarting)
	case *actor.Stopping:
		r.movePhase(l, stopping)
	case *actor.Stopped:
		r.count[l.phase]--
		delete(r.lives, self)
		return papyra.ActorStopped
	}
	return ""
}

// movePhase changes a life's phase. The caller holds mu.
func (r *Recorder) movePhase(l *life, to phase) {
	r.count[l.phase]--
	r.count[to]++
	l.phase = to
}

// recordCrash records a panic that passes the middleware. An actor that panics in
// its handler of Stopped has no life any more, so that crash is left to the event
// stream.
func (r *Recorder) recordCrash(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope, reason any) {
	self := ctx.Self()
	r.mu.Lock()
	l := r.lives[self]
	again := l == nil || l.failed == envelope
	if !again {
		l.failed = envelope
		l.unsupervised++
	}
	r.mu.Unlock()
	if p := r.publisher(); !again && p != nil {
		p.Event(papyra.Event{Actor: r.Address(self), Type: papyra.ActorCrashed},
			slog.String("error", reasonText(reason)),
			slog.String("message", typeName(envelope.Message)),
			slog.String("actor", typeName(ctx.Actor())))
	}
}

// typeName returns a value's Go type as %T prints it.
func typeName(v any) string {
	if v == nil {
		return "nil"
	}
	return reflect.TypeOf(v).String()
}

// maxReason bounds the text of a failure in bytes. A longer text is cut and ends in
// "…", so that a crash is never too large to be recorded.
const maxReason = 8 << 10

// reasonText writes what a panic was called with. fmt recovers from a value
// whose own methods panic.
func reasonText(reason any) string {
	text := fmt.Sprint(reason)
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "…"
}
