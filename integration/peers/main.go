// Command peers measures what one record costs the caller, and compares it with
// logging libraries that write the same record as JSON to nowhere. All contenders
// take turns in each round, so that a machine that changes its speed changes it for
// all. The median of the rounds counts.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/rs/zerolog/diode"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/sink/broker"
)

func main() {
	rounds := flag.Int("rounds", 201, "rounds; the median counts")
	count := flag.Int("n", 2000, "records a round: few, so that a disturbance spoils one round and not all")
	flag.Parse()
	if err := run(os.Stdout, *rounds, *count); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// contender is one way to write a record. run writes n records of the same content
// and returns how long the caller was held up.
type contender struct {
	name   string
	note   string
	run    func(n int) time.Duration
	times  []float64 // nanoseconds a record, one for each round
	allocs []float64 // allocations a record
}

func run(out io.Writer, rounds, count int) error {
	p, stop, err := drainedPublisher()
	if err != nil {
		return err
	}
	defer stop()
	typed := typedContenders(p)
	if err := measureRounds(typed, rounds, count); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nOne typed event: actor, type, two fields, the time from the clock.")
	printTable(out, typed)
	for _, free := range anyContenders() {
		if err := measureRounds(free.list, rounds, count); err != nil {
			return err
		}
		fmt.Fprintf(out, "\nA %s as a value of type any, encoding alone.\n", free.what)
		printTable(out, free.list)
	}
	return nil
}

// measureRounds lets each contender run once in each round, and notes what it took.
func measureRounds(list []*contender, rounds, count int) error {
	for _, c := range list {
		c.run(max(count, 10_000)) // warm up: buffers grow, lanes get their memory
	}
	for range rounds {
		for _, c := range list {
			var before, after runtime.MemStats
			runtime.GC() // nobody pays for another's garbage
			c.run(count / 10)
			runtime.ReadMemStats(&before)
			took := c.run(count)
			runtime.ReadMemStats(&after)
			c.times = append(c.times, float64(took.Nanoseconds())/float64(count))
			c.allocs = append(c.allocs, float64(after.Mallocs-before.Mallocs)/float64(count))
		}
	}
	return nil
}

// timeCalls returns a contender's run, made of a function that writes one record.
func timeCalls(one func()) func(int) time.Duration {
	return func(n int) time.Duration {
		start := time.Now()
		for range n {
			one()
		}
		return time.Since(start)
	}
}

// burst is how many records the publisher's caller makes in a row. Between two
// bursts it waits until the buffer is empty: what is measured is the caller's time,
// not the speed of the broker on the same cores.
const burst = 2000

// timeBursts is timeCalls in bursts.
func timeBursts(p *publisher.Publisher, one func()) func(int) time.Duration {
	run := timeCalls(one)
	return func(n int) (total time.Duration) {
		for ; n > 0; n -= burst {
			total += run(min(n, burst))
			for p.Stats().Events.Buffered > 0 {
				time.Sleep(time.Millisecond)
			}
		}
		return total
	}
}

// printTable prints medians, and the ratio to the first contender.
func printTable(out io.Writer, list []*contender) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tns/record\tratio\tallocs\t")
	first := median(list[0].times)
	for _, c := range list {
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.1f\t  %s\n", c.name, median(c.times), median(c.times)/first, median(c.allocs), c.note)
	}
	_ = w.Flush()
}

func median[T cmp.Ordered](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// drainedPublisher returns a publisher whose records go to a broker in this
// process and to a subscriber that throws them away.
func drainedPublisher() (*publisher.Publisher, func(), error) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		return nil, nil, err
	}
	nc, err := nats.Connect(b.URL())
	if err != nil {
		b.Close()
		return nil, nil, err
	}
	if _, err := nc.Subscribe(papyra.SubjectAllRecords, func(*nats.Msg) {}); err != nil {
		b.Close()
		return nil, nil, err
	}
	p, err := publisher.Connect(b.URL(), publisher.Config{System: "orders"})
	if err != nil {
		b.Close()
		return nil, nil, err
	}
	return p, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = p.Close(ctx)
		nc.Close()
		b.Close()
	}, nil
}

// jsonEvent is the record as a struct, for encoding/json.
type jsonEvent struct {
	Kind    string         `json:"kind"`
	System  string         `json:"system_id"`
	Actor   string         `json:"actor_address"`
	Type    string         `json:"event_type"`
	Payload map[string]any `json:"payload"`
	Time    float64        `json:"timestamp"`
}

