package sink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

func TestStrangersLinesAreStoredByteForByte(t *testing.T) {
	b, store := startBroker(t), &fakeStore{}
	w := runSink(t, sink.Config{URL: b.URL()}, store)
	nc := dial(t, b.URL())

	one := plainEvent("orders", 1)
	odd := ` { "event_type" : "Custom" , "kind":"event","payload":[1e400, 1.10,"\u00e9 é"],"system_id":"orders","zzz":{"unknown":null},"timestamp":17e8,"actor_address":"orders:x" } `
	letter := `{"kind":"dead_letter","system_id":"ord.ers ü","target":null,"message_type":"M","payload":null,"timestamp":1}`
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(one))
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte("\n\n"+odd+"\n\n"+one+"\n"))
	publish(t, nc, papyra.RecordsSubject("ord.ers ü", papyra.KindDeadLetter), []byte(letter+"\n"))
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), nil)
	flush(t, nc)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if got, want := store.text(), one+"\n"+odd+"\n"+one+"\n"+letter+"\n"; got != want {
		t.Errorf("stored\n%s\nwant\n%s", got, want)
	}
	st := w.Stats()
	balance(t, st)
	if st.Received != 4 || st.Stored != 4 || st.Messages != 4 {
		t.Errorf("stats %+v, want 4 lines of 4 messages", st)
	}
	if store.closes != 1 || store.syncs == 0 {
		t.Errorf("the store was synced %d times and closed %d times", store.syncs, store.closes)
	}
}

func TestGroupsEachStoreEverythingAndWorkersShare(t *testing.T) {
	b := startBroker(t)
	alone, left, right := &fakeStore{}, &fakeStore{}, &fakeStore{}
	workers := []*worker{
		runSink(t, sink.Config{URL: b.URL(), Group: "live", Instance: "w0"}, alone),
		runSink(t, sink.Config{URL: b.URL(), Group: "archive", Instance: "w1"}, left),
		runSink(t, sink.Config{URL: b.URL(), Group: "archive", Instance: "w2"}, right),
	}
	nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
	var want []string
	for range 500 {
		l := r.event()
		want = append(want, string(l[:len(l)-1]))
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), l)
	}
	flush(t, nc)
	for _, w := range workers {
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		balance(t, w.Stats())
	}
	got, _ := alone.stored()
	if !slices.Equal(got, want) {
		t.Errorf("the group of one worker holds %d lines, want all %d in order", len(got), len(want))
	}
	l, _ := left.stored()
	rr, _ := right.stored()
	if len(l) == 0 || len(rr) == 0 {
		t.Errorf("the workers hold %d and %d lines: they do not share", len(l), len(rr))
	}
	both := append(slices.Clone(l), rr...)
	slices.Sort(both)
	slices.Sort(want)
	if !slices.Equal(both, want) {
		t.Errorf("the two workers hold %d lines together, want each of %d once", len(both), len(want))
	}
}

func TestFiltersTakeWhatTheyNameAndEveryReport(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    sink.Config
		want []string
	}{
		{"none", sink.Config{}, []string{"a/events", "a/dead_letters", "a/reports", "b/events", "b/dead_letters", "b/reports"}},
		{"system", sink.Config{Systems: []string{"a", "a"}}, []string{"a/events", "a/dead_letters", "a/reports", "b/reports"}},
		{"kind", sink.Config{Kinds: []papyra.Kind{papyra.KindDeadLetter}}, []string{"a/dead_letters", "a/reports", "b/dead_letters", "b/reports"}},
		{"kind of reports", sink.Config{Kinds: []papyra.Kind{papyra.KindReport}}, []string{"a/reports", "b/reports"}},
		{"both", sink.Config{Systems: []string{"b"}, Kinds: []papyra.Kind{papyra.KindEvent}}, []string{"a/reports", "b/events", "b/reports"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, store := startBroker(t), &fakeStore{}
			tt.c.URL = b.URL()
			w := runSink(t, tt.c, store)
			nc := dial(t, b.URL())
			for _, system := range []string{"a", "b"} {
				publish(t, nc, papyra.RecordsSubject(system, papyra.KindEvent), []byte(plainEvent(system, 1)))
				publish(t, nc, papyra.RecordsSubject(system, papyra.KindDeadLetter), fmt.Appendf(nil, `{"kind":"dead_letter","system_id":%q,"target":null,"message_type":"M","payload":null,"timestamp":1}`, system))
				publish(t, nc, papyra.RecordsSubject(system, papyra.KindReport), fmt.Appendf(nil, `{"kind":"report","system_id":%q,"report":"PublisherReport","payload":{},"timestamp":1}`, system))
			}
			flush(t, nc)
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range store.streams {
				if s.System != papyra.SystemReserved {
					got = append(got, s.String())
				}
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("stored %v, want %v", got, tt.want)
			}
		})
	}
}

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
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.events(100))
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
	if want := newRun(t, "orders", runA); store.text() != string(want.events(100)) {
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
	if raceEnabled {
		// The detector makes the sink slower than stalled publishers: less than
		// the server keeps for it.
		messages = 450
	}
	message := newRun(t, "orders", runA).events(each)
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
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), events.events(each))
	}
	for i := range 50 {
		publish(t, nc, papyra.RecordsSubject("plain", papyra.KindEvent), []byte(plainEvent("plain", i)))
	}
	publish(t, nc, papyra.RecordsSubject("shop", papyra.KindEvent), other.events(each))
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
			publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.events(each))
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
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.events(70))
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
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), newRun(t, "orders", runA).events(3))
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
			publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), newRun(t, "orders", runA).events(5))
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

