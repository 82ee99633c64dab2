package publisher

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
)

const (
	// replyRoom bounds the 503 answers that wait to be read. It is larger than
	// any window, so that none is lost; if one is, the window is not confirmed.
	replyRoom = 4 * maxWindowMessages

	// settleTime bounds the wait for callbacks that nats.go has queued.
	settleTime = 2 * time.Second
)

// link is the connection as the background sees it: it makes the one that
// nats.go keeps, makes another when nats.go gives it up for good, and knows
// what the callbacks told. Only the sender calls its methods; the callbacks run
// on a goroutine of nats.go's.
type link struct {
	options nats.Options
	dialer  *dialer
	notices *notices
	events  chan struct{} // one slot: something about the connection changed
	asked   func()        // somebody wants an audit
	auditOn string        // the subject of such wishes
	ended   chan struct{} // one slot: nats.go has made its last callback
	now     func() time.Time

	nc      *nats.Conn
	inbox   string // what the reply subjects begin with
	replies chan *nats.Msg
	sub     *nats.Subscription
	greeted *socket // the connection that greet has seen
	redials int
	redial  time.Time // not before

	mu   sync.Mutex
	seen error         // the last one that the error callback got
	more chan struct{} // closed when seen changes
	// refused counts the publishes that the server refused, by subject, since
	// the last call of takeRefused.
	refused      map[string]int
	inboxRefused int  // refusals of the subscription for 503 answers
	noReplies    bool // the last one counts for the connection that is
	errors       Errors
	outages      []papyra.Outage // since the last report; the last one may last still
	connected    bool
}

// maxOutages bounds the outages in one report.
const maxOutages = 64

func newLink(o nats.Options, c Config, n *notices, asked func()) *link {
	l := &link{
		dialer:  newDialer(&o),
		notices: n,
		events:  make(chan struct{}, 1),
		asked:   asked,
		auditOn: papyra.AuditSubject(c.System),
		now:     c.Now,
		replies: make(chan *nats.Msg, replyRoom),
		more:    make(chan struct{}),
		ended:   make(chan struct{}, 1),
		refused: map[string]int{},
	}
	l.dialer.dialed = func() { // nats.go subscribes again on the new connection
		l.mu.Lock()
		l.noReplies = false
		l.mu.Unlock()
	}
	// The confirmation of records depends on these. Pending messages are never
	// kept over a reconnect, since nats.go throws them away without a word; the
	// lanes keep them.
	o.AllowReconnect = true
	o.MaxReconnect = -1
	o.RetryOnFailedConnect = true
	o.IgnoreAuthErrorAbort = true
	o.ReconnectOnFlusherError = true
	o.ReconnectBufSize = -1
	o.NoCallbacksAfterClientClose = false
	o.SkipHostLookup = true // the dialer looks names up
	o.Name = "papyra-publisher " + c.System + "/" + c.Node
	if o.InProcessServer != nil {
		o.InProcessServer = inProcess{o.InProcessServer, l.dialer}
	}
	o.CustomDialer = l.dialer
	if o.CustomReconnectDelayCB == nil {
		o.CustomReconnectDelayCB = func(tries int) time.Duration {
			return backoff(tries, 100*time.Millisecond, 4*time.Second)
		}
	}
	l.setCallbacks(&o)
	l.options = o
	return l
}

// backoff returns how long to wait before try number tries, from 0: twice as
// long each time up to longest, with jitter so that many publishers spread.
func backoff(tries int, first, longest time.Duration) time.Duration {
	d := min(first<<min(max(tries, 0), 16), longest)
	return d/2 + rand.N(d/2+1)
}

// setCallbacks puts ours before the user's. Ours never wait for anything: the
// order in which nats.go calls them is what settled relies on. The user's, like
// the logger, run on the notices' goroutine.
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
		l.notices.log(slog.LevelWarn, "disconnected from broker: records are kept while the buffer lasts", errorArgs(err))
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
		l.count(err, func(e *Errors) *uint64 { return &e.Connect })
		l.notices.log(slog.LevelWarn, "broker cannot be reached: check its address and that it runs", errorArgs(err))
		if user.ReconnectErrCB != nil {
			l.notices.do(func() { user.ReconnectErrCB(nc, err) })
		}
	}
	o.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
		l.failed(err)
		l.notices.log(slog.LevelWarn, "broker reported an error", errorArgs(err))
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

