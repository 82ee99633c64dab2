package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/papyra/papyra/integration/protoactor"
)

// The shop, one line an actor:
//
//	orders                 one child for each order, gone when the order is done
//	orders/order-17        asks stock, then payments, then prints its label
//	payments/till-0 … 3    talk to the bank; restarted when they crash
//	stock/anvils …         a shelf for each product; its fire is the stock's fire
//	printer                labels; stopped for good when it jams
const tills = 4

// patience is how long an order waits for an answer before it asks again.
const patience = 250 * time.Millisecond

// shop is the running system.
type shop struct {
	system *actor.ActorSystem
	rec    *protoactor.Recorder

	orders, payments, stock, printer *actor.PID

	slots   chan struct{} // one for each order in the works
	shipped atomic.Int64
	refused atomic.Int64 // declined by the bank
	left    atomic.Int64 // customers who did not wait
	gaveUp  atomic.Int64 // orders that nobody answered in time
}

// newSystem makes an actor system that speaks up only about errors: its crashes
// are what Papyra records.
func newSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	}))
}

// open starts the shop's actors. At most inWorks orders are handled at a time.
func open(system *actor.ActorSystem, rec *protoactor.Recorder, inWorks int) (*shop, error) {
	s := &shop{system: system, rec: rec, slots: make(chan struct{}, inWorks)}
	for _, a := range []struct {
		pid      **actor.PID
		name     string
		producer actor.Producer
		options  []actor.PropsOption
	}{
		{&s.printer, "printer", func() actor.Actor { return &printer{} },
			[]actor.PropsOption{actor.WithGuardian(always(actor.StopDirective))}},
		{&s.stock, "stock", func() actor.Actor { return &stock{shop: s} },
			[]actor.PropsOption{actor.WithGuardian(always(actor.RestartDirective)), actor.WithSupervisor(onFire())}},
		{&s.payments, "payments", func() actor.Actor { return &payments{shop: s} },
			[]actor.PropsOption{actor.WithSupervisor(always(actor.RestartDirective))}},
		{&s.orders, "orders", func() actor.Actor { return &orders{shop: s} }, nil},
	} {
		pid, err := system.Root.SpawnNamed(s.props(a.producer, a.options...), a.name)
		if err != nil {
			return nil, fmt.Errorf("open the shop: spawn %s: %w", a.name, err)
		}
		*a.pid = pid
	}
	return s, nil
}

// props makes recorded props.
func (s *shop) props(producer actor.Producer, options ...actor.PropsOption) *actor.Props {
	return actor.PropsFromProducer(producer, append(options, s.rec.Props())...)
}

// always is a supervisor with one answer.
func always(directive actor.Directive) actor.SupervisorStrategy {
	return actor.NewOneForOneStrategy(1_000_000, time.Minute, func(any) actor.Directive { return directive })
}

// serve places the orders, rate a second (0: as fast as they are handled), until
// all are placed or ctx ends, and waits until the last is done. It returns how
// many were placed.
func (s *shop) serve(ctx context.Context, list []plan, rate int) int {
	var tick <-chan time.Time
	if rate > 0 {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		tick = ticker.C
	}
	placed := 0
	for _, p := range list {
		if tick != nil {
			select {
			case <-tick:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		s.slots <- struct{}{} // given back by orders when the order is done
		s.system.Root.Send(s.orders, &place{p})
		placed++
	}
	for range cap(s.slots) {
		s.slots <- struct{}{}
	}
	return placed
}

// close stops the actors, the ones that ask before the ones that answer. The
// tills finish their charges before.
func (s *shop) close() {
	_ = s.system.Root.RequestFuture(s.payments, &closing{}, time.Minute).Wait() // in vain at worst
	for _, pid := range []*actor.PID{s.orders, s.payments, s.stock, s.printer} {
		_ = s.system.Root.StopFuture(pid).Wait() // one that is gone already is as good
	}
	s.system.Shutdown()
}