func TestSinkReportsTellOfTheStartTheEndAndChanges(t *testing.T) {
	b, store := startBroker(t), &fakeStore{}
	w := runSink(t, sink.Config{
		URL: b.URL(), Group: "archive", Instance: "eu-1", ReportEvery: 5 * time.Millisecond,
		Kinds: []papyra.Kind{papyra.KindEvent}, RejectFile: filepath.Join(t.TempDir(), "rejected"),
	}, store)
	nc := dial(t, b.URL())
	reports := func() []papyra.SinkReport {
		_, own := store.stored()
		return sinkReports(t, own)
	}
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(plainEvent("orders", 1)+"\nnonsense\n"))
	eventually(t, "a running report with the record", func() bool {
		r := reports()
		return len(r) > 1 && r[len(r)-1].State == "running" && r[len(r)-1].Stored == 1
	})
	n := len(reports())
	time.Sleep(50 * time.Millisecond) // ten times the shortest time: nothing has changed
	if got := len(reports()); got != n {
		t.Errorf("%d reports were written while nothing changed", got-n)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	all := reports()
	if first := all[0]; first.State != "started" || first.Group != "archive" || first.Instance != "eu-1" || !slices.Equal(first.Filters, []string{"category=events"}) {
		t.Errorf("the first report is %+v", first)
	}
	last := all[len(all)-1]
	if last.State != "stopped" || last.Received != 2 || last.Stored != 1 || last.Rejected["corrupted"] != 1 || last.DroppedLines != 0 {
		t.Errorf("the last report is %+v", last)
	}
	if got := store.lines[0]; !strings.Contains(got, `"node":"eu-1"`) {
		t.Errorf("report %s is not sealed by the instance", got)
	}
}

func TestSinkSurvivesTheBroker(t *testing.T) {
	b, store := startBroker(t), &fakeStore{}
	w := runSink(t, sink.Config{URL: b.URL()}, store)
	addr, url := b.Addr(), b.URL()
	b.Close()
	eventually(t, "the sink notices", func() bool { return w.Ready() != nil })
	again := startBrokerAt(t, addr)
	eventually(t, "the sink is back", func() bool { return w.Ready() == nil })
	nc := dial(t, url)
	eventually(t, "a record arrives", func() bool {
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(plainEvent("orders", 1)))
		return w.Stats().Stored > 0
	})
	if st := w.Stats(); st.Disconnects != 1 {
		t.Errorf("%d disconnects, want 1", st.Disconnects)
	}
	// Stopped while the broker is gone it still stores and ends.
	again.Close()
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	balance(t, w.Stats())
}

func TestRunRefuses(t *testing.T) {
	b := startBroker(t)
	closed := startBroker(t)
	gone := closed.URL()
	closed.Close()
	for _, tt := range []struct {
		name  string
		c     sink.Config
		store *fakeStore
		want  error
	}{
		{"busy store", sink.Config{URL: b.URL()}, &fakeStore{openErr: fmt.Errorf("lock: %w", papyra.ErrBusy)}, papyra.ErrBusy},
		{"no server", sink.Config{URL: gone, ConnectTimeout: 250 * time.Millisecond}, &fakeStore{}, papyra.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := startSink(t, tt.c, tt.store)
			if err := w.wait(); !errors.Is(err, tt.want) {
				t.Errorf("Run() = %v, want %v", err, tt.want)
			}
			if tt.store.open != 0 {
				t.Error("the store is still open")
			}
			if err := w.Run(t.Context()); !errors.Is(err, papyra.ErrUsage) {
				t.Errorf("second Run() = %v, want ErrUsage", err)
			}
		})
	}
}

func TestSubscriptionThatIsRefusedEndsTheStart(t *testing.T) {
	url := startServerWithUsers(t, `
		{ user: sink, password: pw, permissions: { subscribe: { allow: ["other.>", "_INBOX.>"] } } }`)
	store := &fakeStore{}
	w := startSink(t, sink.Config{URL: url, NATS: []nats.Option{nats.UserInfo("sink", "pw")}}, store)
	if err := w.wait(); !errors.Is(err, papyra.ErrUnavailable) || !strings.Contains(err.Error(), "papyra-default") {
		t.Errorf("Run() = %v, want ErrUnavailable that names the queue", err)
	}
	if store.closes != 1 {
		t.Errorf("the store was closed %d times", store.closes)
	}
}

