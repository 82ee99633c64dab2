package publisher

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// Each call of the lifecycle takes a time, and a record may name a sender.
func TestTimesAndSendersArrive(t *testing.T) {
	t.Parallel()
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())
	now := time.Unix(1800000000, 0)
	at := time.Unix(1700000000, 250000000)
	p := connect(t, s.ClientURL(), Config{Now: func() time.Time { return now }})
	shop := papyra.Address{System: "shop", Name: "till"}
	for _, c := range []struct {
		record func()
		typ    string
		at     time.Time
		part   string
	}{
		{func() { p.Started(someActor) }, papyra.ActorStarted, now, `"payload":{}`},
		{func() { p.StartedAt(at, someActor, slog.Int("n", 1)) }, papyra.ActorStarted, at, `"payload":{"n":1}`},
		{func() { p.StartedAt(time.Time{}, someActor) }, papyra.ActorStarted, now, `"payload":{}`},
		{func() { p.Stopped(someActor) }, papyra.ActorStopped, now, `"payload":{}`},
		{func() { p.StoppedAt(at, someActor, slog.Int("n", 2)) }, papyra.ActorStopped, at, `"payload":{"n":2}`},
		{func() { p.Restarted(someActor) }, papyra.ActorRestarted, now, `"payload":{}`},
		{func() { p.RestartedAt(at, someActor, slog.Int("n", 3)) }, papyra.ActorRestarted, at, `"payload":{"n":3}`},
		{func() { p.Crashed(someActor, errors.New("bad")) }, papyra.ActorCrashed, now, `"payload":{"error":"bad"}`},
		{func() { p.CrashedAt(at, someActor, nil, slog.Int("n", 4)) }, papyra.ActorCrashed, at, `"payload":{"error":null,"n":4}`},
		{func() { p.CrashedAt(at, someActor, panickingError{}) }, papyra.ActorCrashed, at, `"payload":{"payload_error":`},
		{func() { p.Event(papyra.Event{Actor: someActor, Type: "T", Time: at, Sender: shop}) }, "T", at, `,"sender":"shop:till","timestamp"`},
		{func() { p.Event(papyra.Event{Actor: someActor, Type: "T", Payload: panics{}, Sender: shop}) }, "T", now, `panicked: no"},"sender":"shop:till","timestamp"`},
		{func() { p.DeadLetter(papyra.DeadLetter{MessageType: "M", Time: at, Sender: papyra.Address{ID: 5}}) }, "M", at, `"payload":null,"sender":{"system":"orders","actor_id":5},"timestamp"`},
		{func() { p.DeadLetter(papyra.DeadLetter{MessageType: "M", Payload: panics{}, Sender: shop}) }, "M", now, `panicked: no"},"sender":"shop:till","timestamp"`},
	} {
		kind := papyra.KindEvent
		if c.typ == "M" {
			kind = papyra.KindDeadLetter
		}
		had := len(r.lines(kind))
		c.record()
		await(t, "the record arrives", func() bool { return len(r.lines(kind)) > had })
		line := r.lines(kind)[had]
		rec, err := papyra.Parse([]byte(line))
		if err != nil || string(rec.Type) != c.typ || rec.Time != c.at.UnixMicro() || !strings.Contains(line, c.part) {
			t.Errorf("got %s (%v), want %s at %v with %s", line, err, c.typ, c.at, c.part)
		}
	}
}
