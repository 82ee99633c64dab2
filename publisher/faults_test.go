package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
)

// steadyLoad is eight goroutines that record at a steady rate and time every call.
type steadyLoad struct {
	stop    chan struct{}
	wg      sync.WaitGroup
	calls   atomic.Uint64
	slowest atomic.Int64
	ends    sync.Once
}

const loadGoroutines = 8

// startLoad records so many events a second in all until endLoad.
func startLoad(t *testing.T, p *Publisher, rate int) *steadyLoad {
	l := &steadyLoad{stop: make(chan struct{})}
	const every = 2 * time.Millisecond
	burst := max(rate*int(every)/int(time.Second)/loadGoroutines, 1)
	for g := range loadGoroutines {
		l.wg.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-l.stop:
					return
				case <-tick.C:
				}
				for i := range burst {
					begin := time.Now()
					p.Event(papyra.Event{Actor: papyra.Address{ID: int64(g)}, Type: "T"}, slog.Int("i", i), slog.String("s", "text"))
					took := int64(time.Since(begin))
					for old := l.slowest.Load(); took > old && !l.slowest.CompareAndSwap(old, took); old = l.slowest.Load() {
					}
				}
				l.calls.Add(uint64(burst))
			}
		})
	}
	t.Cleanup(func() { l.endLoad(t) })
	return l
}

// endLoad stops recording and checks what must hold whatever the broker did: no
// call waited for it. A broker that blocks a call does so for two seconds or more.
// The bound lies below that, and far above what the scheduler of a busy machine
// does.
func (l *steadyLoad) endLoad(t *testing.T) {
	t.Helper()
	l.ends.Do(func() {
		close(l.stop)
		l.wg.Wait()
		slowest := time.Duration(l.slowest.Load())
		t.Logf("%d calls, the slowest took %v", l.calls.Load(), slowest)
		if slowest > time.Second {
			t.Errorf("the slowest call took %v: something held it up", slowest)
		}
	})
}

// fastReconnect keeps tests short.
var fastReconnect = nats.CustomReconnectDelay(func(int) time.Duration { return 10 * time.Millisecond })

// settledStats waits until nothing is buffered, and checks that every call is
// counted, either as confirmed or as dropped.
func settledStats(t *testing.T, p *Publisher, calls uint64) Stats {
	t.Helper()
	await(t, "nothing is buffered", func() bool {
		s := p.Stats()
		balanced(t, s)
		return s.Events.Buffered == 0
	})
	s := p.Stats()
	if s.Events.Accepted != calls {
		t.Errorf("got %d accepted, want %d calls", s.Events.Accepted, calls)
	}
	if s.Events.Accepted != s.Events.Confirmed+s.Events.Dropped() {
		t.Errorf("does not add up: %+v", s.Events)
	}
	return s
}

// noneLost fails the test unless exactly the dropped records are missing.
func noneLost(t *testing.T, s Stats, r *receiver) {
	t.Helper()
	await(t, "everything confirmed arrives", func() bool {
		return uint64(r.got(papyra.KindEvent)) >= s.Events.Confirmed
	})
	if missing := uint64(len(r.missing(papyra.KindEvent, s.Events.Accepted))); missing != s.Events.Dropped() {
		t.Errorf("%d records are missing, want the %d that were dropped", missing, s.Events.Dropped())
	}
	t.Logf("confirmed %d, sent again %d, stored twice %d, dropped %d",
		s.Events.Confirmed, s.Events.Resent, r.duplicates(papyra.KindEvent), s.Events.Dropped())
}

