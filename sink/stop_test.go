package sink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// One of two workers of a group stops while a publisher floods: together they
// hold every record once.
func TestStopOfOneWorkerInAFloodLosesNothing(t *testing.T) {
	b := startBroker(t)
	stores := []*fakeStore{{}, {}, {}}
	var workers []*worker
	for i, s := range stores[:2] {
		workers = append(workers, runSink(t, sink.Config{URL: b.URL(), Instance: fmt.Sprint("w", i)}, s))
	}
	const messages, each = 2000, 10
	var sent atomic.Int64
	var flooding sync.WaitGroup
	flooding.Go(func() {
		nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
		for range messages {
			publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(each))
			sent.Add(1)
		}
		flush(t, nc)
	})
	eventually(t, "a quarter is sent", func() bool { return sent.Load() > messages/4 })
	if err := workers[0].stop(); err != nil {
		t.Fatal(err)
	}
	workers = append(workers, runSink(t, sink.Config{URL: b.URL(), Instance: "w2"}, stores[2]))
	eventually(t, "more is sent", func() bool { return sent.Load() > messages/2 })
	if err := workers[1].stop(); err != nil {
		t.Fatal(err)
	}
	flooding.Wait()
	if err := workers[2].stop(); err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]int{}
	for i, s := range stores {
		balance(t, workers[i].Stats())
		wire, _ := s.stored()
		for _, l := range wire {
			var rec papyra.Record
			if err := papyra.ParseInto(&rec, []byte(l)); err != nil {
				t.Fatal(err)
			}
			seen[rec.Seq]++
		}
		t.Logf("worker %d holds %d records", i, len(wire))
	}
	for n := uint64(1); n <= messages*each; n++ {
		if seen[n] != 1 {
			t.Fatalf("record %d is stored %d times", n, seen[n])
		}
	}
}

func TestStopThatRunsOutOfTimeCountsWhatIsLeft(t *testing.T) {
	var failing atomic.Bool
	store := &fakeStore{}
	store.before = func(_ context.Context, b *papyra.Batch) (int, error) {
		if !failing.Load() {
			return b.Len(), nil
		}
		// Reports get through when they come alone: the store is full for what
		// is large.
		if _, s := b.Line(0); s.System == papyra.SystemReserved {
			return b.Len(), nil
		}
		return 0, errors.New("no space left on device")
	}
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL(), StopTimeout: 300 * time.Millisecond}, store)
	eventually(t, "the first report is stored", func() bool { return w.Stats().StoredBytes > 0 })
	failing.Store(true)
	nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(70))
	flush(t, nc)
	err := w.stop()
	if !errors.Is(err, sink.ErrNotStored) || !strings.Contains(err.Error(), "70 records") || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Run() = %v, want ErrNotStored that names 70 records and the cause", err)
	}
	st := w.Stats()
	balance(t, st)
	if st.Dropped[papyra.DropSinkStopped] != 70 || st.Pending != 0 {
		t.Errorf("dropped %v, %d pending, want 70 sink_stopped and none", st.Dropped, st.Pending)
	}
	_, own := store.stored()
	reports := sinkReports(t, own)
	last := reports[len(reports)-1]
	if last.State != "stopped" || len(last.Dropped) != 1 || last.Dropped[0].N != 70 || !slices.Equal(last.Dropped[0].Ranges, []papyra.Range{{1, 70}}) {
		t.Errorf("last report is %+v, want 70 records dropped as sink_stopped, numbers 1 to 70", last)
	}
	if store.closes != 1 {
		t.Errorf("the store was closed %d times", store.closes)
	}
}

// A store that does not even look at its context cannot hold the stop up.
func TestStopGivesUpOnAStoreThatHangs(t *testing.T) {
	release := make(chan struct{})
	var hanging atomic.Bool
	store := &fakeStore{}
	store.before = func(_ context.Context, b *papyra.Batch) (int, error) {
		if hanging.Load() {
			<-release
		}
		return b.Len(), nil
	}
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL(), StopTimeout: 100 * time.Millisecond}, store)
	eventually(t, "the first report is stored", func() bool { return w.Stats().StoredBytes > 0 })
	hanging.Store(true)
	nc := dial(t, b.URL())
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), newRun(t, "orders", runA).Events(3))
	flush(t, nc)
	if err := w.stop(); !errors.Is(err, sink.ErrNotStored) || !strings.Contains(err.Error(), "has not answered") {
		t.Errorf("Run() = %v, want ErrNotStored because the store has not answered", err)
	}
	balance(t, w.Stats())
	close(release)
	eventually(t, "the store is closed after all", func() bool {
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.closes == 1
	})
}

func TestRunEndsWhenTheStoreIsLost(t *testing.T) {
	for _, lost := range []error{papyra.ErrForeignWriter, papyra.ErrClosed} {
		t.Run(lost.Error(), func(t *testing.T) {
			store := &fakeStore{}
			store.before = func(_ context.Context, b *papyra.Batch) (int, error) {
				if _, s := b.Line(0); s.System == papyra.SystemReserved {
					return b.Len(), nil
				}
				return 2, fmt.Errorf("append: %w", lost)
			}
			b := startBroker(t)
			w := runSink(t, sink.Config{URL: b.URL()}, store)
			eventually(t, "the first report is stored", func() bool { return w.Stats().StoredBytes > 0 })
			nc := dial(t, b.URL())
			publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), newRun(t, "orders", runA).Events(5))
			flush(t, nc)
			if err := w.wait(); !errors.Is(err, lost) || !errors.Is(err, sink.ErrNotStored) {
				t.Errorf("Run() = %v, want %v and ErrNotStored", err, lost)
			}
			st := w.Stats()
			balance(t, st)
			if st.Stored != 2 || st.Dropped[papyra.DropSinkStopped] != 3 {
				t.Errorf("stored %d, dropped %v, want 2 and 3", st.Stored, st.Dropped)
			}
			if store.closes != 1 {
				t.Errorf("the store was closed %d times", store.closes)
			}
		})
	}
}
