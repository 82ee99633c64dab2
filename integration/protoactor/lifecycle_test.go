package protoactor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

func TestStartAndStop(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	pid := spawn(t, system, "a", actor.PropsFromFunc(worker, rec.Props()))
	ask(t, system, pid, &ping{})
	stop(t, system, pid)
	j.sequence(t, "Started a", "Stopped a")
	if got, want := j.field(0, "actor"), "actor.ReceiveFunc"; got != want {
		t.Errorf("actor type: got %q, want %q", got, want)
	}
}

func TestPoisonStopsOnce(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	pid := spawn(t, system, "a", actor.PropsFromFunc(worker, rec.Props()))
	if err := system.Root.PoisonFuture(pid).Wait(); err != nil {
		t.Fatal(err)
	}
	j.sequence(t, "Started a", "Stopped a")
}

func TestCrashEndsAsTheSupervisorDecides(t *testing.T) {
	for _, c := range []struct {
		name      string
		directive actor.Directive
		want      []string
		survives  bool
	}{
		{"restart", actor.RestartDirective, []string{"Started a", "Crashed a", "Restarted a"}, true},
		{"resume", actor.ResumeDirective, []string{"Started a", "Crashed a"}, true},
		{"stop", actor.StopDirective, []string{"Started a", "Crashed a", "Stopped a"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			system, rec, j := recorded(t, Config{})
			pid := spawn(t, system, "a", actor.PropsFromFunc(worker, rec.Props(), guard(c.directive)))
			system.Root.Send(pid, &crash{With: errors.New("out of paper")})
			j.sequence(t, c.want...)
			if got, want := j.field(1, "error"), "out of paper"; got != want {
				t.Errorf("error: got %q, want %q", got, want)
			}
			if got, want := j.field(1, "message"), "*protoactor.crash"; got != want {
				t.Errorf("message: got %q, want %q", got, want)
			}
			if c.survives {
				ask(t, system, pid, &ping{})
				stop(t, system, pid)
				j.sequence(t, append(c.want, "Stopped a")...)
			}
		})
	}
}

func TestEveryCrashIsRecordedOnce(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	pid := spawn(t, system, "a", actor.PropsFromFunc(worker, rec.Props(), guard(actor.RestartDirective)))
	want := []string{"Started a"}
	for range 20 {
		system.Root.Send(pid, &crash{With: "again"})
		want = append(want, "Crashed a", "Restarted a")
	}
	ask(t, system, pid, &ping{})
	stop(t, system, pid)
	j.sequence(t, append(want, "Stopped a")...)
}

func TestSameMessageCrashesAgainAfterResume(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	pid := spawn(t, system, "a", actor.PropsFromFunc(worker, rec.Props(), guard(actor.ResumeDirective)))
	same := &actor.MessageEnvelope{Message: &crash{With: "twice"}}
	system.Root.Send(pid, same)
	system.Root.Send(pid, same)
	ask(t, system, pid, &ping{})
	j.sequence(t, "Started a", "Crashed a", "Crashed a")
}

func TestSupervisorGetsTheActorsOwnPanic(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	cause := errors.New("mine")
	reasons := make(chan any, 1)
	decide := func(reason any) actor.Directive {
		reasons <- reason
		return actor.StopDirective
	}
	pid := spawn(t, system, "a", actor.PropsFromFunc(worker, rec.Props(),
		actor.WithGuardian(actor.NewOneForOneStrategy(1, time.Minute, decide))))
	system.Root.Send(pid, &crash{With: cause})
	j.sequence(t, "Started a", "Crashed a", "Stopped a")
	if got := <-reasons; got != cause { //nolint:errorlint // the very value is the point
		t.Errorf("reason at the supervisor: got %v, want the very value of the panic, %v", got, cause)
	}
}

// phaseActor crashes once in its handler of one lifecycle message.
func phaseActor(at any) actor.Producer {
	crashed := false // the supervisor runs on the actor's goroutine or after it
	return func() actor.Actor {
		return actor.ReceiveFunc(func(c actor.Context) {
			if !crashed && typeName(c.Message()) == typeName(at) {
				crashed = true
				panic("in " + typeName(at))
			}
			worker(c)
		})
	}
}

