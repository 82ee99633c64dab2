package sink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/sink"
)

// pickyStore is a store in memory whose appender refuses some streams, as a server
// may.
type pickyStore struct {
	sink.Backend
	refuses func(papyra.Stream) bool
	appends atomic.Int64
}

type pickyAppender struct {
	sink.Appender
	s *pickyStore
}

func (s *pickyStore) Appender(ctx context.Context) (sink.Appender, error) {
	a, err := s.Backend.Appender(ctx)
	return pickyAppender{a, s}, err
}

func (a pickyAppender) Append(ctx context.Context, b *papyra.Batch) (int, error) {
	a.s.appends.Add(1)
	var good papyra.Batch
	first, named := b.Len(), map[papyra.Stream]bool{}
	refused := &papyra.RefusedError{}
	for i := range b.Len() {
		l, s := b.Line(i)
		if !a.s.refuses(s) {
			good.Append(good.StreamIndex(s), l)
			continue
		}
		first = min(first, i)
		if !named[s] {
			named[s] = true
			refused.Streams = append(refused.Streams, papyra.RefusedStream{Stream: s, Err: &papyra.StoreError{
				Op: "append to", Path: s.String(), Offset: -1, Cause: papyra.CauseWRONGTYPE, Err: errors.New("something else stands there"),
			}})
		}
	}
	if _, err := a.Appender.Append(ctx, &good); err != nil {
		return 0, err
	}
	if first < b.Len() {
		return first, fmt.Errorf("append: %w", refused)
	}
	return b.Len(), nil
}

// eventsIn returns the numbers of a system's stored events, in their order.
func eventsIn(t *testing.T, b sink.Backend, system string) (seqs []uint64) {
	t.Helper()
	q := papyra.Query{Systems: []string{system}, Kinds: []papyra.Kind{papyra.KindEvent}, Duplicates: true}
	if _, err := b.Read(t.Context(), q, func(rec *papyra.Record, _ papyra.Place) error {
		seqs = append(seqs, rec.Seq)
		return nil
	}); err != nil && !errors.Is(err, papyra.ErrNotFound) {
		t.Fatal(err)
	}
	return seqs
}

// inOrder fails the test unless the numbers are 1 to n.
func inOrder(t *testing.T, system string, seqs []uint64, n int) {
	t.Helper()
	for i, seq := range seqs {
		if seq != uint64(i+1) {
			t.Fatalf("%s: record %d stands at place %d", system, seq, i+1)
		}
	}
	if len(seqs) != n {
		t.Fatalf("%s: %d records are stored, want %d", system, len(seqs), n)
	}
}

// A stream that cannot be written keeps no other from being stored, whichever comes
// first; what came for it is stored in its order when it can be written.
func TestStreamThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "SET", "papyra:bad:events", "x")
	store := openStore(t, "redis://"+server.Addr())
	b, log := startBroker(t), &syncBuffer{}
	w := runSink(t, sink.Config{URL: b.URL(), Logger: slog.New(slog.NewTextHandler(log, nil))}, store)
	nc := dial(t, b.URL())
	send := func(r *sink.Run, system string, n int) {
		for range n {
			publish(t, nc, papyra.RecordsSubject(system, papyra.KindEvent), r.Event())
		}
		flush(t, nc)
	}
	bad, good := newRun(t, "bad", runA), newRun(t, "good", runB)
	send(bad, "bad", 1)
	eventually(t, "the sink is not ready and says why", func() bool {
		err := w.Ready()
		return err != nil && strings.Contains(err.Error(), "bad/events") && strings.Contains(err.Error(), "WRONGTYPE")
	})
	send(good, "good", 100)
	eventually(t, "the others are stored", func() bool { return w.Stats().Stored == 100 })
	send(bad, "bad", 50)
	send(good, "good", 10)
	eventually(t, "the others are stored", func() bool { return w.Stats().Stored == 110 })
	eventually(t, "the refused ones wait", func() bool { return w.Stats().RefusedPending == 51 })
	st := w.Stats()
	balance(t, st)
	if st.Pending != 51 || st.RefusedStreams != 1 || st.AppendErrors[papyra.CauseWRONGTYPE] == 0 {
		t.Errorf("pending %d, refused streams %d, errors %v", st.Pending, st.RefusedStreams, st.AppendErrors)
	}
	eventually(t, "the log names it", func() bool { return strings.Contains(log.String(), "stream=bad/events") })

	server.Do(t, "DEL", "papyra:bad:events")
	eventually(t, "the sink is ready again", func() bool { return w.Ready() == nil })
	send(bad, "bad", 10)
	eventually(t, "all are stored", func() bool { return w.Stats().Stored == 171 })
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	inOrder(t, "good", eventsIn(t, store, "good"), 110)
	inOrder(t, "bad", eventsIn(t, store, "bad"), 61)
}

