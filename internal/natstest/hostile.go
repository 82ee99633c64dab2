package natstest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/papyra/papyra/internal/testkit"
)

// Hostile stands between clients and a server. It passes on what both say, and says
// in between what the test wants, as if it came from the server. It ends with the
// test.
type Hostile struct {
	t        testing.TB
	listener net.Listener
	target   string
	tls      *tls.Config // nil: plain
	first    bool        // TLS before anything else

	mu      sync.Mutex
	open    map[*hostileConn]struct{}
	clients int
}

// hostileConn is what goes to one client.
type hostileConn struct {
	net.Conn
	mu    sync.Mutex
	whole bool   // all that was said ends with a line
	wait  []byte // is said then
}

// NewHostile starts one before the server at target, host:port. With a configuration
// of TLS it asks its clients for that, whatever the server does.
func NewHostile(t testing.TB, target string, c *tls.Config, first bool) *Hostile {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &Hostile{t: t, listener: l, target: target, tls: c, first: first, open: map[*hostileConn]struct{}{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { h.serve(c) })
		}
	})
	t.Cleanup(func() {
		h.End()
		serving.Wait()
	})
	return h
}

// End cuts every connection and takes no other one.
func (h *Hostile) End() {
	h.listener.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.open {
		c.Close()
	}
}

// Port returns the port of 127.0.0.1 on which it listens.
func (h *Hostile) Port() string {
	_, port, _ := net.SplitHostPort(h.listener.Addr().String())
	return port
}

// Clients returns how many clients have come in.
func (h *Hostile) Clients() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clients
}

// Say says text to each client that is connected, at the end of a line.
func (h *Hostile) Say(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.open {
		c.say([]byte(text))
	}
}

func (c *hostileConn) say(text []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wait = append(c.wait, text...); c.whole {
		c.flush()
	}
}

// Write passes on what the server says.
func (c *hostileConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.Conn.Write(p)
	if c.whole = err == nil && bytes.HasSuffix(p, []byte("\r\n")); c.whole {
		c.flush()
	}
	return n, err
}

func (c *hostileConn) flush() {
	_ = c.SetWriteDeadline(time.Now().Add(testkit.Patience))
	_, _ = c.Conn.Write(c.wait) // the client may have gone
	c.wait = nil
}

// serve serves one client. With TLS it says itself that TLS is wanted.
func (h *Hostile) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", h.target)
	if err != nil {
		return
	}
	defer server.Close()
	if h.tls != nil {
		info := make([]byte, 32<<10)
		n, err := server.Read(info)
		if err != nil {
			return
		}
		line := strings.Replace(string(info[:n]), "{", `{"tls_required":true,`, 1)
		if !h.first {
			_, _ = io.WriteString(client, line)
		}
		secure := tls.Server(client, h.tls)
		_ = secure.SetDeadline(time.Now().Add(testkit.Patience))
		if secure.Handshake() != nil {
			return
		}
		_ = secure.SetDeadline(time.Time{})
		if h.first {
			_, _ = io.WriteString(secure, line)
		}
		client = secure
	}
	c := &hostileConn{Conn: client}
	h.mu.Lock()
	h.open[c] = struct{}{}
	h.clients++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.open, c)
		h.mu.Unlock()
	}()
	var ways sync.WaitGroup
	ways.Go(func() { _, _ = io.Copy(server, client); server.Close(); client.Close() })
	_, _ = io.Copy(c, server)
	client.Close()
	server.Close()
	ways.Wait()
}

// Certificate makes an authority of its own for these hosts, 127.0.0.1 and localhost
// if there are none. It returns the file that clients must trust, and a server's
// configuration.
func Certificate(t testing.TB, hosts ...string) (caFile string, config *tls.Config) {
	t.Helper()
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1", "localhost"}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return caFile, &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
}
