// Package broker embeds a NATS server, for a sink that needs no other.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/papyra/papyra"
)

// Config says how the server listens. The zero Config listens on
// 127.0.0.1:4222.
type Config struct {
	// Listen is host:port, or a host or :port alone. Without a host it is
	// 127.0.0.1. Without a port it is 4222; port 0 takes a free one. An address that
	// other machines can reach needs a Login.
	Listen string
	// Login is what clients of other processes must give. The zero Login asks for
	// none, which is for the loopback address only.
	Login Login
	// MaxPayload bounds a message, in bytes. Default 1 MiB. So that some messages of
	// that size can wait for a client, 64 of them may, as far as this is less than
	// 256 MiB, and at least four, and never less than 64 MiB in all.
	MaxPayload int
	// MaxConnections bounds the clients of other processes; a few more have room while
	// this process has less than eight of its own. One more is told so and
	// disconnected. Default: half of the descriptors that this process may have, and
	// at most as many as can have a message on its way in 1 GiB; at least 4. A number
	// that leaves the process too few descriptors is an error of Start.
	MaxConnections int
	// MaxSubscriptions bounds the subscriptions of each client, in this process or
	// another. Default 1024.
	MaxSubscriptions int
	// StartTimeout bounds how long Start waits for the server. Default 5 s.
	StartTimeout time.Duration
	// Logger takes the server's messages. Default: discard.
	Logger *slog.Logger
}

const (
	defaultPort         = 4222
	defaultMaxPayload   = 1 << 20
	maxMaxPayload       = 64 << 20
	maxWaiting          = 256 << 20
	defaultStartTimeout = 5 * time.Second
	loopback            = "127.0.0.1"
)

// Broker is a running server. Its methods are safe for concurrent use.
type Broker struct {
	srv      *server.Server
	config   Config
	host     string
	port     int
	lameDuck sync.WaitGroup
	guard    *guard

	mu   sync.Mutex
	url  string       // "" until Open
	addr *net.TCPAddr // nil until Open
}

// Start starts a server and returns when it accepts clients: New and Open.
func Start(c Config) (*Broker, error) {
	b, err := New(c)
	if err != nil {
		return nil, err
	}
	if err := b.Open(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// New starts a server that only clients within the process can reach, until
// Open: a sink that subscribes before it is open misses nothing. A wrong
// configuration wraps papyra.ErrConfig; an address that cannot be listened on
// wraps papyra.ErrUnavailable.
//
// The server has one login at most, no permissions, no TLS and no JetStream: it is
// for one machine, or for a few that trust each other. For more, run a NATS server
// and give its URL to the sink. The server shares the process with the sink. So
// what its clients can take of that process is bounded: see [Config] and guard. The server
// stalls a client that publishes faster than the sink takes messages; it does
// not drop them. For this the option no_fast_producer_stall stays off: with it
// the server throws away messages for a slow receiver and counts nothing.
func New(c Config) (*Broker, error) {
	host, port, err := splitListen(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("%w: listen address %q: %w", papyra.ErrConfig, c.Listen, err)
	}
	if c.MaxPayload < 0 || c.MaxPayload > maxMaxPayload {
		return nil, fmt.Errorf("%w: max payload %d: give 1 to %d bytes", papyra.ErrConfig, c.MaxPayload, maxMaxPayload)
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = defaultMaxPayload
	}
	if err := c.limitConnections(); err != nil {
		return nil, err
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultStartTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Broker{config: c, host: host, port: port}
	if err := b.tryListen(); err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	options := &server.Options{
		ServerName:       "papyra-sink",
		Host:             host,
		Port:             port,
		MaxConn:          c.MaxConnections + ownConnections,
		MaxSubs:          c.MaxSubscriptions,
		MaxSubTokens:     maxSubTokens,
		MaxPayload:       int32(c.MaxPayload),
		MaxPending:       maxPending(c.MaxPayload),
		MaxClosedClients: maxClosed,
		PingInterval:     pingEvery,
		WriteDeadline:    writeDeadline,
		AuthTimeout:      loginWithin.Seconds(),
		NoSigs:           true, // the process has its own handlers
		DontListen:       true, // Open listens
	}
	if !c.Login.isZero() {
		options.CustomClientAuthentication = c.Login.checker()
	}
	b.srv, err = server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("%w: start the embedded NATS server: %w", papyra.ErrConfig, err)
	}
	b.srv.SetLoggerV2(newServerLog(c.Logger), false, false, false)
	b.srv.Start()
	b.guard = startGuard(b.srv, 2*maxPending(c.MaxPayload), c.Logger)
	if !b.srv.ReadyForConnections(c.StartTimeout) {
		b.Close()
		return nil, fmt.Errorf("%w: the embedded NATS server was not ready within %v", papyra.ErrUnavailable, c.StartTimeout)
	}
	return b, nil
}

// Open lets clients of other processes in. Calling it again does nothing.
func (b *Broker) Open() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.addr != nil {
		return nil
	}
	ready := make(chan struct{})
	b.srv.AcceptLoop(ready)
	<-ready
	addr, ok := b.srv.Addr().(*net.TCPAddr)
	if !ok {
		return b.cannotListen(errors.New("the address cannot be listened on"))
	}
	b.addr, b.url = addr, b.srv.ClientURL()
	return nil
}

// tryListen finds out whether the address can be listened on, which Open would
// find out only after the caller has opened the store, and refuses one that other
// machines can reach if there is no login.
func (b *Broker) tryListen() error {
	l, err := net.Listen("tcp", net.JoinHostPort(b.host, strconv.Itoa(b.port)))
	if err != nil {
		return b.cannotListen(err)
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		return b.cannotListen(err)
	}
	if ok && addr.IP.IsLoopback() || !b.config.Login.isZero() {
		return nil
	}
	return fmt.Errorf("%w: listen address %q: other machines can reach it, and whoever does can write records: "+
		"give the server a login with --listen-user and --listen-password-file, or listen on 127.0.0.1, "+
		"or run a NATS server of its own and name it with --server", papyra.ErrConfig, b.config.Listen)
}

func (b *Broker) cannotListen(err error) error {
	return fmt.Errorf("%w: start the embedded NATS server at %s:%d: %w: choose another address with --listen, or use the server that is there with --server",
		papyra.ErrUnavailable, b.host, b.port, err)
}

// URL returns the address to which clients on this machine connect, or ""
// before Open.
func (b *Broker) URL() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.url
}

