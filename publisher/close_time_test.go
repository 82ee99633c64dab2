package publisher

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
)

// doneContext returns a context that has ended, as that of a signal which ends the
// process.
func doneContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// A healthy broker gets everything, also from a Close whose context is done, and
// right after Connect.
func TestCloseWithADoneContextHasAGrace(t *testing.T) {
	t.Parallel()
	s := embeddedFor(t)
	for name, warm := range map[string]bool{"right after Connect": false, "while records flow": true} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, s.ClientURL())
			p := connect(t, s.ClientURL(), Config{})
			if warm {
				p.Audit(papyra.Audit{})
				await(t, "the connection is used", func() bool { return p.Stats().Audits.Confirmed == 1 })
			}
			const n = 1000
			for range n {
				p.Started(someActor)
			}
			if err := p.Close(doneContext()); err != nil {
				t.Errorf("Close: %v", err)
			}
			if got := p.Stats(); got.Events.Confirmed != n || got.Reports.Confirmed == 0 {
				t.Errorf("got %+v and %+v, want %d confirmed and a report", got.Events, got.Reports, n)
			}
			await(t, "everything arrives", func() bool { return len(r.missing(papyra.KindEvent, n)) == 0 })
			if err := p.Close(doneContext()); err != nil { // not by chance
				t.Errorf("another Close: %v", err)
			}
		})
	}
}

// What Close takes where nothing can be sent, and what its error says.
func TestTimeOfClose(t *testing.T) {
	t.Parallel()
	gone := "nats://127.0.0.1:1"
	alone := embeddedFor(t).ClientURL()
	denied := embedded(t, &server.Options{Users: []*server.User{{Username: "u", Password: "p",
		Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{">"}}}}}}).ClientURL()
	const timeout = 400 * time.Millisecond
	background := func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }
	ended := func() (context.Context, context.CancelFunc) { return doneContext(), func() {} }
	expired := func() (context.Context, context.CancelFunc) {
		return context.WithDeadline(context.Background(), time.Unix(1, 0))
	}
	soon := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), timeout)
	}
	for _, c := range []struct {
		name    string
		url     string
		options []nats.Option
		ctx     func() (context.Context, context.CancelFunc)
		least   time.Duration
		cause   error
		says    []string
	}{
		{"no broker, no deadline", gone, nil, background, timeout, context.DeadlineExceeded,
			[]string{"no connection", "connection refused", "CloseTimeout of 400ms"}},
		{"no broker, a context that was cancelled", gone, nil, ended, doneGrace, context.Canceled,
			[]string{"no connection", "connection refused", "1s more"}},
		{"no broker, a deadline that is over", gone, nil, expired, doneGrace, context.DeadlineExceeded,
			[]string{"no connection", "1s more"}},
		{"nobody listens", alone, nil, soon, 0, context.DeadlineExceeded,
			[]string{"nobody listens to events", "nobody listens to dead_letters"}},
		{"not permitted", denied, []nats.Option{nats.UserInfo("u", "p")}, background, 0, context.DeadlineExceeded,
			[]string{"does not permit publishing events", "last error", "ermissions"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			p := connect(t, c.url, Config{
				CloseTimeout: timeout, NATS: c.options, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			for range 10 {
				p.Started(someActor)
			}
			p.DeadLetter(papyra.DeadLetter{MessageType: "M"})
			ctx, cancel := c.ctx()
			defer cancel()
			begin := time.Now()
			err := p.Close(ctx)
			took := time.Since(begin)
			if !errors.Is(err, c.cause) {
				t.Fatalf("got %v, want an error that wraps %v", err, c.cause)
			}
			if took < c.least || took > c.least+5*time.Second {
				t.Errorf("Close took %v, want about %v", took, c.least)
			}
			for _, want := range append(c.says, "records left behind") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want that it says %q", err, want)
				}
			}
			if again := p.Close(context.Background()); !errors.Is(again, err) {
				t.Errorf("another Close: got %v, want the same error", again)
			}
			got := p.Stats()
			balanced(t, got)
			if got.Events.DroppedClosed+got.Events.Unconfirmed != 10 {
				t.Errorf("got %+v, want 10 left behind", got.Events)
			}
			if text := log.String(); strings.Count(text, "records left behind") != 1 {
				t.Errorf("the log does not say once what was left behind: %s", text)
			}
		})
	}
}

// What waits for the answer of a group names the group.
func TestCloseNamesTheGroupThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := embeddedFor(t)
	discard(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{Groups: []string{"archive"}, CloseTimeout: 400 * time.Millisecond})
	p.Started(someActor)
	await(t, "the record is handed over", func() bool { g := p.Groups(); return len(g) == 1 && g[0].Silent > 0 })
	err := p.Close(context.Background())
	if err == nil || !strings.Contains(err.Error(), "group archive has not answered for ") {
		t.Errorf("got %v, want the group named", err)
	}
	if got := p.Stats(); got.Events.Unconfirmed != 1 {
		t.Errorf("got %+v, want the record unconfirmed", got.Events)
	}
}

// When everything but the records came through in time, the error has a cause all
// the same.
func TestCloseHasACauseWhenItsTimeIsNotUsedUp(t *testing.T) {
	t.Parallel()
	s := embeddedFor(t)
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.Subscribe(papyra.RecordsSubject("orders", papyra.KindReport), func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	p := connect(t, s.ClientURL(), Config{CloseTimeout: 2 * time.Second})
	p.Started(someActor)
	err = p.Close(context.Background())
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "%!") {
		t.Errorf("got %v, want an error that wraps DeadlineExceeded", err)
	}
	if got := p.Stats(); got.Reports.Confirmed == 0 || got.Reports.Confirmed != got.Reports.Accepted {
		t.Errorf("got %+v, want the reports confirmed", got.Reports)
	}
}

// Without a Logger each warning is said once, through slog.Default, and nothing
// else is said.
func TestWithoutALoggerEachWarningIsSaidOnce(t *testing.T) {
	var log lockedBuffer
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	p := connect(t, "nats://127.0.0.1:1", Config{NATS: []nats.Option{fastReconnect}})
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil))) // also after Connect
	p.Started(someActor)
	const first = "broker cannot be reached"
	await(t, "trouble is said", func() bool { return strings.Contains(log.String(), first) })
	for range 3 {
		p.notices.logger.Warn(first + ": check its address and that it runs")
	}
	p.notices.logger.With("k", 1).WithGroup("g").Info("no warning")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if p.Close(ctx) == nil {
		t.Error("got no error")
	}
	text := log.String()
	for _, want := range []string{"broker cannot be reached", "records left behind"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not said once: %s", want, text)
		}
	}
	if strings.Contains(text, "level=INFO") || !strings.Contains(text, "give its Config a Logger") {
		t.Errorf("got %s, want warnings only, and how to get more", text)
	}
}

// A publisher that ends as it should has nothing to warn of.
func TestOrdinaryCloseWarnsOfNothing(t *testing.T) {
	t.Parallel()
	s := embeddedFor(t)
	discard(t, s.ClientURL())
	var log lockedBuffer
	p := connect(t, s.ClientURL(), Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	p.Started(someActor)
	closeWithin(t, p, 20*time.Second)
	if text := log.String(); !strings.Contains(text, "connected to broker") || strings.Contains(text, "level=WARN") {
		t.Errorf("got %s, want no warning", text)
	}
}
