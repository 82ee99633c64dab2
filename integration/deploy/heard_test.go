package deploy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
)

// sendAndHear sends messages of one event each as a publisher, and waits until both
// groups have answered each of them.
func sendAndHear(t *testing.T, nc *nats.Conn, n uint64) {
	t.Helper()
	heard := natstest.Listen(t, nc, "orders", ordersRun)
	for i := uint64(1); i <= n; i++ {
		if err := nc.PublishRequest(papyra.RecordsSubject("orders", papyra.KindEvent), papyra.HeardSubject("orders", ordersRun, i),
			[]byte(sealedEvent(t, "orders", ordersRun, i))); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Await(t, "both groups have answered", func() bool {
		return cmp.Equal(heard.Count(), map[string]int{"archive": int(n), "live": int(n)})
	})
}

// runGroup starts a sink of a group on a store in memory, which ends with the test.
func runGroup(t *testing.T, url, group, user, password string) *sink.Sink {
	t.Helper()
	store, err := backend.Open("memory:")
	if err != nil {
		t.Fatal(err)
	}
	s, err := sink.New(sink.Config{URL: url, Group: group, Instance: "w", NATS: []nats.Option{nats.UserInfo(user, password)}}, store)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = store.Close()
	})
	select {
	case <-s.Receiving():
	case <-time.After(20 * time.Second):
		t.Fatalf("the sink of %s does not receive: %v", group, s.Ready())
	}
	return s
}

// With the shipped permissions each publisher hears the sinks of every group on its
// system's subjects, and nobody can answer in a sink's place.
func TestShippedAnswers(t *testing.T) {
	url := startShipped(t)
	sinks := []*sink.Sink{runGroup(t, url, "archive", "sink", "sink-secret"), runGroup(t, url, "live", "sink", "sink-secret")}
	orders, ordersErrs := client(t, url, "orders", "orders-secret")
	sendAndHear(t, orders, 100)
	for _, s := range sinks {
		if st := s.Stats(); st.AnswersRefused > 0 || s.Notes() != nil {
			t.Errorf("refused %d answers: %q", st.AnswersRefused, s.Notes())
		}
	}
	for what, try := range map[string]func() error{
		"answering itself as a publisher": func() error {
			return orders.Publish(papyra.HeardSubject("orders", ordersRun, 1), []byte(`{"group":"archive"}`))
		},
		"hearing another system": func() error {
			_, err := orders.SubscribeSync(papyra.HeardBySystem("billing"))
			return err
		},
	} {
		if err := try(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ordersErrs:
		case <-time.After(10 * time.Second):
			t.Errorf("%s is allowed", what)
		}
	}
}

// A publisher in another account than the sinks hears them, through a service with
// many answers to a question, and through streams in both directions.
func TestAnswersToAnotherAccount(t *testing.T) {
	for name, c := range map[string]struct{ runtimes, sinks string }{
		"service": {
			`imports: [{ service: { account: SINKS, subject: "papyra.v1.records.>" } }]`,
			`exports: [{ service: "papyra.v1.records.>", response_type: stream, accounts: [RUNTIMES] }]`,
		},
		"stream": {
			`exports: [{ stream: "papyra.v1.records.>", accounts: [SINKS] }], imports: [{ stream: { account: SINKS, subject: "papyra.v1.heard.>" } }]`,
			`exports: [{ stream: "papyra.v1.heard.>", accounts: [RUNTIMES] }], imports: [{ stream: { account: RUNTIMES, subject: "papyra.v1.records.>" } }]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			conf := filepath.Join(t.TempDir(), "accounts.conf")
			// The permissions are those of the shipped configuration; what answers go
			// through a service has its own subject.
			text := fmt.Sprintf(`
				listen: "127.0.0.1:4222"
				accounts {
				  RUNTIMES { users: [{ user: orders, password: secret, permissions: {
				    publish: { allow: ["papyra.v1.records.orders.*"] }, subscribe: { allow: ["papyra.v1.heard.orders.>", "_INBOX.>"] } } }], %s }
				  SINKS { users: [{ user: sink, password: secret, permissions: {
				    publish: { allow: ["papyra.v1.heard.>", %s "$SRV.INFO.papyra-sink", "_INBOX_papyra-sink.>"] }
				    subscribe: { allow: ["papyra.v1.records.*.* *", "_INBOX_papyra-sink.>", "$SRV.*", "$SRV.*.papyra-sink", "$SRV.*.papyra-sink.*"] } } }], %s }
				}`, c.runtimes, map[string]string{"service": `"_R_.>",`}[name], c.sinks)
			if err := os.WriteFile(conf, []byte(strings.ReplaceAll(text, "\t", "")), 0o600); err != nil {
				t.Fatal(err)
			}
			url := startConfig(t, conf)
			archive := runGroup(t, url, "archive", "sink", "secret")
			runGroup(t, url, "live", "sink", "secret")
			orders, errs := client(t, url, "orders", "secret")
			const messages = 300
			sendAndHear(t, orders, messages)
			if st := archive.Stats(); st.Stored != messages || st.Answered != messages || st.AnswersRefused != 0 {
				t.Errorf("stored %d, answered %d, refused %d", st.Stored, st.Answered, st.AnswersRefused)
			}
			select {
			case err := <-errs:
				t.Error(err)
			default:
			}
		})
	}
}
