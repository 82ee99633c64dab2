package natswire

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Protect puts guards on all connections that nats.go will make with o. It is called
// last: what o says of dialing and TLS no longer counts afterwards. Messages with
// more than keep bytes never reach nats.go; 0 keeps all up to MaxMessage.
//
// A custom dialer is called with names of hosts, as with nats.SkipHostLookup. Over
// websockets nothing is guarded.
func Protect(o *nats.Options, keep int) {
	if keep == 0 {
		keep = MaxMessage
	}
	d := &dialer{inner: o.CustomDialer, keep: keep, timeout: o.Timeout, first: o.TLSHandshakeFirst}
	if d.timeout <= 0 {
		d.timeout = nats.DefaultTimeout
	}
	d.secure = o.Secure || o.TLSHandshakeFirst
	for _, server := range append([]string{o.Url}, o.Servers...) {
		u, err := url.Parse(server)
		if err != nil {
			continue
		}
		switch u.Scheme {
		case "ws", "wss":
			return
		case "tls":
			d.secure = true
		}
		if d.firstHost == "" {
			d.firstHost = u.Hostname()
		}
	}
	if skip, ok := o.CustomDialer.(interface{ SkipTLSHandshake() bool }); ok {
		d.plain = skip.SkipTLSHandshake()
	}
	if d.inner == nil {
		d.inner = NewResolver(o)
	}
	options := *o
	d.tlsConfig = func(host string) (*tls.Config, error) { return tlsConfig(&options, host) }
	if o.InProcessServer != nil {
		o.InProcessServer = InProcess{o.InProcessServer, func(c net.Conn) (net.Conn, error) { return d.protect(c, d.firstHost) }}
	}
	o.CustomDialer, o.SkipHostLookup = d, true
}

// dialer dials with inner, does TLS, and puts a guard on what comes of it.
type dialer struct {
	inner     nats.CustomDialer
	keep      int
	timeout   time.Duration
	secure    bool // TLS wherever the server offers it
	first     bool // TLS before anything else
	plain     bool // inner does TLS itself
	firstHost string
	tlsConfig func(host string) (*tls.Config, error)
	servers   knownServers

	mu   sync.Mutex
	name string // the host that was reached last by a name
}

// Dial connects to a server for nats.go.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.inner.Dial(network, address)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return d.protect(c, host)
}

// SkipTLSHandshake says that nats.go is not to do TLS.
func (d *dialer) SkipTLSHandshake() bool { return true }

// InProcess wraps the connections to a server in the same process.
type InProcess struct {
	Provider nats.InProcessConnProvider
	Wrap     func(net.Conn) (net.Conn, error)
}

// InProcessConn makes a connection for nats.go.
func (p InProcess) InProcessConn() (net.Conn, error) {
	c, err := p.Provider.InProcessConn()
	if err != nil {
		return nil, err
	}
	return p.Wrap(c)
}

