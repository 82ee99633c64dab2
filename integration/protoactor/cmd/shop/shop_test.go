package main

import (
	"context"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/integration/protoactor"
)

// tally counts what is recorded.
type tally struct {
	mu      sync.Mutex
	events  map[string]int // by type and the first part of the name
	letters map[string]int // by message type
}

func (c *tally) Event(e papyra.Event, _ ...slog.Attr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := strings.TrimRight(e.Actor.Name, "0123456789")
	c.events[e.Type+" "+name]++
}

func (c *tally) DeadLetter(d papyra.DeadLetter, _ ...slog.Attr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.letters[d.MessageType]++
}

func TestPlansFollowTheSeed(t *testing.T) {
	if a, b := plans(7, 500), plans(7, 500); !reflect.DeepEqual(a, b) {
		t.Error("one seed made two different plans")
	}
	if a, b := plans(7, 500), plans(8, 500); reflect.DeepEqual(a, b) {
		t.Error("two seeds made the same plans")
	}
	if got := plans(7, 0); len(got) != 0 {
		t.Errorf("no orders: got %d plans", len(got))
	}
}

func TestTheShopDoesWhatWasPlanned(t *testing.T) {
	list := plans(1, 400)
	var fate [impatient + 1]int
	for _, p := range list {
		fate[p.fate]++
	}
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler)
	}))
	rec := protoactor.New(system, protoactor.Config{})
	seen := &tally{events: map[string]int{}, letters: map[string]int{}}
	rec.Record(seen)
	s, err := open(system, rec, 16)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.serve(context.Background(), list, 0); got != len(list) {
		t.Errorf("placed %d orders, want %d", got, len(list))
	}
	s.close()
	rec.Stop()

	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"shipped", int(s.shipped.Load()), fate[ships] + fate[bankFails]},
		{"refused", int(s.refused.Load()), fate[declined]},
		{"left", int(s.left.Load()), fate[impatient]},
		{"gave up", int(s.gaveUp.Load()), 0},
		{"order starts", seen.events["ActorStarted orders/order-"], len(list)},
		{"order stops", seen.events["ActorStopped orders/order-"], len(list)},
		{"till crashes", seen.events["ActorCrashed payments/till-"], fate[bankFails]},
		{"till restarts", seen.events["ActorRestarted payments/till-"], fate[bankFails]},
		{"till starts", seen.events["ActorStarted payments/till-"], tills},
		{"stock crashes", seen.events["ActorCrashed stock"], 1},
		{"stock restarts", seen.events["ActorRestarted stock"], 1},
		{"printer crashes", seen.events["ActorCrashed printer"], 1},
		{"printer stops", seen.events["ActorStopped printer"], 1},
		{"answers to nobody", seen.letters["*main.charged"], fate[impatient]},
		{"actors left", int(rec.Audit().TotalActors), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %d, want %d", c.what, c.got, c.want)
		}
	}
	if seen.letters["*main.label"] == 0 {
		t.Error("no label was lost after the printer stopped")
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler)
	}))
	rec := protoactor.New(system, protoactor.Config{})
	s, err := open(system, rec, 4)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if got := s.serve(ctx, plans(1, 100), 10); got != 0 {
		t.Errorf("placed %d orders after the end, want 0", got)
	}
	s.close()
}
