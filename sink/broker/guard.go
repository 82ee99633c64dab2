package broker

import (
	"cmp"
	"log/slog"
	"net"
	"net/netip"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/papyra/papyra/internal/throttle"
)

const (
	guardEvery  = 20 * time.Millisecond
	restFactor  = 20 // of the time that a look at all clients took that were within the bounds
	longestRest = 100 * time.Millisecond
	// maxAllSubscriptions bounds the subscriptions of all clients of other processes.
	maxAllSubscriptions = 32 << 10
	heapMetric          = "/memory/classes/heap/objects:bytes"
)

// guard bounds what all clients of other processes take together. The server
// bounds only what waits for one client, so that some that do not read would take
// the sink's memory. The guard disconnects those with the most, so that no more
// waits for all of them than twice what may wait for one: an honest one that lags
// behind, such as another sink, is left to the server. The clients of this process are
// never disconnected.
type guard struct {
	srv     *server.Server
	waiting int64 // bytes that may wait for all
	log     *slog.Logger

	repeated throttle.Keyed // log lines, by what is too much
	heap     []metrics.Sample
	done     chan struct{}
	once     sync.Once
	ended    sync.WaitGroup
}

func startGuard(srv *server.Server, waiting int64, log *slog.Logger) *guard {
	g := &guard{srv: srv, waiting: waiting, log: log, repeated: throttle.Keyed{Every: logEvery}, heap: []metrics.Sample{{Name: heapMetric}}, done: make(chan struct{})}
	g.ended.Go(g.watch)
	return g
}

func (g *guard) stop() {
	g.once.Do(func() { close(g.done) })
	g.ended.Wait()
}

func (g *guard) watch() {
	ticker := time.NewTicker(guardEvery)
	defer ticker.Stop()
	var rest time.Time
	for {
		select {
		case now := <-ticker.C:
			if now.After(rest) && g.isSuspect() && !g.disconnectGreedy() {
				// Many clients take long to look at.
				rest = time.Now().Add(min(restFactor*time.Since(now), longestRest))
			}
		case <-g.done:
			return
		}
	}
}

// isSuspect reports whether the process holds so much that a bound may have been
// passed. It is cheap, so that it can be asked often.
func (g *guard) isSuspect() bool {
	metrics.Read(g.heap)
	return g.heap[0].Value.Uint64() > uint64(g.waiting) || g.srv.NumSubscriptions() > maxAllSubscriptions
}

// disconnectGreedy disconnects clients until what they hold together is within the
// bounds, and reports whether there was one to disconnect.
func (g *guard) disconnectGreedy() bool {
	list, err := g.srv.Connz(&server.ConnzOptions{State: server.ConnAll, Limit: 1 << 20})
	if err != nil {
		return false
	}
	var waiting, subscriptions int64
	var open, greedy []*server.ConnInfo
	for _, c := range list.Conns {
		switch {
		case !isRemote(c):
		case c.Stop == nil:
			open = append(open, c)
			waiting += int64(c.Pending)
			subscriptions += int64(c.NumSubs)
		case c.Reason == server.SlowConsumerPendingBytes.String() && time.Since(*c.Stop) < writeDeadline:
			// The server has given it up, and keeps what waits for it until a write to it
			// ends.
			greedy = append(greedy, c)
		}
	}
	greedy = append(greedy, g.withMost(open, waiting-g.waiting, "bytes_waiting", func(c *server.ConnInfo) int64 { return int64(c.Pending) })...)
	greedy = append(greedy, g.withMost(open, subscriptions-maxAllSubscriptions, "subscriptions", func(c *server.ConnInfo) int64 { return int64(c.NumSubs) })...)
	return g.disconnect(greedy) > 0
}

// withMost returns those with the most of something that have together what is too
// much.
func (g *guard) withMost(open []*server.ConnInfo, tooMuch int64, what string, has func(*server.ConnInfo) int64) (list []*server.ConnInfo) {
	if tooMuch <= 0 {
		return nil
	}
	slices.SortFunc(open, func(a, b *server.ConnInfo) int { return cmp.Compare(has(b), has(a)) })
	for _, c := range open {
		if tooMuch <= 0 {
			break
		}
		tooMuch -= has(c)
		list = append(list, c)
		if n, ok := g.repeated.Allow(what); ok {
			g.log.Warn("a client of the embedded server is disconnected: all clients together hold too much of this process",
				"client", c.Name, "address", net.JoinHostPort(c.IP, strconv.Itoa(c.Port)), what, has(c), "suppressed", n)
		}
	}
	return list
}

// disconnect disconnects clients at once and returns how many were connected. The
// server alone would first wait for the end of a write to a client, and keep meanwhile
// what waits for it.
func (g *guard) disconnect(clients []*server.ConnInfo) (n int) {
	if own, ok := g.srv.Addr().(*net.TCPAddr); ok {
		peers := map[netip.AddrPort]struct{}{}
		for _, c := range clients {
			if peer, ok := addrPort(c.IP, c.Port); ok {
				peers[peer] = struct{}{}
			}
		}
		n = cutSockets(uint16(own.Port), peers) //nolint:gosec // a port
	}
	for _, c := range clients {
		_ = g.srv.DisconnectClientByID(c.Cid) // it may be gone already
	}
	return n
}

// makeRoom disconnects the youngest clients of other processes if they have taken
// the places that are kept for this process.
func (g *guard) makeRoom(maxConnections int) {
	over := g.srv.NumClients() - maxConnections
	if over <= 0 {
		return
	}
	list, err := g.srv.Connz(&server.ConnzOptions{Sort: server.ByCid, Limit: 1 << 20})
	if err != nil {
		return
	}
	var youngest []*server.ConnInfo
	for _, c := range slices.Backward(list.Conns) {
		if len(youngest) < over && isRemote(c) {
			youngest = append(youngest, c)
		}
	}
	g.disconnect(youngest)
}

// isRemote reports whether a client is one of another process: a pipe within this
// one has no address.
func isRemote(c *server.ConnInfo) bool { return net.ParseIP(c.IP) != nil }
