package sink

import (
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra/internal/natswire"
)

const (
	// highWater is how many bytes of messages may wait for the intake before
	// the socket is read more slowly.
	highWater = 16 << 20
	// highMessages is the same for very small messages.
	highMessages = 128 << 10
	// maxHold bounds how long one read of the socket is held up. The intake does
	// no I/O, and takes far more than highWater in this time. If it does not, the
	// inbox throws messages away and counts them.
	maxHold = 250 * time.Millisecond
	// holdSlice is the time between two looks at what waits.
	holdSlice = 500 * time.Microsecond
	// maxWaiting bounds the bytes of the messages that wait for the intakes, without
	// what reports have beyond it. Messages that do not fit are thrown away and counted.
	maxWaiting = 64 << 20
)

// The NATS client reads its socket as fast as it can, and what does not fit into an
// inbox is thrown away: a flood that the processor cannot check in time would be
// lost. So the connection is read more slowly while much waits:
//
//	much waits for the intake                        read slowly
//	the buffer is nearly full and the store works    read slowly
//	the buffer is nearly full, the store is stopped  read on
//	otherwise                                        read on
//
// What is not read backs up in the socket and in the server. The server then
// stalls the publishers' connections, which only a publisher's background side
// feels. A store that is stopped is not waited for: the intake drops what the
// buffer cannot hold, so that other groups do not wait for this one's store.

// heldConn is a connection whose reads wait while c has much to do.
type heldConn struct {
	net.Conn
	c *conn
}

func (h heldConn) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.c.holdRead()
	return n, err
}

// holdRead waits until little waits, or maxHold is over.
func (c *conn) holdRead() {
	var since time.Time
	for c.crowded() {
		now := time.Now()
		if since.IsZero() {
			since = now
		} else if now.Sub(since) > maxHold {
			return
		}
		time.Sleep(holdSlice)
	}
}

// crowded reports whether so much waits that the socket is read more slowly.
func (c *conn) crowded() bool {
	subs := c.reading.Load()
	if subs == nil {
		return false
	}
	messages, size := 0, 0
	for _, sub := range *subs {
		if m, b, err := sub.Pending(); err == nil {
			messages, size = messages+m, size+b
		}
	}
	for _, q := range c.inboxList() {
		m, b := q.pending()
		messages, size = messages+m, size+b
	}
	return size > highWater || messages > highMessages || c.storeOvertaken()
}

// storeOvertaken reports whether the buffer is nearly full because records come
// faster than a store that works takes them. It waits for no lock: the reader
// must not wait for whoever holds one.
func (c *conn) storeOvertaken() bool { return c.buffer.nearlyFull() && c.health.storeWorks() }

// holdingDialer dials as the caller's options say.
type holdingDialer struct {
	nats.CustomDialer
	c *conn
}

func (d holdingDialer) Dial(network, address string) (net.Conn, error) {
	nc, err := d.CustomDialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return heldConn{nc, d.c}, nil
}

// SkipTLSHandshake says whether the caller's dialer does the TLS handshake.
func (d holdingDialer) SkipTLSHandshake() bool {
	skip, ok := d.CustomDialer.(interface{ SkipTLSHandshake() bool })
	return ok && skip.SkipTLSHandshake()
}

// holdingPipe connects to a server within the process.
type holdingPipe struct {
	nats.InProcessConnProvider
	c *conn
}

func (p holdingPipe) InProcessConn() (net.Conn, error) {
	nc, err := p.InProcessConnProvider.InProcessConn()
	if err != nil {
		return nil, err
	}
	return heldConn{nc, p.c}, nil
}

// holdReads makes the connections of o such that are read as fast as c can take.
func (c *conn) holdReads(o *nats.Options) {
	if o.InProcessServer != nil {
		o.InProcessServer = holdingPipe{o.InProcessServer, c}
		return
	}
	dialer := o.CustomDialer
	switch {
	case dialer != nil:
	default:
		dialer = natswire.NewResolver(o)
	}
	o.CustomDialer = holdingDialer{dialer, c}
}