// A stop stores what can be stored, and names the rest with its reason.
func TestStopWithAStreamThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "SET", "papyra:bad:events", "x")
	store := openStore(t, "redis://"+server.Addr())
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL(), StopTimeout: 300 * time.Millisecond}, store)
	nc := dial(t, b.URL())
	publish(t, nc, papyra.RecordsSubject("bad", papyra.KindEvent), newRun(t, "bad", runA).Events(3))
	publish(t, nc, papyra.RecordsSubject("good", papyra.KindEvent), newRun(t, "good", runB).Events(100))
	flush(t, nc)
	err := w.stop()
	if !errors.Is(err, sink.ErrNotStored) || !strings.Contains(err.Error(), "3 records") || !strings.Contains(err.Error(), "bad") {
		t.Errorf("Run() = %v, want ErrNotStored that names 3 records and the stream", err)
	}
	inOrder(t, "good", eventsIn(t, store, "good"), 100)
	server.Do(t, "DEL", "papyra:bad:events") // a reader names it too
	reports := reportsIn(t, store)
	last := reports[len(reports)-1]
	if len(last.Dropped) != 1 || last.Dropped[0].Reason != papyra.DropSinkStopped || last.Dropped[0].System != "bad" ||
		last.Dropped[0].Run != runA || fmt.Sprint(last.Dropped[0].Ranges) != "[[1 3]]" {
		t.Errorf("the last report says %+v", last.Dropped)
	}
}

// A refused stream that floods drops its own records, each by its number; others
// that are refused have room, and those that are stored lose nothing.
func TestFloodOfAStreamThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	var open atomic.Bool
	store := &pickyStore{Backend: openStore(t, "memory:"), refuses: func(s papyra.Stream) bool {
		return !open.Load() && strings.HasPrefix(s.System, "bad")
	}}
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL(), BufferBytes: 4 << 20}, store)
	nc := dial(t, b.URL())
	flood, other, good := newRun(t, "bad", runA), newRun(t, "bad2", runA), newRun(t, "good", runB)
	sent := map[string]int{}
	send := func(r *sink.Run, system string, n int) {
		publish(t, nc, papyra.RecordsSubject(system, papyra.KindEvent), r.Events(n))
		sent[system] += n
	}
	for i := range 200 {
		send(flood, "bad", 100)
		if i%10 == 0 {
			send(other, "bad2", 1)
		}
		send(good, "good", 10)
		flush(t, nc)
		// So that nothing is dropped because the writer is late.
		eventually(t, "the others are stored and the rest is aside", func() bool {
			st := w.Stats()
			return st.Received == uint64(sent["bad"]+sent["bad2"]+sent["good"]) && st.RefusedPending == st.Pending
		})
	}
	if st := w.Stats(); st.Stored != uint64(sent["good"]) {
		t.Errorf("%d records of the others are stored, want %d", st.Stored, sent["good"])
	}
	dropped := w.Stats().Dropped[papyra.DropSinkFull]
	if dropped == 0 {
		t.Fatal("the flood is not larger than the buffer")
	}
	if err := w.Ready(); err == nil {
		t.Error("the sink is ready")
	}
	open.Store(true)
	eventually(t, "what waits is stored", func() bool { return w.Stats().Pending == 0 })
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	balance(t, w.Stats())
	inOrder(t, "good", eventsIn(t, store, "good"), sent["good"])
	inOrder(t, "bad2", eventsIn(t, store, "bad2"), sent["bad2"])
	gone := map[uint64]bool{}
	for _, r := range reportsIn(t, store) {
		for _, d := range r.Dropped {
			if d.Reason != papyra.DropSinkFull || d.System != "bad" || d.Run != runA {
				t.Errorf("dropped: %+v", d)
			}
			for _, ra := range d.Ranges {
				for n := ra[0]; n <= ra[1]; n++ {
					gone[n] = true
				}
			}
		}
	}
	before := uint64(0)
	for _, seq := range eventsIn(t, store, "bad") {
		if seq <= before || gone[seq] {
			t.Fatalf("record %d stands behind %d, dropped: %v", seq, before, gone[seq])
		}
		before = seq
		gone[seq] = true
	}
	if uint64(len(gone)) != uint64(sent["bad"]) {
		t.Errorf("%d of %d records are stored or dropped by number", len(gone), sent["bad"])
	}
}

