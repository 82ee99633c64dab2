// Package deploy tries the files of deploy/ against real servers.
package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
)

const shippedConfig = "../../deploy/nats/papyra.conf"

// startShipped starts a server with the shipped configuration on a free port.
func startShipped(t *testing.T) string {
	t.Helper()
	return startConfig(t, shippedConfig)
}

// startConfig starts a server with the shipped configuration, or one made of it, on a
// free port.
func startConfig(t *testing.T, path string) string {
	t.Helper()
	t.Setenv("PAPYRA_ORDERS_PASSWORD", "orders-secret")
	t.Setenv("PAPYRA_SINK_PASSWORD", "sink-secret")
	t.Setenv("PAPYRA_VIEWER_PASSWORD", "viewer-secret")
	t.Setenv("PAPYRA_OPERATOR_PASSWORD", "operator-secret")
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if opts.Host != "127.0.0.1" || opts.NoFastProducerStall {
		t.Errorf("host %q, no_fast_producer_stall %v", opts.Host, opts.NoFastProducerStall)
	}
	opts.Port, opts.NoLog, opts.NoSigs = -1, true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server does not accept connections")
	}
	return s.ClientURL()
}

// client connects as user; its errors go to the channel.
func client(t *testing.T, url, user, password string) (*nats.Conn, chan error) {
	t.Helper()
	errs := make(chan error, 16)
	nc, err := nats.Connect(url, nats.UserInfo(user, password), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, errs
}

// TestShippedPermissions tries what each login may do and what it may not.
func TestShippedPermissions(t *testing.T) {
	url := startShipped(t)
	for _, login := range [][]nats.Option{nil, {nats.UserInfo("orders", "wrong")}, {nats.UserInfo("billing", "orders-secret")}} {
		if nc, err := nats.Connect(url, login...); err == nil {
			nc.Close()
			t.Errorf("login %d is accepted", len(login))
		}
	}

	sink, sinkErrs := client(t, url, "sink", "sink-secret")
	sub, err := sink.QueueSubscribeSync(papyra.SubjectAllRecords, papyra.QueueGroup("archive"))
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Flush(); err != nil {
		t.Fatal(err)
	}
	orders, ordersErrs := client(t, url, "orders", "orders-secret")
	subject := papyra.RecordsSubject("orders", papyra.KindEvent)
	if err := orders.Publish(subject, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if m, err := sub.NextMsg(5 * time.Second); err != nil || m.Subject != subject {
		t.Fatalf("the sink got %v, %v", m, err)
	}

	refused := func(what string, nc *nats.Conn, errs chan error, try func() error) {
		t.Helper()
		if err := try(); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-errs:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s is allowed", what)
		}
	}
	refused("publishing for another system", orders, ordersErrs, func() error {
		return orders.Publish(papyra.RecordsSubject("billing", papyra.KindEvent), []byte("x"))
	})
	refused("reading records as a publisher", orders, ordersErrs, func() error {
		_, err := orders.SubscribeSync(papyra.SubjectAllRecords)
		return err
	})
	refused("answering a publisher as a sink", sink, sinkErrs, func() error { return sink.Publish("_INBOX.x", []byte("x")) })
	refused("asking for other services as a sink", sink, sinkErrs, func() error { return sink.Publish("$SRV.INFO", nil) })
	refused("answering as a sink in the place of a publisher", orders, ordersErrs, func() error { return orders.Publish(papyra.SinkInbox+".x", nil) })
	refused("publishing as a sink", sink, sinkErrs, func() error { return sink.Publish(subject, []byte("x")) })
	refused("reading as a sink outside a group", sink, sinkErrs, func() error {
		_, err := sink.SubscribeSync(papyra.SubjectAllRecords)
		return err
	})
	if n, _, _ := sub.Pending(); n != 0 {
		t.Errorf("%d messages got through", n)
	}
}

// TestSinksFindEachOther runs two sinks of a group with the shipped permissions:
// they receive, and each learns of the other's store without being refused
// anything.
func TestSinksFindEachOther(t *testing.T) {
	url := startShipped(t)
	type worker struct {
		*sink.Sink
		store sink.Backend
		ended chan error
	}
	var workers []worker
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for i := range 2 {
		store, err := backend.Open("memory:")
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		s, err := sink.New(sink.Config{
			URL: url, Group: "archive", Instance: fmt.Sprintf("w%d", i), NATS: []nats.Option{nats.UserInfo("sink", "sink-secret")},
			SyncEvery: 10 * time.Millisecond, ReportEvery: 10 * time.Millisecond, PeersEvery: 100 * time.Millisecond,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		}, store)
		if err != nil {
			t.Fatal(err)
		}
		w := worker{s, store, make(chan error, 1)}
		go func() { w.ended <- w.Run(ctx) }()
		workers = append(workers, w)
	}
	for i, w := range workers {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			var peers []papyra.Peer
			_, err := w.store.Read(t.Context(), papyra.Query{Types: []string{papyra.ReportSink}}, func(rec *papyra.Record, _ papyra.Place) error {
				var r papyra.SinkReport
				err := json.Unmarshal(rec.Payload, &r)
				peers = append(peers, r.Peers...)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(peers) > 0 {
				if want := fmt.Sprintf("w%d", 1-i); peers[0].Instance != want {
					t.Errorf("w%d knows %v, want %s", i, peers, want)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("w%d has not found its peer", i)
			}
		}
	}
	stop()
	for _, w := range workers {
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
		if n := w.Stats().ServiceErrors; n > 0 {
			t.Errorf("%d errors of the service", n)
		}
	}
}