func typedContenders(p *publisher.Publisher) []*contender {
	actor := papyra.Address{Name: "cart-42"}
	address := "orders:cart-42"
	z := zerolog.New(io.Discard)
	ring := diode.NewWriter(io.Discard, 100_000, 10*time.Millisecond, func(int) {})
	zd := zerolog.New(ring)
	zl := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel))
	sl := slog.New(slog.NewJSONHandler(io.Discard, nil)) //nolint:sloglint // its encoding is what is measured
	id := papyra.NewIdentity("eu-1")
	var enc papyra.Encoder
	line := make([]byte, 0, 4096)
	seq := uint64(0)
	zero := func(l *zerolog.Logger) func(int) time.Duration {
		return timeCalls(func() {
			l.Info().Str("kind", "event").Str("system_id", "orders").Str("actor_address", address).Str("event_type", papyra.ActorCrashed).
				Dict("payload", zerolog.Dict().Str("error", "ValueError: bad input").Int("attempt", 3)).Time("timestamp", time.Now()).Send()
		})
	}
	return []*contender{
		{name: "papyra publisher", note: "sealed, checksummed, handed over; on its way to a broker", run: timeBursts(p, func() {
			p.Event(papyra.Event{Actor: actor, Type: papyra.ActorCrashed}, slog.String("error", "ValueError: bad input"), slog.Int("attempt", 3))
		})},
		{name: "papyra encoder", note: "sealed and checksummed, to nowhere", run: timeCalls(func() {
			seq++
			_ = enc.Event(id, "orders", &papyra.Event{Actor: actor, Type: papyra.ActorCrashed}, []slog.Attr{slog.String("error", "ValueError: bad input"), slog.Int("attempt", 3)}, time.Now())
			line = enc.AppendLine(line[:0], seq)
		})},
		{name: "zerolog", note: "to nowhere", run: zero(&z)},
		{name: "zerolog + diode", note: "non-blocking ring, to nowhere", run: zero(&zd)},
		{name: "zap", note: "to nowhere", run: timeCalls(func() {
			zl.Info("", zap.String("kind", "event"), zap.String("system_id", "orders"), zap.String("actor_address", address), zap.String("event_type", papyra.ActorCrashed),
				zap.Dict("payload", zap.String("error", "ValueError: bad input"), zap.Int("attempt", 3)))
		})},
		{name: "log/slog", note: "to nowhere", run: timeCalls(func() {
			sl.LogAttrs(context.Background(), slog.LevelInfo, "", slog.String("kind", "event"), slog.String("system_id", "orders"), slog.String("actor_address", address), slog.String("event_type", papyra.ActorCrashed),
				slog.Group("payload", slog.String("error", "ValueError: bad input"), slog.Int("attempt", 3)))
		})},
		{name: "encoding/json", note: "a struct with a map, to nowhere", run: timeCalls(func() {
			_, _ = json.Marshal(jsonEvent{"event", "orders", address, papyra.ActorCrashed, map[string]any{"error": "ValueError: bad input", "attempt": 3}, float64(time.Now().UnixMicro()) / 1e6})
		})},
	}
}

type sampleCustomer struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

type samplePayment struct {
	Amount   int            `json:"amount"`
	Currency string         `json:"currency"`
	Customer sampleCustomer `json:"customer"`
	Tags     []string       `json:"tags"`
	Paid     bool           `json:"paid"`
	Fee      float64        `json:"fee"`
}

// comparison is the contenders that encode one value.
type comparison struct {
	what string
	list []*contender
}

func anyContenders() []comparison {
	s := samplePayment{3, "EUR", sampleCustomer{12345, "Ada"}, []string{"a", "b"}, true, 0.25}
	values := []struct {
		what  string
		value any
	}{
		{"map", map[string]any{"amount": 3, "currency": "EUR", "customer": map[string]any{"id": 12345, "name": "Ada"}, "tags": []any{"a", "b"}, "paid": true, "fee": 0.25}},
		{"struct", s},
		{"pointer to a struct", &s},
	}
	id := papyra.NewIdentity("eu-1")
	now := time.Now()
	ours := func(v any) func(int) time.Duration {
		var enc papyra.Encoder
		return timeCalls(func() {
			_ = enc.DeadLetter(id, "orders", &papyra.DeadLetter{MessageType: "T", Payload: v}, nil, now)
		})
	}
	var all []comparison
	for _, v := range values {
		all = append(all, comparison{v.what, []*contender{
			{name: "encoding/json", run: timeCalls(func() { _, _ = json.Marshal(v.value) })},
			{name: "papyra", note: "with the whole dead letter around it", run: ours(v.value)},
			{name: "papyra, null", note: "the dead letter around nothing", run: ours(nil)},
		}})
	}
	return all
}
