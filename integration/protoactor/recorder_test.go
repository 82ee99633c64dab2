package protoactor

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/papyra/papyra"
)

type payment struct {
	Order  int    `json:"order"`
	Card   string `json:"card"`
	Amount int    `json:"amount"`
}

func TestDeadLetters(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	pid := spawn(t, system, "a", actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(string); ok {
			c.Respond(&pong{}) // to nobody
		}
	}, rec.Props()))
	system.Root.Send(pid, "speak")
	j.await(t, "the answer to nobody", func() bool { return len(j.letters) == 1 })
	stop(t, system, pid)

	late := &payment{Order: 7, Amount: 3}
	system.Root.Send(pid, late)
	system.Root.Send(actor.NewPID("10.0.0.7:8090", "till/3"), payment{Order: 8})
	system.Root.Send(actor.NewPID(system.Address(), "never"), "hello")

	// What the framework sends to those who are gone is not the application's
	// loss: a watch and a stop, a poison pill, a restart.
	if err := system.Root.StopFuture(pid).Wait(); err != nil {
		t.Fatal(err)
	}
	system.Root.Poison(pid)
	system.Root.Stop(pid)

	j.mu.Lock()
	defer j.mu.Unlock()
	want := []papyra.DeadLetter{
		{MessageType: "*protoactor.pong", Payload: &pong{}},
		{Target: papyra.Address{Name: "a"}, MessageType: "*protoactor.payment", Payload: late},
		{Target: papyra.Address{Name: "10.0.0.7:8090/till/3"}, MessageType: "protoactor.payment", Payload: payment{Order: 8}},
		{Target: papyra.Address{Name: "never"}, MessageType: "string", Payload: "hello"},
	}
	if len(j.letters) != len(want) {
		t.Fatalf("got %d dead letters, want %d: %+v", len(j.letters), len(want), j.letters)
	}
	for i, got := range j.letters {
		if got.Target != want[i].Target || got.MessageType != want[i].MessageType || fmt.Sprint(got.Payload) != fmt.Sprint(want[i].Payload) {
			t.Errorf("dead letter %d\ngot:  %+v\nwant: %+v", i, got, want[i])
		}
	}
	if got := rec.Audit().DeadLetters; got != int64(len(want)) {
		t.Errorf("audit counts %d dead letters, want %d", got, len(want))
	}
}

func TestRequestToNobodyIsOneDeadLetter(t *testing.T) {
	system, _, j := recorded(t, Config{})
	_, err := system.Root.RequestFuture(actor.NewPID(system.Address(), "nobody"), "anyone?", patience).Result()
	if !errors.Is(err, actor.ErrDeadLetter) {
		t.Fatalf("request to nobody: got %v, want %v", err, actor.ErrDeadLetter)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.letters) != 1 || j.letters[0].MessageType != "string" {
		t.Fatalf("got %+v, want one dead letter of type string", j.letters)
	}
}

// unimportant is marked by its author as not worth a dead letter.
type unimportant struct{}

func (*unimportant) IgnoreDeadLetterLogging() {}

func TestPayloadIsChosen(t *testing.T) {
	system, _, j := recorded(t, Config{Payload: func(message any) any {
		switch m := message.(type) {
		case *payment:
			clean := *m
			clean.Card = "****"
			return clean
		case string:
			return nil
		}
		panic("unknown message")
	}})
	nobody := actor.NewPID(system.Address(), "nobody")
	for _, m := range []any{&payment{Order: 1, Card: "4111"}, "secret", 12, &unimportant{}} {
		system.Root.Send(nobody, m)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.letters) != 3 {
		t.Fatalf("got %d dead letters, want 3: %+v", len(j.letters), j.letters)
	}
	if got, want := j.letters[0].Payload, (payment{Order: 1, Card: "****"}); got != want {
		t.Errorf("payload: got %+v, want %+v", got, want)
	}
	if got := j.letters[1]; got.Payload != nil || got.fields != nil {
		t.Errorf("left out: got %+v, want no payload", got)
	}
	if got, want := fieldOf(j.letters[2].fields, "payload_error"), "choose the payload: panic: unknown message"; got != want {
		t.Errorf("payload error: got %q, want %q", got, want)
	}
}

func TestPayloadThatCannotBeRecorded(t *testing.T) {
	system, _, j := recorded(t, Config{})
	type node struct{ Next *node }
	cycle := &node{}
	cycle.Next = cycle
	nobody := actor.NewPID(system.Address(), "nobody")
	for _, c := range []struct {
		name    string
		message any
		want    error
	}{
		{"channel", struct{ Answer chan int }{}, papyra.ErrEncode},
		{"cycle", cycle, papyra.ErrEncode},
		{"document", strings.Repeat("x", papyra.MaxPublishedLine), papyra.ErrTooLarge},
		{"document that fits but for the record around it", strings.Repeat("x", papyra.MaxPublishedLine-200), papyra.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			system.Root.Send(nobody, c.message)
			j.mu.Lock()
			defer j.mu.Unlock()
			got := j.letters[len(j.letters)-1]
			if got.MessageType != fmt.Sprintf("%T", c.message) || got.Payload != nil {
				t.Errorf("got %s with payload %v, want %T without", got.MessageType, got.Payload, c.message)
			}
			if text := fieldOf(got.fields, "payload_error"); !strings.Contains(text, c.want.Error()) {
				t.Errorf("payload error: got %q, want %q", text, c.want)
			}
		})
	}
}

