package natswire_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/natswire"
	"github.com/papyra/papyra/internal/testkit"
)

// connectTo connects as nats.go does with these options, through guards.
func connectTo(t *testing.T, url string, opts ...nats.Option) (*nats.Conn, error) {
	t.Helper()
	o := nats.GetDefaultOptions()
	o.Servers = strings.Split(url, ",")
	o.AllowReconnect = false
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			t.Fatal(err)
		}
	}
	natswire.Protect(&o, 0)
	nc, err := o.Connect()
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, err
}

func portOf(s *server.Server) string { return strconv.Itoa(s.Addr().(*net.TCPAddr).Port) }

// TLS is done where nats.go would do it, and refused where nats.go would refuse it.
func TestTLSByTheRulesOfTheClient(t *testing.T) {
	t.Parallel()
	ca, config := natstest.Certificate(t)
	otherCA, _ := natstest.Certificate(t)
	run := func(o *server.Options) string {
		o.TLSTimeout = 5
		return "127.0.0.1:" + portOf(natstest.Embedded(t, o))
	}
	mutual := config.Clone()
	mutual.ClientAuth = tls.RequireAnyClientCert
	plain := run(&server.Options{})
	required := run(&server.Options{TLSConfig: config.Clone()})
	either := run(&server.Options{TLSConfig: config.Clone(), AllowNonTLS: true})
	first := run(&server.Options{TLSConfig: config.Clone(), TLSHandshakeFirst: true})
	both := run(&server.Options{TLSConfig: mutual})
	roots := nats.RootCAs(ca)
	cert := func(o *nats.Options) error {
		o.TLSCertCB = func() (tls.Certificate, error) { return config.Certificates[0], nil }
		return nil
	}
	for _, tt := range []struct {
		name string
		url  string
		opts []nats.Option
		part string // of the error; "" connects
		tls  bool
	}{
		{"plain", "nats://" + plain, nil, "", false},
		{"plain by name", "nats://localhost:" + plain[strings.LastIndex(plain, ":")+1:], nil, "", false},
		{"required", "nats://" + required, []nats.Option{roots}, "", true},
		{"required by name", "nats://localhost:" + required[strings.LastIndex(required, ":")+1:], []nats.Option{roots}, "", true},
		{"tls scheme", "tls://" + required, []nats.Option{roots}, "", true},
		{"offered and wanted", "tls://" + either, []nats.Option{roots}, "", true},
		{"offered and not wanted", "nats://" + either, nil, "", false},
		{"first", "nats://" + first, []nats.Option{roots, nats.TLSHandshakeFirst()}, "", true},
		{"client certificate", "nats://" + both, []nats.Option{roots, cert}, "", true},
		{"no client certificate", "nats://" + both, []nats.Option{roots}, "tls", true},
		{"wanted and not offered", "tls://" + plain, []nats.Option{roots}, "secure connection not available", false},
		{"unknown authority", "nats://" + required, nil, "unknown authority", false},
		{"another authority", "nats://" + required, []nats.Option{nats.RootCAs(otherCA)}, "unknown authority", false},
		{"another name", "nats://" + required, []nats.Option{roots, func(o *nats.Options) error { o.TLSConfig.ServerName = "example.org"; return nil }}, "example.org", false},
		{"nobody there", "nats://127.0.0.1:1", nil, "no servers", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nc, err := connectTo(t, tt.url, tt.opts...)
			if tt.part != "" {
				if err == nil || !strings.Contains(err.Error(), tt.part) {
					t.Errorf("connect: %v, want an error with %q", err, tt.part)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sub, err := nc.SubscribeSync("x")
			if err != nil {
				t.Fatal(err)
			}
			payload := strings.Repeat("x", 100_000)
			if err := nc.Publish("x", []byte(payload)); err != nil {
				t.Fatal(err)
			}
			if m, err := sub.NextMsg(30 * time.Second); err != nil || string(m.Data) != payload {
				t.Errorf("got a message of %v, %v", m, err)
			}
		})
	}
}

// fakeServer says something to each client and returns what the first one answered.
func fakeServer(t *testing.T, says string) (url string, answer func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 1)
	var serving sync.WaitGroup
	serving.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, says)
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		line, _ := bufio.NewReader(c).ReadString('\n')
		heard <- line
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().String(), func() string { return <-heard }
}

// A server, or somebody before it, cannot have the password without encryption from a
// client that wants it, whatever it says of TLS.
func TestPasswordIsNotSentInTheClear(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"no TLS":                "INFO {\"tls_required\":false}\r\n",
		"nothing of TLS":        "INFO {}\r\n",
		"tab behind the word":   "INFO\t {\"tls_available\":true}\r\n",
		"tab for the space":     "INFO\t{\"tls_available\":true}\r\n",
		"small letters":         "info {\"tls_available\":true}\r\n",
		"blank before":          " INFO {\"tls_available\":true}\r\n",
		"twice":                 "INFO {\"tls_available\":true,\"tls_available\":false}\r\n",
		"no JSON":               "INFO {\"tls_available\":true\r\n",
		"something behind":      "INFO {\"tls_required\":true}\r\nPING\r\n",
		"another line before":   "PING\r\nINFO {\"tls_required\":true}\r\n",
		"nothing but a newline": "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, answer := fakeServer(t, says)
			if _, err := connectTo(t, "tls://user:canary@"+address, nats.Timeout(2*time.Second)); err == nil {
				t.Error("connected")
			}
			if a := answer(); strings.Contains(a, "canary") || strings.HasPrefix(a, "CONNECT") {
				t.Errorf("the client sent %q", a)
			}
		})
	}
}

// An address that a server tells of has the name of the server that told it.
func TestDiscoveredServerHasTheName(t *testing.T) {
	t.Parallel()
	ca, config := natstest.Certificate(t, "localhost")
	plain := natstest.Embedded(t, nil)
	first := natstest.NewHostile(t, plain.Addr().String(), config, false)
	second := natstest.NewHostile(t, plain.Addr().String(), config, false)
	nc, err := connectTo(t, "nats://localhost:"+first.Port(), nats.RootCAs(ca), func(o *nats.Options) error { o.AllowReconnect = true; return nil }, nats.ReconnectWait(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	first.Say("INFO {\"tls_required\":true,\"connect_urls\":[\"127.0.0.1:" + second.Port() + "\"]}\r\n")
	testkit.Await(t, "the second server is known", func() bool { return len(nc.DiscoveredServers()) == 1 })
	first.End()
	testkit.Await(t, "the client is connected to the second", func() bool { return nc.IsConnected() && second.Clients() == 1 })
	if _, err := connectTo(t, "nats://127.0.0.1:"+second.Port(), nats.RootCAs(ca)); err == nil {
		t.Error("an address that was given needs no name")
	}
}
