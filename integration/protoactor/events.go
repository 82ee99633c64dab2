package protoactor

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/papyra/papyra"
)

// observe gets everything that is published on the system's event stream, on
// the goroutine that publishes it: a sender's or a supervisor's.
func (r *Recorder) observe(event any) {
	switch e := event.(type) {
	case *actor.SupervisorEvent:
		r.supervised(e)
	case *actor.DeadLetterEvent:
		r.deadLetter(e)
	}
}

// supervised records a failure that no middleware saw: of an actor without one,
// of a continuation or a producer, and of a parent to which a child's failure
// was escalated. The event comes from the supervisor after it has decided, so
// the decision is recorded with it.
func (r *Recorder) supervised(e *actor.SupervisorEvent) {
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

// deadLetter records a message that reached nobody.
func (r *Recorder) deadLetter(e *actor.DeadLetterEvent) {
	p := r.publisher()
	if p == nil || internal(e.Message) {
		return
	}
	r.deadLetters.Add(1)
	d := papyra.DeadLetter{Target: r.Address(e.PID), MessageType: typeName(e.Message)}
	var err error
	if d.Payload, err = r.payload(e.Message); err == nil {
		err = r.probe(&d)
	}
	if err != nil {
		d.Payload = nil
		p.DeadLetter(d, slog.String("payload_error", reasonText(err)))
		return
	}
	p.DeadLetter(d)
}

// longest is a system id that takes as much room in a record as any can, and
// longestNode such a node.
var (
	longest     = strings.Repeat(`"`, papyra.MaxSystemBytes)
	longestNode = strings.Repeat("n", papyra.MaxNameBytes)
)

// probe encodes a dead letter as the publisher will. Messages of actors often
// hold what no record can show, a channel for the answer or a whole document;
// the publisher would drop the dead letter with them, and then nobody learns
// that the message was lost.
func (r *Recorder) probe(d *papyra.DeadLetter) error {
	encoder, _ := r.encoders.Get().(*papyra.Encoder)
	if encoder == nil {
		encoder = new(papyra.Encoder)
	}
	defer r.encoders.Put(encoder)
	return encoder.DeadLetter(r.identity, longest, d, nil, time.Unix(0, 0))
}

// payload returns what is recorded of a message. A panic of Config.Payload must
// not reach the actor whose message it was.
func (r *Recorder) payload(message any) (payload any, err error) {
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

// internal reports whether a message is protoactor-go's own, which the system
// answers or forgets by itself (stop and watch requests to actors that are gone,
// answers to futures that gave up), or one whose author marked it as not worth a
// dead letter. Nothing of the application is lost with them.
func internal(message any) bool {
	switch message.(type) {
	case actor.SystemMessage, actor.MailboxMessage, actor.AutoReceiveMessage, actor.InfrastructureMessage,
		actor.IgnoreDeadLetterLogging, *actor.DeadLetterResponse, *actor.Touch, *actor.Touched:
		return true
	}
	return false
}
