package publisher

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
)

// Each test here is for one condition of the confirmation. Without that condition
// it finds records that count as confirmed and did not arrive.

// stepped makes a publisher without a background. The test calls the sender's
// steps itself.
func stepped(t *testing.T, url string, c Config) *sender {
	t.Helper()
	c.System = "orders"
	p, err := newPublisher(url, c)
	if err != nil {
		t.Fatal(err)
	}
	go p.notices.run()
	t.Cleanup(func() {
		p.link.closeConnection()
		p.notices.close()
		<-p.notices.done
	})
	return p.sender
}

// readySocket waits until the publisher is connected.
func readySocket(t *testing.T, s *sender) (socket *socket) {
	t.Helper()
	await(t, "publisher is connected", func() bool {
		socket = s.link.readySocket(context.Background())
		return socket != nil
	})
	s.readMessageLimit()
	return socket
}

// A flush that begins while nats.go reconnects is answered by the new connection,
// but the messages were lost with the old one.
func TestFlushBegunWhileReconnectingConfirmsNothing(t *testing.T) {
	b := embeddedFor(t)
	r := newReceiver(t, b.ClientURL())
	proxy := testkit.NewProxy(t, b.Addr().String())
	s := stepped(t, "nats://"+proxy.Addr(), Config{})
	socket := readySocket(t, s)
	s.p.Started(someActor)
	if !s.collectWindow(time.Now()) {
		t.Fatal("collect found nothing")
	}
	proxy.Swallow(true)
	mark := s.link.beginWindow()
	if !s.publishWindow(time.Now()) {
		t.Fatal("publish failed on a good connection")
	}
	proxy.CutAll()
	await(t, "publisher reconnects", s.link.nc.IsReconnecting)
	proxy.Swallow(false)
	if s.proveWindow(t.Context(), socket, mark) {
		t.Error("a flush that began while reconnecting confirmed messages of the old connection")
	}
	await(t, "publisher is connected again", s.link.nc.IsConnected)
	s.settleWindow(false, nil)
	if n := r.got(papyra.KindEvent); n != 0 {
		t.Fatalf("got %d records through a swallowing proxy: the test shows nothing", n)
	}
	await(t, "the record is confirmed", func() bool {
		s.sendWindow(t.Context())
		return s.p.Stats().Events.Confirmed == 1
	})
	await(t, "the record arrives", func() bool { return r.got(papyra.KindEvent) == 1 })
	got := s.p.Stats().Events
	if got.Confirmed != 1 || got.Resent != 1 {
		t.Errorf("got %+v, want one confirmed and sent again", got)
	}
}

// When a write times out before its first byte, nats.go throws away what was
// pending, and its status may stay connected.
func TestTimedOutWritesLoseNothing(t *testing.T) {
	b := embeddedFor(t)
	r := newReceiver(t, b.ClientURL())
	faults := &faultyDialer{random: rand.New(rand.NewPCG(1, 2))}
	p := connect(t, b.ClientURL(), Config{NATS: []nats.Option{
		nats.SetCustomDialer(faults),
		nats.PingInterval(5 * time.Millisecond), // a later answer is soon taken for the lost one
		nats.MaxPingsOutstanding(100),
		nats.CustomReconnectDelay(func(int) time.Duration { return time.Millisecond }),
	}})
	big := strings.Repeat("x", 40<<10) // written by Publish itself, not by the flusher
	n := uint64(0)
	for round := range 60 {
		faults.arm(1 + round%2)
		for range 3 {
			p.Started(someActor)
		}
		p.Started(someActor, slog.String("big", big))
		n += 4
		await(t, "records are confirmed", func() bool { return p.Stats().Events.Confirmed == n })
		await(t, "confirmed records arrive", func() bool { return len(r.missing(papyra.KindEvent, n)) == 0 })
	}
	if got := p.Stats(); got.Errors.Write == 0 || got.Events.Resent == 0 {
		t.Errorf("got %+v and %d sent again, want write errors: the test shows nothing", got.Errors, got.Events.Resent)
	}
}

// faultyDialer makes connections whose writes time out as often as arm says.
type faultyDialer struct {
	mu     sync.Mutex
	random *rand.Rand
	armed  int
	wait   int
}

func (d *faultyDialer) arm(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed, d.wait = n, d.random.IntN(3)
}

func (d *faultyDialer) fails() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.armed == 0 {
		return false
	}
	if d.wait > 0 {
		d.wait--
		return false
	}
	d.armed--
	return true
}

func (d *faultyDialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &faultyConn{c, d}, nil
}

type faultyConn struct {
	net.Conn
	dialer *faultyDialer
}

