package publisher

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"go.uber.org/goleak"
)

// long widens the tests that a short run only touches.
var long = testkit.Long()

func TestMain(m *testing.M) {
	natstest.Main()
	goleak.VerifyTestMain(m)
}

// broker is a NATS server in its own process.
type broker struct {
	*natstest.Server
	t *testing.T
}

// newBroker starts a server on a free port with further lines of configuration.
func newBroker(t *testing.T, config string) *broker {
	t.Helper()
	return &broker{natstest.Start(t, config), t}
}

func (b *broker) url() string     { return b.URL() }
func (b *broker) stopped()        { b.t.Helper(); b.must(b.Signal(syscall.SIGSTOP)) }
func (b *broker) resumed()        { b.t.Helper(); b.must(b.Signal(syscall.SIGCONT)) }
func (b *broker) reload(c string) { b.t.Helper(); b.must(b.Reload(c)) }
func (b *broker) start()          { b.t.Helper(); b.must(b.Start()) }
func (b *broker) kill()           { b.Kill() }

func (b *broker) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("the NATS server: %v", err)
	}
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	testkit.Await(t, what, cond)
}

// receiver is a sink that checks every line, counts every number and answers as group.
type receiver struct {
	group string // "" answers nothing

	t       *testing.T
	nc      *nats.Conn
	mu      sync.Mutex
	seqs    map[papyra.Kind][]int // how often each number came, from 1
	records map[papyra.Kind]int
	first   map[papyra.Kind][]string // some lines
	reports []papyra.PublisherReport
	sizes   []int // of messages
}

func newReceiver(t *testing.T, url string, options ...nats.Option) *receiver {
	t.Helper()
	r := &receiver{
		group:   "test",
		t:       t,
		seqs:    map[papyra.Kind][]int{},
		records: map[papyra.Kind]int{},
		first:   map[papyra.Kind][]string{},
	}
	options = append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, options...)
	nc, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	r.nc = nc
	t.Cleanup(nc.Close)
	r.subscribe()
	return r
}

func (r *receiver) subscribe() {
	r.t.Helper()
	sub, err := r.nc.Subscribe(papyra.SubjectAllRecords, r.take)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		r.t.Fatal(err)
	}
	if err := r.nc.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *receiver) take(m *nats.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stream, err := papyra.ParseRecordsSubject(m.Subject)
	if err != nil {
		r.t.Errorf("subject: %v", err)
		return
	}
	r.sizes = append(r.sizes, len(m.Data))
	r.answer(m)
	for line := range bytes.SplitSeq(bytes.TrimSuffix(m.Data, []byte("\n")), []byte("\n")) {
		rec, err := papyra.Parse(line)
		if err != nil || !rec.Sealed || rec.Stream() != stream {
			r.t.Errorf("line %.300q on %s: sealed %v, error %v", line, m.Subject, rec.Sealed, err)
			continue
		}
		r.records[rec.Kind]++
		for uint64(len(r.seqs[rec.Kind])) <= rec.Seq {
			r.seqs[rec.Kind] = append(r.seqs[rec.Kind], 0)
		}
		r.seqs[rec.Kind][rec.Seq]++
		if len(r.first[rec.Kind]) < 100 {
			r.first[rec.Kind] = append(r.first[rec.Kind], string(line))
		}
		if rec.Kind == papyra.KindReport {
			var p papyra.PublisherReport
			if err := json.Unmarshal(rec.Payload, &p); err != nil {
				r.t.Errorf("report %s: %v", rec.Payload, err)
			}
			r.reports = append(r.reports, p)
		}
	}
}

// answer answers a message as a sink does.
func (r *receiver) answer(m *nats.Msg) {
	if _, _, _, err := papyra.ParseHeardSubject(m.Reply); err != nil || r.group == "" {
		return
	}
	a := papyra.HeardAnswer{Group: r.group}
	for _, k := range papyra.Kinds() {
		a.Categories = append(a.Categories, k.Category())
	}
	_ = m.Respond(a.AppendJSON(nil)) // fails while there is no connection
}

// got returns how many different numbers of a kind came.
func (r *receiver) got(kind papyra.Kind) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, times := range r.seqs[kind] {
		if times > 0 {
			n++
		}
	}
	return n
}

// missing returns the numbers from 1 to last that did not come.
func (r *receiver) missing(kind papyra.Kind, last uint64) (list []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for seq := uint64(1); seq <= last; seq++ {
		if seq >= uint64(len(r.seqs[kind])) || r.seqs[kind][seq] == 0 {
			list = append(list, seq)
		}
	}
	return list
}

func (r *receiver) duplicates(kind papyra.Kind) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, times := range r.seqs[kind] {
		n += max(times-1, 0)
	}
	return n
}

func (r *receiver) lines(kind papyra.Kind) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.first[kind]...)
}

func (r *receiver) allReports() []papyra.PublisherReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]papyra.PublisherReport(nil), r.reports...)
}

// embeddedFor runs a server in this process.
func embeddedFor(t testing.TB) *server.Server { return embedded(t, &server.Options{}) }

// discard subscribes to everything and throws it away.
func discard(t testing.TB, url string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sub, err := nc.Subscribe(papyra.SubjectAllRecords, func(*nats.Msg) {})
	if err == nil {
		err = errors.Join(sub.SetPendingLimits(-1, -1), nc.Flush())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// embedded runs a server in this process with options.
func embedded(t testing.TB, opts *server.Options) *server.Server {
	t.Helper()
	return natstest.Embedded(t, opts)
}

// connect makes a publisher that the test closes at the latest at its end.
func connect(t *testing.T, url string, c Config) *Publisher {
	t.Helper()
	if c.System == "" {
		c.System = "orders"
	}
	p, err := Connect(url, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(p) })
	return p
}

// balanced fails the test unless every category's numbers add up.
func balanced(t *testing.T, s Stats) {
	t.Helper()
	for name, c := range map[string]CategoryStats{
		"events": s.Events, "dead letters": s.DeadLetters, "audits": s.Audits, "reports": s.Reports,
	} {
		if c.Accepted != c.Confirmed+c.Unconfirmed+c.Buffered+c.Dropped() {
			t.Errorf("%s do not add up: %+v", name, c)
		}
	}
}

var someActor = papyra.Address{ID: 42}

// newSilentListener accepts connections and never says a word.
func newSilentListener(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String() // the kernel accepts
}

// heapInUse returns the live heap after a collection.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
