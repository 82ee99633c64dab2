package publisher

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
)

// Whatever the way to reach a server, the connection is one of the sockets that
// the confirmation looks at.
func TestWaysToConnect(t *testing.T) {
	ca, config := natstest.Certificate(t)
	secure := embedded(t, &server.Options{TLSConfig: config, TLSTimeout: 5})
	plain := embeddedFor(t)
	cases := []struct {
		name string
		url  string
		sink string
		nats []nats.Option
	}{
		{"URL", plain.ClientURL(), plain.ClientURL(), nil},
		{"host name", "nats://localhost:" + port(plain), plain.ClientURL(), nil},
		{"several servers", "nats://127.0.0.1:1, " + plain.ClientURL(), plain.ClientURL(), []nats.Option{fastReconnect}},
		{"TLS", "tls://127.0.0.1:" + port(secure), secure.ClientURL(), []nats.Option{nats.RootCAs(ca)}},
		{"in the same process", "", plain.ClientURL(), []nats.Option{nats.InProcessServer(plain)}},
		{"custom dialer", plain.ClientURL(), plain.ClientURL(), []nats.Option{nats.SetCustomDialer(&faultyDialer{})}},
		{"nil option", plain.ClientURL(), plain.ClientURL(), []nats.Option{nil}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var trust []nats.Option
			if tc.sink == secure.ClientURL() {
				trust = append(trust, nats.RootCAs(ca))
			}
			r := newReceiver(t, tc.sink, trust...)
			p := connect(t, tc.url, Config{NATS: tc.nats})
			p.Started(someActor)
			await(t, "record arrives", func() bool { return r.got(papyra.KindEvent) == 1 })
			if p.link.dialer.current.Load() == nil {
				t.Error("the connection is not one of ours")
			}
			closeWithin(t, p, 10*time.Second)
			if n := len(p.link.dialer.open); n != 0 {
				t.Errorf("%d sockets are open after Close", n)
			}
		})
	}
}

func port(s *server.Server) string { return strconv.Itoa(s.Addr().(*net.TCPAddr).Port) }

func TestWrongCertificateIsRefused(t *testing.T) {
	_, config := natstest.Certificate(t)
	other, _ := natstest.Certificate(t)
	secure := embedded(t, &server.Options{TLSConfig: config, TLSTimeout: 5})
	p := connect(t, "tls://127.0.0.1:"+port(secure), Config{NATS: []nats.Option{nats.RootCAs(other), fastReconnect}})
	p.Started(someActor)
	await(t, "the refusal is counted", func() bool { return p.Stats().Errors.Connect > 0 })
	if s := p.Stats(); s.Events.Buffered != 1 || s.Connected || !strings.Contains(s.Errors.Last, "certificate") {
		t.Errorf("got %+v, want the record buffered and the cause shown", s)
	}
}

// Close does not wait for the user's dialer, and a connection that the dialer
// makes too late is closed.
func TestCloseDoesNotWaitForADialer(t *testing.T) {
	d := &slowDialer{dialing: make(chan struct{}), release: make(chan struct{}), closed: make(chan struct{})}
	p := connect(t, "nats://127.0.0.1:1", Config{NATS: []nats.Option{nats.SetCustomDialer(d), nats.Timeout(time.Hour)}})
	p.Started(someActor)
	<-d.dialing
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("Close took %v", took)
	}
	close(d.release)
	<-d.closed
}

type slowDialer struct {
	once                     sync.Once
	dialing, release, closed chan struct{}
}

func (d *slowDialer) Dial(string, string) (net.Conn, error) {
	d.once.Do(func() { close(d.dialing) })
	<-d.release
	a, b := net.Pipe()
	go func() {
		_, _ = b.Read(make([]byte, 1))
		close(d.closed)
	}()
	return a, nil
}