func (l *link) changed() {
	select {
	case l.events <- struct{}{}:
	default:
	}
}

func (l *link) up() {
	now := unixSeconds(l.now())
	l.mu.Lock()
	if n := len(l.outages); !l.connected && n > 0 && l.outages[n-1].To == 0 {
		l.outages[n-1].To = now
	}
	l.connected = true
	l.mu.Unlock()
	l.changed()
}

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
	l.changed()
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// count counts an error under its cause, or else where other says.
func (l *link) count(err error, other func(*Errors) *uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors.Last = err.Error()
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		l.errors.Permission++
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired),
		errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		l.errors.Auth++
	default:
		*other(&l.errors)++
	}
}

// failed is the error callback.
func (l *link) failed(err error) {
	l.count(err, func(e *Errors) *uint64 { return &e.Other })
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, nats.ErrPermissionViolation) {
		switch subject, publish := refusedSubject(err.Error()); {
		case publish && len(l.refused) < 64:
			l.refused[subject]++
		case !publish && l.inbox != "" && subject == l.inbox+"*":
			l.inboxRefused++
			l.noReplies = true
		}
	}
	l.seen = err
	close(l.more)
	l.more = make(chan struct{})
}

// refusedSubject returns the subject in the text of a permissions violation and
// whether publishing to it was refused, not subscribing.
func refusedSubject(text string) (subject string, publish bool) {
	if _, after, ok := strings.Cut(text, `Publish to "`); ok {
		subject, _, ok = strings.Cut(after, `"`)
		return subject, ok
	}
	if _, after, ok := strings.Cut(text, `Subscription to "`); ok {
		subject, _, _ = strings.Cut(after, `"`)
	}
	return subject, false
}

// ready makes the connection if there is none, and returns the socket if
// records can be handed over now.
func (l *link) ready(ctx context.Context) *socket {
	if l.nc == nil || l.nc.IsClosed() {
		if !l.connect() {
			return nil
		}
	}
	s := l.dialer.live()
	if s == nil || !l.nc.IsConnected() {
		return nil
	}
	if s != l.greeted && !l.greet(ctx, s) {
		return nil
	}
	return s
}

// connect makes a new connection. nats.go reconnects by itself, but gives up
// for good on errors that it does not know, such as a message larger than a
// limit that was lowered since.
func (l *link) connect() bool {
	if time.Now().Before(l.redial) {
		return false
	}
	l.redial = time.Now().Add(backoff(l.redials, 50*time.Millisecond, 4*time.Second))
	l.redials++
	nc, err := l.options.Connect()
	if err != nil {
		l.count(err, func(e *Errors) *uint64 { return &e.Connect })
		l.notices.log(slog.LevelError, "cannot connect to broker: check the NATS options", errorArgs(err))
		return false
	}
	inbox := nc.NewInbox() + "."
	l.mu.Lock()
	l.inbox, l.seen = inbox, nil
	l.mu.Unlock()
	l.nc = nc
	// Failing here means that the connection was closed meanwhile.
	if l.sub, err = nc.ChanSubscribe(inbox+"*", l.replies); err != nil {
		return false
	}
	ask, err := nc.Subscribe(l.auditOn, func(*nats.Msg) { l.asked() })
	if err != nil {
		return false
	}
	// The callback only sets a flag; with limits a flood of wishes would be an
	// error of the connection.
	return ask.SetPendingLimits(-1, -1) == nil
}

// greet makes a round trip on a new connection before records are entrusted to
// it, so that a refused subscription is known then and not taken for a refusal
// in the middle of a window.
func (l *link) greet(ctx context.Context, s *socket) bool {
	if !l.flush(ctx) || !l.settled(ctx) || l.dialer.live() != s {
		return false
	}
	l.greeted = s
	l.redials = 0
	if !l.hearsReplies() {
		l.notices.log(slog.LevelWarn, "the broker does not tell when nobody listens: records count as confirmed also then; allow this login to subscribe to its inbox", func() []any {
			return []any{"inbox", l.inbox + "*"}
		})
	}
	return true
}

