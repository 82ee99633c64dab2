package sink_test

import (
	"context"
	"errors"
	"github.com/papyra/papyra/internal/testkit"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

func TestBackendFailsAndRecoversWithExactCounters(t *testing.T) {
	var failing atomic.Bool
	var tries, partial atomic.Int64
	store := &fakeStore{}
	store.before = func(_ context.Context, b *papyra.Batch) (int, error) {
		if !failing.Load() {
			return b.Len(), nil
		}
		tries.Add(1)
		// A full disk still takes a line now and then.
		n := min(1, b.Len())
		partial.Add(int64(n))
		return n, &papyra.StoreError{Op: "append to", Path: "r.ndjson", Err: syscall.ENOSPC}
	}
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL()}, store)
	eventually(t, "the first report is stored", func() bool { return w.Stats().StoredBytes > 0 })
	nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
	failing.Store(true)
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(100))
	eventually(t, "three failures", func() bool { return tries.Load() >= 3 })
	st := w.Stats()
	balance(t, st)
	if err := w.Ready(); err == nil || !strings.Contains(err.Error(), "takes no records (ENOSPC)") || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Ready() = %v while the store is full", err)
	}
	failing.Store(false)
	eventually(t, "everything is stored", func() bool { return w.Stats().Stored == 100 })
	if err := w.Ready(); err != nil {
		t.Errorf("Ready() = %v after the store came back", err)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	st = w.Stats()
	balance(t, st)
	if st.AppendErrors[papyra.CauseENOSPC] != uint64(tries.Load()) || st.AppendErrorsTotal() != uint64(tries.Load()) || st.Stored != 100 || st.DroppedTotal() != 0 {
		t.Errorf("append errors %v, want %d; stored %d; dropped %v", st.AppendErrors, tries.Load(), st.Stored, st.Dropped)
	}
	wire, _ := store.stored()
	if want := newRun(t, "orders", runA); store.text() != string(want.Events(100)) {
		t.Errorf("the store holds %d lines that are not the 100 sent, in order", len(wire))
	}
}

// TestFloodBeforeAStoreThatStopped: what the buffer cannot hold is received and
// dropped with its reason, before the server has so much waiting for the sink
// that it cuts the connection.
func TestFloodBeforeAStoreThatStopped(t *testing.T) {
	var stopped atomic.Bool
	store := &fakeStore{}
	store.before = func(ctx context.Context, b *papyra.Batch) (int, error) {
		if stopped.Load() {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		return b.Len(), nil
	}
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL(), BufferBytes: 4 << 20, StopTimeout: time.Second}, store)
	eventually(t, "the first report is stored", func() bool { return w.Stats().StoredBytes > 0 })
	const publishers, each = 4, 80
	messages := 2500
	if testkit.Race {
		// The detector makes the sink slower than stalled publishers: less than
		// the server keeps for it.
		messages = 450
	}
	message := newRun(t, "orders", runA).Events(each)
	stopped.Store(true)
	var flood sync.WaitGroup
	for range publishers {
		nc := dial(t, b.URL())
		flood.Go(func() {
			for range messages {
				if err := nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), message); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
			if err := nc.FlushTimeout(time.Minute); err != nil {
				t.Errorf("flush: %v", err)
			}
		})
	}
	flood.Wait()
	st := w.Stats()
	eventually(t, "all lines are received", func() bool {
		st = w.Stats()
		return st.Received == uint64(publishers*messages*each) || st.Disconnects > 0
	})
	balance(t, st)
	if st.Disconnects > 0 || st.LostMessages > 0 || st.Dropped[papyra.DropSinkFull] == 0 {
		t.Errorf("%+v, after %d messages of %d bytes; want no disconnect, and the rest dropped", st, publishers*messages, len(message))
	}
	if err := w.stop(); !errors.Is(err, sink.ErrNotStored) {
		t.Errorf("stop: %v, want %v", err, sink.ErrNotStored)
	}
}

