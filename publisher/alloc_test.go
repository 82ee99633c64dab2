package publisher

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// allocVariable names the brokers to a process that is to count what record calls
// allocate.
const allocVariable = "PAPYRA_TEST_ALLOCS"

// Typed records cost no allocation, whether the broker takes them or not. They are
// counted in a process of its own, since a count is of everything that runs in it.
func TestTypedRecordsAllocateNothing(t *testing.T) {
	if urls := os.Getenv(allocVariable); urls != "" {
		for url := range strings.FieldsSeq(urls) {
			for _, c := range typedCalls {
				if n, err := allocations(url, c.record); err != nil || n > 0 {
					t.Errorf("%s to %s: %d allocations a record, want none; %v", c.name, url, n, err)
				}
			}
		}
		return
	}
	t.Parallel()
	s := embeddedFor(t)
	discard(t, s.ClientURL())
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), allocVariable+"="+s.ClientURL()+" nats://127.0.0.1:1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

var actor42 = papyra.Address{ID: 42}

var typedCalls = []struct {
	name   string
	record func(*Publisher)
}{
	{"event", func(p *Publisher) {
		p.Event(papyra.Event{Actor: actor42, Type: "OrderPlaced"}, slog.String("customer", "c-1042"),
			slog.Int("items", 3), slog.Float64("total", 99.5), slog.Bool("paid", true), slog.Duration("took", time.Second))
	}},
	{"event of a named actor", func(p *Publisher) {
		p.Event(papyra.Event{Actor: papyra.Address{Name: "till"}, Type: "T", Time: time.Unix(1, 0)}, slog.Uint64("n", 1))
	}},
	{"dead letter", func(p *Publisher) {
		p.DeadLetter(papyra.DeadLetter{Target: actor42, MessageType: "Pay"}, slog.Int("amount", 3))
	}},
	{"audit", func(p *Publisher) { p.Audit(papyra.Audit{TotalActors: 3}) }},
	{"lifecycle", func(p *Publisher) { p.Started(actor42, slog.Int("n", 1)) }},
	{"event with a sender", func(p *Publisher) {
		p.Event(papyra.Event{Actor: actor42, Type: "T", Sender: papyra.Address{System: "shop", Name: "till"}}, slog.Int("n", 1))
	}},
	{"dead letter with a sender", func(p *Publisher) {
		p.DeadLetter(papyra.DeadLetter{Target: actor42, MessageType: "Pay", Sender: papyra.Address{ID: 7}}, slog.Int("amount", 3))
	}},
	{"lifecycle at a time", func(p *Publisher) { p.StoppedAt(time.Unix(1, 0), actor42, slog.Int("n", 1)) }},
	{"crash at a time", func(p *Publisher) { p.CrashedAt(time.Unix(1, 0), actor42, staticError{}, slog.Int("n", 1)) }},
	{"crash", func(p *Publisher) { p.Crashed(actor42, staticError{}, slog.Int("n", 1)) }},
}

// allocations returns how many whole allocations a call makes in a publisher of its
// own: the least of several measurements, since the background's own are in the
// others.
func allocations(url string, record func(*Publisher)) (int, error) {
	p, err := Connect(url, Config{
		System:  "orders",
		Buffers: Buffers{Events: 1 << 20, DeadLetters: 1 << 20, Audits: 1 << 20},
	})
	if err != nil {
		return 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel() // nobody waits for these records
		_ = p.Close(ctx)
	}()
	// Under the race detector a pool forgets a quarter of what it is given back. One
	// goroutine records here, so it can have the same scratch again.
	one := new(scratch)
	p.scratch.New = func() any { return one }
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
