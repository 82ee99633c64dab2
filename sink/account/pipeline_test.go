package account_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/broker"
)

// What the real publisher, broker and sinks leave behind balances to the record
// against what the publisher itself counted: with a buffer that overflows in
// more pieces than a report names, values that are too large, and two
// workers that share the group.
func TestPipeline(t *testing.T) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p, err := publisher.Connect(b.URL(), publisher.Config{
		System: "orders", Node: "eu-1", ReportEvery: 200 * time.Millisecond,
		Buffers: publisher.Buffers{Events: 64 << 10},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Nobody listens yet: the buffer fills, and what still fits is a matter of
	// size. Every other value is too large: these are more ranges than a report names.
	large := strings.Repeat("x", papyra.MaxPublishedLine)
	for i := range 1000 {
		text := strings.Repeat("x", i%5*700)
		p.Event(papyra.Event{Actor: papyra.Address{ID: int64(i)}, Type: papyra.ActorStarted}, slog.String("text", text))
		p.Event(papyra.Event{Type: "Broken", Payload: large})
		if i%100 == 0 {
			p.DeadLetter(papyra.DeadLetter{MessageType: "M"})
			p.DeadLetter(papyra.DeadLetter{MessageType: "M", Payload: make(chan int)})
		}
	}

	path := filepath.Join(t.TempDir(), "a.ndjson")
	stores := []papyra.Store{open(t, "json:"+path), open(t, "memory:")}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, len(stores))
	for i, store := range stores {
		s, err := sink.New(sink.Config{URL: b.URL(), Group: "archive", Instance: fmt.Sprintf("w%d", i), ReportEvery: 50 * time.Millisecond}, store)
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- s.Run(ctx) }()
		testkit.Await(t, "the sink receives", func() bool { return s.Ready() == nil })
	}
	testkit.Await(t, "everything is confirmed", func() bool { return p.Stats().Events.Buffered+p.Stats().DeadLetters.Buffered == 0 })
	reports := p.Stats().Reports.Accepted
	testkit.Await(t, "a report tells so", func() bool { return p.Stats().Reports.Accepted > reports })
	testkit.Await(t, "the file holds one more event", func() bool {
		p.Event(papyra.Event{Actor: papyra.Address{ID: 1}, Type: papyra.ActorStopped})
		data, err := os.ReadFile(path)
		return err == nil && bytes.Contains(data, []byte(papyra.ActorStopped))
	})
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	stats := p.Stats()
	stop()
	for range stores {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}

	r, err := account.Read(t.Context(), account.Options{At: time.Now(), Settle: -1, Gaps: true}, nil, stores[0], stores[1])
	if err != nil {
		t.Fatal(err)
	}
	balanced(t, r)
	run := who{"orders", "eu-1", p.Run()}
	state, events := category(t, r, run, papyra.KindEvent)
	_, letters := category(t, r, run, papyra.KindDeadLetter)
	want := stats.Events
	if events.Accepted != want.Accepted || events.Stored != want.Confirmed ||
		events.Dropped[papyra.DropQueueFull] != want.DroppedQueueFull || events.Dropped[papyra.DropTooLarge] != want.DroppedTooLarge {
		t.Errorf("events: got %+v, want %+v", events.Counts, want)
	}
	if want.DroppedQueueFull == 0 || want.DroppedTooLarge == 0 || events.Unnamed == 0 {
		t.Errorf("events: got %+v of %+v, want drops of both kinds, more than a report names", events.Counts, want)
	}
	if letters.Stored != stats.DeadLetters.Confirmed || letters.Accepted != stats.DeadLetters.Accepted {
		t.Errorf("dead letters: got %+v, want %+v", letters.Counts, stats.DeadLetters)
	}
	if said := letters.Reported; said == nil || said.PayloadReplaced != 10 || stats.DeadLetters.PayloadReplaced != 10 ||
		!slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "could not encode: 10;") }) {
		t.Errorf("dead letters: got %+v reported and the notes %q, want 10 with the payload replaced", said, r.Notes)
	}
	if r.Verdict != account.Balanced || r.Group != "archive" || state.State != account.RunClosed {
		t.Errorf("verdict %s of group %q, run %s, want balanced, archive, closed; gaps %+v", r.Verdict, r.Group, state.State, r.Gaps)
	}

	// The sinks have told which store is which.
	if a, b := r.Stores[0].IDs, r.Stores[1].IDs; len(a) != 1 || len(b) != 1 || a[0] == b[0] {
		t.Errorf("the stores' ids are %q and %q, want one each", a, b)
	}

	// A record that vanishes from the file is missed, and no other.
	lost := cutEvent(t, path)
	r, err = account.Read(t.Context(), account.Options{At: time.Now(), Settle: -1, Gaps: true}, nil, open(t, "json:"+path), stores[1])
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Gaps) != 1 || r.Total.Missing != 1 || r.Gaps[0].First != lost || r.Gaps[0].Run != p.Run() {
		t.Errorf("got %d missing in %+v, want only %d", r.Total.Missing, r.Gaps, lost)
	}
}

// cutEvent removes a late event, which no count of drops can explain, from a
// file, and returns its number.
func cutEvent(t *testing.T, path string) uint64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i, line := range slices.Backward(lines) {
		rec, err := papyra.Parse(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil || string(rec.Type) != papyra.ActorStopped {
			continue
		}
		rest := bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil)
		if err := os.WriteFile(path, rest, 0o600); err != nil {
			t.Fatal(err)
		}
		return rec.Seq
	}
	t.Fatal("the file holds no late event")
	return 0
}
