package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serveWeb serves a handler that says who asks, at address. No client's time is over
// before the test's.
func serveWeb(t *testing.T, address string, hosts ...string) *web {
	t.Helper()
	w, err := listenHTTP(address, hosts)
	if err != nil {
		t.Fatal(err)
	}
	w.times = webTimes{time.Hour, time.Hour, time.Hour}
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprintf(rw, "hello %s", r.Host) }), slog.New(slog.DiscardHandler))
	t.Cleanup(w.close)
	return w
}

// dialWeb connects, sends, and returns the connection.
func dialWeb(t *testing.T, w *web, send string) net.Conn {
	t.Helper()
	_, port, _ := net.SplitHostPort(w.listener.Addr().String())
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	return c
}

// askRaw sends a request with this Host header and returns the whole answer.
func askRaw(t *testing.T, w *web, host string) string {
	t.Helper()
	request := "GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
	if host == "" {
		request = "GET / HTTP/1.0\r\n\r\n"
	}
	answer, err := io.ReadAll(dialWeb(t, w, request))
	if err != nil {
		t.Errorf("ask for host %q: %v", host, err)
	}
	return string(answer)
}

// Whatever holds all the connections, who comes next is answered at once, and there
// are never more connections than the limit.
func TestManyHTTPConnections(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"silent":           "",
		"half a request":   "GET / HTTP/1.1\r\nHost: local",
		"idle in between":  "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"body that waits":  "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
		"many at one time": strings.Repeat("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 100),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serveWeb(t, "127.0.0.1:0")
			for range 3 * maxWebConns() {
				dialWeb(t, w, says)
			}
			if answer := askRaw(t, w, "localhost"); !strings.HasSuffix(answer, "hello localhost") {
				t.Errorf("the answer is %q", answer)
			}
			w.listener.mu.Lock()
			defer w.listener.mu.Unlock()
			if n := len(w.listener.open); n > maxWebConns() {
				t.Errorf("%d connections are open, want at most %d", n, maxWebConns())
			}
		})
	}
}

// A connection that is idle goes before one with a request, however old that is.
func TestIdleHTTPConnectionsGoFirst(t *testing.T) {
	t.Parallel()
	now := time.Now()
	conns := []*webConn{
		{idle: true, since: now.Add(-time.Minute)}, {idle: true, since: now.Add(-time.Second)},
		{since: now.Add(-time.Hour)}, {since: now},
	}
	for i, earlier := range conns {
		for j, later := range conns {
			if got := earlier.goesBefore(later); got != (i < j) {
				t.Errorf("%d goes before %d: %v", i, j, got)
			}
		}
	}
}

func TestHTTPHosts(t *testing.T) {
	t.Parallel()
	loopback, named := serveWeb(t, "127.0.0.1:0"), serveWeb(t, "127.0.0.1:0", "Sink.example.org", "b:80")
	open, openNamed := serveWeb(t, "0.0.0.0:0"), serveWeb(t, "0.0.0.0:0", "sink")
	for _, tt := range []struct {
		w    *web
		host string
		ok   bool
	}{
		{loopback, "localhost", true},
		{loopback, "LOCALHOST.:9464", true},
		{loopback, "x.localhost:1", true},
		{loopback, "127.0.0.1:9464", true},
		{loopback, "[::1]:9464", true},
		{loopback, "[::1]", true},
		{loopback, "10.1.2.3:9464", true},
		{loopback, "", true},
		{loopback, "evil.example.org", false},
		{loopback, "localhost.evil.example.org:9464", false},
		{loopback, "127.0.0.1.evil.example.org", false},
		{loopback, "notlocalhost", false},
		{loopback, "sink.example.org", false},
		{named, "sink.example.org:9464", true},
		{named, "b", true},
		{named, "127.0.0.1", true},
		{named, "evil.example.org", false},
		{open, "papyra-sink.monitoring.svc:9464", true},
		{open, "10.1.2.3:9464", true},
		{openNamed, "10.1.2.3:9464", true},
		{openNamed, "sink:9464", true},
		{openNamed, "evil.example.org", false},
	} {
		answer := askRaw(t, tt.w, tt.host)
		if ok := strings.Contains(answer, " 200 OK"); ok != tt.ok {
			t.Errorf("host %q at %s with %q: %q", tt.host, tt.w.listener.Addr(), tt.w.hosts, answer)
		} else if !ok && (!strings.Contains(answer, " 421 ") || !strings.Contains(answer, "--http-host")) {
			t.Errorf("the refusal does not say what to do: %q", answer)
		}
	}
}

// fullTable is a listener of a process that has no descriptor left.
type fullTable struct{ net.Listener }

func (fullTable) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

// Without a descriptor for a new connection, an old one gives its own.
func TestHTTPWithoutDescriptors(t *testing.T) {
	t.Parallel()
	l := newWebListener(fullTable{}, 64)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	w := &webConn{Conn: ours, listener: l, since: time.Now()}
	l.open[w] = struct{}{}
	for range 2 { // and then there is none left to close
		if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("Accept: %v", err)
		}
		if len(l.open) != 0 {
			t.Errorf("%d connections are open", len(l.open))
		}
	}
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is open: %v", err)
	}
}

// What is closed gives its place back.
func TestHTTPConnectionsAreForgotten(t *testing.T) {
	t.Parallel()
	w := serveWeb(t, "127.0.0.1:0")
	for range 2 * maxWebConns() {
		askRaw(t, w, "localhost")
	}
	await(t, "no connection is open", func() bool {
		w.listener.mu.Lock()
		defer w.listener.mu.Unlock()
		return len(w.listener.open) == 0
	})
}