// hearsReplies reports whether the 503 answers can reach this publisher.
func (l *link) hearsReplies() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.noReplies && l.nc.HeadersSupported()
}

// flush makes a round trip to the server. A true answer alone proves nothing.
func (l *link) flush(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	return l.nc.FlushWithContext(ctx) == nil
}

// flushTime bounds one flush. A broker that is silent for so long has been
// given up by the pings before.
const flushTime = 30 * time.Second

// settled waits until the error callback has got every error that the server
// sent before now, and reports whether that is so. nats.go sets the last error
// and queues the callback in one step, before it reads on, and calls in that
// order: once the callback has got the last error it has got all before it.
func (l *link) settled(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		last := l.nc.LastError()
		l.mu.Lock()
		seen, more := l.seen, l.more
		l.mu.Unlock()
		if last == nil || sameError(last, seen) {
			return true
		}
		select {
		case <-more:
		case <-ctx.Done():
			return false
		}
	}
}

// sameError compares identities: two violations of the same text are two.
func sameError(a, b error) (same bool) {
	defer func() { _ = recover() }() // of a type that cannot be compared: not known to be the same
	return a == b                    //nolint:errorlint // two errors of one kind must not be taken for one
}

// mark is what is counted around a window.
type mark struct {
	lostReplies  int
	inboxRefused int
}

// begin drops what came late for earlier windows and returns the counts of now.
func (l *link) begin() mark {
	l.eachReply(func(string) {})
	l.takeRefused()
	return l.mark()
}

func (l *link) mark() mark {
	var m mark
	m.lostReplies, _ = l.sub.Dropped()
	l.mu.Lock()
	m.inboxRefused = l.inboxRefused
	l.mu.Unlock()
	return m
}

// takeRefused returns how many publishes were refused, by subject, and forgets.
func (l *link) takeRefused() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.refused) == 0 {
		return nil
	}
	r := l.refused
	l.refused = map[string]int{}
	return r
}

// reply returns the reply subject of message number id.
func (l *link) reply(id uint64) string { return l.inbox + strconv.FormatUint(id, 36) }

// eachReply calls f with the reply subject of each 503 that has come. nats.go
// has put every 503 that the server sent before a PONG into the channel before
// it handles the PONG.
func (l *link) eachReply(f func(subject string)) {
	for {
		select {
		case m := <-l.replies:
			if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
				f(m.Subject)
			}
		default:
			return
		}
	}
}

// unheard returns the number of the message that a 503 is for, or false.
func (l *link) unheard(subject string) (id uint64, ok bool) {
	digits, ok := strings.CutPrefix(subject, l.inbox)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 36, 64)
	return id, err == nil
}

// account returns the counts for Stats and whether there is a connection.
func (l *link) account() (e Errors, connected, noReplies bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e = l.errors
	e.Write = l.dialer.writeErrors.Load()
	return e, l.connected, l.noReplies
}

// outagesSince returns the outages since the last report.
func (l *link) outagesSince() []papyra.Outage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]papyra.Outage(nil), l.outages...)
}

// outagesReported forgets the outages that a report carries; one that lasts is
// reported again when it has ended.
func (l *link) outagesReported(sent []papyra.Outage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(sent)
	if n > 0 && sent[n-1].To == 0 {
		n--
	}
	l.outages = append(l.outages[:0], l.outages[n:]...)
}

// close ends the connection without a last word: what was to be said has been
// confirmed or given up. It cuts the sockets first, because closing would
// otherwise write into a broker that may be stopped.
func (l *link) close() {
	l.dialer.cut()
	if l.nc == nil {
		return
	}
	select {
	case <-l.ended: // of a connection before this one
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

// isDown reports whether there is no connection as far as is known.
func (l *link) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.connected
}