// Addr returns the address on which the server listens, also after Close, or ""
// before Open.
func (b *Broker) Addr() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.addr == nil {
		return ""
	}
	return b.addr.String()
}

// Loopback reports whether only this machine can reach the server.
func (b *Broker) Loopback() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.addr == nil || b.addr.IP.IsLoopback()
}

// InProcessConn connects a client without a socket, as nats.InProcessServer
// asks for. Such a client needs no login, and Quiesce does not disconnect it. It
// counts among the connections, and takes the place of another one if there are too
// many.
func (b *Broker) InProcessConn() (net.Conn, error) {
	b.guard.makeRoom(b.config.MaxConnections)
	return b.srv.InProcessConn()
}

// Quiesce stops accepting clients and disconnects those of other processes. It
// returns when they are gone or ctx ends. By then the server has handed all that
// it had read from them to its subscribers' connections. A sink that drains
// afterwards therefore stores every message that a client could believe to be
// received.
func (b *Broker) Quiesce(ctx context.Context) error {
	if b.Addr() == "" {
		return nil // nobody was let in
	}
	// The lame duck mode closes the listener. Then it waits, by default for ten
	// seconds, before it disconnects clients. Close ends that wait.
	b.lameDuck.Go(b.srv.LameDuckShutdown)
	for {
		clients, err := b.disconnectRemote()
		if err != nil {
			return fmt.Errorf("list the clients of the embedded NATS server: %w", err)
		}
		if clients == 0 && b.srv.Addr() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("disconnect the clients of the embedded NATS server: %w", ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// disconnectRemote disconnects the clients of other processes and returns how
// many there were.
func (b *Broker) disconnectRemote() (int, error) {
	conns, err := b.srv.Connz(&server.ConnzOptions{Limit: 1 << 20})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, c := range conns.Conns {
		if net.ParseIP(c.IP) == nil {
			continue // a pipe within the process has no address
		}
		n++
		_ = b.srv.DisconnectClientByID(c.Cid) // it may be gone already
	}
	return n, nil
}

// Close disconnects the clients, ends the server and returns when it has ended.
func (b *Broker) Close() {
	b.guard.stop()
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
	b.lameDuck.Wait()
}

func splitListen(listen string) (host string, port int, err error) {
	host, port = loopback, defaultPort
	if listen == "" {
		return host, port, nil
	}
	h, p, err := net.SplitHostPort(listen)
	if err != nil {
		var missing *net.AddrError
		if !errors.As(err, &missing) || missing.Err != "missing port in address" {
			return "", 0, errors.New("write it as host:port")
		}
		h, p = listen, ""
	}
	if h != "" {
		host = h
	}
	if p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 0 || port > 65535 {
			return "", 0, fmt.Errorf("port %q is not a number from 0 to 65535", p)
		}
	}
	return host, port, nil
}
