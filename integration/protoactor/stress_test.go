package protoactor

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/papyra/papyra"
)

// TestThousandsOfActors runs many actors that crash at random, with audits and
// dead letters beside them, and holds each actor's own events against what the
// test did to it.
func TestThousandsOfActors(t *testing.T) {
	actors, crashes := 4000, 8
	if testing.Short() {
		actors = 500
	}
	system, rec, j := recorded(t, Config{})
	props := actor.PropsFromFunc(worker, rec.Props(), guard(actor.RestartDirective))

	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { // audits all the while: the counts never contradict each other
		for {
			select {
			case <-done:
				return
			default:
			}
			a := rec.Audit()
			if a.TotalActors != a.AliveActors+a.StoppingActors+a.RestartingActors ||
				min(a.AliveActors, a.StoppingActors, a.RestartingActors) < 0 || a.TotalActors > int64(actors) {
				t.Errorf("audit contradicts itself: %+v", a)
				return
			}
		}
	})

	want := make([]int, actors) // crashes by actor
	var spawning sync.WaitGroup
	const goroutines = 8
	for g := range goroutines {
		spawning.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(g)))
			for i := g; i < actors; i += goroutines {
				pid, err := system.Root.SpawnNamed(props, strconv.Itoa(i))
				if err != nil {
					t.Errorf("spawn %d: %v", i, err)
					return
				}
				want[i] = random.IntN(crashes)
				for range want[i] {
					system.Root.Send(pid, &crash{With: i})
				}
				if err := system.Root.PoisonFuture(pid).Wait(); err != nil {
					t.Errorf("stop %d: %v", i, err)
				}
				system.Root.Send(pid, i) // too late
			}
		})
	}
	spawning.Wait()
	close(done)
	watching.Wait()

	got := map[string][]string{}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		got[e.Actor.Name] = append(got[e.Actor.Name], e.Type)
	}
	for i, n := range want {
		expected := []string{papyra.ActorStarted}
		for range n {
			expected = append(expected, papyra.ActorCrashed, papyra.ActorRestarted)
		}
		expected = append(expected, papyra.ActorStopped)
		if fmt.Sprint(got[strconv.Itoa(i)]) != fmt.Sprint(expected) {
			t.Fatalf("actor %d with %d crashes\ngot:  %v\nwant: %v", i, n, got[strconv.Itoa(i)], expected)
		}
	}
	if len(j.letters) != actors {
		t.Errorf("got %d dead letters, want %d", len(j.letters), actors)
	}
	a := rec.Audit()
	checkCounts(t, a, 0, 0, 0)
	if a.DeadLetters != int64(actors) {
		t.Errorf("audit counts %d dead letters, want %d", a.DeadLetters, actors)
	}
}

// TestStopWhileRecording stops the recording in the middle of it.
func TestStopWhileRecording(t *testing.T) {
	system, rec, j := recorded(t, Config{})
	props := actor.PropsFromFunc(worker, rec.Props(), guard(actor.RestartDirective))
	var busy sync.WaitGroup
	for g := range 4 {
		busy.Go(func() {
			for i := range 200 {
				pid, err := system.Root.SpawnNamed(props, fmt.Sprintf("%d-%d", g, i))
				if err != nil {
					t.Errorf("spawn: %v", err)
					return
				}
				system.Root.Send(pid, &crash{With: "x"})
				if err := system.Root.PoisonFuture(pid).Wait(); err != nil {
					t.Errorf("stop: %v", err)
				}
			}
		})
	}
	j.await(t, "some events", func() bool { return len(j.events) > 100 })
	rec.Stop()
	busy.Wait()
}
