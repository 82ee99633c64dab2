package publisher

import (
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// TestFeederWakesForEachFlood: the lanes get their reserve after the first
// records, and again after a quiet time in which the feeder went to sleep.
func TestFeederWakesForEachFlood(t *testing.T) {
	p := connect(t, "nats://127.0.0.1:1", Config{System: "orders", Buffers: Buffers{Events: 4 << 20}})
	l := p.lanes[papyra.KindEvent]
	free := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.mem.small
	}
	for range 2 {
		for range 30 { // more than half of the reserve
			for range 40 {
				p.Started(someActor)
			}
			if free() <= l.mem.reserve/2 {
				break
			}
		}
		await(t, "a reserve", func() bool { return free() > l.mem.reserve/2 })
		await(t, "a feeder that sleeps", func() bool { return !p.feeding.Load() })
	}
	if s := p.Stats().Events; s.Dropped() != 0 {
		t.Errorf("dropped %d records", s.Dropped())
	}
}

// TestMemoryIsMadeWithoutTheMutex: a caller that has to make a chunk itself
// leaves the lane open to others, and takes what they may have brought.
func TestMemoryIsMadeWithoutTheMutex(t *testing.T) {
	l := newLane(papyra.KindEvent, "orders", minBuffer)
	var enc papyra.Encoder
	id := testIdentity(t)
	taken := 0
	for {
		if err := enc.Event(id, "orders", &papyra.Event{Type: "T"}, nil, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		l.provide(&enc)
		free, held, fits := l.mem.small, l.mem.held, l.fits(enc.Len(l.count.accepted+1))
		if !l.add(&enc, nil) {
			l.mu.Unlock()
			break
		}
		if !fits && free == 0 {
			t.Fatal("memory was made under the mutex")
		}
		if l.mem.held != held {
			t.Fatalf("held %d bytes, after the record %d", held, l.mem.held)
		}
		l.mu.Unlock()
		taken++
	}
	if l.mem.held != minBuffer || taken < minBuffer/300 {
		t.Errorf("holds %d bytes with %d records, want all of the bound", l.mem.held, taken)
	}
}
