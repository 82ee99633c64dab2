package metrics_test

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/publisher/metrics"
)

// A program with a registry of its own shows the numbers of its publisher there.
func Example() {
	p, err := publisher.Connect("nats://127.0.0.1:4222", publisher.Config{System: "orders"})
	if err != nil {
		panic(err) // only a wrong configuration; a broker that is down is no error
	}
	defer p.Close(context.Background())
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Collector(p))

	families, err := registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		if f.GetName() == "papyra_publisher_records_dropped_total" {
			fmt.Println(f.GetName(), "has", len(f.GetMetric()), "values")
		}
	}
	// Output: papyra_publisher_records_dropped_total has 16 values
}