func (c *faultyConn) Write(p []byte) (int, error) {
	if c.dialer.fails() {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Write(p)
}

const lettersDenied = `authorization { users = [ {user: pub, password: pub, permissions: {
	publish: {deny: "papyra.v1.records.orders.dead_letters"}}}, {user: sink, password: sink} ] }`

const allAllowed = `authorization { users = [ {user: pub, password: pub}, {user: sink, password: sink} ] }`

// A refused publish shows only in an error that comes before the answer. It makes
// its own category wait until it is permitted, and no other one.
func TestRefusedPublishIsNotConfirmed(t *testing.T) {
	b := newBroker(t, lettersDenied)
	r := newReceiver(t, b.url(), nats.UserInfo("sink", "sink"))
	p := connect(t, b.url(), Config{NATS: []nats.Option{nats.UserInfo("pub", "pub")}})
	for range 100 {
		p.DeadLetter(papyra.DeadLetter{MessageType: "M"})
		p.Started(someActor)
	}
	await(t, "the refusal is found", func() bool { return p.Stats().DeadLetters.Hold == HoldDenied })
	for range 100 {
		p.Started(someActor)
	}
	await(t, "the other category goes on", func() bool { return p.Stats().Events.Confirmed == 200 })
	s := p.Stats()
	if l := s.DeadLetters; l.Confirmed != 0 || l.Buffered != 100 || l.Denied == 0 || s.Errors.Permission == 0 {
		t.Errorf("got %+v and %+v, want all dead letters buffered and the refusals counted", l, s.Errors)
	}
	b.reload(allAllowed)
	await(t, "permitted records are sent", func() bool { return p.Stats().DeadLetters.Confirmed == 100 })
	await(t, "they arrive", func() bool { return len(r.missing(papyra.KindDeadLetter, 100)) == 0 })
	if hold := p.Stats().DeadLetters.Hold; hold != HoldNone {
		t.Errorf("got hold %q, want none", hold)
	}
}

// The callback with the error may run long after the answer to the flush came.
func TestRefusalWhoseCallbackIsLateIsNotConfirmed(t *testing.T) {
	b := newBroker(t, lettersDenied)
	newReceiver(t, b.url(), nats.UserInfo("sink", "sink"))
	s := stepped(t, b.url(), Config{NATS: []nats.Option{nats.UserInfo("pub", "pub")}})
	callback := s.link.options.AsyncErrorCB
	s.link.options.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
		time.Sleep(100 * time.Millisecond) // the fault itself, not a wait for something
		callback(nc, sub, err)
	}
	readySocket(t, s)
	s.p.DeadLetter(papyra.DeadLetter{})
	s.sendWindow(t.Context())
	got := s.p.Stats().DeadLetters
	if got.Confirmed != 0 || got.Denied != 1 || got.Hold != HoldDenied {
		t.Errorf("got %+v, want the record denied", got)
	}
}

// The broker answers a flush also when nobody takes the records.
func TestRecordsThatNobodyHearsStay(t *testing.T) {
	b := embeddedFor(t)
	p := connect(t, b.ClientURL(), Config{})
	for range 500 {
		p.Started(someActor)
	}
	p.Audit(papyra.Audit{})
	await(t, "nobody is found to listen", func() bool {
		s := p.Stats()
		return s.Events.Hold == HoldUnheard && s.Audits.Hold == HoldUnheard
	})
	s := p.Stats()
	if s.Events.Confirmed != 0 || s.Events.Buffered != 500 || s.Events.Unheard == 0 {
		t.Errorf("got %+v, want 500 buffered", s.Events)
	}
	r := newReceiver(t, b.ClientURL())
	await(t, "a sink gets them", func() bool { return p.Stats().Events.Confirmed == 500 && p.Stats().Audits.Confirmed == 1 })
	await(t, "they arrive", func() bool { return r.got(papyra.KindEvent) == 500 })
	if s = p.Stats(); s.Events.Hold != HoldNone {
		t.Errorf("got hold %q, want none", s.Events.Hold)
	}
	// The sink leaves while records flow, and later another one comes.
	if err := r.nc.Drain(); err != nil {
		t.Fatal(err)
	}
	await(t, "its absence is found", func() bool {
		p.Started(someActor)
		return p.Stats().Events.Hold == HoldUnheard
	})
	second := newReceiver(t, b.ClientURL())
	await(t, "another sink gets the rest", func() bool { return p.Stats().Events.Buffered == 0 })
	await(t, "no record is lost between the two", func() bool {
		return covers(r, second, p.Stats().Events.Accepted)
	})
}

// covers reports whether every number came to one of two receivers.
func covers(a, b *receiver, last uint64) bool {
	missing := a.missing(papyra.KindEvent, last)
	return !slices.ContainsFunc(b.missing(papyra.KindEvent, last), func(seq uint64) bool {
		return slices.Contains(missing, seq)
	})
}

