// Command shelf-sink is a sink whose store is a shelf.
//
//	publishers ──► NATS server ──► sink.Sink ──► shelf
//	               embedded, or --server
//
// With no flags the server is an embedded one on 127.0.0.1:4222 and the shelf
// the directory ./papyra-shelf.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/broker"

	"example.com/shelf"
)

func main() {
	dir := flag.String("dir", "papyra-shelf", "`directory` of the shelf")
	server := flag.String("server", "", "`URL` of a NATS server; without it one is embedded")
	listen := flag.String("listen", "", "`address` of the embedded server (default 127.0.0.1:4222)")
	group := flag.String("group", "default", "queue `group`")
	flag.Parse()
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if err := run(ctx, *dir, *server, *listen, sink.Config{Group: *group}); err != nil {
		fmt.Fprintln(os.Stderr, "shelf-sink:", err)
		os.Exit(1)
	}
}

// run receives until ctx ends. The embedded server lets clients in when the sink
// receives, and sends them away before the sink stops.
func run(ctx context.Context, dir, server, listen string, c sink.Config) (err error) {
	store, err := shelf.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	c.URL, c.RejectFile = server, store.RejectFile()
	c.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))

	var embedded *broker.Broker
	if server == "" {
		if embedded, err = broker.New(broker.Config{Listen: listen, Logger: c.Logger}); err != nil {
			return err
		}
		defer embedded.Close()
		c.NATS = append(c.NATS, nats.InProcessServer(embedded))
	}
	worker, err := sink.New(c, store)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		defer stop()
		if embedded != nil {
			quiet, cancel := context.WithTimeout(running, 5*time.Second)
			defer cancel()
			if err := embedded.Quiesce(quiet); err != nil {
				c.Logger.Warn("not every client went away", "error", err)
			}
		}
	})()
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(running) }()
	select {
	case err := <-ended:
		return err
	case <-worker.Receiving():
	}
	if embedded != nil && ctx.Err() == nil {
		if err := embedded.Open(); err != nil {
			stop()
			return errors.Join(err, <-ended)
		}
		server = embedded.URL()
	}
	c.Logger.Info("receiving", "server", server, "stores", store.URL())
	err = <-ended
	stats := worker.Stats()
	c.Logger.Info("ended", "stored", stats.Stored, "rejected", stats.RejectedTotal(), "dropped", stats.DroppedTotal())
	return err
}
