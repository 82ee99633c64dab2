package sink_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/sink"
)

// One system floods a sink whose store takes nothing, with events and with reports;
// the last report of another one's publisher, which nobody will send again, is stored
// when the store works again.
func TestLastReportOfAnotherSystemSurvivesAFlood(t *testing.T) {
	b := startBroker(t)
	thaw := make(chan struct{})
	store := &fakeStore{}
	store.before = func(ctx context.Context, batch *papyra.Batch) (int, error) {
		select {
		case <-thaw:
			return batch.Len(), nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	w := runSink(t, sink.Config{URL: b.URL(), BufferBytes: 4 << 20}, store)
	nc := dial(t, b.URL())
	junk := newRun(t, "evil", runA).Events(3000)
	report := `{"kind":"report","system_id":"evil","report":"X","payload":"` + strings.Repeat("x", 10_000) + `","timestamp":1}` + "\n"
	for range 20 {
		publish(t, nc, papyra.RecordsSubject("evil", papyra.KindEvent), junk)
	}
	for range 100 {
		publish(t, nc, papyra.RecordsSubject("evil", papyra.KindReport), []byte(strings.Repeat(report, 10)))
	}
	flush(t, nc)
	eventually(t, "the buffer is full", func() bool { return w.Stats().Dropped[papyra.DropSinkFull] > 0 })
	p, err := publisher.Connect(b.URL(), publisher.Config{System: "good"})
	if err != nil {
		t.Fatal(err)
	}
	p.Event(papyra.Event{Actor: papyra.Address{ID: 1}, Type: papyra.ActorStarted})
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(thaw)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	wire, _ := store.stored()
	final := false
	for _, l := range wire {
		rec, err := papyra.Parse([]byte(l))
		if err != nil {
			t.Fatal(err)
		}
		var r papyra.PublisherReport
		if string(rec.System) == "good" && rec.Kind == papyra.KindReport && json.Unmarshal(rec.Payload, &r) == nil {
			final = final || r.Final
		}
	}
	if !final {
		t.Error("the last report of the other system is not stored")
	}
}