// When a 503 may have been thrown away, its absence proves nothing.
func TestLostNoRespondersAnswersConfirmNothing(t *testing.T) {
	b := embeddedFor(t)
	s := stepped(t, b.ClientURL(), Config{})
	s.link.ears.replies = make(chan *nats.Msg, 1)
	readySocket(t, s)
	ears := s.link.ears // reads nothing while the fence cannot pass
	ears.replies <- ears.fence
	ears.replies <- ears.fence
	big := strings.Repeat("x", 15<<10)
	for range 8 { // a message each
		s.p.Started(someActor, slog.String("big", big))
	}
	go func() {
		for dropped := 0; dropped == 0; {
			dropped, _ = s.link.sub.Dropped()
			time.Sleep(time.Millisecond)
		}
		<-ears.passed
		<-ears.passed
	}()
	s.sendWindow(t.Context())
	if got := s.p.Stats().Events; got.Confirmed != 0 {
		t.Errorf("got %+v, want nothing confirmed", got)
	}
	await(t, "the loss is counted", func() bool { return s.p.Stats().Errors.Other > 0 })
}

// A login that may not subscribe to its inbox never hears that nobody listens.
// Then the answer alone confirms, and Stats says so; nothing is sent twice.
func TestInboxThatIsRefused(t *testing.T) {
	b := newBroker(t, `authorization { users = [ {user: pub, password: pub, permissions: {
		subscribe: {deny: ["_INBOX.>", "papyra.v1.heard.>"]}}}, {user: sink, password: sink} ] }`)
	r := newReceiver(t, b.url(), nats.UserInfo("sink", "sink"))
	p := connect(t, b.url(), Config{NATS: []nats.Option{nats.UserInfo("pub", "pub")}})
	for range 100 {
		p.Started(someActor)
	}
	await(t, "records are confirmed", func() bool { return p.Stats().Events.Confirmed == 100 })
	await(t, "records arrive", func() bool { return r.got(papyra.KindEvent) == 100 })
	s := p.Stats()
	if !s.RepliesRefused || s.Errors.Permission == 0 || s.Events.Resent != 0 {
		t.Errorf("got %+v, want refused replies shown and nothing sent again", s)
	}
}

// If the inbox is refused within a window, a 503 may be missing.
func TestInboxRefusedWithinAWindowConfirmsNothing(t *testing.T) {
	b := embeddedFor(t)
	newReceiver(t, b.ClientURL())
	s := stepped(t, b.ClientURL(), Config{})
	socket := readySocket(t, s)
	s.p.Started(someActor)
	s.collectWindow(time.Now())
	mark := s.link.beginWindow()
	s.publishWindow(time.Now())
	s.link.noteError("", refusal("Subscription to \""+s.link.inbox+"*\""))
	if s.proveWindow(t.Context(), socket, mark) {
		t.Error("a window in which the inbox was refused was confirmed")
	}
}

// A chunk of which only the beginning was handed over is not confirmed.
func TestPartlyHandedOverChunkIsNotConfirmed(t *testing.T) {
	b := embedded(t, &server.Options{MaxPayload: 3000})
	r := newReceiver(t, b.ClientURL())
	s := stepped(t, b.ClientURL(), Config{})
	socket := readySocket(t, s)
	for _, size := range []int{100, 2000, 2000} {
		s.p.Started(someActor, slog.String("x", strings.Repeat("x", size)))
	}
	// The records are in two chunks. Make them one that is longer than the broker's
	// limit, as if the limit had been higher before.
	s.collectWindow(time.Now())
	if n := len(s.entries); n != 2 {
		t.Fatalf("got %d chunks, want 2", n)
	}
	first, second := s.entries[0].chunk, s.entries[1].chunk
	first.buf = append(first.buf, second.buf...)
	first.records += second.records
	second.buf, second.records = second.buf[:0], 0
	s.messageLimit = chunkSize
	mark := s.link.beginWindow()
	if !s.publishWindow(time.Now()) || !s.proveWindow(t.Context(), socket, mark) {
		t.Fatal("what was handed over is not proven")
	}
	s.settleWindow(true, nil)
	if got := s.p.Stats().Events; got.Confirmed != 0 || got.Buffered != 3 {
		t.Fatalf("got %+v, want 3 records buffered", got)
	}
	await(t, "the whole is confirmed", func() bool {
		s.sendWindow(t.Context())
		return s.p.Stats().Events.Confirmed == 3
	})
	await(t, "it arrives", func() bool { return len(r.missing(papyra.KindEvent, 3)) == 0 })
}

type refusal string

func (r refusal) Error() string        { return "Permissions Violation for " + string(r) }
func (r refusal) Is(target error) bool { return target == nats.ErrPermissionViolation }
