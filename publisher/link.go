package publisher

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natswire"
)

// link is the connection as the background sees it. nats.go keeps one connection
// and reconnects; link makes another when nats.go gives one up for good, and
// notes what the callbacks say. Only the sender calls its methods, except for
// fillStats. The callbacks run on a goroutine of nats.go.
type link struct {
	options nats.Options
	dialer  *dialer
	notices *notices
	events  chan struct{} // one slot: something about the connection changed
	asked   func()        // somebody asks for an audit
	auditOn string        // the subject of such requests
	ended   chan struct{} // one slot: nats.go has made its last callback
	now     func() time.Time

	nc      *nats.Conn
	ears    *ears
	inbox   string // the beginning of the reply subjects that sinks answer
	sub     *nats.Subscription
	replyOn string             // the beginning of the reply subjects of now: inbox or fallback
	ask     *nats.Subscription // wishes for audits
	checked *socket            // the socket that checkSocket has found good
	redials int
	redial  time.Time // no new connection before

	mu sync.Mutex // guards all below
	// lastError is what the error callback got last, and errorSeen is closed when
	// that changes.
	lastError error
	errorSeen chan struct{}
	// refused is the number of publishes that the server refused, by subject,
	// since the last takeRefused.
	refused      map[string]int
	inboxRefused int  // number of times that a subscription to replies was refused
	noReplies    bool // that to the inbox was refused on the present connection
	inboxDenied  bool // because this login is not permitted it
	// fallback begins reply subjects of a plain inbox, which hears the server but no
	// sink. It is made where the inbox is denied; "" if there is none.
	fallback    string
	fallbackSub *nats.Subscription
	noFallback  bool // it was refused on the present connection
	noHeaders   bool // the server of the last connection has none
	renewal     renewal
	errors      Errors
	outages     []papyra.Outage // since the last report; the last one may not be over
	connected   bool
}

// maxHeard bounds what is read of a message: a server's 503 is short, and a wish for
// an audit says nothing. A longer one is passed over.
const maxHeard = 4 << 10

// maxOutages bounds the outages in one report.
const maxOutages = 64

func newLink(o nats.Options, c Config, run string, n *notices, asked func()) *link {
	l := &link{
		dialer:  newDialer(&o),
		notices: n,
		events:  make(chan struct{}, 1),
		asked:   asked,
		auditOn: papyra.AuditSubject(c.System),
		now:     c.Now,
		ears:    newEars(),
		inbox:   strings.TrimSuffix(papyra.HeardByRun(c.System, run), "*"),
		ended:   make(chan struct{}, 1),
		refused: map[string]int{},

		errorSeen: make(chan struct{}),
	}
	l.dialer.dialed = func() { // nats.go subscribes again on the new connection
		l.mu.Lock()
		l.noReplies, l.inboxDenied, l.noFallback, l.renewal.noWishes = false, false, false, false
		l.mu.Unlock()
	}
	// The confirmation of records depends on these. nats.go keeps no pending
	// messages while it reconnects, because it would throw them away without an
	// error; the lanes keep the records.
	o.AllowReconnect = true
	o.MaxReconnect = -1
	o.RetryOnFailedConnect = true
	o.IgnoreAuthErrorAbort = true
	o.ReconnectOnFlusherError = true
	o.ReconnectBufSize = -1
	o.NoCallbacksAfterClientClose = false
	o.Name = "papyra-publisher " + c.System + "/" + c.Node
	if o.InProcessServer != nil {
		o.InProcessServer = natswire.InProcess{Provider: o.InProcessServer, Wrap: l.dialer.trackSocket}
	}
	o.CustomDialer = l.dialer
	natswire.Protect(&o, maxHeard)
	if o.CustomReconnectDelayCB == nil {
		o.CustomReconnectDelayCB = func(tries int) time.Duration {
			return backoff(tries, 100*time.Millisecond, 4*time.Second)
		}
	}
	l.setCallbacks(&o)
	l.options = o
	return l
}

// backoff returns how long to wait before another try. tries is the number of
// tries so far, from 0. The time doubles with each try up to longest, and a
// random part of up to half of it spreads many publishers.
func backoff(tries int, first, longest time.Duration) time.Duration {
	d := min(first<<min(max(tries, 0), 16), longest)
	return d/2 + rand.N(d/2+1)
}

