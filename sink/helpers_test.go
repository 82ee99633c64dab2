package sink_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
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
	"github.com/papyra/papyra/sink/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait in these tests, far beyond what it takes.
const patience = 20 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testkit.Await(t, what, ok)
}

func startBroker(t *testing.T) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func dial(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

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

// run seals events of one run.
type run struct {
	t      testing.TB
	id     *papyra.Identity
	system string
	seq    uint64
	enc    papyra.Encoder
}

func newRun(t testing.TB, system, name string) *run {
	id, err := papyra.NewIdentityRun("node-1", name)
	if err != nil {
		t.Fatal(err)
	}
	return &run{t: t, id: id, system: system}
}

func (r *run) event() []byte {
	r.seq++
	ev := papyra.Event{Actor: papyra.Address{ID: 42}, Type: papyra.ActorStarted}
	fields := []slog.Attr{slog.String("what", "something that an actor wants to remember"), slog.Int("n", int(r.seq))}
	if err := r.enc.Event(r.id, r.system, &ev, fields, time.Unix(1_700_000_000, 0)); err != nil {
		r.t.Fatal(err)
	}
	return r.enc.AppendLine(nil, r.seq)
}

// events returns n lines in one payload.
func (r *run) events(n int) []byte {
	var out []byte
	for range n {
		out = append(out, r.event()...)
	}
	return out
}

const (
	runA = "aaaaaaaaaaaaaaaa"
	runB = "bbbbbbbbbbbbbbbb"
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

func startBrokerAt(t *testing.T, addr string) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Config{Listen: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
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

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func hex8(v uint32) string { return fmt.Sprintf("%08x", v) }
