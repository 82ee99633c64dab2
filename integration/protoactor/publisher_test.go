package protoactor

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
)

var _ Publisher = (*publisher.Publisher)(nil)

// broker starts a NATS server of the test's own and returns its URL.
func broker(t testing.TB) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server is not ready")
	}
	return s.ClientURL()
}

// TestThroughARealPublisher follows a system's records to the wire, as a sink
// would get them.
func TestThroughARealPublisher(t *testing.T) {
	url := broker(t)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	messages := make(chan *nats.Msg, 1000)
	if _, err := nc.ChanSubscribe(papyra.SubjectAllRecords, messages); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}

	system := quiet(t)
	rec := New(system, Config{})
	pub, err := publisher.Connect(url, publisher.Config{System: "shop", Node: "n1", AuditFunc: rec.Audit})
	if err != nil {
		t.Fatal(err)
	}
	rec.Record(pub)
	pid := spawn(t, system, "till", actor.PropsFromFunc(worker, rec.Props(), guard(actor.RestartDirective)))
	system.Root.Send(pid, &crash{With: "bank: connection reset"})
	ask(t, system, pid, &ping{})

	// Records, until those of a kind are there that the test waits for.
	var got []papyra.Record
	await := func(kind papyra.Kind) papyra.Record {
		t.Helper()
		timeout := time.After(patience)
		for {
			for _, r := range got {
				if r.Kind == kind {
					return r
				}
			}
			select {
			case m := <-messages:
				for line := range bytes.Lines(m.Data) {
					r, err := papyra.Parse(bytes.TrimSuffix(line, []byte("\n")))
					if err != nil {
						t.Fatalf("%v: %s", err, line)
					}
					got = append(got, r)
				}
			case <-timeout:
				t.Fatalf("waited in vain for a record of kind %s, got %d others", kind, len(got))
			}
		}
	}
	await(papyra.KindEvent) // the publisher is connected, and listens to requests since before
	if err := nc.Publish(papyra.AuditSubject("shop"), nil); err != nil {
		t.Fatal(err)
	}
	audit := await(papyra.KindAudit)
	if want := `"total_actors":1,"alive_actors":1,"stopping_actors":0,"restarting_actors":0,"registry_size":`; !bytes.Contains(audit.Line, []byte(want)) {
		t.Errorf("audit on request: got %s, want it to have %s", audit.Line, want)
	}

	stop(t, system, pid)
	system.Root.Send(pid, &payment{Order: 7, Card: "c", Amount: 3})
	rec.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := pub.Close(ctx); err != nil {
		t.Fatalf("close the publisher: %v", err)
	}
	letter := await(papyra.KindDeadLetter)
	await(papyra.KindReport)

	var events []string
	for _, r := range got {
		if !r.Sealed || string(r.System) != "shop" || string(r.Node) != "n1" {
			t.Errorf("record is not sealed by us: %s", r.Line)
		}
		if r.Kind == papyra.KindEvent {
			events = append(events, fmt.Sprintf("%d %s %s %s", r.Seq, r.Type, r.Actor, r.Payload))
		}
	}
	want := []string{
		`1 ActorStarted "shop:till" {"actor":"actor.ReceiveFunc"}`,
		`2 ActorCrashed "shop:till" {"error":"bank: connection reset","message":"*protoactor.crash","actor":"actor.ReceiveFunc"}`,
		`3 ActorRestarted "shop:till" {"actor":"actor.ReceiveFunc"}`,
		`4 ActorStopped "shop:till" {"actor":"actor.ReceiveFunc"}`,
	}
	if strings.Join(events, "\n") != strings.Join(want, "\n") {
		t.Errorf("events\ngot:\n%s\nwant:\n%s", strings.Join(events, "\n"), strings.Join(want, "\n"))
	}
	if got, want := fmt.Sprintf("%s %s %s", letter.Type, letter.Actor, letter.Payload),
		`*protoactor.payment "shop:till" {"order":7,"card":"c","amount":3}`; got != want {
		t.Errorf("dead letter: got %s, want %s", got, want)
	}
	if s := pub.Stats(); s.Events.Accepted != 4 || s.Events.Confirmed != 4 || s.DeadLetters.Confirmed != 1 {
		t.Errorf("stats: got %+v, want 4 events and a dead letter confirmed", s)
	}
}

// TestDeadBrokerIsNotInTheWay runs a system whose publisher has no broker.
func TestDeadBrokerIsNotInTheWay(t *testing.T) {
	system := quiet(t)
	rec := New(system, Config{})
	pub, err := publisher.Connect("nats://127.0.0.1:1", publisher.Config{System: "shop", Buffers: publisher.Buffers{Events: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	rec.Record(pub)
	props := actor.PropsFromFunc(worker, rec.Props(), guard(actor.RestartDirective))
	const actors = 1000
	for i := range actors {
		pid := spawn(t, system, strconv.Itoa(i), props)
		system.Root.Send(pid, &crash{With: i})
		stop(t, system, pid)
	}
	rec.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := pub.Close(ctx); err == nil {
		t.Error("close without a broker says that all is well")
	}
	s := pub.Stats().Events
	if s.Accepted < 2*actors || s.DroppedQueueFull == 0 || s.Accepted != s.Confirmed+s.Unconfirmed+s.Buffered+s.Dropped() {
		t.Errorf("stats do not add up: %+v", s)
	}
}
