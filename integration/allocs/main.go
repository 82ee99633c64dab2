// Allocs counts what a record call of the publisher allocates: for a typed record
// nothing, whatever the broker does. A test of the publisher builds it without the
// race detector, which allocates on its own.
//
//	allocs URL...
//
// It says every call that allocates on standard error, and ends with 1 then.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
)

func main() {
	code := 0
	for _, url := range os.Args[1:] {
		for _, c := range calls {
			n, err := measure(url, c.record)
			if err == nil && n > 0 {
				err = fmt.Errorf("%d allocations a record, want none", n)
			}
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s to %s: %v\n", c.name, url, err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

type call struct {
	name   string
	record func(*publisher.Publisher)
}

var actor = papyra.Address{ID: 42}

var calls = []call{
	{"event", func(p *publisher.Publisher) {
		p.Event(papyra.Event{Actor: actor, Type: "OrderPlaced"}, slog.String("customer", "c-1042"),
			slog.Int("items", 3), slog.Float64("total", 99.5), slog.Bool("paid", true), slog.Duration("took", time.Second))
	}},
	{"event of a named actor", func(p *publisher.Publisher) {
		p.Event(papyra.Event{Actor: papyra.Address{Name: "till"}, Type: "T", Time: time.Unix(1, 0)}, slog.Uint64("n", 1))
	}},
	{"dead letter", func(p *publisher.Publisher) {
		p.DeadLetter(papyra.DeadLetter{Target: actor, MessageType: "Pay"}, slog.Int("amount", 3))
	}},
	{"audit", func(p *publisher.Publisher) { p.Audit(papyra.Audit{TotalActors: 3}) }},
	{"lifecycle", func(p *publisher.Publisher) { p.Started(actor, slog.Int("n", 1)) }},
	{"event with a sender", func(p *publisher.Publisher) {
		p.Event(papyra.Event{Actor: actor, Type: "T", Sender: papyra.Address{System: "shop", Name: "till"}}, slog.Int("n", 1))
	}},
	{"dead letter with a sender", func(p *publisher.Publisher) {
		p.DeadLetter(papyra.DeadLetter{Target: actor, MessageType: "Pay", Sender: papyra.Address{ID: 7}}, slog.Int("amount", 3))
	}},
	{"lifecycle at a time", func(p *publisher.Publisher) { p.StoppedAt(time.Unix(1, 0), actor, slog.Int("n", 1)) }},
	{"crash at a time", func(p *publisher.Publisher) { p.CrashedAt(time.Unix(1, 0), actor, staticError{}, slog.Int("n", 1)) }},
	{"crash", func(p *publisher.Publisher) { p.Crashed(actor, staticError{}, slog.Int("n", 1)) }},
}

// measure returns how many whole allocations a call makes in a publisher of its
// own: the least of several measurements, since the background's own, and a pool
// that a collection emptied, are in the others.
func measure(url string, record func(*publisher.Publisher)) (int, error) {
	p, err := publisher.Connect(url, publisher.Config{
		System:  "orders",
		Buffers: publisher.Buffers{Events: 1 << 20, DeadLetters: 1 << 20, Audits: 1 << 20},
	})
	if err != nil {
		return 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel() // nobody waits for these records
		_ = p.Close(ctx)
	}()
	for range 20_000 { // the buffer has grown to its size, or is full
		record(p)
	}
	if s := p.Stats(); s.Events.Accepted+s.Audits.Accepted+s.DeadLetters.Accepted < 20_000 {
		return 0, fmt.Errorf("not every call is a record: %+v", s)
	}
	least := testing.AllocsPerRun(1000, func() { record(p) })
	for range 4 {
		least = min(least, testing.AllocsPerRun(1000, func() { record(p) }))
	}
	return int(least), nil
}

type staticError struct{}

func (staticError) Error() string { return "static" }
