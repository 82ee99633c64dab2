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

	// A crash is seen twice: by the middleware at the panic, and by the event
	// stream when the supervisor has decided. unsupervised counts the recorded
	// crashes whose second sight is still to come, so that it is not recorded
	// again. failed is the message of the last one: two middlewares of one
	// Recorder in one actor see the same panic.
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
				r.lifecycle(ctx, envelope.Message)
			}
			defer func() {
				if reason := recover(); reason != nil {
					r.crashed(ctx, envelope, reason)
					// The supervisor gets the actor's own panic; the frames below
					// are still on the stack for whoever prints it.
					panic(reason)
				}
			}()
			next(ctx, envelope)
		}
	}
}

// lifecycle records a lifecycle message before the actor sees it, so that a
// child that the actor then spawns comes later.
func (r *Recorder) lifecycle(ctx actor.ReceiverContext, message any) {
	event := r.step(ctx.Self(), message)
	if p := r.publisher(); event != "" && p != nil {
		p.Event(papyra.Event{Actor: r.Address(ctx.Self()), Type: event}, slog.String("actor", typeName(ctx.Actor())))
	}
}

// step moves an actor to its next phase and returns the event type to record,
// or "". A restart is Restarting followed by Started, with the stops of the
// children between them; it is one event, when the new incarnation begins. A
// second middleware of this Recorder finds the phase already changed.
func (r *Recorder) step(self *actor.PID, message any) string {
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
		*l = life{phase: restarting} // what failed is gone with the old incarnation
		r.move(l, alive)
		return papyra.ActorRestarted
	case *actor.Restarting:
		r.move(l, restarting)
	case *actor.Stopping:
		r.move(l, stopping)
	case *actor.Stopped:
		r.count[l.phase]--
		delete(r.lives, self)
		return papyra.ActorStopped
	}
	return ""
}

// move changes a life's phase. The caller holds mu.
func (r *Recorder) move(l *life, to phase) {
	r.count[l.phase]--
	r.count[to]++
	l.phase = to
}

// crashed records a panic that passes the middleware. One of an actor that is
// already gone, in its handler of Stopped, is left to the event stream: there is
// no life to note it in.
func (r *Recorder) crashed(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope, reason any) {
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

// maxReason bounds the text of a failure in bytes; a longer one is cut and ends
// in "…", so that the crash itself is never too large to be recorded.
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