// setCallbacks puts our callbacks before the user's. Ours never wait: awaitErrors
// relies on the order in which nats.go calls them. The user's callbacks and the
// logger run on the goroutine of notices.
func (l *link) setCallbacks(o *nats.Options) {
	user := *o
	pass := func(f nats.ConnHandler, nc *nats.Conn) {
		if f != nil {
			l.notices.do(func() { f(nc) })
		}
	}
	up := func(what string) func(*nats.Conn) {
		return func(nc *nats.Conn) {
			l.up()
			l.notices.log(slog.LevelInfo, what, func() []any { return []any{"server", shownServer(nc)} })
		}
	}
	connected, reconnected := up("connected to broker"), up("reconnected to broker")
	o.ConnectedCB = func(nc *nats.Conn) { connected(nc); pass(user.ConnectedCB, nc) }
	o.ReconnectedCB = func(nc *nats.Conn) {
		l.mu.Lock()
		l.errors.Reconnects++
		l.mu.Unlock()
		reconnected(nc)
		pass(user.ReconnectedCB, nc)
	}
	o.DisconnectedErrCB = func(nc *nats.Conn, err error) {
		l.down()
		if natswire.IsServers(err) {
			l.countError(err, func(e *Errors) *uint64 { return &e.Other })
		}
		if !l.dialer.isCut() { // Close has not done that itself
			l.notices.log(slog.LevelWarn, "disconnected from broker: records are kept while the buffer lasts", errorArgs(err))
		}
		if user.DisconnectedErrCB != nil {
			l.notices.do(func() { user.DisconnectedErrCB(nc, err) })
		} else {
			pass(user.DisconnectedCB, nc)
		}
	}
	o.ClosedCB = func(nc *nats.Conn) {
		l.down()
		pass(user.ClosedCB, nc)
		select {
		case l.ended <- struct{}{}:
		default:
		}
	}
	o.ReconnectErrCB = func(nc *nats.Conn, err error) {
		l.countError(err, func(e *Errors) *uint64 { return &e.Connect })
		if !l.dialer.isCut() {
			l.notices.log(slog.LevelWarn, "broker cannot be reached: check its address and that it runs", errorArgs(err))
		}
		if user.ReconnectErrCB != nil {
			l.notices.do(func() { user.ReconnectErrCB(nc, err) })
		}
	}
	o.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
		subject := ""
		if sub != nil {
			subject = sub.Subject
		}
		if l.noteError(subject, err) {
			l.notices.log(slog.LevelWarn, "broker reported an error", errorArgs(err))
		}
		if user.AsyncErrorCB != nil {
			l.notices.do(func() { user.AsyncErrorCB(nc, sub, err) })
		}
	}
	o.LameDuckModeHandler = func(nc *nats.Conn) { pass(user.LameDuckModeHandler, nc) }
	o.DiscoveredServersCB = func(nc *nats.Conn) { pass(user.DiscoveredServersCB, nc) }
}

