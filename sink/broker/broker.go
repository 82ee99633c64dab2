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
	// 127.0.0.1; only "0.0.0.0" opens the server to other machines. Without a port
	// it is 4222; port 0 takes a free one.
	Listen string
	// MaxPayload bounds a message, in bytes. Default 1 MiB. So that some messages of
	// that size can wait for a client, 64 of them may, as far as this is less than
	// 256 MiB, and at least four, and never less than 64 MiB in all.
	MaxPayload int
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
// The server has no logins, no TLS and no JetStream: it is for one machine. For
// several machines, run a NATS server and give its URL to the sink. The server
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
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultStartTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Broker{config: c, host: host, port: port}
	// Open would find a port in use only after the caller has opened the store.
	if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
		return nil, b.cannotListen(err)
	} else if err := l.Close(); err != nil {
		return nil, b.cannotListen(err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	b.srv, err = server.NewServer(&server.Options{
		ServerName: "papyra-sink",
		Host:       host,
		Port:       port,
		MaxPayload: int32(c.MaxPayload),
		MaxPending: maxPending(c.MaxPayload),
		NoSigs:     true, // the process has its own handlers
		DontListen: true, // Open listens
	})
	if err != nil {
		return nil, fmt.Errorf("%w: start the embedded NATS server: %w", papyra.ErrConfig, err)
	}
	b.srv.SetLoggerV2(newServerLog(c.Logger), false, false, false)
	b.srv.Start()
	if !b.srv.ReadyForConnections(c.StartTimeout) {
		b.Close()
		return nil, fmt.Errorf("%w: the embedded NATS server was not ready within %v", papyra.ErrUnavailable, c.StartTimeout)
	}
	return b, nil
}

// maxPending returns how many bytes may wait for a client before it is cut off.
func maxPending(maxPayload int) int64 {
	n := int64(maxPayload)
	return max(server.MAX_PENDING_SIZE, min(64*n, maxWaiting), 4*n)
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
// asks for. Quiesce does not disconnect such a client.
func (b *Broker) InProcessConn() (net.Conn, error) { return b.srv.InProcessConn() }

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
