package sink_test

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/broker"
)

// A sink with a server of its own stores what any NATS client sends.
func Example() {
	srv, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		panic(err)
	}
	defer srv.Close()
	store, err := backend.Open("memory:")
	if err != nil {
		panic(err)
	}
	defer store.Close()
	worker, err := sink.New(sink.Config{URL: srv.URL(), Group: "archive"}, store)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- worker.Run(ctx) }()
	<-worker.Receiving()

	nc, err := nats.Connect(srv.URL())
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	record := `{"kind":"dead_letter","system_id":"orders","target":null,"message_type":"Pay","payload":{"amount":3},"timestamp":1700000000.5}`
	_ = nc.Publish(papyra.RecordsSubject("orders", papyra.KindDeadLetter), []byte(record))
	_ = nc.Flush()

	stop() // what the server has taken is stored first
	fmt.Println("stopped:", <-ended)
	_, err = store.Read(context.Background(), papyra.Query{Kinds: []papyra.Kind{papyra.KindDeadLetter}}, func(r *papyra.Record, _ papyra.Place) error {
		fmt.Printf("%s: %s %s\n", r.System, r.Type, r.Payload)
		return nil
	})
	fmt.Println(worker.Stats().Stored, "stored,", worker.Stats().RejectedTotal(), "rejected,", err)
	// Output:
	// stopped: <nil>
	// orders: Pay {"amount":3}
	// 1 stored, 0 rejected, <nil>
}
