package publisher

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/papyra/papyra"
)

// TestFeederWakesForEachFlood: the lanes get their reserve after the first
// records, and again after a quiet time in which the feeder went to sleep.
func TestFeederWakesForEachFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := newPublisher("nats://127.0.0.1:1", Config{System: "orders", Buffers: Buffers{Events: 4 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		go p.runFeeder()
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
			time.Sleep(feedFor + 10*feedEvery) // of the test's own clock
			synctest.Wait()
			if n := free(); n <= l.mem.reserve/2 {
				t.Errorf("got %d free chunks, want more than half of the reserve of %d", n, l.mem.reserve)
			}
			if p.feeding.Load() {
				t.Error("the feeder does not sleep")
			}
		}
		if s := p.lanes[papyra.KindEvent].stats(); s.Dropped() != 0 {
			t.Errorf("dropped %d records", s.Dropped())
		}
		close(p.closing)
		<-p.feederDone
	})
}

// TestMemoryIsMadeWithoutTheMutex: while a record call makes a chunk itself, the
// lane is open to others, and the call takes a free chunk that they brought.
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
		l.provideChunk(&enc)
		free, held, fits := l.mem.small, l.mem.held, l.fitsOpen(enc.Len(l.count.accepted+1))
		if !l.addRecord(&enc, nil) {
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
