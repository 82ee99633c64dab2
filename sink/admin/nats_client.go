package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natswire"
	"github.com/papyra/papyra/internal/redact"
)

// FleetConfig says how the sinks are reached.
type FleetConfig struct {
	URL  string        // of NATS servers, with commas between
	NATS []nats.Option // login, TLS and the like
	By   string        // who asks, as he says
}

// Fleet is a connection over which sinks are asked. Its methods may be called
// concurrently.
type Fleet struct {
	nc *nats.Conn
	by string

	mu        sync.Mutex
	exchanges map[*natsExchange]bool
	refused   map[string]error // by subject
}

// reconnectWait is the time between two tries to reach a server again.
const reconnectWait = 250 * time.Millisecond

// Connect connects to the sinks' broker. A URL that can never work is papyra.ErrConfig, a
// login that is refused papyra.ErrDenied, a broker that cannot be reached
// papyra.ErrUnavailable.
func Connect(c FleetConfig) (*Fleet, error) {
	f := &Fleet{by: c.By, exchanges: map[*natsExchange]bool{}, refused: map[string]error{}}
	o := nats.GetDefaultOptions()
	o.Servers = natswire.ServersOf(c.URL)
	own := []nats.Option{
		nats.Name("papyra-ctl " + c.By), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { f.noteError(err) }),
		nats.PermissionErrOnSubscribe(true),
	}
	for _, opt := range append(c.NATS[:len(c.NATS):len(c.NATS)], own...) {
		if err := opt(&o); err != nil {
			return nil, fmt.Errorf("%w: read the NATS options: %w", papyra.ErrConfig, err)
		}
	}
	if err := natswire.CheckOptions(&o); err != nil {
		return nil, fmt.Errorf("%w: %w", papyra.ErrConfig, err)
	}
	if o.InboxPrefix == "" {
		o.InboxPrefix = papyra.ToolInbox
	}
	natswire.Protect(&o, 0)
	nc, err := o.Connect()
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return nil, fmt.Errorf("%w: the NATS server at %s refuses the login: %w", papyra.ErrDenied, redact.URL(c.URL), err)
	case err != nil:
		return nil, fmt.Errorf("%w: connect to the NATS server at %s: %w", papyra.ErrUnavailable, redact.URL(c.URL), err)
	}
	f.nc = nc
	return f, nil
}

// Close ends the connection, and with it what is still asked over it.
func (f *Fleet) Close() { f.nc.Close() }

// noteError looks for what the server refuses. Only here does it say so: to who asks, a
// request that is not allowed looks like one that nobody answers.
func (f *Fleet) noteError(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	_, rest, _ := strings.Cut(err.Error(), `"`)
	subject, _, _ := strings.Cut(rest, `"`)
	denied := fmt.Errorf("%w: the NATS server says: %w", papyra.ErrDenied, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused[subject] = denied
	for x := range f.exchanges {
		if x.subject == subject || x.inbox == subject {
			x.fail(denied)
		}
	}
}

// refusal returns why the server refuses one of some subjects, nil if it does not.
func (f *Fleet) refusal(subjects ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range subjects {
		if err := f.refused[s]; err != nil {
			return err
		}
	}
	return nil
}

// natsDoor leads to one sink over NATS.
type natsDoor struct {
	fleet           *Fleet
	group, instance string
	announced       bool // the sink has answered a PING
}

// natsExchange is one job over an inbox of its own.
type natsExchange struct {
	*frameQueue
	fleet          *Fleet
	subject, inbox string
	sub            *nats.Subscription
}

func (d *natsDoor) open(_ context.Context, verb string) (exchange, error) {
	x := &natsExchange{
		frameQueue: newFrameQueue(), fleet: d.fleet,
		subject: papyra.AdminSubject(d.group, d.instance, verb), inbox: d.fleet.nc.NewInbox(),
	}
	d.fleet.mu.Lock()
	d.fleet.exchanges[x] = true
	d.fleet.mu.Unlock()
	sub, err := d.fleet.nc.Subscribe(x.inbox, func(m *nats.Msg) {
		if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			x.fail(d.notThere(verb))
			return
		}
		x.deliver(m.Data)
	})
	if err != nil {
		x.forget()
		return nil, fmt.Errorf("%w: ask for %s: %w", papyra.ErrUnavailable, verb, err)
	}
	x.sub = sub
	return x, nil
}

// notThere says that nobody listens for a verb.
func (d *natsDoor) notThere(verb string) error {
	if d.announced && d.fleet.nc.IsConnected() {
		return fmt.Errorf("%w: sink %s of group %s is there, and %s is refused to it by the server, or it does not offer it", errNotOffered, d.instance, d.group, verb)
	}
	return fmt.Errorf("sink %s of group %s: %w", d.instance, d.group, ErrSilent)
}

// errNotOffered: a sink that is there does not listen for a verb.
var errNotOffered = fmt.Errorf("refused or not offered: %w", papyra.ErrDenied)

func (x *natsExchange) send(q *request) error {
	if err := checkLength(len(q.Args)); err != nil {
		return err
	}
	m := nats.NewMsg(x.subject)
	m.Reply = x.inbox
	m.Data = q.Args
	put := func(name, value string) {
		if value != "" {
			m.Header.Set(name, value)
		}
	}
	put(headerJob, q.Job)
	put(headerBy, headerText(q.By))
	put(headerTo, q.To)
	put(headerAnswer, q.Answer)
	if q.Op != opStart {
		put(headerOp, q.Op)
	}
	if q.Credits > 0 {
		put(headerCredits, strconv.Itoa(q.Credits))
	}
	if err := x.fleet.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("%w: ask the sink: %w", papyra.ErrUnavailable, err)
	}
	return nil
}

// headerText makes a text fit for a header.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '_'
		}
		return r
	}, s)
}

func (x *natsExchange) forget() {
	x.fleet.mu.Lock()
	defer x.fleet.mu.Unlock()
	delete(x.fleet.exchanges, x)
}

func (x *natsExchange) close() {
	x.forget()
	_ = x.sub.Unsubscribe() // fails on a connection that is closed
	x.fail(errClosedDoor)
}
