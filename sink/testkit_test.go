package sink

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink/broker"
)

// These helpers are exported so that the tests of package sink_test use the same.

const (
	// Patience bounds every wait in these tests, far beyond what it takes.
	Patience = 20 * time.Second

	// RunA and RunB name runs.
	RunA = "aaaaaaaaaaaaaaaa"
	RunB = "bbbbbbbbbbbbbbbb"

	// StoreSilence is how long a store may be silent while the sink is ready.
	StoreSilence = storeSilence
)

var testTime = time.Unix(1_700_000_000, 123_456_000)

// testSink returns a sink without a store, which does not run.
func testSink(tb testing.TB, c Config) *Sink {
	tb.Helper()
	c.Instance = "test"
	s, err := New(c, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// AgeStoreCall makes the call to the store that has not returned older.
func (s *Sink) AgeStoreCall(by time.Duration) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.health.askedAt = s.health.askedAt.Add(-by)
}

// Eventually waits until ok says yes.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testkit.Await(t, what, ok)
}

// StartBroker starts a server on a free port.
func StartBroker(tb testing.TB) *broker.Broker {
	tb.Helper()
	return StartBrokerAt(tb, "127.0.0.1:0")
}

// StartBrokerAt starts a server that listens on addr.
func StartBrokerAt(tb testing.TB, addr string) *broker.Broker {
	tb.Helper()
	b, err := broker.Start(broker.Config{Listen: addr})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Close)
	return b
}

// Dial connects a client.
func Dial(tb testing.TB, url string) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// Run seals the events of one run.
type Run struct {
	tb     testing.TB
	id     *papyra.Identity
	system string
	seq    uint64
	enc    papyra.Encoder
}

// NewRun returns a run of a system.
func NewRun(tb testing.TB, system, name string) *Run {
	tb.Helper()
	id, err := papyra.NewIdentityRun("node-1", name)
	if err != nil {
		tb.Fatal(err)
	}
	return &Run{tb: tb, id: id, system: system}
}

// Event returns the next line, with its newline.
func (r *Run) Event() []byte {
	r.tb.Helper()
	r.seq++
	ev := papyra.Event{Actor: papyra.Address{ID: 42}, Type: papyra.ActorStarted}
	fields := []slog.Attr{slog.String("what", "something that an actor wants to remember"), slog.Int("n", int(r.seq))}
	if err := r.enc.Event(r.id, r.system, &ev, fields, time.Unix(1_700_000_000, 0)); err != nil {
		r.tb.Fatal(err)
	}
	return r.enc.AppendLine(nil, r.seq)
}

// Events returns n lines in one payload.
func (r *Run) Events(n int) []byte {
	r.tb.Helper()
	var out []byte
	for range n {
		out = append(out, r.Event()...)
	}
	return out
}

// LargeMessage returns lines of at least size bytes together, and their number.
func LargeMessage(tb testing.TB, size int) (message []byte, lines int) {
	tb.Helper()
	for r := NewRun(tb, "orders", RunA); len(message) < size; lines++ {
		message = append(message, r.Event()...)
	}
	return message, lines
}

// AnswerWithin says how long publishers wait for the store.
func (s *Sink) AnswerWithin(d time.Duration) {
	s.buffer.mu.Lock()
	s.buffer.heard.within = d
	s.buffer.mu.Unlock()
	s.buffer.heard.wakeUp()
}

// AgeRefusal lets the server's last refusal of an answer be longer ago.
func (s *Sink) AgeRefusal(by time.Duration) {
	if r := s.answers.refused.Load(); r != nil {
		s.answers.refused.Store(&refusal{r.err, r.at.Add(-by)})
	}
}
