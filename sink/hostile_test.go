package sink_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink"
)

// Whatever a server says, the sink is connected again afterwards with both of its
// connections, and stores and announces itself as before.
func TestSinkAndAHostileServer(t *testing.T) {
	t.Parallel()
	srv := natstest.Embedded(t, nil)
	ca, config := natstest.Certificate(t)
	for _, way := range []string{"plain", "TLS"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			c := sink.Config{Group: way, PeersEvery: 1 << 40}
			var log testkit.Buffer
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			var h *natstest.Hostile
			if way == "plain" {
				h = natstest.NewHostile(t, srv.Addr().String(), nil, false)
			} else {
				h = natstest.NewHostile(t, srv.Addr().String(), config, false)
				c.NATS = []nats.Option{nats.RootCAs(ca)}
			}
			c.URL = "nats://127.0.0.1:" + h.Port()
			w := runSink(t, c, openStore(t, "memory:"))
			nc, err := nats.Connect(srv.ClientURL())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			announced := func() bool {
				subject, _ := micro.ControlSubject(micro.PingVerb, papyra.SinkService, "")
				inbox, err := nc.SubscribeSync(nats.NewInbox())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = inbox.Unsubscribe() }()
				_ = nc.PublishRequest(subject, inbox.Subject, nil)
				flush(t, nc)
				for {
					m, err := inbox.NextMsg(200 * time.Millisecond)
					if err != nil {
						return false
					}
					if bytes.Contains(m.Data, fmt.Appendf(nil, `"group":%q`, way)) {
						return true
					}
				}
			}
			lines := []string{"-ERR 'something new'\r\n", "MSG a 1 99999999999\r\n"}
			if way == "TLS" {
				lines = lines[:1] // the service waits for seconds before it connects again
			}
			for i, line := range lines {
				eventually(t, "the sink is announced", announced)
				h.Say(line)
				eventually(t, "both connections are made again", func() bool { return h.Clients() == 2*(i+2) })
				before := w.Stats().Stored
				n := 0
				eventually(t, "records are stored again", func() bool {
					n++
					publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(plainEvent("orders", n)))
					flush(t, nc)
					return w.Stats().Stored > before && w.Ready() == nil
				})
			}
			eventually(t, "the sink is announced", announced)
			if !strings.Contains(log.String(), "something new") {
				t.Errorf("the log does not say what the server said:\n%s", log.String())
			}
			if err := w.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
