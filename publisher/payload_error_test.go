package publisher

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/papyra/papyra"
)

// record is admit for a record whose payload was not replaced.
func (l *lane) record(enc *papyra.Encoder, err error) { l.admit(enc, err, 0) }

type failing struct{ err error }

func (f failing) MarshalJSON() ([]byte, error) { return nil, f.err }

// What happened, when and to whom is kept, with the reason in the payload's place.
func TestPayloadThatCannotBeEncodedIsReplaced(t *testing.T) {
	t.Parallel()
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{})
	at := time.Unix(1700000000, 500000000)
	long := failing{errors.New("x" + strings.Repeat("ä", 1000) + "\xff")}
	event := func(e papyra.Event, fields ...slog.Attr) {
		e.Actor, e.Type, e.Time = someActor, "OrderPlaced", at
		p.Event(e, fields...)
	}
	letter := func(d papyra.DeadLetter, fields ...slog.Attr) {
		d.Target, d.MessageType, d.Time = papyra.Address{Name: "till"}, "Pay", at
		p.DeadLetter(d, fields...)
	}
	for _, c := range []struct {
		name   string
		kind   papyra.Kind
		record func()
		says   string
	}{
		{"event", papyra.KindEvent, func() { event(papyra.Event{Payload: make(chan int)}) }, "chan int"},
		{"event with fields", papyra.KindEvent, func() { event(papyra.Event{Payload: make(chan int)}, slog.Int("n", 1)) }, "chan int"},
		{"field of an event", papyra.KindEvent, func() { event(papyra.Event{}, slog.Int("n", 1), slog.Any("f", func() {})) }, "func()"},
		{"invalid bytes before", papyra.KindEvent, func() { event(papyra.Event{Payload: []any{"a\xff", panics{}}}) }, "panicked: no"},
		{"long reason", papyra.KindEvent, func() { event(papyra.Event{Payload: long}) }, "MarshalJSON: xäää"},
		{"dead letter", papyra.KindDeadLetter, func() { letter(papyra.DeadLetter{Payload: failing{errors.New("out of ink")}}) }, "out of ink"},
		{"field of a dead letter", papyra.KindDeadLetter, func() { letter(papyra.DeadLetter{}, slog.Any("f", failing{errors.New("out of ink")})) }, "out of ink"},
		{"crash", papyra.KindEvent, func() { p.Crashed(someActor, panickingError{}, slog.Int("n", 1)) }, "panickingError panicked"},
		{"field of a crash", papyra.KindEvent, func() { p.Crashed(someActor, errors.New("e"), slog.Any("f", panics{})) }, "panics panicked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stats := func() CategoryStats {
				if c.kind == papyra.KindEvent {
					return p.Stats().Events
				}
				return p.Stats().DeadLetters
			}
			before, had := stats(), len(r.lines(c.kind))
			c.record()
			await(t, "the record arrives", func() bool { return len(r.lines(c.kind)) > had })
			line := r.lines(c.kind)[had]
			rec, err := papyra.Parse([]byte(line))
			if err != nil || !rec.Sealed || len(line) > 1000 {
				t.Fatalf("got %v, sealed %v, %d bytes: %s", err, rec.Sealed, len(line), line)
			}
			var payload map[string]string
			if err := json.Unmarshal(rec.Payload, &payload); err != nil || len(payload) != 1 {
				t.Fatalf("got payload %s, want one member: %v", rec.Payload, err)
			}
			if text := payload[papyra.PayloadError]; !strings.Contains(text, c.says) || !utf8.ValidString(text) {
				t.Errorf("got %q, want a text with %q", text, c.says)
			}
			crashed := string(rec.Type) == papyra.ActorCrashed
			if !crashed && (string(rec.Type) != "OrderPlaced" && string(rec.Type) != "Pay" || rec.Time != at.UnixMicro()) {
				t.Errorf("got %s, want its type and time kept", line)
			}
			if got := stats(); got.PayloadReplaced != before.PayloadReplaced+1 || got.Dropped() != 0 || got.Sanitized != 0 {
				t.Errorf("got %+v, want one replaced more and nothing else", got)
			}
		})
	}
	p.Started(someActor)
	await(t, "a good record arrives", func() bool { return p.Stats().Events.Buffered == 0 })
	if got := p.Stats().Events; got.PayloadReplaced != got.Accepted-1 {
		t.Errorf("got %+v, want the last one not replaced", got)
	}
	closeWithin(t, p, 20*time.Second)
	await(t, "the final report arrives", func() bool { n := r.allReports(); return len(n) > 0 && n[len(n)-1].Final })
	reports := r.allReports()
	for category, n := range map[string]uint64{"events": 7, "dead_letters": 2, "audits": 0, "reports": 0} {
		if got := reports[len(reports)-1].Categories[category].PayloadReplaced; got != n {
			t.Errorf("%s: got %d replaced in the final report, want %d", category, got, n)
		}
	}
}

// Only what is in the buffer counts as replaced, and what cannot be kept so either
// is dropped for the reason that it had first.
func TestReplacedIsWhatIsKept(t *testing.T) {
	t.Parallel()
	p := connect(t, "nats://127.0.0.1:1", Config{Buffers: Buffers{Events: 64 << 10, DeadLetters: 64 << 10}})
	const n = 1000
	for i := range n {
		p.Event(papyra.Event{Type: strconv.Itoa(i), Payload: make(chan int)})
	}
	if got := p.Stats().Events; got.PayloadReplaced != got.Buffered || got.DroppedQueueFull == 0 || got.DroppedQueueFull+got.Buffered != n {
		t.Errorf("got %+v, want all that is buffered replaced and the rest dropped", got)
	}
	p.Event(unkeepable)
	p.DeadLetter(papyra.DeadLetter{MessageType: unkeepable.Type, Payload: unkeepable.Payload})
	got := p.Stats()
	if got.Events.DroppedEncode != 1 || got.DeadLetters.DroppedEncode != 1 || got.DeadLetters.PayloadReplaced != 0 {
		t.Errorf("got %+v and %+v, want one dropped as encode in each", got.Events, got.DeadLetters)
	}
	closeNow(p)
	before := p.Stats().Events
	p.Event(papyra.Event{Payload: make(chan int)})
	if after := p.Stats().Events; after.PayloadReplaced != before.PayloadReplaced || after.Refused != 1 {
		t.Errorf("got %+v, want the call after Close refused only", after)
	}
}
