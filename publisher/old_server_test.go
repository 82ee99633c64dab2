package publisher

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
)

// A server without headers cannot tell that nobody listens. The publisher says that,
// for the right reason, and takes it back at a server that can.
func TestServerWithoutHeaders(t *testing.T) {
	t.Parallel()
	srv := embedded(t, &server.Options{NoHeaderSupport: true})
	var log testkit.Buffer
	p := connect(t, srv.ClientURL(), Config{NATS: []nats.Option{fastReconnect}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	p.Started(someActor)
	await(t, "the record is confirmed", func() bool { return p.Stats().Events.Confirmed == 1 })
	if s := p.Stats(); !s.NoHeaders || s.RepliesRefused {
		t.Errorf("got %+v, want that the server has no headers", s)
	}
	await(t, "the log says it", func() bool { return strings.Contains(log.String(), "no headers") })
	if strings.Contains(log.String(), "inbox") {
		t.Errorf("the hint is of another reason:\n%s", log.String())
	}
	port := srv.Addr().(*net.TCPAddr).Port
	srv.Shutdown()
	srv.WaitForShutdown()
	embedded(t, &server.Options{Port: port})
	p.Started(someActor)
	await(t, "nobody listens, and that is known", func() bool { return p.Stats().Events.Hold == HoldUnheard })
	if s := p.Stats(); s.NoHeaders || s.Events.Confirmed != 1 {
		t.Errorf("got %+v, want nothing confirmed", s)
	}
}

// A server that takes messages of any size is sent them, and one that comes in its
// place with a limit is obeyed.
func TestServerWithoutALimit(t *testing.T) {
	t.Parallel()
	srv := embedded(t, &server.Options{MaxPayload: -1})
	r := newReceiver(t, srv.ClientURL())
	p := connect(t, srv.ClientURL(), Config{})
	for range 1000 {
		p.Started(someActor)
	}
	p.DeadLetter(papyra.DeadLetter{Target: someActor, MessageType: "x", Payload: strings.Repeat("x", 200_000)})
	await(t, "all records are confirmed", func() bool {
		s := p.Stats()
		return s.Events.Confirmed == 1000 && s.DeadLetters.Confirmed == 1
	})
	await(t, "all records have arrived", func() bool { return r.got(papyra.KindEvent) == 1000 && r.got(papyra.KindDeadLetter) == 1 })
	closeWithin(t, p, 10*time.Second)
	if s := p.Stats(); s.Events.Dropped()+s.DeadLetters.Dropped() != 0 {
		t.Errorf("got %+v, want nothing dropped", s)
	}
}
