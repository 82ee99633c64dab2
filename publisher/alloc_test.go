//go:build !race

package publisher

import (
	"log/slog"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// Typed records cost no allocation, whether the broker takes them or not. The
// race detector allocates on its own and is left out.
func TestTypedRecordsAllocateNothing(t *testing.T) {
	s := embeddedFor(t)
	discard(t, s.ClientURL())
	err := &staticError{}
	cases := []struct {
		name   string
		record func(*Publisher)
	}{
		{"event", func(p *Publisher) {
			p.Event(papyra.Event{Actor: someActor, Type: "OrderPlaced"}, slog.String("customer", "c-1042"),
				slog.Int("items", 3), slog.Float64("total", 99.5), slog.Bool("paid", true), slog.Duration("took", time.Second))
		}},
		{"event of a named actor", func(p *Publisher) {
			p.Event(papyra.Event{Actor: papyra.Address{Name: "till"}, Type: "T", Time: time.Unix(1, 0)}, slog.Uint64("n", 1))
		}},
		{"dead letter", func(p *Publisher) {
			p.DeadLetter(papyra.DeadLetter{Target: someActor, MessageType: "Pay"}, slog.Int("amount", 3))
		}},
		{"audit", func(p *Publisher) { p.Audit(papyra.Audit{TotalActors: 3}) }},
		{"lifecycle", func(p *Publisher) { p.Started(someActor, slog.Int("n", 1)) }},
		{"crash", func(p *Publisher) { p.Crashed(someActor, err, slog.Int("n", 1)) }},
	}
	for _, url := range []string{s.ClientURL(), "nats://127.0.0.1:1"} {
		for _, tc := range cases {
			p := connect(t, url, Config{Buffers: Buffers{Events: 1 << 20, DeadLetters: 1 << 20, Audits: 1 << 20}})
			for range 20_000 { // the buffer has grown to its size, or is full
				tc.record(p)
			}
			if n := callerAllocs(func() { tc.record(p) }); n != 0 {
				t.Errorf("%s to %s: got %d allocations a record, want none", tc.name, url, n)
			}
			closeNow(p)
		}
	}
}

// callerAllocs is the least of several measurements of whole allocations a
// call: the background's own, and a pool that a collection emptied, are in the
// others.
func callerAllocs(f func()) int {
	least := testing.AllocsPerRun(1000, f)
	for range 4 {
		least = min(least, testing.AllocsPerRun(1000, f))
	}
	return int(least)
}

type staticError struct{}

func (*staticError) Error() string { return "static" }
