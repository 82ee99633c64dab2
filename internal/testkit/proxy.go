package testkit

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Plan says what becomes of one connection through a [Proxy]. The zero Plan cuts
// it at once; [Through] lets it live.
type Plan struct {
	// Up and Down are how many bytes pass to and from the server before the
	// connection is cut; below 0 it is not cut there.
	Up, Down int64
	// Hold says that bytes behind Up are not lost: the client sees no answer and
	// no end, and the server gets them at Release, also when the client is gone.
	Hold bool
}

// Through is the plan of a connection that is not touched.
var Through = Plan{Up: -1, Down: -1}

// Proxy passes connections to a server, each according to a plan.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup
	swallow  atomic.Bool
	rate     atomic.Int64

	mu       sync.Mutex
	target   string
	plan     func() Plan
	open     map[net.Conn]bool
	released chan struct{}
	refuse   bool
	cuts     int
	limited  bool
	budget   int64 // bytes that may still pass to the server, if limited
	passed   int64 // bytes that passed to the server
}

// NewProxy starts a proxy before a server. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		target: target, listener: l, open: map[net.Conn]bool{}, released: make(chan struct{}),
		plan: func() Plan { return Through },
	}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.Refuse(true)
		p.Release()
		p.CutAll()
		p.running.Wait()
	})
	return p
}

// Addr returns where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Swallow says whether what clients send disappears. Cut such connections before
// it ends, or the server sees half of what was sent.
func (p *Proxy) Swallow(on bool) { p.swallow.Store(on) }

// Rate bounds the bytes that pass to the server in a second, for each
// connection; 0 is no limit.
func (p *Proxy) Rate(n int64) { p.rate.Store(n) }

// Refuse says whether new connections are cut at once.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Plan sets what becomes of new connections.
func (p *Proxy) Plan(plan func() Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = plan
}

// Target sends new connections to another server.
func (p *Proxy) Target(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Budget cuts every connection, and lets none live, when so many more bytes have
// passed to the server; below 0 it takes the limit away.
func (p *Proxy) Budget(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limited, p.budget = n >= 0, n
}

// Passed returns how many bytes have passed to the server.
func (p *Proxy) Passed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed
}

// spend returns how many of n bytes may pass.
func (p *Proxy) spend(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limited {
		n = int(min(int64(n), p.budget))
		p.budget -= int64(n)
	}
	p.passed += int64(n)
	return n
}

// metered writes to the server what the budget and the rate allow.
type metered struct {
	p  *Proxy
	to io.Writer
}

var errSpent = errors.New("the budget is spent")

func (m metered) Write(b []byte) (int, error) {
	if m.p.swallow.Load() {
		return len(b), nil
	}
	rate := m.p.rate.Load()
	if rate <= 0 {
		return m.pass(b)
	}
	for n := 0; n < len(b); {
		part := b[n:min(n+ratedBytes, len(b))]
		time.Sleep(time.Duration(len(part)) * time.Second / time.Duration(rate))
		done, err := m.pass(part)
		if n += done; err != nil {
			return n, err
		}
	}
	return len(b), nil
}

// ratedBytes is how much passes at a time where the rate is bounded.
const ratedBytes = 4096

func (m metered) pass(b []byte) (int, error) {
	n := m.p.spend(len(b))
	if _, err := m.to.Write(b[:n]); err != nil {
		return 0, err
	}
	if n < len(b) {
		return n, errSpent
	}
	return n, nil
}

// Cuts returns how many connections were cut by their plan.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// CutAll cuts every open connection.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
}

// Release hands everything that is held to the server.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.released)
	p.released = make(chan struct{})
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.refuse {
			p.mu.Unlock()
			_ = client.Close()
			continue
		}
		plan, target, released := p.plan(), p.target, p.released
		p.open[client] = true
		p.mu.Unlock()
		p.running.Go(func() { p.serve(client, target, plan, released) })
	}
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = c.Close()
	delete(p.open, c)
}

func (p *Proxy) serve(client net.Conn, target string, plan Plan, released chan struct{}) {
	defer p.forget(client)
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.open[server] = true
	refused := p.refuse // meanwhile
	p.mu.Unlock()
	defer p.forget(server)
	if refused {
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		cut := pass(metered{p, server}, client, plan.Up)
		if cut && plan.Hold {
			held, _ := io.ReadAll(client) // until the client gives up
			<-released
			_, _ = server.Write(held)
			return // the server reads it, and then the end
		}
		p.end(cut, client, server)
	})
	both.Go(func() { p.end(pass(client, server, plan.Down), client, server) })
	both.Wait()
}

// end cuts both sides of a connection.
func (p *Proxy) end(cut bool, client, server net.Conn) {
	if cut {
		p.mu.Lock()
		p.cuts++
		p.mu.Unlock()
	}
	_ = client.Close()
	_ = server.Close()
}

// pass copies up to limit bytes and reports whether it stopped there.
func pass(to io.Writer, from io.Reader, limit int64) bool {
	if limit < 0 {
		_, _ = io.Copy(to, from)
		return false
	}
	n, err := io.CopyN(to, from, limit)
	return n == limit && err == nil
}

// Open returns how many connections are open, both sides counted.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}