// A callback of the user that hangs while nats.go connects does not hold up Close
// for ever.
func TestCloseDoesNotWaitForACallback(t *testing.T) {
	b := embedded(t, &server.Options{Username: "u", Password: "p"})
	release, asked := make(chan struct{}), make(chan struct{})
	var once sync.Once
	p := connect(t, b.ClientURL(), Config{NATS: []nats.Option{nats.TokenHandler(func() string {
		once.Do(func() { close(asked) })
		<-release
		return "token"
	})}})
	p.Started(someActor)
	<-asked
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err := p.Close(ctx)
	if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took > userGrace+3*time.Second {
		t.Errorf("Close took %v and returned %v", took, err)
	}
	close(release)
	<-p.done
	balanced(t, p.Stats())
}

// Secrets are in no log line and no error, whatever goes wrong.
func TestSecretsAreNotShown(t *testing.T) {
	const canary = "hunter2"
	b := embedded(t, &server.Options{Username: "u", Password: "right"})
	var log lockedBuffer
	for _, url := range []string{
		"nats://u:" + canary + "@" + b.Addr().String(), // refused
		"nats://u:" + canary + "@127.0.0.1:1",          // nobody there
		"nats://u:" + canary + "@no-such-host.invalid:4222",
	} {
		p := connect(t, url, Config{
			Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			NATS:   []nats.Option{fastReconnect},
		})
		p.Started(someActor)
		await(t, "trouble is counted", func() bool { e := p.Stats().Errors; return e.Connect+e.Auth > 0 })
		if last := p.Stats().Errors.Last; strings.Contains(last, canary) {
			t.Errorf("%s: Stats shows the password: %s", url, last)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if err := p.Close(ctx); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: Close shows the password or no error: %v", url, err)
		}
		cancel()
	}
	if text := log.String(); text == "" || strings.Contains(text, canary) {
		t.Errorf("the log is empty or shows the password: %s", text)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestLogLinesAreFew(t *testing.T) {
	var log lockedBuffer
	n := newNotices(slog.New(slog.NewTextHandler(&log, nil)))
	now := time.Now()
	n.repeated.Now = func() time.Time { return now }
	go n.run()
	none := func() []any { return nil }
	for range 5 {
		n.log(slog.LevelWarn, "again", none)
	}
	n.log(slog.LevelWarn, "other", none)
	now = now.Add(2 * noticeEvery)
	n.log(slog.LevelWarn, "again", none)
	n.close()
	<-n.done
	n.log(slog.LevelWarn, "too late", none)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 || strings.Contains(lines[0], "suppressed") || !strings.Contains(lines[2], "suppressed=4") {
		t.Errorf("got %q, want three lines of which the last tells that four were left out", lines)
	}
}

// The order of records is the order of their numbers, whatever the clock does.
func TestClockThatJumps(t *testing.T) {
	b := embeddedFor(t)
	r := newReceiver(t, b.ClientURL())
	var n atomic.Int64
	p := connect(t, b.ClientURL(), Config{
		ReportEvery: 20 * time.Millisecond,
		Now: func() time.Time { // back and forth by days, now and then before 1970
			i := n.Add(1)
			return time.Unix(1700000000, 0).AddDate(0, 0, int(i*7919%100_000-50_000))
		},
	})
	for range 2000 {
		p.Started(someActor)
	}
	await(t, "records arrive", func() bool { return r.got(papyra.KindEvent) == 2000 })
	await(t, "reports arrive", func() bool { return len(r.allReports()) > 1 })
	last := uint64(0)
	for _, line := range r.lines(papyra.KindEvent) {
		rec, err := papyra.Parse([]byte(line))
		if err != nil || rec.Seq != last+1 {
			t.Fatalf("got number %d after %d, error %v", rec.Seq, last, err)
		}
		last = rec.Seq
	}
	for _, report := range r.allReports() {
		if report.Uptime < 0 || report.Uptime > 60 {
			t.Errorf("got an uptime of %v s, want the monotonic one", report.Uptime)
		}
	}
}