func TestCrashInLifecycleHandlers(t *testing.T) {
	for _, c := range []struct {
		name string
		at   any
		then any // what brings the actor there after its start
		want []string
	}{
		{"started", &actor.Started{}, nil,
			[]string{"Started a", "Crashed a", "Restarted a"}},
		{"restarting", &actor.Restarting{}, &crash{With: "x"},
			[]string{"Started a", "Crashed a", "Crashed a", "Restarted a"}},
		{"stopping", &actor.Stopping{}, &actor.PoisonPill{},
			[]string{"Started a", "Crashed a", "Restarted a"}}, // the framework revives it
		{"stopped", &actor.Stopped{}, &actor.PoisonPill{},
			[]string{"Started a", "Stopped a", "Crashed a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			system, rec, j := recorded(t, Config{})
			pid := spawn(t, system, "a", actor.PropsFromProducer(phaseActor(c.at), rec.Props(), guard(actor.RestartDirective)))
			if c.then != nil {
				system.Root.Send(pid, c.then)
			}
			j.sequence(t, c.want...)
		})
	}
}

func TestCrashOfTheNewIncarnationsProducer(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	made := 0
	produce := func() actor.Actor {
		made++
		if made == 2 {
			panic("no memory for another")
		}
		return actor.ReceiveFunc(worker)
	}
	pid := spawn(t, system, "a", actor.PropsFromProducer(produce, rec.Props(), guard(actor.RestartDirective)))
	system.Root.Send(pid, &crash{With: "first"})
	j.sequence(t, "Started a", "Crashed a", "Crashed a", "Restarted a")
	if got, want := j.field(2, "error"), "no memory for another"; got != want {
		t.Errorf("error of the producer: got %q, want %q", got, want)
	}
	if got, want := j.field(2, "directive"), "restart"; got != want {
		t.Errorf("directive: got %q, want %q", got, want)
	}
}

func TestCrashInContinuation(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	answerer := spawn(t, system, "answerer", actor.PropsFromFunc(worker))
	pid := spawn(t, system, "a", actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(string); ok {
			c.ReenterAfter(c.RequestFuture(answerer, &ping{}, patience), func(any, error) { panic("in the continuation") })
		}
	}, rec.Props(), guard(actor.StopDirective)))
	system.Root.Send(pid, "go")
	j.sequence(t, "Started a", "Crashed a", "Stopped a")
	if got, want := j.field(1, "error"), "in the continuation"; got != want {
		t.Errorf("error: got %q, want %q", got, want)
	}
}

func TestActorWithoutTheOption(t *testing.T) {
	system, _, j := recorded(t, Config{})
	pid := spawn(t, system, "plain", actor.PropsFromFunc(worker, guard(actor.RestartDirective)))
	system.Root.Send(pid, &crash{With: "seen from outside"})
	ask(t, system, pid, &ping{})
	stop(t, system, pid)
	j.sequence(t, "Crashed plain")
	if got, want := j.field(0, "directive"), "restart"; got != want {
		t.Errorf("directive: got %q, want %q", got, want)
	}
}

func TestOptionAppliedTwice(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	base := actor.PropsFromFunc(worker, rec.Props(), guard(actor.RestartDirective))
	pid := spawn(t, system, "a", base.Clone(rec.Props()))
	system.Root.Send(pid, &crash{With: "once"})
	ask(t, system, pid, &ping{})
	stop(t, system, pid)
	j.sequence(t, "Started a", "Crashed a", "Restarted a", "Stopped a")
}

func TestBackoffStrategyDelaysTheRestartOnly(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	pid := spawn(t, system, "a", actor.PropsFromFunc(worker, rec.Props(),
		actor.WithGuardian(actor.NewExponentialBackoffStrategy(time.Minute, time.Millisecond))))
	system.Root.Send(pid, &crash{With: "wait"})
	ask(t, system, pid, &ping{})
	stop(t, system, pid)
	j.sequence(t, "Started a", "Crashed a", "Restarted a", "Stopped a")
}

// parentProps makes an actor that starts a child named "c" at each start, and
// forwards to it what is not a lifecycle message.
func parentProps(rec *Recorder, options ...actor.PropsOption) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor {
		var child *actor.PID
		return actor.ReceiveFunc(func(c actor.Context) {
			switch c.Message().(type) {
			case *actor.Started:
				pid, err := c.SpawnNamed(actor.PropsFromFunc(worker, rec.Props()), "c")
				if err != nil {
					panic(err)
				}
				child = pid
			case *crash, *ping:
				c.Forward(child)
			}
		})
	}, append(options, rec.Props())...)
}

func TestChildrenStopBeforeTheirParent(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	pid := spawn(t, system, "p", parentProps(rec))
	ask(t, system, pid, &ping{})
	stop(t, system, pid)
	j.sequence(t, "Started p", "Started p/c", "Stopped p/c", "Stopped p")
}

func TestChildCrash(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	pid := spawn(t, system, "p", parentProps(rec))
	system.Root.Send(pid, &crash{With: "child"})
	ask(t, system, pid, &ping{})
	j.sequence(t, "Started p", "Started p/c", "Crashed p/c", "Restarted p/c")
}

