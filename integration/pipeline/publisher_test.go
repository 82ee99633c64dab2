package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/publisher"
)

// connect makes a publisher of system "orders".
func connect(t *testing.T, url string, c publisher.Config) *publisher.Publisher {
	t.Helper()
	c.System = "orders"
	p, err := publisher.Connect(url, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // does nothing where the test closed it
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

// finish closes a publisher and expects that everything was confirmed.
func finish(t *testing.T, p *publisher.Publisher) publisher.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Fatalf("close the publisher: %v; %+v", err, p.Stats())
	}
	return p.Stats()
}

// adds fails the test unless a category's numbers add up.
func adds(t *testing.T, name string, c publisher.CategoryStats) {
	t.Helper()
	if c.Accepted != c.Confirmed+c.Unconfirmed+c.Buffered+c.Dropped() {
		t.Errorf("%s do not add up: %+v", name, c)
	}
}

// record records the n-th event.
func record(p *publisher.Publisher, n int) {
	p.Event(papyra.Event{Actor: papyra.Address{ID: int64(n)}, Type: papyra.ActorCrashed},
		slog.String("error", "dial bank: connection reset by peer"), slog.Int("n", n))
}

// TestEveryRecordArrivesOnce follows every kind of record from the publisher into
// the file, and the publisher's last word about them.
func TestEveryRecordArrivesOnce(t *testing.T) {
	dir, url := t.TempDir(), broker(t)
	path := filepath.Join(dir, "records.ndjson")
	sink := startSink(t, dir, "--server", url, "--backend", "json:"+path)
	p := connect(t, url, publisher.Config{Node: "eu-1", AuditFunc: func() papyra.Audit { return papyra.Audit{TotalActors: 7} }})

	const events, letters = 20_000, 500
	var callers sync.WaitGroup
	for g := range 4 {
		callers.Go(func() {
			for i := g; i < events; i += 4 {
				record(p, i)
				if i%(events/letters) == 0 {
					p.DeadLetter(papyra.DeadLetter{Target: papyra.Address{Name: "till"}, MessageType: "Charge", Payload: map[string]any{"n": i}})
				}
			}
		})
	}
	callers.Wait()
	testkit.Await(t, "the publisher's connection", func() bool { return p.Stats().Connected })
	nc := client(t, url)
	testkit.Await(t, "an audit on request", func() bool {
		publish(t, nc, papyra.AuditSubject("orders"), "")
		return p.Stats().Audits.Confirmed > 0
	})
	stats := finish(t, p)
	sink.terminate()

	s := load(t, path)
	for _, c := range []struct {
		kind  papyra.Kind
		stats publisher.CategoryStats
		least uint64
	}{
		{papyra.KindEvent, stats.Events, events},
		{papyra.KindDeadLetter, stats.DeadLetters, letters},
		{papyra.KindAudit, stats.Audits, 1},
		{papyra.KindReport, stats.Reports, 1},
	} {
		adds(t, c.kind.Category(), c.stats)
		if c.stats.Accepted < c.least || c.stats.Confirmed != c.stats.Accepted {
			t.Errorf("%s: %+v, want at least %d, all confirmed", c.kind.Category(), c.stats, c.least)
		}
		complete(t, s.numbers(p.Run(), c.kind), c.stats.Accepted)
	}
	last := lastReport[papyra.PublisherReport](t, s, papyra.ReportPublisher)
	if got := last.Categories["events"]; !last.Final || got.Accepted != events || got.Confirmed != events || got.Buffered != 0 {
		t.Errorf("final PublisherReport: %+v, want %d events confirmed", last, events)
	}
	if len(s.damaged) > 0 || !s.whole {
		t.Errorf("the file has %d damaged lines", len(s.damaged))
	}
	ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
}

