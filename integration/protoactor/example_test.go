package protoactor_test

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/integration/protoactor"
)

// printer takes the place of a publisher.Publisher.
type printer struct{}

func (printer) Event(e papyra.Event, _ ...slog.Attr) { fmt.Println(e.Type, e.Actor.Name) }

func (printer) DeadLetter(d papyra.DeadLetter, _ ...slog.Attr) {
	fmt.Println("dead letter for", d.Target.Name, "of type", d.MessageType)
}

func Example() {
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		actor.WithDeadLetterThrottleInterval(time.Millisecond))
	defer system.Shutdown()

	rec := protoactor.New(system, protoactor.Config{})
	rec.Record(printer{})
	defer rec.Stop()

	till := actor.PropsFromFunc(func(c actor.Context) {
		if amount, ok := c.Message().(int); ok && amount < 0 {
			panic("the till is short")
		}
	}, rec.Props())
	pid, _ := system.Root.SpawnNamed(till, "till")
	system.Root.Send(pid, -3)
	_ = system.Root.PoisonFuture(pid).Wait()
	system.Root.Send(pid, 4)

	// Output:
	// ActorStarted till
	// ActorCrashed till
	// ActorRestarted till
	// ActorStopped till
	// dead letter for till of type int
}
