package publisher

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra/internal/natswire"
)

// socket is one network connection of nats.go. It tells what nats.go does not
// tell: which connection this is, and whether any write to it failed. When a write
// fails, nats.go throws away what was pending and may stay "connected". So a
// socket closes itself at the first failed write and stays broken for good.
type socket struct {
	net.Conn
	dialer *dialer
	broken atomic.Bool
}

// Write passes p on. A failed or short write breaks the socket.
func (s *socket) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if err != nil && !s.broken.Swap(true) {
		s.dialer.writeErrors.Add(1)
		_ = s.Conn.Close() // nats.go notices that and reconnects
	}
	return n, err
}

// Close breaks the socket and closes the connection.
func (s *socket) Close() error {
	s.broken.Store(true)
	s.dialer.forgetSocket(s)
	return s.Conn.Close()
}

// dialer makes every network connection of nats.go, through the user's own dialer
// if there is one. It can cut them all: only that ends a Publish that is stuck in
// a write to a stopped broker.
type dialer struct {
	custom nats.CustomDialer // the user's; if it is nil, base is used
	base   *natswire.Resolver
	dialed func() // called before a new connection is used

	ctx    context.Context // ends with cutAll
	cancel context.CancelFunc

	mu   sync.Mutex
	open map[*socket]struct{} // guarded by mu

	current     atomic.Pointer[socket] // the newest one
	writeErrors atomic.Uint64
}

func newDialer(o *nats.Options) *dialer {
	d := &dialer{custom: o.CustomDialer, base: natswire.NewResolver(o), open: map[*socket]struct{}{}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Dial connects to a server for nats.go.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	if d.custom != nil {
		ctx, cancel := context.WithTimeout(d.ctx, d.base.Timeout)
		defer cancel()
		return d.dialCustom(ctx, network, address)
	}
	c, err := d.base.DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	return d.trackSocket(c)
}

// dialCustom waits for the user's dialer, but no longer than until ctx ends.
func (d *dialer) dialCustom(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := d.custom.Dial(network, address)
		done <- result{c, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, r.err
		}
		return d.trackSocket(r.c)
	case <-ctx.Done():
		go func() { // a connection that comes too late is closed
			if r := <-done; r.err == nil {
				_ = r.c.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// SkipTLSHandshake returns what the user's dialer says.
func (d *dialer) SkipTLSHandshake() bool {
	s, ok := d.custom.(interface{ SkipTLSHandshake() bool })
	return ok && s.SkipTLSHandshake()
}

// trackSocket makes a socket of a connection, and the newest one of the dialer. It
// closes the connection instead if the dialer has been cut.
func (d *dialer) trackSocket(c net.Conn) (net.Conn, error) {
	s := &socket{Conn: c, dialer: d}
	if d.dialed != nil {
		d.dialed()
	}
	d.mu.Lock()
	cut := d.isCut()
	if !cut {
		d.open[s] = struct{}{}
		d.current.Store(s)
	}
	d.mu.Unlock()
	if cut {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return s, nil
}

func (d *dialer) forgetSocket(s *socket) {
	d.mu.Lock()
	delete(d.open, s)
	d.mu.Unlock()
}

// liveSocket returns the newest socket, or nil when it is broken.
func (d *dialer) liveSocket() *socket {
	if s := d.current.Load(); s != nil && !s.broken.Load() {
		return s
	}
	return nil
}

// cutAll closes every connection and makes every later dial fail.
func (d *dialer) cutAll() {
	d.cancel()
	d.mu.Lock()
	open := make([]*socket, 0, len(d.open))
	for s := range d.open {
		open = append(open, s)
	}
	d.mu.Unlock()
	for _, s := range open {
		_ = s.Close()
	}
}

// isCut reports whether cutAll was called.
func (d *dialer) isCut() bool { return d.ctx.Err() != nil }

var errNoDial = errors.New("no dialing while options are checked")

// noDialer fails every dial.
type noDialer struct{}

func (noDialer) Dial(string, string) (net.Conn, error) { return nil, errNoDial }