// TestNobodyWaitsForAStoppedBroker stops the broker in the middle of a stream
// from 8 goroutines. No call may wait for it, and in the end every record is
// stored or counted as dropped.
func TestNobodyWaitsForAStoppedBroker(t *testing.T) {
	pause, rate := 2*time.Second, 100_000
	if testkit.Long() {
		pause = 10 * time.Second
	}
	if testkit.Race {
		rate = 40_000 // what two cores can do under the detector, with room
	}
	dir := t.TempDir()
	server := natstest.Start(t, "")
	url := server.URL()
	path := filepath.Join(dir, "records.ndjson")
	sink := startSink(t, dir, "--server", url, "--backend", "json:"+path)
	// A buffer that holds a part of the pause, so that some records are dropped.
	p := connect(t, url, publisher.Config{Buffers: publisher.Buffers{Events: 8 << 20}})

	const goroutines = 8
	var slowest atomic.Int64
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for g := range goroutines {
		callers.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for n := g; ; {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				for range rate / goroutines / 1000 {
					began := time.Now()
					record(p, n)
					n += goroutines
					for took := int64(time.Since(began)); ; {
						was := slowest.Load()
						if took <= was || slowest.CompareAndSwap(was, took) {
							break
						}
					}
				}
			}
		})
	}
	testkit.Await(t, "a stream", func() bool { return p.Stats().Events.Confirmed > uint64(rate/4) })
	before := p.Stats().Events.Accepted
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(pause) // the fault itself
	during := p.Stats()
	if err := server.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	adds(t, "events during the pause", during.Events)
	confirmed := during.Events.Confirmed
	testkit.Await(t, "the stream to go on", func() bool { return p.Stats().Events.Confirmed > confirmed+uint64(rate/4) })
	close(stop)
	callers.Wait()
	stats := finish(t, p)
	sink.terminate()

	if went := during.Events.Accepted - before; went < uint64(rate)/4*uint64(pause.Seconds()) {
		t.Errorf("only %d records were recorded during a pause of %s: the callers were held up", went, seconds(pause))
	}
	// A call that waits for the broker takes as long as the pause. The bound is
	// far beyond what the scheduler of a busy machine does to a call.
	if took := time.Duration(slowest.Load()); took > pause/2 {
		t.Errorf("the slowest call took %s, with the broker stopped for %s", seconds(took), seconds(pause))
	} else {
		t.Logf("slowest of %d calls: %s", stats.Events.Accepted, seconds(took))
	}
	adds(t, "events", stats.Events)
	if stats.Events.Unconfirmed != 0 || stats.Events.Buffered != 0 {
		t.Errorf("events: %+v, want all confirmed or dropped", stats.Events)
	}

	// Every number is stored or in the ranges that the publisher reported.
	s := load(t, path)
	fate := s.numbers(p.Run(), papyra.KindEvent)
	dropped := uint64(0)
	for _, r := range ranges(t, s, p.Run()) {
		for seq := r[0]; seq <= r[1]; seq++ {
			if fate[seq] > 0 {
				t.Fatalf("record %d is reported as dropped and stored", seq)
			}
			fate[seq]++
			dropped++
		}
	}
	if len(fate) != int(stats.Events.Accepted) {
		t.Errorf("%d of %d records are neither stored nor reported as dropped (%d reported, %d in the statistics)",
			int(stats.Events.Accepted)-len(fate), stats.Events.Accepted, dropped, stats.Events.Dropped())
	}
	ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
}

// ranges returns what a run's stored reports say about dropped events.
func ranges(t *testing.T, s stored, run string) []papyra.Range {
	t.Helper()
	var out []papyra.Range
	seen := map[uint64]bool{} // by the report's own number: sent again it may be stored twice
	for _, r := range s.records {
		if r.Kind != papyra.KindReport || string(r.Run) != run || seen[r.Seq] {
			continue
		}
		seen[r.Seq] = true
		one := lastReport[papyra.PublisherReport](t, stored{records: []papyra.Record{r}}, papyra.ReportPublisher)
		for _, d := range one.Categories["events"].Dropped {
			out = append(out, d.Ranges...)
		}
	}
	return out
}

// TestRecordsWaitForTheFirstSink starts the publisher first.
func TestRecordsWaitForTheFirstSink(t *testing.T) {
	dir, url := t.TempDir(), broker(t)
	path := filepath.Join(dir, "records.ndjson")
	p := connect(t, url, publisher.Config{})
	const n = 5000
	for i := range n {
		record(p, i)
	}
	nc := client(t, url)
	testkit.Await(t, "the server to say that nobody listens", func() bool {
		_, err := nc.Request(papyra.RecordsSubject("orders", papyra.KindEvent), nil, time.Second)
		return errors.Is(err, nats.ErrNoResponders) && p.Stats().Events.Unheard > 0
	})
	if got := p.Stats().Events; got.Buffered != n || got.Confirmed != 0 {
		t.Errorf("with nobody there: %+v, want %d buffered", got, n)
	}
	sink := startSink(t, dir, "--server", url, "--backend", "json:"+path)
	finish(t, p)
	sink.terminate()
	complete(t, load(t, path).numbers(p.Run(), papyra.KindEvent), n)
}
