package publisher

import (
	"log/slog"
	"testing"

	"github.com/papyra/papyra"
)

// The benchmarks measure the caller's side with the real clock, while the
// background sends to a real server with a sink that throws records away. What
// a full buffer drops is shown beside the time, because refusing is cheaper
// than taking.

func benchPublisher(b *testing.B, config Config) *Publisher {
	b.Helper()
	s := embeddedFor(b)
	discard(b, s.ClientURL())
	config.System = "orders"
	p, err := Connect(s.ClientURL(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeNow(p) })
	for p.Stats().Events.Confirmed == 0 {
		p.Started(someActor)
	}
	b.ReportAllocs()
	return p
}

func reportDropped(b *testing.B, p *Publisher) {
	b.StopTimer()
	n := p.Stats().Events
	b.ReportMetric(100*float64(n.Dropped())/float64(n.Accepted), "%dropped")
}

func recordTyped(p *Publisher, i int64) {
	p.Event(papyra.Event{Actor: papyra.Address{ID: i}, Type: "OrderPlaced"},
		slog.String("customer", "c-1042"), slog.Int64("items", 3), slog.Float64("total", 99.5), slog.Bool("paid", true))
}

func BenchmarkEvent(b *testing.B) {
	p := benchPublisher(b, Config{})
	for i := int64(0); b.Loop(); i++ {
		recordTyped(p, i)
	}
	reportDropped(b, p)
}

func BenchmarkEventParallel(b *testing.B) {
	p := benchPublisher(b, Config{})
	b.RunParallel(func(pb *testing.PB) {
		for i := int64(0); pb.Next(); i++ {
			recordTyped(p, i)
		}
	})
	reportDropped(b, p)
}

// BenchmarkEventBrokerGone never sends anything: the buffer fills, and then
// every record is refused.
func BenchmarkEventBrokerGone(b *testing.B) {
	p, err := Connect("nats://127.0.0.1:1", Config{System: "orders"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeNow(p) })
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		recordTyped(p, i)
	}
	reportDropped(b, p)
}

func BenchmarkEventAny(b *testing.B) {
	type item struct {
		SKU   string  `json:"sku"`
		Price float64 `json:"price"`
	}
	type order struct {
		Customer string `json:"customer"`
		Items    []item `json:"items"`
		Paid     bool   `json:"paid"`
	}
	payloads := map[string]any{
		"map":    map[string]any{"customer": "c-1042", "items": 3, "total": 99.5, "paid": true},
		"struct": order{"c-1042", []item{{"a-1", 33.5}, {"b-2", 66}}, true},
	}
	for name, payload := range payloads {
		b.Run(name, func(b *testing.B) {
			p := benchPublisher(b, Config{})
			for i := int64(0); b.Loop(); i++ {
				p.Event(papyra.Event{Actor: papyra.Address{ID: i}, Type: "OrderPlaced", Payload: payload})
			}
			reportDropped(b, p)
		})
	}
}