// The sink's own reports wait like others, do not pile up, and are stored in order.
func TestReportsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	var open atomic.Bool
	store := &pickyStore{Backend: openStore(t, "memory:"), refuses: func(s papyra.Stream) bool {
		return !open.Load() && s.System == papyra.SystemReserved
	}}
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL(), ReportEvery: 10 * time.Millisecond}, store)
	nc, good := dial(t, b.URL()), newRun(t, "good", runB)
	for n := range 50 {
		publish(t, nc, papyra.RecordsSubject("good", papyra.KindEvent), good.Event())
		eventually(t, "it is stored", func() bool { return w.Stats().Stored == uint64(n+1) })
		time.Sleep(time.Millisecond)
	}
	if st := w.Stats(); st.RefusedStreams != 1 || st.PendingBytes > 64<<10 {
		t.Errorf("refused streams %d, pending bytes %d", st.RefusedStreams, st.PendingBytes)
	}
	open.Store(true)
	eventually(t, "the sink is ready", func() bool { return w.Ready() == nil })
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	var lines []string
	if _, err := store.Read(t.Context(), papyra.Query{Systems: []string{papyra.SystemReserved}}, func(rec *papyra.Record, _ papyra.Place) error {
		lines = append(lines, string(rec.Line))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if reports := sinkReports(t, lines); len(reports) < 2 || reports[len(reports)-1].Stored != 50 {
		t.Errorf("reports %+v", reports)
	}
}

// A refused stream is tried less and less often, whatever comes for it.
func TestRefusedStreamIsTriedLessOften(t *testing.T) {
	t.Parallel()
	store := &pickyStore{Backend: openStore(t, "memory:"), refuses: func(s papyra.Stream) bool { return s.System == "bad" }}
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL(), StopTimeout: 100 * time.Millisecond}, store)
	nc, bad := dial(t, b.URL()), newRun(t, "bad", runA)
	publish(t, nc, papyra.RecordsSubject("bad", papyra.KindEvent), bad.Event())
	eventually(t, "it is refused", func() bool { return w.Stats().RefusedPending == 1 })
	before := store.appends.Load()
	for range 200 {
		publish(t, nc, papyra.RecordsSubject("bad", papyra.KindEvent), bad.Event())
		flush(t, nc)
		time.Sleep(time.Millisecond)
	}
	eventually(t, "all wait", func() bool { return w.Stats().RefusedPending == 201 })
	if n := store.appends.Load() - before; n > 60 {
		t.Errorf("%d appends for 200 records of a stream that is refused", n)
	}
	_ = w.stop()
}