// protect does TLS where it is to be, and puts a guard on c. It closes c when that
// fails.
func (d *dialer) protect(c net.Conn, host string) (net.Conn, error) {
	g := &guard{Conn: c, keep: d.keep, servers: &d.servers}
	if !d.plain {
		if err := d.secureGuard(g, host); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return g, nil
}

// secureGuard does TLS by nats.go's rules. Where it is not done before anything else,
// a server's first line says whether it takes it.
func (d *dialer) secureGuard(g *guard, host string) error {
	if err := g.SetDeadline(time.Now().Add(d.timeout)); err != nil {
		return err
	}
	wanted := d.first
	if !d.first {
		info, err := readInfo(g.Conn)
		if err != nil {
			return err
		}
		end := bytes.IndexByte(info, '\n') + 1
		wanted = takesTLS(info[:end], d.secure)
		if wanted && end < len(info) {
			return &Violation{"it sent something before the TLS handshake"}
		}
		g.prefix = info
	}
	if d.secure && !wanted {
		return nats.ErrSecureConnWanted // nats.go is never to take such a connection for an encrypted one
	}
	if wanted {
		if err := d.handshake(g, host); err != nil {
			return fmt.Errorf("%w: %w", nats.ErrTLS, err)
		}
	}
	return g.SetDeadline(time.Time{})
}

func (d *dialer) handshake(g *guard, host string) error {
	conf, err := d.tlsConfig(d.nameFor(host))
	if err != nil {
		return err
	}
	c := tls.Client(g.Conn, conf)
	if err := c.Handshake(); err != nil {
		return err
	}
	g.Conn, g.tls = c, true
	d.mu.Lock()
	defer d.mu.Unlock()
	if net.ParseIP(host) == nil {
		d.name = host
	}
	return nil
}

// nameFor returns the name that a server's certificate must have. A server tells the
// addresses of others; these have the name of the one that told them.
func (d *dialer) nameFor(host string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if net.ParseIP(host) != nil && d.name != "" {
		return d.name
	}
	return host
}

// tlsConfig returns nats.go's configuration for a server.
func tlsConfig(o *nats.Options, host string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLSConfig != nil {
		conf = o.TLSConfig.Clone()
	}
	if o.TLSCertCB != nil {
		cert, err := o.TLSCertCB()
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	if o.RootCAsCB != nil {
		roots, err := o.RootCAsCB()
		if err != nil {
			return nil, err
		}
		conf.RootCAs = roots
	}
	if conf.ServerName == "" {
		conf.ServerName = host
	}
	return conf, nil
}

// readInfo reads the first line of a server, and perhaps more.
func readInfo(c net.Conn) (line []byte, err error) {
	buf := make([]byte, 4<<10)
	for bytes.IndexByte(line, '\n') < 0 {
		n, err := c.Read(buf)
		line = append(line, buf[:n]...)
		switch {
		case n > 0:
		case err != nil:
			return nil, err
		default:
			return nil, io.ErrNoProgress
		}
		if len(line) > maxInfo {
			return nil, &Violation{fmt.Sprintf("an INFO of more than %d bytes", maxInfo)}
		}
	}
	return line, nil
}

// takesTLS reports whether TLS is to be done with the server whose INFO this is. What
// is no INFO is left to nats.go to refuse.
func takesTLS(line []byte, secure bool) bool {
	op, text, _ := strings.Cut(string(line), " ")
	var info struct {
		Required  bool `json:"tls_required"`
		Available bool `json:"tls_available"`
	}
	if strings.TrimSpace(op) != "INFO" || json.Unmarshal([]byte(text), &info) != nil {
		return false
	}
	return info.Required || secure && info.Available
}

// Resolver dials by name. Unlike nats.go it can be interrupted while it looks a name
// up. Several addresses of one name are tried in random order, as nats.go does, so
// that clients spread over the servers.
type Resolver struct {
	Dialer  net.Dialer
	Timeout time.Duration // of one Dial
	Ordered bool          // the addresses are tried in the order in which they come
}

// NewResolver returns one that dials as o says.
func NewResolver(o *nats.Options) *Resolver {
	r := &Resolver{Timeout: o.Timeout, Ordered: o.NoRandomize}
	if o.Dialer != nil {
		r.Dialer = *o.Dialer
	}
	if r.Timeout <= 0 {
		r.Timeout = nats.DefaultTimeout
	}
	if r.Dialer.Timeout > 0 {
		r.Timeout = min(r.Timeout, r.Dialer.Timeout)
	}
	if o.AllowMultipathTCP != nil {
		r.Dialer.SetMultipathTCP(*o.AllowMultipathTCP)
	}
	return r
}

// Dial is DialContext without an end but its own.
func (r *Resolver) Dial(network, address string) (net.Conn, error) {
	return r.DialContext(context.Background(), network, address)
}

// DialContext connects within Timeout, and ends when ctx does.
func (r *Resolver) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	hosts := []string{host}
	if net.ParseIP(host) == nil {
		if hosts, err = r.Dialer.Resolver.LookupHost(ctx, host); err != nil {
			return nil, err
		}
		if !r.Ordered {
			rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
		}
	}
	for _, h := range hosts {
		attempt, cancel := context.WithTimeout(ctx, r.Timeout/time.Duration(len(hosts)))
		var c net.Conn
		c, err = r.Dialer.DialContext(attempt, network, net.JoinHostPort(h, port))
		cancel()
		if err == nil {
			return c, nil
		}
	}
	return nil, err
}