// shownServer is the server that nc is connected to, fit for a log: without user,
// password and token. ConnectedUrlRedacted shows a token.
func shownServer(nc *nats.Conn) string {
	u, err := url.Parse(nc.ConnectedUrl())
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func errorArgs(err error) func() []any {
	return func() []any { return []any{"error", err} }
}

// wakeSender tells the sender that something about the connection changed.
func (l *link) wakeSender() {
	select {
	case l.events <- struct{}{}:
	default:
	}
}

// up notes that there is a connection, and ends an outage.
func (l *link) up() {
	now := unixSeconds(l.now())
	l.mu.Lock()
	if n := len(l.outages); !l.connected && n > 0 && l.outages[n-1].To == 0 {
		l.outages[n-1].To = now
	}
	l.connected = true
	l.mu.Unlock()
	l.wakeSender()
}

// down notes that there is no connection, and begins an outage.
func (l *link) down() {
	now := unixSeconds(l.now())
	l.mu.Lock()
	if l.connected {
		l.errors.Disconnects++
		if len(l.outages) < maxOutages {
			l.outages = append(l.outages, papyra.Outage{From: now})
		}
	}
	l.connected = false
	l.mu.Unlock()
	l.wakeSender()
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// countError counts an error under its cause, or where other says if the cause is
// not one of those that are known here.
func (l *link) countError(err error, other func(*Errors) *uint64) {
	counter, text := other, err.Error()
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		counter = func(e *Errors) *uint64 { return &e.Permission }
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired),
		errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		counter = func(e *Errors) *uint64 { return &e.Auth }
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors.Last = text
	*counter(&l.errors)++
}

// readySocket makes the connection if there is none. It returns the socket if
// records can be handed over now, and nil otherwise.
func (l *link) readySocket(ctx context.Context) *socket {
	if l.nc == nil || l.nc.IsClosed() {
		if !l.connect() {
			return nil
		}
	}
	s := l.dialer.liveSocket()
	if s == nil || !l.nc.IsConnected() {
		return nil
	}
	if s != l.checked && !l.checkSocket(ctx, s) {
		return nil
	}
	if !l.renewRefused(ctx) || l.needsFallback() && !l.openFallback(ctx) {
		return nil
	}
	return s
}

// connect makes a new connection. nats.go reconnects by itself, but it gives up
// for good on errors that it does not know. One is the error of a message that is
// larger than a limit that the broker has lowered since.
func (l *link) connect() bool {
	if time.Now().Before(l.redial) {
		return false
	}
	l.redial = time.Now().Add(backoff(l.redials, 50*time.Millisecond, 4*time.Second))
	l.redials++
	nc, err := l.options.Connect()
	if err != nil {
		l.countError(err, func(e *Errors) *uint64 { return &e.Connect })
		l.notices.log(slog.LevelError, "cannot connect to broker: check the NATS options", errorArgs(err))
		return false
	}
	l.mu.Lock()
	l.fallback, l.fallbackSub, l.lastError = "", nil, nil
	l.mu.Unlock()
	if l.nc == nil {
		go l.ears.run()
	}
	l.nc, l.replyOn = nc, l.inbox
	return l.subscribeInbox() && l.subscribeWishes()
}

// checkSocket makes a round trip on a new socket before records are entrusted to
// it. So a refused subscription is known before the first window, and is not
// taken for a refusal within a window.
func (l *link) checkSocket(ctx context.Context, s *socket) bool {
	if !l.roundTrip(ctx) || !l.awaitErrors(ctx) || l.dialer.liveSocket() != s {
		return false
	}
	if l.needsFallback() && !l.openFallback(ctx) {
		return false
	}
	l.checked = s
	l.redials = 0
	switch headers, replies := l.hearing(); {
	case headers && replies:
		l.noteHeard()
	case headers:
		l.notices.log(slog.LevelWarn, "the broker does not tell when nobody listens: records count as confirmed also then; allow this login to subscribe to its inbox", func() []any {
			return []any{"inbox", l.inbox + "*"}
		})
	default:
		l.notices.log(slog.LevelWarn, "the broker does not tell when nobody listens, because it has no headers: records count as confirmed also then; run a NATS server of 2.2 or later, without no_header_support", func() []any {
			return []any{"version", l.nc.ConnectedServerVersion()}
		})
	}
	return true
}

// hearing returns what the 503 answers need to reach this publisher: that the server
// has headers, and that it serves the inbox.
func (l *link) hearing() (headers, replies bool) {
	headers = l.nc.HeadersSupported() // waits for the connection's lock, so not under mu
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noHeaders = !headers
	return headers, !l.repliesRefused()
}

// fillStats fills in the connection's part of s. It may be called from any goroutine.
func (l *link) fillStats(s *Stats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Errors = l.errors
	s.Errors.Write = l.dialer.writeErrors.Load()
	s.Connected, s.RepliesRefused, s.NoHeaders = l.connected, l.repliesRefused(), l.noHeaders
	s.AnswersRefused = l.noReplies
}

// outagesForReport returns the outages since the last report.
func (l *link) outagesForReport() []papyra.Outage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]papyra.Outage(nil), l.outages...)
}

// forgetOutages forgets the outages that a report has told. One that is not over
// stays, and is told again when it has ended.
func (l *link) forgetOutages(sent []papyra.Outage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(sent)
	if n > 0 && sent[n-1].To == 0 {
		n--
	}
	l.outages = append(l.outages[:0], l.outages[n:]...)
}

// closeConnection ends the connection and waits, for a second at most, until
// nats.go has made its last callback. It sends nothing: what was to be sent has
// been confirmed or given up. It cuts the sockets first, because closing would
// otherwise write to a broker that may be stopped.
func (l *link) closeConnection() {
	l.dialer.cutAll()
	if l.nc == nil {
		return
	}
	defer l.ears.end()
	select {
	case <-l.ended: // of an earlier connection
	default:
	}
	if l.nc.IsClosed() {
		return
	}
	l.nc.Close()
	select {
	case <-l.ended:
	case <-time.After(time.Second):
	}
}

// isDown reports whether nothing can be sent, as far as is known: there is no
// connection, or it is not used until the inbox is subscribed again.
func (l *link) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.connected || l.renewal.holding
}