// The broker is stopped in the middle of 100,000 records a second. No call
// notices; the buffer fills, the rest is dropped and counted, and when the
// broker goes on nothing else is lost.
func TestBrokerStopped(t *testing.T) {
	stopped, buffer := 2*time.Second, 8<<20
	if long {
		stopped, buffer = 10*time.Second, 16<<20
	}
	b := newBroker(t, "")
	r := newReceiver(t, b.url())
	// A call that touched the connection would hang as long as the broker is stopped.
	p := connect(t, b.url(), Config{
		Buffers: Buffers{Events: buffer},
		NATS:    []nats.Option{nats.FlusherTimeout(5 * time.Second), fastReconnect},
	})
	l := startLoad(t, p, 100_000)
	await(t, "records flow", func() bool { return p.Stats().Events.Confirmed > 5000 })
	b.stopped()
	before := p.Stats()
	time.Sleep(stopped) // the fault itself, not a wait for something
	during := p.Stats()
	b.resumed()
	if during.Events.BufferBytes > buffer {
		t.Errorf("got %d bytes held, want at most %d", during.Events.BufferBytes, buffer)
	}
	if during.Events.Accepted-before.Events.Accepted < 5000*uint64(stopped/time.Second) {
		t.Errorf("only %d records were taken while the broker was stopped", during.Events.Accepted-before.Events.Accepted)
	}
	await(t, "records flow again", func() bool { return p.Stats().Events.Confirmed > during.Events.Confirmed+1000 })
	l.endLoad(t)
	s := settledStats(t, p, l.calls.Load())
	noneLost(t, s, r)
	if s.Events.DroppedQueueFull == 0 || s.Events.Dropped() != s.Events.DroppedQueueFull {
		t.Errorf("got %+v, want records dropped as queue_full and for no other reason", s.Events)
	}
}

