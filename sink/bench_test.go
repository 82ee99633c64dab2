package sink_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// BenchmarkPipeline sends messages of about 16 KiB through an embedded server
// into a store that takes everything: what the network, the checks and the
// batches cost together. An operation is a record.
func BenchmarkPipeline(b *testing.B) {
	for _, v := range []sink.Validation{sink.ValidateFull, sink.ValidateSeal} {
		for _, inProcess := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/inprocess=%v", v, inProcess), func(b *testing.B) { benchPipeline(b, v, inProcess, 16<<10, false) })
		}
	}
}

// BenchmarkAnswers is BenchmarkPipeline with and without a publisher that waits for
// answers, for messages of one record and of about 16 KiB.
func BenchmarkAnswers(b *testing.B) {
	for _, size := range []int{1, 16 << 10} {
		for _, answers := range []bool{false, true} {
			b.Run(fmt.Sprintf("size=%d/answers=%v", size, answers), func(b *testing.B) {
				benchPipeline(b, sink.ValidateSeal, false, size, answers)
			})
		}
	}
}

func benchPipeline(b *testing.B, v sink.Validation, inProcess bool, size int, answers bool) {
	srv := startBroker(b)
	c := sink.Config{URL: srv.URL(), Validate: v}
	if inProcess {
		c.NATS = append(c.NATS, nats.InProcessServer(srv))
	}
	s, err := sink.New(c, &discard{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Receiving()
	nc := dial(b, srv.URL())

	message, lines := sink.LargeMessage(b, size)
	if _, err := nc.Subscribe(papyra.SubjectAllHeard, func(*nats.Msg) {}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(message) / lines))
	b.ReportAllocs()
	b.ResetTimer()
	messages := uint64(0)
	for n := 0; n < b.N; n += lines {
		messages++
		reply := ""
		if answers {
			reply = papyra.HeardSubject("orders", sink.RunA, messages)
		}
		if err := nc.PublishMsg(&nats.Msg{Subject: papyra.RecordsSubject("orders", papyra.KindEvent), Reply: reply, Data: message}); err != nil {
			b.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		b.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	st := s.Stats()
	if want := uint64((b.N + lines - 1) / lines * lines); st.Stored != want || st.LostMessages > 0 {
		b.Fatalf("stored %d of %d records, lost %d messages", st.Stored, want, st.LostMessages)
	}
	if answers && st.Answered != messages {
		b.Fatalf("answered %d of %d messages", st.Answered, messages)
	}
	b.ReportMetric(float64(st.Stored)/b.Elapsed().Seconds(), "records/s")
}

// discard is a store that takes everything and keeps nothing.
type discard struct{ fakeStore }

func (d *discard) Appender(context.Context) (sink.Appender, error) { return &discard{}, nil }

func (d *discard) Append(_ context.Context, b *papyra.Batch) (int, error) { return b.Len(), nil }

func (d *discard) Sync(context.Context) error { return nil }

func (d *discard) Stats() papyra.AppendStats { return papyra.AppendStats{} }
