package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
)

// recording is what the process of a row of the table of calls is asked to do.
type recording struct {
	URL        string        // "" measures calls that record nothing: the harness itself
	Busy       time.Duration // how long such a call counts
	Goroutines int
	Rate       int // calls a second in all; 0: as fast as they can
	Duration   time.Duration
	CloseAfter time.Duration // 0: after everything else
	Connected  bool          // wait for a connection first
}

// recorded is what it prints.
type recorded struct {
	Calls                      uint64 // that were measured
	P50, P99, P999, P9999, Max time.Duration
	Made                       uint64          // all calls
	Took                       time.Duration   // of the measured ones
	Stopped                    publisher.Stats // when the last call had returned
	Closed                     publisher.Stats // after Close
}

const (
	// warmUp is how long calls go on before they are measured, at most.
	warmUp = 500 * time.Millisecond
	// nap is how long a goroutine sleeps when no call of its schedule is due: a
	// sleep takes far longer than the calls, so that they come in small groups.
	nap = time.Millisecond
	// closeWithin is what Close may take; a broker that is down does not get
	// longer.
	closeWithin = time.Second
)

// record is the process of one row. It warms up, prints a line, waits for one,
// and prints what it has measured.
func record(text string) error {
	var r recording
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return fmt.Errorf("read what to record: %w", err)
	}
	call, p := countingCall(r.Busy), (*publisher.Publisher)(nil)
	if r.URL != "" {
		var err error
		p, err = publisher.Connect(r.URL, publisher.Config{System: benchSystem, Node: benchNode})
		if err != nil {
			return err
		}
		for deadline := time.Now().Add(hang); r.Connected && !p.Stats().Connected; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return errors.New("the publisher does not connect")
			}
		}
		call = func(i int) {
			p.Event(papyra.Event{Actor: papyra.Address{ID: int64(i)}, Type: papyra.ActorCrashed},
				slog.String("error", "dial bank: connection reset by peer"), slog.Int("attempt", i&7))
		}
	}
	warm := r.run(min(warmUp, r.Duration), call)
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("wait for the start: %w", err)
	}
	closed := make(chan struct{})
	if p != nil && r.CloseAfter > 0 {
		time.AfterFunc(r.CloseAfter, func() { closePublisher(p); close(closed) })
	}
	began := time.Now()
	h := r.run(r.Duration, call)
	out := recorded{
		Calls: h.n, P50: h.quantile(0.5), P99: h.quantile(0.99), P999: h.quantile(0.999), P9999: h.quantile(0.9999), Max: h.max,
		Made: warm.n + h.n, Took: time.Since(began),
	}
	if p != nil {
		out.Stopped = p.Stats()
		if r.CloseAfter > 0 {
			<-closed
		} else {
			closePublisher(p)
		}
		out.Closed = p.Stats()
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// closePublisher leaves records behind where the broker is down; Stats count
// them, and the bench looks at these.
func closePublisher(p *publisher.Publisher) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	_ = p.Close(ctx)
}

// countingCall returns a call that takes what a record call takes, records
// nothing, and counts for so long.
func countingCall(long time.Duration) func(int) {
	const trial = 1 << 20
	began := time.Now()
	spent.Store(count(trial))
	steps := int(float64(trial) * float64(long) / float64(time.Since(began)))
	return func(i int) {
		nothing(steps, papyra.Event{Actor: papyra.Address{ID: int64(i)}, Type: papyra.ActorCrashed},
			slog.String("error", "dial bank: connection reset by peer"), slog.Int("attempt", i&7))
	}
}

// spent keeps the counting from being left out.
var spent atomic.Uint64

func count(steps int) (n uint64) {
	for range steps {
		n = n*6364136223846793005 + 1442695040888963407
	}
	return n
}

//go:noinline
func nothing(steps int, _ papyra.Event, _ ...slog.Attr) {
	if count(steps) == 1 {
		spent.Add(1) // never, but who compiles this does not know
	}
}

// run lets every goroutine call by its schedule and returns how long the calls
// took. A goroutine that was held up makes the calls that it owes at once, so
// that nothing that delays a call makes it measure fewer.
func (r *recording) run(d time.Duration, call func(i int)) *histogram {
	each := make([]histogram, r.Goroutines)
	var running sync.WaitGroup
	began := time.Now()
	for g := range each {
		running.Go(func() {
			h := &each[g]
			// Their schedules are shifted, so that they do not all begin at once.
			shift := nap * time.Duration(g) / time.Duration(r.Goroutines)
			perSecond := float64(r.Rate) / float64(r.Goroutines)
			for i := 0; ; {
				elapsed := time.Since(began)
				over := elapsed >= d
				due := i + 64
				if r.Rate > 0 {
					due = int(perSecond * min(elapsed, d).Seconds())
				}
				for ; i < due; i++ {
					start := time.Now()
					call(i)
					h.add(time.Since(start))
				}
				if over {
					return
				}
				if r.Rate > 0 {
					time.Sleep(nap + shift)
					shift = 0
				}
			}
		})
	}
	running.Wait()
	all := &each[0]
	for g := range each[1:] {
		all.merge(&each[g+1])
	}
	return all
}
