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

// recording is what the process of a row of the table of calls has to do.
type recording struct {
	URL        string        // if it is "", the calls record nothing: that measures the bench itself
	Busy       time.Duration // how long a call that records nothing counts
	Goroutines int
	Rate       int // calls a second in all; 0: as fast as they can
	Duration   time.Duration
	CloseAfter time.Duration // 0: after all calls
	Connected  bool          // wait for a connection first
}

// recorded is what that process prints.
type recorded struct {
	Calls                      uint64 // the calls that were measured
	P50, P99, P999, P9999, Max time.Duration
	Made                       uint64          // all calls
	Took                       time.Duration   // of the measured ones
	Stopped                    publisher.Stats // when the last call had returned
	Closed                     publisher.Stats // after Close
}

const (
	// warmUp bounds how long calls are made before they are measured.
	warmUp = 500 * time.Millisecond
	// nap is how long a goroutine sleeps when no call of its schedule is due. A
	// sleep takes far longer than a call, so the calls come in small groups.
	nap = time.Millisecond
	// closeWithin is the deadline of Close, also while the broker is down.
	closeWithin = time.Second
)

// runRecorder is the process of one row. It warms up, prints a line, waits for
// one, measures, and prints the result.
func runRecorder(text string) error {
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
		for deadline := time.Now().Add(longestWait); r.Connected && !p.Stats().Connected; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return errors.New("the publisher does not connect")
			}
		}
		call = func(i int) {
			p.Event(papyra.Event{Actor: papyra.Address{ID: int64(i)}, Type: papyra.ActorCrashed},
				slog.String("error", "dial bank: connection reset by peer"), slog.Int("attempt", i&7))
		}
	}
	warm := r.runCalls(min(warmUp, r.Duration), call)
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("wait for the start: %w", err)
	}
	closed := make(chan struct{})
	if p != nil && r.CloseAfter > 0 {
		time.AfterFunc(r.CloseAfter, func() { closePublisher(p); close(closed) })
	}
	began := time.Now()
	h := r.runCalls(r.Duration, call)
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

// closePublisher closes p. If the broker is down, records are left behind: Stats
// count them, and the bench checks these numbers.
func closePublisher(p *publisher.Publisher) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	_ = p.Close(ctx)
}

// countingCall returns a call that has the arguments of a record call, records
// nothing, and counts for so long.
func countingCall(long time.Duration) func(int) {
	const trial = 1 << 20
	began := time.Now()
	spent.Store(countSteps(trial))
	steps := int(float64(trial) * float64(long) / float64(time.Since(began)))
	return func(i int) {
		recordNothing(steps, papyra.Event{Actor: papyra.Address{ID: int64(i)}, Type: papyra.ActorCrashed},
			slog.String("error", "dial bank: connection reset by peer"), slog.Int("attempt", i&7))
	}
}

// spent uses the result of countSteps, so that the compiler does not leave it out.
var spent atomic.Uint64

// countSteps computes something that takes time in proportion to steps.
func countSteps(steps int) (n uint64) {
	for range steps {
		n = n*6364136223846793005 + 1442695040888963407
	}
	return n
}

//go:noinline
func recordNothing(steps int, _ papyra.Event, _ ...slog.Attr) {
	if countSteps(steps) == 1 {
		spent.Add(1) // never happens, but the compiler does not know that
	}
}

// runCalls lets every goroutine make calls by its schedule, and returns how long
// the calls took. A goroutine that was held up makes all calls that are due at
// once, so that a delay does not make it measure fewer calls.
func (r *recording) runCalls(d time.Duration, call func(i int)) *histogram {
	each := make([]histogram, r.Goroutines)
	var running sync.WaitGroup
	began := time.Now()
	for g := range each {
		running.Go(func() {
			h := &each[g]
			// The schedules are shifted against each other, so that the goroutines do
			// not all begin at once.
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
					h.addDuration(time.Since(start))
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
		all.addHistogram(&each[g+1])
	}
	return all
}