func TestStartupCheck(t *testing.T) {
	damaged := &papyra.ScanReport{
		AnomalyCounts: map[papyra.Class]int64{papyra.ClassTruncated: 1, papyra.ClassNULRun: 2},
		Anomalies:     []papyra.Anomaly{{Class: papyra.ClassTruncated, File: "x.ndjson", Offset: 17}},
	}
	clean := &papyra.ScanReport{}
	for _, tt := range []struct {
		name     string
		mode     sink.StartupMode
		scans    []*papyra.ScanReport
		recover  error
		want     error
		part     string
		reported bool // CorruptionDetected
		acts     sink.ActStats
	}{
		{"ignore", sink.CheckIgnore, []*papyra.ScanReport{damaged}, nil, nil, "", false, sink.ActStats{}},
		{"no store yet", sink.CheckFail, nil, nil, nil, "", false, sink.ActStats{}},
		{"clean", sink.CheckFail, []*papyra.ScanReport{clean}, nil, nil, "", false, sink.ActStats{Scans: 1}},
		{"scan goes on", sink.CheckScan, []*papyra.ScanReport{damaged}, nil, nil, "", true, sink.ActStats{Scans: 1, Anomalies: 3}},
		{"fail", sink.CheckFail, []*papyra.ScanReport{damaged}, nil, sink.ErrAnomalies, `3 anomalies, the first (truncated) in "x.ndjson" at offset 17`, false, sink.ActStats{Scans: 1, Anomalies: 3}},
		{"recover", sink.CheckRecover, []*papyra.ScanReport{damaged, clean}, nil, nil, "", true, sink.ActStats{Scans: 2, Anomalies: 3, Recoveries: 1}},
		{"recover what is clean", sink.CheckRecover, []*papyra.ScanReport{clean}, errors.New("must not be called"), nil, "", false, sink.ActStats{Scans: 1}},
		{"recovery fails", sink.CheckRecover, []*papyra.ScanReport{damaged}, papyra.ErrBusy, papyra.ErrBusy, "recover the store", false, sink.ActStats{Scans: 1, Anomalies: 3, Recoveries: 1, RecoveryErrors: 1}},
		{"recovery leaves damage", sink.CheckRecover, []*papyra.ScanReport{damaged, damaged}, nil, sink.ErrNotClean, "papyra-ctl scan", false, sink.ActStats{Scans: 2, Anomalies: 6, Recoveries: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := startBroker(t)
			store := &fakeStore{scans: tt.scans, recover: func() error { return tt.recover }}
			w := startSink(t, sink.Config{URL: b.URL(), StartupCheck: tt.mode}, store)
			if tt.want == nil {
				eventually(t, "the sink runs", func() bool { return w.Ready() == nil })
				w.cancel()
			}
			err := w.wait()
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil || tt.part != "" && !strings.Contains(err.Error(), tt.part) {
				t.Fatalf("Run() = %v, want %v with %q", err, tt.want, tt.part)
			}
			_, own := store.stored()
			if got := slices.ContainsFunc(own, func(l string) bool { return strings.Contains(l, papyra.ReportCorruptionDetected) }); got != tt.reported {
				t.Errorf("CorruptionDetected in the store is %v, want %v", got, tt.reported)
			}
			if got := w.Stats().Acts; got != tt.acts {
				t.Errorf("counted %+v, want %+v", got, tt.acts)
			}
		})
	}
}

func TestNewRefusesAWrongConfiguration(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    sink.Config
		part string
	}{
		{"group", sink.Config{Group: "a.b"}, "group name"},
		{"URL", sink.Config{URL: "nats://a:4222, nats://u:p%zz@b"}, "NATS server 2 cannot be read"},
		{"instance", sink.Config{Instance: "eu 1"}, "instance name"},
		{"system", sink.Config{Systems: []string{"a\nb"}}, "control character"},
		{"reserved system", sink.Config{Systems: []string{"papyra"}}, "pipeline's own"},
		{"kind", sink.Config{Kinds: []papyra.Kind{papyra.KindUnknown}}, "unknown kind"},
		{"validation", sink.Config{Validate: "some"}, "unknown validation"},
		{"startup check", sink.Config{StartupCheck: "maybe"}, "unknown startup check"},
		{"buffer", sink.Config{BufferBytes: 1000}, "too small"},
		{"negative duration", sink.Config{StopTimeout: -1}, "stop timeout is negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := sink.New(tt.c, &fakeStore{}); !errors.Is(err, papyra.ErrConfig) || !strings.Contains(err.Error(), tt.part) {
				t.Errorf("New() = %v, want ErrConfig with %q", err, tt.part)
			}
		})
	}
	s, err := sink.New(sink.Config{}, &fakeStore{})
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Config(); c.Group != "default" || papyra.CheckName("instance", c.Instance) != nil || c.BufferBytes != 64<<20 {
		t.Errorf("defaults are %+v", c)
	}
	if err := s.Ready(); err == nil || !bytes.Contains([]byte(err.Error()), []byte("starting")) {
		t.Errorf("Ready() before Run = %v", err)
	}
}
