package publisher

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/papyra/papyra"
)

// Each of these is a call of Event. The fields are the payload. A time that is zero
// means now.

// Started records that an actor started now.
func (p *Publisher) Started(a papyra.Address, fields ...slog.Attr) {
	p.Event(papyra.Event{Actor: a, Type: papyra.ActorStarted}, fields...)
}

// StartedAt records that an actor started at a time; zero means now.
func (p *Publisher) StartedAt(at time.Time, a papyra.Address, fields ...slog.Attr) {
	p.Event(papyra.Event{Actor: a, Type: papyra.ActorStarted, Time: at}, fields...)
}

// Stopped records that an actor stopped now.
func (p *Publisher) Stopped(a papyra.Address, fields ...slog.Attr) {
	p.Event(papyra.Event{Actor: a, Type: papyra.ActorStopped}, fields...)
}

// StoppedAt records that an actor stopped at a time; zero means now.
func (p *Publisher) StoppedAt(at time.Time, a papyra.Address, fields ...slog.Attr) {
	p.Event(papyra.Event{Actor: a, Type: papyra.ActorStopped, Time: at}, fields...)
}

// Restarted records that an actor was restarted now, in place of a stop and a
// start.
func (p *Publisher) Restarted(a papyra.Address, fields ...slog.Attr) {
	p.Event(papyra.Event{Actor: a, Type: papyra.ActorRestarted}, fields...)
}

// RestartedAt is Restarted for a time; zero means now.
func (p *Publisher) RestartedAt(at time.Time, a papyra.Address, fields ...slog.Attr) {
	p.Event(papyra.Event{Actor: a, Type: papyra.ActorRestarted, Time: at}, fields...)
}

// Crashed records that an actor crashed now. The payload is the error's text as
// "error", null without one, followed by fields. An error whose Error method
// panics is a payload that cannot be encoded.
func (p *Publisher) Crashed(a papyra.Address, err error, fields ...slog.Attr) {
	p.crash(&papyra.Event{Actor: a, Type: papyra.ActorCrashed}, err, fields)
}

// CrashedAt is Crashed for a time; zero means now.
func (p *Publisher) CrashedAt(at time.Time, a papyra.Address, err error, fields ...slog.Attr) {
	p.crash(&papyra.Event{Actor: a, Type: papyra.ActorCrashed, Time: at}, err, fields)
}

// crash records e with err and fields as its payload.
func (p *Publisher) crash(e *papyra.Event, err error, fields []slog.Attr) {
	s := p.scratch.Get().(*scratch)
	at := p.stamp(s, e.Time)
	text, bad := errorText(err)
	if bad == nil {
		s.fields = append(append(s.fields[:0], slog.Attr{Key: "error", Value: text}), fields...)
		bad = s.enc.Event(p.id, p.system, e, s.fields, at)
		clear(s.fields) // scratch must not keep what the caller gave alive
	}
	if bad != nil {
		bad = p.replaceEventPayload(s, e, at, bad)
	}
	p.record(papyra.KindEvent, s, bad)
}

// errorText returns the text of err, or that its Error method panics. That method
// is the caller's own, so it is called before any lock is taken.
func errorText(err error) (text slog.Value, bad error) {
	if err == nil {
		return slog.AnyValue(nil), nil
	}
	defer func() {
		if recover() != nil {
			bad = fmt.Errorf("%w: the Error method of %T panicked", papyra.ErrEncode, err)
		}
	}()
	return slog.StringValue(err.Error()), nil
}
