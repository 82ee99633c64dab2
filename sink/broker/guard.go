package broker

import (
	"cmp"
	"log/slog"
	"net"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	guardEvery = 20 * time.Millisecond
	restFactor = 20 // of the time that a look at all clients took
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
	heap    []metrics.Sample
	done    chan struct{}
	once    sync.Once
	ended   sync.WaitGroup
}

func startGuard(srv *server.Server, waiting int64, log *slog.Logger) *guard {
	g := &guard{srv: srv, waiting: waiting, log: log, heap: []metrics.Sample{{Name: heapMetric}}, done: make(chan struct{})}
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
			if now.After(rest) && g.isSuspect() {
				g.disconnectGreedy()
				rest = time.Now().Add(restFactor * time.Since(now)) // many clients take long to look at
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
// bounds.
func (g *guard) disconnectGreedy() {
	list, err := g.srv.Connz(&server.ConnzOptions{State: server.ConnAll, Limit: 1 << 20})
	if err != nil {
		return
	}
	var waiting, subscriptions int64
	var open []*server.ConnInfo
	for _, c := range list.Conns {
		switch {
		case !isRemote(c):
		case c.Stop != nil:
			// The server has given it up, and keeps what waits for it until a write to it
			// ends.
			if time.Since(*c.Stop) < writeDeadline {
				g.cut(c)
			}
		default:
			open = append(open, c)
			waiting += int64(c.Pending)
			subscriptions += int64(c.NumSubs)
		}
	}
	g.disconnectMost(open, waiting-g.waiting, "bytes wait for it", func(c *server.ConnInfo) int64 { return int64(c.Pending) })
	g.disconnectMost(open, subscriptions-maxAllSubscriptions, "subscriptions", func(c *server.ConnInfo) int64 { return int64(c.NumSubs) })
}

// disconnectMost disconnects those with the most of something until so much of it
// is gone as is too much.
func (g *guard) disconnectMost(open []*server.ConnInfo, tooMuch int64, what string, has func(*server.ConnInfo) int64) {
	if tooMuch <= 0 {
		return
	}
	slices.SortFunc(open, func(a, b *server.ConnInfo) int { return cmp.Compare(has(b), has(a)) })
	for _, c := range open {
		if tooMuch <= 0 {
			return
		}
		tooMuch -= has(c)
		g.log.Warn("a client of the embedded server was disconnected: the clients together hold too much of this process",
			"client", c.Name, "address", net.JoinHostPort(c.IP, strconv.Itoa(c.Port)), what, has(c))
		g.disconnect(c)
	}
}

// disconnect disconnects a client at once. The server alone would first wait for the
// end of a write to it, and keep meanwhile what waits for it.
func (g *guard) disconnect(c *server.ConnInfo) {
	g.cut(c)
	_ = g.srv.DisconnectClientByID(c.Cid) // it may be gone already
}

func (g *guard) cut(c *server.ConnInfo) {
	if own, ok := g.srv.Addr().(*net.TCPAddr); ok {
		cutSocket(uint16(own.Port), c.IP, c.Port) //nolint:gosec // a port
	}
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
	for _, c := range slices.Backward(list.Conns) {
		if over > 0 && isRemote(c) {
			g.disconnect(c)
			over--
		}
	}
}

// isRemote reports whether a client is one of another process: a pipe within this
// one has no address.
func isRemote(c *server.ConnInfo) bool { return net.ParseIP(c.IP) != nil }
