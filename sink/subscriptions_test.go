package sink_test

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// limitedServer is a server whose sink may do what a configuration says.
type limitedServer struct {
	t    *testing.T
	srv  *server.Server
	path string
}

const (
	maySubscribe    = `authorization { users: [ {user: pub, password: pw}, {user: sink, password: pw, permissions: { subscribe: { allow: ["papyra.v1.records.*.* *", "papyra.v1.records.>", "$SRV.>", "_INBOX.>", "_INBOX_papyra-sink.>"] }, publish: { allow: [">"] } } } ] }`
	mayNotSubscribe = `authorization { users: [ {user: pub, password: pw}, {user: sink, password: pw, permissions: { subscribe: { allow: ["$SRV.>", "_INBOX.>", "_INBOX_papyra-sink.>"] }, publish: { allow: [">"] } } } ] }`
	mayNotAnnounce  = `authorization { users: [ {user: pub, password: pw}, {user: sink, password: pw, permissions: { subscribe: { allow: ["papyra.v1.records.*.* *"] }, publish: { allow: [">"] } } } ] }`
)

func newLimitedServer(t *testing.T, config string) *limitedServer {
	t.Helper()
	l := &limitedServer{t: t, path: filepath.Join(t.TempDir(), "nats.conf")}
	srv, err := server.NewServer(l.options(config))
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	l.srv = srv
	t.Cleanup(func() {
		l.srv.Shutdown()
		l.srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	return l
}

func (l *limitedServer) options(config string) *server.Options {
	l.t.Helper()
	if err := os.WriteFile(l.path, []byte("listen: 127.0.0.1:-1\n"+config+"\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	opts.NoLog, opts.NoSigs = true, true
	return opts
}

// reload gives the server another configuration while it runs.
func (l *limitedServer) reload(config string) {
	l.t.Helper()
	if err := l.srv.ReloadOptions(l.options(config)); err != nil {
		l.t.Fatal(err)
	}
}

// restart ends the server and starts another one in its place.
func (l *limitedServer) restart(config string) {
	l.t.Helper()
	port := l.srv.Addr().(*net.TCPAddr).Port
	l.srv.Shutdown()
	l.srv.WaitForShutdown()
	opts := l.options(config)
	opts.Port = port
	srv, err := server.NewServer(opts)
	if err != nil {
		l.t.Fatal(err)
	}
	srv.Start()
	l.srv = srv
	if !srv.ReadyForConnections(patience) {
		l.t.Fatal("the server is not ready")
	}
}

// reconnect cuts the connections of the sinks to records.
func (l *limitedServer) reconnect() {
	l.t.Helper()
	conns, err := l.srv.Connz(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, c := range conns.Conns {
		if strings.HasPrefix(c.Name, "papyra-sink ") && !strings.HasSuffix(c.Name, " service") {
			if err := l.srv.DisconnectClientByID(c.Cid); err != nil {
				l.t.Fatal(err)
			}
		}
	}
}

func (l *limitedServer) sinkConfig() sink.Config {
	return sink.Config{URL: l.srv.ClientURL(), NATS: []nats.Option{nats.UserInfo("sink", "pw")}}
}

// publisher returns a connection that may publish everything.
func (l *limitedServer) publisher() *nats.Conn {
	l.t.Helper()
	nc, err := nats.Connect(l.srv.ClientURL(), nats.UserInfo("pub", "pw"))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(nc.Close)
	return nc
}

// storesAgain publishes until one more record is stored.
func storesAgain(t *testing.T, w *worker, nc *nats.Conn, system string) {
	t.Helper()
	before, n := w.Stats().Stored, 0
	eventually(t, "records of "+system+" are stored again", func() bool {
		n++
		publish(t, nc, papyra.RecordsSubject(system, papyra.KindEvent), []byte(plainEvent(system, n)))
		flush(t, nc)
		return w.Stats().Stored > before
	})
}

// A permission that is taken away and given back leaves no sink deaf.
func TestSubscriptionThatIsRefusedLaterIsMadeAgain(t *testing.T) {
	for name, systems := range map[string][]string{
		"everything": nil, "some systems": {"orders", "shop"},
	} {
		for how, cut := range map[string]bool{"on reload": false, "on reconnect": true} {
			t.Run(name+" "+how, func(t *testing.T) {
				l := newLimitedServer(t, maySubscribe)
				log := &syncBuffer{}
				c := l.sinkConfig()
				c.Systems, c.Logger = systems, slog.New(slog.NewTextHandler(log, nil))
				w := runSink(t, c, &fakeStore{})
				nc := l.publisher()
				storesAgain(t, w, nc, "orders")
				l.reload(mayNotSubscribe)
				if cut {
					l.reconnect()
				}
				eventually(t, "the sink is not ready and says why", func() bool {
					err := w.Ready()
					return err != nil && strings.Contains(err.Error(), `papyra-default`) && strings.Contains(err.Error(), "papyra.v1.records.")
				})
				if n := w.Stats().RefusedSubscriptions; n == 0 {
					t.Error("the refusal is not counted")
				}
				eventually(t, "the log says it", func() bool { return strings.Contains(log.String(), "refuses a subscription") })
				l.reload(maySubscribe)
				eventually(t, "the sink is ready again", func() bool { return w.Ready() == nil })
				storesAgain(t, w, nc, "orders")
				if systems != nil {
					storesAgain(t, w, nc, "shop")
				}
				if err := w.stop(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A sink that may not subscribe at its start is not ready, says why and counts it, and
// receives as soon as it may.
func TestSubscriptionThatIsRefusedAtTheStartIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, systems := range map[string][]string{"everything": nil, "some systems": {"orders", "shop"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLimitedServer(t, mayNotSubscribe)
			log := &syncBuffer{}
			c := l.sinkConfig()
			c.Systems, c.Logger = systems, slog.New(slog.NewTextHandler(log, nil))
			w := runSink(t, c, &fakeStore{})
			eventually(t, "the sink says why it is not ready", func() bool {
				err := w.Ready()
				return err != nil && strings.Contains(err.Error(), "papyra-default") && strings.Contains(err.Error(), "papyra.v1.records.")
			})
			eventually(t, "the log says it", func() bool { return strings.Contains(log.String(), "refuses a subscription") })
			if n := w.Stats().RefusedSubscriptions; n == 0 {
				t.Error("the refusal is not counted")
			}
			select {
			case <-w.Receiving():
				t.Error("it is said to receive")
			default:
			}
			l.reload(maySubscribe)
			eventually(t, "it receives", func() bool {
				select {
				case <-w.Receiving():
					return w.Ready() == nil
				default:
					return false
				}
			})
			nc := l.publisher()
			storesAgain(t, w, nc, "orders")
			if systems != nil {
				storesAgain(t, w, nc, "shop")
			}
			if err := w.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A sink that was never served stops as any other.
func TestStopWhileTheStartIsRefused(t *testing.T) {
	t.Parallel()
	l := newLimitedServer(t, mayNotSubscribe)
	store := &fakeStore{}
	w := runSink(t, l.sinkConfig(), store)
	if err := w.Ready(); err == nil {
		t.Error("the sink runs, is refused, and says that it is ready")
	}
	eventually(t, "it is refused", func() bool { return w.Stats().RefusedSubscriptions > 0 })
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if store.closes != 1 {
		t.Errorf("the store was closed %d times", store.closes)
	}
}

// A record is received once, also after subscriptions were made again.
func TestRenewedSubscriptionReceivesOnce(t *testing.T) {
	l := newLimitedServer(t, maySubscribe)
	w := runSink(t, l.sinkConfig(), &fakeStore{})
	nc := l.publisher()
	for range 3 {
		l.reload(mayNotSubscribe)
		eventually(t, "it is refused", func() bool { return w.Ready() != nil })
		l.reload(maySubscribe)
		eventually(t, "it is served", func() bool { return w.Ready() == nil })
	}
	before := w.Stats().Received
	for n := range 1000 {
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(plainEvent("orders", n)))
	}
	flush(t, nc)
	eventually(t, "all are stored", func() bool { return w.Stats().Stored >= before+1000 })
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if st := w.Stats(); st.Received != before+1000 || st.LostMessages != 0 {
		t.Errorf("received %d and lost %d, want %d and 0", st.Received, st.LostMessages, before+1000)
	}
}

// A limit on subscriptions refuses some of several; which, the server does not
// say.
func TestSubscriptionsBeyondALimit(t *testing.T) {
	logins := `authorization { users: [ {user: pub, password: pw}, {user: sink, password: pw} ] }`
	limit := func(n int) string { return logins + fmt.Sprintf("\nmax_subscriptions: %d", n) }

	t.Run("at the start", func(t *testing.T) {
		l := newLimitedServer(t, limit(2))
		c := l.sinkConfig()
		c.Systems = []string{"orders", "shop"}
		w := runSink(t, c, &fakeStore{})
		eventually(t, "the sink is not ready and says why", func() bool {
			err := w.Ready()
			return err != nil && strings.Contains(err.Error(), "needs 7 subscriptions")
		})
		l.restart(logins)
		eventually(t, "the sink is ready", func() bool { return w.Ready() == nil })
		nc := l.publisher()
		storesAgain(t, w, nc, "orders")
		storesAgain(t, w, nc, "shop")
		<-w.Receiving()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("on reconnect", func(t *testing.T) {
		l := newLimitedServer(t, logins)
		c := l.sinkConfig()
		c.Systems, c.Kinds = []string{"orders", "shop"}, []papyra.Kind{papyra.KindEvent}
		w := runSink(t, c, &fakeStore{})
		nc := l.publisher()
		storesAgain(t, w, nc, "shop")
		l.restart(limit(2))
		eventually(t, "the sink is not ready and says why", func() bool {
			err := w.Ready()
			return err != nil && strings.Contains(err.Error(), "needs 3 subscriptions")
		})
		l.restart(logins)
		eventually(t, "the sink is ready again", func() bool { return w.Ready() == nil })
		storesAgain(t, w, nc, "orders")
		storesAgain(t, w, nc, "shop")
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// The service is announced again when it may be.
func TestServiceThatIsRefusedIsAnnouncedAgain(t *testing.T) {
	for name, first := range map[string]string{"from the start": mayNotAnnounce, "later": maySubscribe} {
		t.Run(name, func(t *testing.T) {
			l := newLimitedServer(t, first)
			nc := l.publisher()
			q := quick(l.srv.ClientURL(), "archive", "eu-1")
			q.NATS = []nats.Option{nats.UserInfo("sink", "pw")}
			w := runSink(t, q, openStore(t, "json:"+filepath.Join(t.TempDir(), "a.ndjson")))
			if first == maySubscribe {
				eventually(t, "the sink answers", func() bool { return len(announced(t, nc)) == 1 })
				l.reload(mayNotAnnounce)
			}
			eventually(t, "the refusal is counted", func() bool { return w.Stats().ServiceErrors > 0 })
			if err := w.Ready(); err != nil {
				t.Errorf("not ready: %v", err)
			}
			l.reload(maySubscribe)
			eventually(t, "the sink answers again", func() bool { return len(announced(t, nc)) == 1 })
		})
	}
}