func TestSlowStoreDropsWithRangesWhatTheBufferCannotHold(t *testing.T) {
	gate := make(chan struct{})
	var blocked atomic.Bool
	store := &fakeStore{}
	store.before = func(ctx context.Context, b *papyra.Batch) (int, error) {
		if blocked.Load() {
			select {
			case <-gate:
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		return b.Len(), nil
	}
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL(), BufferBytes: 4 << 20}, store)
	eventually(t, "the first report is stored", func() bool { return w.Stats().StoredBytes > 0 })
	blocked.Store(true)
	nc := dial(t, b.URL())
	events, other := newRun(t, "orders", runA), newRun(t, "shop", runB)
	const messages, each = 400, 100
	for range messages {
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), events.Events(each))
	}
	for i := range 50 {
		publish(t, nc, papyra.RecordsSubject("plain", papyra.KindEvent), []byte(plainEvent("plain", i)))
	}
	publish(t, nc, papyra.RecordsSubject("shop", papyra.KindEvent), other.Events(each))
	flush(t, nc)
	const total = messages*each + 50 + each
	eventually(t, "all lines are accounted for", func() bool { return w.Stats().Received == total })
	st := w.Stats()
	balance(t, st)
	if st.PendingBytes > 4<<20 || st.PendingBytes < 3<<20 {
		t.Errorf("%d bytes are pending, want at most the 4 MiB of the buffer, and nearly so many", st.PendingBytes)
	}
	if st.Dropped[papyra.DropSinkFull] == 0 {
		t.Fatalf("nothing was dropped: %+v", st)
	}
	close(gate)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	st = w.Stats()
	balance(t, st)
	wire, own := store.stored()
	if uint64(len(wire)) != st.Stored || st.Stored+st.Dropped[papyra.DropSinkFull] != total {
		t.Errorf("%d lines in the store; %d stored + %v dropped of %d", len(wire), st.Stored, st.Dropped, total)
	}

	// From the store alone: each number is stored or dropped with its reason.
	stored := map[string]map[uint64]bool{runA: {}, runB: {}, "": {}}
	for _, l := range wire {
		rec, err := papyra.Parse([]byte(l))
		if err != nil {
			t.Fatal(err)
		}
		stored[string(rec.Run)][rec.Seq] = true
	}
	dropped, numbers := map[string]uint64{}, map[string]map[uint64]bool{runA: {}, runB: {}}
	for _, report := range sinkReports(t, own) {
		for _, d := range report.Dropped {
			if d.Reason != papyra.DropSinkFull || d.Category != "events" {
				t.Errorf("unexpected drop %+v", d)
			}
			dropped[d.Run] += d.N
			for _, r := range d.Ranges {
				for n := r[0]; n <= r[1]; n++ {
					numbers[d.Run][n] = true
				}
			}
		}
	}
	for run, last := range map[string]uint64{runA: messages * each, runB: each} {
		if uint64(len(numbers[run])) != dropped[run] {
			t.Errorf("run %s: %d dropped, the ranges name %d", run, dropped[run], len(numbers[run]))
		}
		for n := uint64(1); n <= last; n++ {
			if stored[run][n] == numbers[run][n] {
				t.Fatalf("run %s, number %d: stored is %v and dropped is %v", run, n, stored[run][n], numbers[run][n])
			}
		}
	}
	if dropped[runA]+dropped[runB]+dropped[""] != st.Dropped[papyra.DropSinkFull] {
		t.Errorf("the reports tell of %v, the numbers of %v", dropped, st.Dropped)
	}
}

func TestFailedSyncMakesTheSinkUnready(t *testing.T) {
	var failing atomic.Bool
	store := &fakeStore{onSync: func() error {
		if failing.Load() {
			return syscall.EIO
		}
		return nil
	}}
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL(), SyncEvery: 5 * time.Millisecond}, store)
	failing.Store(true)
	nc := dial(t, b.URL())
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(plainEvent("orders", 1)))
	eventually(t, "two failed syncs", func() bool { return w.Stats().SyncErrors >= 2 })
	if err := w.Ready(); err == nil || !strings.Contains(err.Error(), "durable (EIO): input/output error") {
		t.Errorf("Ready() = %v, want the error of the sync", err)
	}
	failing.Store(false)
	eventually(t, "ready again", func() bool { return w.Ready() == nil })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
}

// A disk that hangs returns no error: the time that it takes makes the sink
// unready, and its answer ready again.
func TestStoreThatDoesNotAnswerIsNotReady(t *testing.T) {
	appending, release := make(chan struct{}), make(chan struct{})
	store := &fakeStore{before: func(_ context.Context, b *papyra.Batch) (int, error) {
		select {
		case appending <- struct{}{}:
			<-release
		case <-release:
		}
		return b.Len(), nil
	}}
	w := runSink(t, sink.Config{URL: startBroker(t).URL(), SyncEvery: time.Hour, ReportEvery: time.Hour}, store)
	<-appending // of the first report
	if err := w.Ready(); err != nil {
		t.Errorf("Ready() = %v while the store may still answer in time", err)
	}
	w.AgeStoreCall(2 * storeSilence) // as if so much time had passed
	if err := w.Ready(); err == nil || !strings.Contains(err.Error(), "the store has not answered for 20s") {
		t.Errorf("Ready() = %v, want that the store does not answer", err)
	}
	release <- struct{}{}
	eventually(t, "ready after the store has answered", func() bool { return w.Ready() == nil })
	close(release)
	if err := w.stop(); err != nil {
		t.Errorf("Run() = %v", err)
	}
}
