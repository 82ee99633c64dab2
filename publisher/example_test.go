package publisher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
)

func Example() {
	// A broker and a sink, which in production run elsewhere.
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true})
	if err != nil {
		panic(err)
	}
	broker.Start()
	defer broker.Shutdown()
	sink, err := nats.Connect(broker.ClientURL())
	if err != nil {
		panic(err)
	}
	defer sink.Close()
	messages, err := sink.SubscribeSync(papyra.SystemSubject("orders"))
	if err != nil || sink.Flush() != nil {
		panic("cannot subscribe")
	}

	// The runtime's side.
	p, err := publisher.Connect(broker.ClientURL(), publisher.Config{System: "orders", Node: "eu-1"})
	if err != nil {
		panic(err) // only a wrong configuration; a broker that is down is no error
	}
	actor := papyra.Address{Name: "cart"}
	p.Started(actor)
	p.Event(papyra.Event{Actor: actor, Type: "OrderPlaced"}, slog.Int("items", 3))
	p.Crashed(actor, errors.New("bad input"))

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		fmt.Println(err)
	}
	s := p.Stats().Events
	fmt.Println(s.Accepted, "accepted,", s.Confirmed, "confirmed,", s.Dropped(), "dropped")

	m, err := messages.NextMsg(time.Second)
	if err != nil {
		panic(err)
	}
	line, _, _ := bytes.Cut(m.Data, []byte("\n"))
	rec, err := papyra.Parse(line)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s %s %s %d\n", rec.Kind, rec.Type, rec.Node, rec.Seq)
	// Output:
	// 3 accepted, 3 confirmed, 0 dropped
	// event ActorStarted eu-1 1
}
