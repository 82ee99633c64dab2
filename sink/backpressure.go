package sink

import (
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// highWater is how many bytes of messages may wait for the intake before
	// the socket is read more slowly.
	highWater = 16 << 20
	// highMessages is the same for very small messages.
	highMessages = 128 << 10
	// maxHold bounds how long one read of the socket is held up. The intake
	// does no I/O, so that it is done with far more than highWater by then; if
	// it is not, the client's own limits throw messages away and count them.
	maxHold = 250 * time.Millisecond
	// maxSteady bounds for how long a store that does not answer is waited for. It
	// counts as stopped after twice the time that it took for the batch, or the
	// sync, before, but not before maxHold. This must be short: while more than 48
	// MB wait for a sink, a server stalls publishers to a few megabytes a second
	// each, but at 64 MB (its default) it cuts the connection, and throws all that
	// away uncounted. When a fast store that stopped was waited for a second, three
	// publishers in a flood got the sink cut in 8 of 12 runs, and in none when it
	// was maxHold.
	maxSteady  = time.Second
	holdSlice  = 500 * time.Microsecond
	maxWaiting = 64 << 20 // bytes in the client's queues before it throws away
)

// The NATS client reads its socket as fast as it can and throws messages away
// when their callback lags behind: a flood that the processor cannot check in
// time would be lost. So the connection is read more slowly while much waits
// for the intake. What then backs up in the socket and in the server makes the
// server stall the publishers' connections, which only a publisher's background
// side feels. The same is done while a store that works cannot keep up with a
// burst. A store that has stopped is not waited for: the intake goes on and drops
// what the buffer cannot hold, so that one group's trouble stays its own.

// held is a connection whose reads wait while c has much to do.
type held struct {
	net.Conn
	c *conn
}

func (h held) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.c.hold()
	return n, err
}

// hold waits until little waits for the intake, or maxHold is over.
func (c *conn) hold() {
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
	return size > highWater || messages > highMessages || c.sink.overtaken()
}

// overtaken reports whether the buffer is nearly full because records come
// faster than a store that works takes them.
func (s *Sink) overtaken() bool {
	if !s.mu.TryLock() {
		return false // the reader must not wait for whoever holds it
	}
	defer s.mu.Unlock()
	return s.writing.size+s.backlog.size > s.config.BufferBytes/4*3 && time.Since(s.workedAt) < s.steady
}

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
	return held{nc, d.c}, nil
}

// SkipTLSHandshake tells the client whether the caller's dialer does TLS.
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
	return held{nc, p.c}, nil
}

// underPressure makes a connection of o one that is read as fast as c can take.
func (c *conn) underPressure(o *nats.Options) {
	if o.InProcessServer != nil {
		o.InProcessServer = holdingPipe{o.InProcessServer, c}
		return
	}
	dialer := o.CustomDialer
	switch {
	case dialer != nil:
	case o.Dialer != nil:
		dialer = o.Dialer
	default:
		dialer = &net.Dialer{Timeout: o.Timeout}
	}
	o.CustomDialer = holdingDialer{dialer, c}
}
