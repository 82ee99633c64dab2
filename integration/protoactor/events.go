package protoactor

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/papyra/papyra"
)

// observe is called with everything that is published on the system's event stream, on
// the goroutine that publishes it: a sender's or a supervisor's.
func (r *Recorder) observe(event any) {
	switch e := event.(type) {
	case *actor.SupervisorEvent:
		r.recordSupervised(e)
	case *actor.DeadLetterEvent:
		r.recordDeadLetter(e)
	}
}

// recordSupervised records a failure that no middleware saw: one of an actor
// without the middleware, of a continuation, of a producer, or of a parent to which
// a child's failure was escalated. The event comes from the supervisor after it has
// decided, so the decision is recorded too.
func (r *Recorder) recordSupervised(e *actor.SupervisorEvent) {
	r.mu.Lock()
	if l := r.lives[e.Child]; l != nil && l.unsupervised > 0 {
		l.unsupervised--
		l.failed = nil
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	if p := r.publisher(); p != nil {
		p.Event(papyra.Event{Actor: r.Address(e.Child), Type: papyra.ActorCrashed},
			slog.String("error", reasonText(e.Reason)),
			slog.String("directive", directiveName(e.Directive)))
	}
}

// directiveName returns a supervisor's decision as one lower-case word.
func directiveName(d actor.Directive) string {
	return strings.ToLower(strings.TrimSuffix(d.String(), "Directive"))
}

// recordDeadLetter records a message that reached nobody.
func (r *Recorder) recordDeadLetter(e *actor.DeadLetterEvent) {
	p := r.publisher()
	if p == nil || frameworkMessage(e.Message) {
		return
	}
	r.deadLetters.Add(1)
	d := papyra.DeadLetter{Target: r.Address(e.PID), MessageType: typeName(e.Message)}
	var err error
	if d.Payload, err = r.choosePayload(e.Message); err == nil {
		err = r.probeLetter(&d)
	}
	if err != nil {
		d.Payload = nil
		p.DeadLetter(d, slog.String("payload_error", reasonText(err)))
		return
	}
	p.DeadLetter(d)
}

// longestSystem is a system id that takes as much room in a record as any can.
// longestNode is such a node.
var (
	longestSystem = strings.Repeat(`"`, papyra.MaxSystemBytes)
	longestNode   = strings.Repeat("n", papyra.MaxNameBytes)
)

// probeLetter encodes a dead letter as the publisher will, and returns the error.
// Messages of actors often hold what no record can show, for example a channel for
// the answer or a whole document. The publisher would drop such a dead letter, and
// nobody would learn that the message was lost.
func (r *Recorder) probeLetter(d *papyra.DeadLetter) error {
	encoder, _ := r.encoders.Get().(*papyra.Encoder)
	if encoder == nil {
		encoder = new(papyra.Encoder)
	}
	defer r.encoders.Put(encoder)
	return encoder.DeadLetter(r.identity, longestSystem, d, nil, time.Unix(0, 0))
}

// choosePayload returns what is recorded of a message. A panic of Config.Payload
// becomes an error: it must not reach the actor whose message it was.
func (r *Recorder) choosePayload(message any) (payload any, err error) {
	if r.config.Payload == nil {
		return message, nil
	}
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("choose the payload: panic: %s", reasonText(reason))
		}
	}()
	return r.config.Payload(message), nil
}

// frameworkMessage reports whether the application loses nothing with a message.
// That is so for messages of protoactor-go itself, which the system answers or
// forgets: stop and watch requests to actors that are gone, answers to futures that
// gave up. It is also so for a message whose author marked it as not worth a dead
// letter.
func frameworkMessage(message any) bool {
	switch message.(type) {
	case actor.SystemMessage, actor.MailboxMessage, actor.AutoReceiveMessage, actor.InfrastructureMessage,
		actor.IgnoreDeadLetterLogging, *actor.DeadLetterResponse, *actor.Touch, *actor.Touched:
		return true
	}
	return false
}
