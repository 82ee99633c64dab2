package protoactor

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/papyra/papyra"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen. It is far beyond
// what the slowest machine needs.
const patience = 30 * time.Second

// journal is a Publisher that keeps what it is given, in order.
type journal struct {
	mu      sync.Mutex
	changed *sync.Cond
	events  []recordedEvent
	letters []recordedLetter
}

type recordedEvent struct {
	papyra.Event
	fields []slog.Attr
}

type recordedLetter struct {
	papyra.DeadLetter
	fields []slog.Attr
}

func newJournal() *journal {
	j := &journal{}
	j.changed = sync.NewCond(&j.mu)
	return j
}

func (j *journal) Event(e papyra.Event, fields ...slog.Attr) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, recordedEvent{e, fields})
	j.changed.Broadcast()
}

func (j *journal) DeadLetter(d papyra.DeadLetter, fields ...slog.Attr) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.letters = append(j.letters, recordedLetter{d, fields})
	j.changed.Broadcast()
}

// await blocks until ok holds for the journal.
func (j *journal) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timeout := time.AfterFunc(patience, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.changed.Broadcast()
	})
	defer timeout.Stop()
	deadline := time.Now().Add(patience)
	j.mu.Lock()
	defer j.mu.Unlock()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s\nevents: %q\ndead letters: %+v", what, shorts(j.events), j.letters)
		}
		j.changed.Wait()
	}
}

// shorts writes events as "Type name".
func shorts(events []recordedEvent) []string {
	out := []string{}
	for _, e := range events {
		out = append(out, strings.TrimPrefix(e.Type, "Actor")+" "+e.Actor.Name)
	}
	return out
}

// sequence waits for as many events as want has, and compares them all.
func (j *journal) sequence(t testing.TB, want ...string) {
	t.Helper()
	j.await(t, fmt.Sprintf("%d events", len(want)), func() bool { return len(j.events) >= len(want) })
	j.mu.Lock()
	defer j.mu.Unlock()
	if got := shorts(j.events); !slices.Equal(got, want) {
		t.Fatalf("events\ngot:  %q\nwant: %q", got, want)
	}
}

// field returns a field of the n-th event.
func (j *journal) field(n int, key string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return fieldOf(j.events[n].fields, key)
}

func fieldOf(fields []slog.Attr, key string) string {
	for _, f := range fields {
		if f.Key == key {
			return f.Value.String()
		}
	}
	return ""
}

// quiet makes a system that logs nothing. The interval of its throttle is short,
// because the throttle's goroutine lives for one interval.
func quiet(t testing.TB, options ...actor.ConfigOption) *actor.ActorSystem {
	t.Helper()
	options = append([]actor.ConfigOption{
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(slog.DiscardHandler)
		}),
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	}, options...)
	system := actor.NewActorSystem(options...)
	t.Cleanup(system.Shutdown)
	return system
}

// recorded makes a system, its Recorder and the journal that it records to.
func recorded(t testing.TB, c Config) (*actor.ActorSystem, *Recorder, *journal) {
	t.Helper()
	system := quiet(t)
	rec, j := New(system, c), newJournal()
	rec.Record(j)
	t.Cleanup(rec.Stop)
	return system, rec, j
}

// spawn starts a named actor at the root.
func spawn(t testing.TB, system *actor.ActorSystem, name string, props *actor.Props) *actor.PID {
	t.Helper()
	pid, err := system.Root.SpawnNamed(props, name)
	if err != nil {
		t.Fatalf("spawn %s: %v", name, err)
	}
	return pid
}

// ask sends a message and waits for the answer. Then the actor has done everything
// that was sent to it before.
func ask(t testing.TB, system *actor.ActorSystem, pid *actor.PID, message any) any {
	t.Helper()
	answer, err := system.Root.RequestFuture(pid, message, patience).Result()
	if err != nil {
		t.Fatalf("ask %s %T: %v", pid.Id, message, err)
	}
	return answer
}

// stop stops an actor and waits until it is gone.
func stop(t testing.TB, system *actor.ActorSystem, pid *actor.PID) {
	t.Helper()
	if err := system.Root.StopFuture(pid).Wait(); err != nil {
		t.Fatalf("stop %s: %v", pid.Id, err)
	}
}

// guard is a supervisor of root actors that always decides the same. Each test
// makes its own: protoactor-go keeps one guardian for each.
func guard(directive actor.Directive) actor.PropsOption {
	return actor.WithGuardian(actor.NewOneForOneStrategy(100, time.Minute, func(any) actor.Directive { return directive }))
}

type (
	crash struct{ With any } // the receiver panics with it
	ping  struct{}           // answered with pong
	pong  struct{}
)

// worker answers pings and crashes when told.
func worker(c actor.Context) {
	switch m := c.Message().(type) {
	case *crash:
		panic(m.With)
	case *ping:
		c.Respond(&pong{})
	}
}