// escalate hands every failure of a child to the parent's own supervisor.
func escalate() actor.PropsOption {
	return actor.WithSupervisor(actor.NewOneForOneStrategy(1, time.Minute, func(any) actor.Directive { return actor.EscalateDirective }))
}

func TestEscalationCrashesTheParentToo(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	pid := spawn(t, system, "p", parentProps(rec, escalate()))
	ask(t, system, pid, &ping{})
	system.Root.Send(pid, &crash{With: "too much for me"})
	j.sequence(t, "Started p", "Started p/c", "Crashed p/c", "Crashed p", "Stopped p/c", "Restarted p", "Started p/c")
	for n, directive := range map[int]string{2: "", 3: "restart"} {
		if got, want := j.field(n, "error"), "too much for me"; got != want {
			t.Errorf("event %d: error: got %q, want %q", n, got, want)
		}
		if got := j.field(n, "directive"); got != directive {
			t.Errorf("event %d: directive: got %q, want %q", n, got, directive)
		}
	}
}

func TestAllForOneRestartsTheOthersWithoutACrash(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	var children []*actor.PID
	pid := spawn(t, system, "p", actor.PropsFromFunc(func(c actor.Context) {
		switch c.Message().(type) {
		case *actor.Started:
			for i := range 3 {
				child, err := c.SpawnNamed(actor.PropsFromFunc(worker, rec.Props()), strconv.Itoa(i))
				if err != nil {
					panic(err)
				}
				children = append(children, child)
			}
		case *ping:
			c.Respond(children)
		}
	}, rec.Props(), actor.WithSupervisor(actor.NewAllForOneStrategy(5, time.Minute, actor.DefaultDecider))))
	all := ask(t, system, pid, &ping{}).([]*actor.PID)
	system.Root.Send(all[1], &crash{With: "one for all"})
	j.await(t, "4 starts, a crash and 3 restarts", func() bool { return len(j.events) >= 8 })
	j.mu.Lock()
	got := shorts(j.events)
	j.mu.Unlock()
	slices.Sort(got)
	want := []string{"Crashed p/1", "Restarted p/0", "Restarted p/1", "Restarted p/2",
		"Started p", "Started p/0", "Started p/1", "Started p/2"}
	if !slices.Equal(got, want) {
		t.Fatalf("events, sorted\ngot:  %q\nwant: %q", got, want)
	}
}

func TestNameIsUsedAgain(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	props := actor.PropsFromFunc(worker, rec.Props())
	var want []string
	for range 3 {
		stop(t, system, spawn(t, system, "a", props))
		want = append(want, "Started a", "Stopped a")
	}
	j.sequence(t, want...)
}

// hostileError panics when it is asked what it is.
type hostileError struct{}

func (hostileError) Error() string { panic("I will not say") }

func TestReasons(t *testing.T) {
	var nilMap map[string]int
	for _, c := range []struct {
		name   string
		with   func()
		want   string
		prefix bool
	}{
		{"text", func() { panic("plain") }, "plain", false},
		{"error", func() { panic(fmt.Errorf("wrap: %w", errors.New("cause"))) }, "wrap: cause", false},
		{"number", func() { panic(42) }, "42", false},
		{"nil", func() { panic(nil) }, "panic called with nil argument", true},
		{"runtime error", func() { nilMap["x"] = 1 }, "assignment to entry in nil map", false},
		{"error that panics", func() { panic(hostileError{}) }, "%!v(PANIC=Error method: I will not say)", false},
		{"invalid UTF-8", func() { panic("a\xffb") }, "a\xffb", false}, // the publisher's encoder cleans it
		{"a megabyte", func() { panic(strings.Repeat("ä", 1<<19)) }, "ä", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			system, rec, j := recorded(t, Config{})
			pid := spawn(t, system, "a", actor.PropsFromFunc(func(ctx actor.Context) {
				if _, ok := ctx.Message().(string); ok {
					c.with()
				}
			}, rec.Props(), guard(actor.StopDirective)))
			system.Root.Send(pid, "now")
			j.sequence(t, "Started a", "Crashed a", "Stopped a")
			got := j.field(1, "error")
			if c.prefix && !strings.HasPrefix(got, c.want) || !c.prefix && got != c.want {
				t.Errorf("error: got %.80q, want %q", got, c.want)
			}
			if len(got) > maxReason+len("…") {
				t.Errorf("error has %d bytes, at most %d are allowed", len(got), maxReason+len("…"))
			}
		})
	}
}
