package sink_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/natswire"
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
			announced := func() bool { return isAnnounced(t, nc, way) }
			eventually(t, "the sink is announced", announced)
			h.Say("-ERR 'something new'\r\n")
			eventually(t, "both connections are made again", func() bool { return h.Clients() == 4 })
			before, n := w.Stats().Stored, 0
			eventually(t, "records are stored again", func() bool {
				n++
				publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(plainEvent("orders", n)))
				flush(t, nc)
				return w.Stats().Stored > before && w.Ready() == nil
			})
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

// isAnnounced asks for the sinks, and reports whether one of the group answers.
func isAnnounced(t *testing.T, nc *nats.Conn, group string) bool {
	t.Helper()
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
		if bytes.Contains(m.Data, fmt.Appendf(nil, `"group":%q`, group)) {
			return true
		}
	}
}

// A server without headers, and one without a limit on messages, are servers like
// others.
func TestSinkOnUnusualServers(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*server.Options{
		"no-headers": {NoHeaderSupport: true}, "no-limit": {MaxPayload: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := natstest.Embedded(t, o)
			w := runSink(t, sink.Config{URL: srv.ClientURL(), Group: name}, openStore(t, "memory:"))
			c, err := net.Dial("tcp", srv.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			record := plainEvent("orders", 1)
			fmt.Fprintf(c, "CONNECT {}\r\nPUB %s %d\r\n%s\r\n", papyra.RecordsSubject("orders", papyra.KindEvent), len(record), record)
			eventually(t, "the record is stored", func() bool { return w.Stats().Stored == 1 && w.Ready() == nil })
			nc := dialProtected(t, srv.ClientURL())
			eventually(t, "the sink is announced", func() bool { return isAnnounced(t, nc, name) })
			if err := w.stop(); err != nil {
				t.Error(err)
			}
			if st := w.Stats(); st.ServiceErrors != 0 {
				t.Errorf("%d errors of the service", st.ServiceErrors)
			}
		})
	}
}

// dialProtected connects so that a server without a limit on messages is sent some.
func dialProtected(t *testing.T, url string) *nats.Conn {
	t.Helper()
	o := nats.GetDefaultOptions()
	o.Servers = []string{url}
	natswire.Protect(&o, 0)
	nc, err := o.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