func TestAddress(t *testing.T) {
	system, rec, _ := recorded(t, Config{})
	for _, c := range []struct {
		name string
		pid  *actor.PID
		want papyra.Address
	}{
		{"none", nil, papyra.Address{}},
		{"local", actor.NewPID(system.Address(), "orders/42"), papyra.Address{Name: "orders/42"}},
		{"made before remoting began", actor.NewPID("nonhost", "a"), papyra.Address{Name: "a"}},
		{"without a host", actor.NewPID("", "a"), papyra.Address{Name: "a"}},
		{"of another host", actor.NewPID("10.1.2.3:80", "a"), papyra.Address{Name: "10.1.2.3:80/a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := rec.Address(c.pid); got != c.want {
				t.Errorf("address of %v: got %+v, want %+v", c.pid, got, c.want)
			}
		})
	}
}

// checkCounts compares an audit's numbers of actors.
func checkCounts(t *testing.T, a papyra.Audit, alive, stopping, restarting int64) {
	t.Helper()
	if a.TotalActors != alive+stopping+restarting || a.AliveActors != alive ||
		a.StoppingActors != stopping || a.RestartingActors != restarting {
		t.Errorf("audit: got total=%d alive=%d stopping=%d restarting=%d, want alive=%d stopping=%d restarting=%d",
			a.TotalActors, a.AliveActors, a.StoppingActors, a.RestartingActors, alive, stopping, restarting)
	}
}

func TestAuditFollowsEveryPhase(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	empty := rec.Audit()
	checkCounts(t, empty, 0, 0, 0)

	// Each parent has one child that holds up its own stop until it is let go,
	// so that the parent stays where it is.
	type parent struct {
		pid     *actor.PID
		held    chan struct{}
		release chan struct{}
	}
	start := func(name string) parent {
		p := parent{held: make(chan struct{}), release: make(chan struct{})}
		child := actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*actor.Stopping); ok {
				close(p.held)
				<-p.release
			}
		}, rec.Props())
		var once sync.Once // the parent's restart does not make another child
		p.pid = spawn(t, system, name, actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*actor.Started); ok {
				once.Do(func() { c.Spawn(child) })
			}
			worker(c)
		}, rec.Props(), guard(actor.RestartDirective)))
		ask(t, system, p.pid, &ping{})
		return p
	}
	a, b := start("a"), start("b")
	spawn(t, system, "plain", actor.PropsFromFunc(worker))
	j.await(t, "four starts", func() bool { return len(j.events) == 4 })
	checkCounts(t, rec.Audit(), 4, 0, 0)
	if got, want := rec.Audit().RegistrySize-empty.RegistrySize, int64(4+1+2); got != want {
		t.Errorf("registry grew by %d, want %d: four recorded actors, a plain one and two guardians", got, want)
	}

	system.Root.Stop(a.pid)
	<-a.held
	checkCounts(t, rec.Audit(), 2, 2, 0) // a and its child are stopping

	system.Root.Send(b.pid, &crash{With: "b"})
	<-b.held
	checkCounts(t, rec.Audit(), 0, 3, 1) // b restarts, its child is stopping

	close(a.release)
	close(b.release)
	j.await(t, "the end of a and the restart of b", func() bool {
		got := strings.Join(shorts(j.events), ",")
		return strings.Contains(got, "Stopped a,") || strings.HasSuffix(got, "Stopped a")
	})
	j.await(t, "the restart of b", func() bool { return strings.Contains(strings.Join(shorts(j.events), ","), "Restarted b") })
	checkCounts(t, rec.Audit(), 1, 0, 0)
	stop(t, system, b.pid)
	j.await(t, "the end of b", func() bool { return strings.Contains(strings.Join(shorts(j.events), ","), "Stopped b") })
	checkCounts(t, rec.Audit(), 0, 0, 0)
	if a := rec.Audit(); a.RegistryOrphans != nil || a.RegistryDead != nil {
		t.Errorf("audit names %v and %v, want none: the registry does not tell", a.RegistryOrphans, a.RegistryDead)
	}
}

func TestBeforeRecordAndAfterStop(t *testing.T) {
	system := quiet(t)
	rec, j := New(system, Config{}), newJournal()
	props := actor.PropsFromFunc(worker, rec.Props(), guard(actor.RestartDirective))
	early := spawn(t, system, "early", props)
	ask(t, system, early, &ping{})
	system.Root.Send(actor.NewPID(system.Address(), "nobody"), "unheard")
	checkCounts(t, rec.Audit(), 1, 0, 0)
	j.sequence(t)

	rec.Record(j)
	rec.Record(newJournal()) // does nothing
	system.Root.Send(early, &crash{With: "late"})
	ask(t, system, early, &ping{})
	j.sequence(t, "Crashed early", "Restarted early")

	rec.Stop()
	rec.Stop()
	rec.Record(j) // does nothing
	system.Root.Send(early, &crash{With: "unseen"})
	ask(t, system, early, &ping{})
	stop(t, system, spawn(t, system, "after", props))
	system.Root.Send(actor.NewPID(system.Address(), "nobody"), "unheard")
	j.sequence(t, "Crashed early", "Restarted early")
	if len(j.letters) != 0 {
		t.Errorf("dead letters outside the recording: %+v", j.letters)
	}
}

func TestStopBeforeRecord(t *testing.T) {
	system := quiet(t)
	rec, j := New(system, Config{}), newJournal()
	rec.Stop()
	rec.Record(j)
	stop(t, system, spawn(t, system, "a", actor.PropsFromFunc(worker, rec.Props())))
	j.sequence(t)
}