// Close keeps its deadline while a Publish is stuck in a write to a stopped
// broker. What was in that write is counted as unconfirmed, not as dropped.
func TestCloseKeepsItsDeadlineWhileTheBrokerIsStopped(t *testing.T) {
	b := newBroker(t, "")
	newReceiver(t, b.url())
	p := connect(t, b.url(), Config{NATS: []nats.Option{nats.FlusherTimeout(time.Minute)}})
	l := startLoad(t, p, 100_000)
	await(t, "records flow", func() bool { return p.Stats().Events.Confirmed > 5000 })
	b.stopped()
	defer b.resumed()
	await(t, "the buffer fills", func() bool { return p.Stats().Events.DroppedQueueFull > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := p.Close(ctx)
	took := time.Since(begin)
	l.endLoad(t)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "left behind") || took > 3*time.Second {
		t.Errorf("Close took %v and returned %v, want its deadline of 500ms kept and what was left behind", took, err)
	}
	s := p.Stats()
	balanced(t, s)
	if s.Events.Unconfirmed == 0 || s.Events.DroppedClosed == 0 || s.Events.Buffered != 0 {
		t.Errorf("got %+v, want some unconfirmed and the rest dropped as closed", s.Events)
	}
	if s.Events.Accepted+s.Events.Refused != l.calls.Load() {
		t.Errorf("got %d accepted and %d refused, want %d calls", s.Events.Accepted, s.Events.Refused, l.calls.Load())
	}
}

// When the only broker is killed and started again, only what it had queued can be
// lost.
func TestBrokerKilledAndRestarted(t *testing.T) {
	b := newBroker(t, "")
	r := newReceiver(t, b.url())
	p := connect(t, b.url(), Config{NATS: []nats.Option{fastReconnect}})
	l := startLoad(t, p, 50_000)
	await(t, "records flow", func() bool { return p.Stats().Events.Confirmed > 5000 })
	b.kill()
	await(t, "the loss is noticed", func() bool { return !p.Stats().Connected })
	s := p.Stats()
	confirmed := s.Events.Confirmed // by the server that died; nothing was dropped, so these are the first
	if s.Events.Dropped() != 0 {
		t.Fatalf("got %+v, want nothing dropped", s.Events)
	}
	b.start()
	await(t, "records flow again", func() bool { return p.Stats().Events.Confirmed > confirmed+5000 })
	l.endLoad(t)
	s = settledStats(t, p, l.calls.Load())
	if s.Events.Dropped() != 0 {
		t.Errorf("got %+v, want nothing dropped", s.Events)
	}
	// Numbers are confirmed in their order here, so that all a dying server can
	// have taken with it are numbers up to confirmed.
	await(t, "everything else arrives", func() bool {
		missing := r.missing(papyra.KindEvent, s.Events.Accepted)
		return len(missing) == 0 || missing[len(missing)-1] <= confirmed
	})
	if s.Errors.Disconnects == 0 || s.Errors.Reconnects == 0 {
		t.Errorf("got %+v, want the disconnection counted", s.Errors)
	}
	t.Logf("the dying server had %d of %d", len(r.missing(papyra.KindEvent, s.Events.Accepted)), confirmed)
}

// The connection is cut again and again. The server lives, so nothing is lost.
func TestConnectionFlaps(t *testing.T) {
	b := embeddedFor(t)
	r := newReceiver(t, b.ClientURL())
	proxy := testkit.NewProxy(t, b.Addr().String())
	p := connect(t, "nats://"+proxy.Addr(), Config{NATS: []nats.Option{fastReconnect}, ReportEvery: 50 * time.Millisecond})
	l := startLoad(t, p, 20_000)
	random := rand.New(rand.NewPCG(3, 4))
	cuts := 15
	if long {
		cuts = 200
	}
	for range cuts {
		n := p.Stats().Events.Confirmed
		await(t, "records flow", func() bool { return p.Stats().Events.Confirmed > n+500 })
		switch random.IntN(3) {
		case 0: // what is on its way disappears first
			proxy.Swallow(true)
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		case 1: // partitioned for a while
			proxy.Refuse(true)
		}
		proxy.CutAll()
		proxy.Swallow(false)
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		proxy.Refuse(false)
	}
	l.endLoad(t)
	s := settledStats(t, p, l.calls.Load())
	noneLost(t, s, r)
	if s.Events.Dropped() != 0 || s.Events.Resent == 0 {
		t.Errorf("got %+v, want nothing dropped and some sent again", s.Events)
	}
	await(t, "the reports tell the outages", func() bool {
		ended := 0
		for _, report := range r.allReports() {
			for _, o := range report.Outages {
				if o.To >= o.From && o.From > 0 {
					ended++
				}
			}
		}
		return ended >= 3
	})
}

// If the link is slower than the load, the bounds hold, and little is sent again.
func TestSlowBroker(t *testing.T) {
	b := embeddedFor(t)
	r := newReceiver(t, b.ClientURL())
	proxy := testkit.NewProxy(t, b.Addr().String())
	proxy.Rate(2 << 20)
	p := connect(t, "nats://"+proxy.Addr(), Config{Buffers: Buffers{Events: 1 << 20}})
	l := startLoad(t, p, 50_000)
	await(t, "the buffer fills", func() bool { return p.Stats().Events.DroppedQueueFull > 1000 })
	if held := p.Stats().Events.BufferBytes; held > 1<<20 {
		t.Errorf("got %d bytes held, want at most %d", held, 1<<20)
	}
	n := p.Stats().Events.Confirmed
	await(t, "it goes on at the link's pace", func() bool { return p.Stats().Events.Confirmed > n+5000 })
	l.endLoad(t)
	s := settledStats(t, p, l.calls.Load())
	noneLost(t, s, r)
	if s.Events.Resent > s.Events.Confirmed/10 {
		t.Errorf("got %d of %d records sent again over a link that is only slow", s.Events.Resent, s.Events.Confirmed)
	}
}

// A login is revoked by a reload of the configuration and restored later.
func TestLoginRevoked(t *testing.T) {
	const revoked = `authorization { users = [ {user: pub, password: other}, {user: sink, password: sink} ] }`
	b := newBroker(t, allAllowed)
	r := newReceiver(t, b.url(), nats.UserInfo("sink", "sink"))
	p := connect(t, b.url(), Config{NATS: []nats.Option{nats.UserInfo("pub", "pub"), fastReconnect}})
	l := startLoad(t, p, 10_000)
	await(t, "records flow", func() bool { return p.Stats().Events.Confirmed > 1000 })
	b.reload(revoked)
	await(t, "the refusals are counted, again and again", func() bool { return p.Stats().Errors.Auth >= 5 })
	if s := p.Stats(); s.Connected {
		t.Error("got Connected with a revoked login")
	}
	b.reload(allAllowed)
	n := p.Stats().Events.Confirmed
	await(t, "records flow again", func() bool { return p.Stats().Events.Confirmed > n+1000 })
	l.endLoad(t)
	s := settledStats(t, p, l.calls.Load())
	noneLost(t, s, r)
	if s.Events.Dropped() != 0 {
		t.Errorf("got %+v, want nothing dropped", s.Events)
	}
}

// A login that never worked is tried for ever, and works after the fix.
func TestLoginWrongFromTheStart(t *testing.T) {
	b := newBroker(t, `authorization { users = [ {user: pub, password: other}, {user: sink, password: sink} ] }`)
	r := newReceiver(t, b.url(), nats.UserInfo("sink", "sink"))
	p := connect(t, b.url(), Config{NATS: []nats.Option{nats.UserInfo("pub", "pub"), fastReconnect}})
	p.Started(someActor)
	await(t, "the refusal is counted", func() bool { return p.Stats().Errors.Auth > 0 })
	b.reload(allAllowed)
	await(t, "the record is confirmed", func() bool { return p.Stats().Events.Confirmed == 1 })
	await(t, "the record arrives", func() bool { return r.got(papyra.KindEvent) == 1 })
}

// max_payload is lowered by a reload. The server tells no client and ends the
// connection of the first that sends more; nats.go then gives up for good.
func TestMaxPayloadLowered(t *testing.T) {
	b := newBroker(t, "max_payload: 1MB")
	r := newReceiver(t, b.url())
	p := connect(t, b.url(), Config{NATS: []nats.Option{fastReconnect}})
	big := strings.Repeat("x", 5000)
	p.Started(someActor, slog.String("big", big))
	await(t, "a large record is confirmed", func() bool { return p.Stats().Events.Confirmed == 1 })
	b.reload("max_payload: 4000")
	// The reload has happened when a fresh connection is told the new limit.
	await(t, "the limit is lowered", func() bool {
		nc, err := nats.Connect(b.url())
		if err != nil {
			return false
		}
		defer nc.Close()
		return nc.MaxPayload() == 4000
	})
	const small = 1000
	for i := range small {
		p.Started(someActor, slog.Int("i", i))
		if i%100 == 0 {
			p.Started(someActor, slog.String("big", big))
		}
	}
	await(t, "everything is settled", func() bool { return p.Stats().Events.Buffered == 0 })
	s := p.Stats()
	balanced(t, s)
	if s.Events.Confirmed != small+1 || s.Events.DroppedTooLarge != small/100 || s.Events.Dropped() != small/100 {
		t.Errorf("got %+v, want %d confirmed and %d dropped as too large", s.Events, small+1, small/100)
	}
	noneLost(t, s, r)
	if s.Errors.Disconnects == 0 {
		t.Error("the server never ended the connection: the test shows nothing")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, size := range r.sizes[1:] {
		if size > 4000 {
			t.Fatalf("got a message of %d bytes, want at most 4000", size)
		}
	}
}

// A publisher that starts before any broker, and long before any sink, loses
// nothing while its buffer lasts.
func TestStartedBeforeAnyBroker(t *testing.T) {
	b := newBroker(t, "")
	b.kill()
	p := connect(t, b.url(), Config{NATS: []nats.Option{fastReconnect}})
	const n = 20_000
	for range n {
		p.Started(someActor)
	}
	await(t, "failed attempts are counted", func() bool { return p.Stats().Errors.Connect > 3 })
	b.start()
	await(t, "nobody is found to listen", func() bool { return p.Stats().Events.Hold == HoldUnheard })
	r := newReceiver(t, b.url())
	await(t, "everything is confirmed", func() bool { return p.Stats().Events.Confirmed == n })
	await(t, "everything arrives", func() bool { return len(r.missing(papyra.KindEvent, n)) == 0 })
	if d := p.Stats().Events.Dropped(); d != 0 {
		t.Errorf("got %d dropped, want none", d)
	}
}

// When a cluster of three loses the node that the publisher is connected to, only
// what that node had queued can be lost.
func TestClusterLosesItsNode(t *testing.T) {
	nodes := newCluster(t, 3)
	r := newReceiver(t, nodes[2].ClientURL())
	await(t, "the interest has spread", func() bool {
		return nodes[0].NumSubscriptions() > 0 && nodes[1].NumSubscriptions() > 0
	})
	p := connect(t, nodes[0].ClientURL(), Config{NATS: []nats.Option{fastReconnect}})
	l := startLoad(t, p, 20_000)
	await(t, "records flow", func() bool { return p.Stats().Events.Confirmed > 2000 })
	nodes[0].Shutdown()
	nodes[0].WaitForShutdown()
	await(t, "the loss is noticed", func() bool { return p.Stats().Errors.Disconnects > 0 })
	n := p.Stats().Events.Confirmed
	await(t, "records flow through another node", func() bool { return p.Stats().Events.Confirmed > n+2000 })
	l.endLoad(t)
	s := settledStats(t, p, l.calls.Load())
	if s.Events.Dropped() != 0 {
		t.Errorf("got %+v, want nothing dropped", s.Events)
	}
	await(t, "everything else arrives", func() bool {
		missing := r.missing(papyra.KindEvent, s.Events.Accepted)
		return len(missing) == 0 || missing[len(missing)-1] <= n
	})
	t.Logf("the node had %d", len(r.missing(papyra.KindEvent, s.Events.Accepted)))
}

func newCluster(t *testing.T, n int) (nodes []*server.Server) {
	t.Helper()
	var routes []*url.URL
	for i := range n {
		s := embedded(t, &server.Options{
			ServerName: fmt.Sprintf("n%d", i),
			Cluster:    server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1},
			Routes:     routes,
		})
		if i == 0 {
			routes = []*url.URL{{Scheme: "nats-route", Host: s.ClusterAddr().String()}}
		}
		nodes = append(nodes, s)
	}
	await(t, "the cluster is whole", func() bool {
		for _, s := range nodes {
			if s.NumRoutes() < n-1 {
				return false
			}
		}
		return true
	})
	return nodes
}

// While the broker is stopped, a burst of records keeps the bound of the memory,
// and the numbers are exact.
func TestBurstAgainstAStoppedBroker(t *testing.T) {
	n := 300_000
	if long {
		n = 10_000_000
	}
	b := newBroker(t, "")
	newReceiver(t, b.url())
	p := connect(t, b.url(), Config{})
	p.Started(someActor)
	await(t, "publisher is connected", func() bool { return p.Stats().Events.Confirmed == 1 })
	b.stopped()
	before := heapInUse()
	var wg sync.WaitGroup
	for range loadGoroutines {
		wg.Go(func() {
			for i := range n / loadGoroutines {
				p.Started(someActor, slog.Int("i", i), slog.String("some", "text of a usual length"))
			}
		})
	}
	wg.Wait()
	grown := heapInUse() - before
	s := p.Stats()
	b.resumed()
	balanced(t, s)
	if s.Events.Accepted != uint64(n/loadGoroutines*loadGoroutines)+1 {
		t.Errorf("got %d accepted, want %d", s.Events.Accepted, n+1)
	}
	t.Logf("the heap grew by %d bytes, %d records dropped", grown, s.Events.DroppedQueueFull)
	if bound := int64(16<<20) * 12 / 10; grown > bound || s.Events.BufferBytes > 16<<20 {
		t.Errorf("the heap grew by %d bytes and %d are held, want at most %d", grown, s.Events.BufferBytes, bound)
	}
	if s.Events.DroppedQueueFull == 0 {
		t.Error("the buffer never filled: the test shows nothing")
	}
}
