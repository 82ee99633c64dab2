package sink_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
)

// reportsIn returns the SinkReports of a store, the oldest first.
func reportsIn(t *testing.T, b sink.Backend) (list []papyra.SinkReport) {
	t.Helper()
	q := papyra.Query{Types: []string{papyra.ReportSink}}
	if _, err := b.Read(t.Context(), q, func(rec *papyra.Record, _ papyra.Place) error {
		var r papyra.SinkReport
		list = append(list, r)
		return json.Unmarshal(rec.Payload, &list[len(list)-1])
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func openStore(t *testing.T, url string) sink.Backend {
	t.Helper()
	b, err := backend.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// worker is a sink that runs.
type worker struct {
	t *testing.T
	*sink.Sink
	cancel context.CancelFunc
	done   chan error
	err    error
	ended  bool
}

// runSink starts a sink and waits until it receives.
func runSink(t *testing.T, c sink.Config, b sink.Backend) *worker {
	t.Helper()
	w := startSink(t, c, b)
	eventually(t, "the sink runs", func() bool {
		select {
		case w.err = <-w.done:
			w.ended = true
			t.Fatalf("the sink ended at its start: %v", w.err)
		default:
		}
		return w.Stats().State == "running"
	})
	return w
}

func startSink(t *testing.T, c sink.Config, b sink.Backend) *worker {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := sink.New(c, b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{t: t, Sink: s, cancel: cancel, done: make(chan error, 1)}
	go func() { w.done <- s.Run(ctx) }()
	t.Cleanup(func() { _ = w.stop() })
	return w
}

// wait returns what Run returned.
func (w *worker) wait() error {
	w.t.Helper()
	if !w.ended {
		select {
		case w.err = <-w.done:
			w.ended = true
		case <-time.After(2 * patience):
			w.t.Fatal("the sink did not end")
		}
	}
	return w.err
}

func (w *worker) stop() error {
	w.t.Helper()
	w.cancel()
	return w.wait()
}

// balance fails the test unless the numbers add up.
func balance(t *testing.T, st sink.Stats) {
	t.Helper()
	if sum := st.Stored + st.RejectedTotal() + st.DroppedTotal() + uint64(st.Pending); st.Received != sum {
		t.Errorf("received %d lines, but %d stored + %d rejected + %d dropped + %d pending = %d",
			st.Received, st.Stored, st.RejectedTotal(), st.DroppedTotal(), st.Pending, sum)
	}
}

// The helpers that the tests within package sink use too.
const (
	patience     = sink.Patience
	runA         = sink.RunA
	runB         = sink.RunB
	storeSilence = sink.StoreSilence
)

var (
	eventually    = sink.Eventually
	startBroker   = sink.StartBroker
	startBrokerAt = sink.StartBrokerAt
	dial          = sink.Dial
	newRun        = sink.NewRun
)

func publish(t *testing.T, nc *nats.Conn, subject string, data []byte) {
	t.Helper()
	if err := nc.Publish(subject, data); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
}

// plainEvent is what another language might send.
func plainEvent(system string, n int) string {
	return fmt.Sprintf(`{"kind":"event","system_id":%q,"actor_address":{"system":%q,"actor_id":%d},"event_type":"ActorStarted","payload":{},"timestamp":1700000000.5}`, system, system, n)
}

// sinkReports parses the SinkReports among lines and fails on any line that is
// not sealed and numbered without a gap.
func sinkReports(t *testing.T, lines []string) (reports []papyra.SinkReport) {
	t.Helper()
	for i, l := range lines {
		rec, err := papyra.Parse([]byte(l))
		if err != nil || !rec.Sealed || rec.Kind != papyra.KindReport || string(rec.System) != papyra.SystemReserved {
			t.Fatalf("report %s: %v, sealed %v", l, err, rec.Sealed)
		}
		if rec.Seq != uint64(i+1) {
			t.Errorf("report %d has number %d", i+1, rec.Seq)
		}
		if string(rec.Type) != papyra.ReportSink {
			continue
		}
		var r papyra.SinkReport
		if err := json.Unmarshal(rec.Payload, &r); err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	return reports
}

// startServerWithUsers starts a server whose configuration has these users and
// returns its URL.
func startServerWithUsers(t *testing.T, users string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte("listen: 127.0.0.1:-1\nauthorization: { users: ["+users+"] }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return natstest.Embedded(t, opts).ClientURL()
}

type syncBuffer = testkit.Buffer
