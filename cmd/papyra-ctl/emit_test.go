package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
)

// ctl runs a verb in this process.
func ctl(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	tool := &tool{open: backend.Open, now: time.Now}
	code = cli.Run(tool.app(), append([]string{"papyra-ctl"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// livingServer starts a broker in which viewer may do nothing but what each verb needs
// to begin.
func livingServer(t *testing.T) *server.Server {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	allow := func(subjects ...string) *server.SubjectPermission {
		return &server.SubjectPermission{Allow: subjects}
	}
	return natstest.Embedded(t, &server.Options{Users: []*server.User{
		{Username: "all", Password: "pw"},
		{Username: "shop", Password: "pw", Permissions: &server.Permissions{Publish: allow("papyra.v1.records.shop.*"), Subscribe: allow("_INBOX.>", "papyra.v1.heard.shop.>")}},
		{Username: "blind", Password: "pw", Permissions: &server.Permissions{Publish: allow(">"), Subscribe: allow("_INBOX.>")}},
	}})
}

func loginAs(s *server.Server, user string) []string {
	return []string{"--server", s.ClientURL(), "--user", user, "--password", "pw"}
}

// startSink stores in memory until the test ends.
func startSink(t *testing.T, s *server.Server) papyra.Store {
	t.Helper()
	store, err := backend.Open("memory:")
	if err != nil {
		t.Fatal(err)
	}
	w, err := sink.New(sink.Config{URL: strings.Replace(s.ClientURL(), "nats://", "nats://all:pw@", 1)}, store)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the sink: %v", err)
		}
		store.Close()
	})
	<-w.Receiving()
	return store
}

func TestEmit(t *testing.T) {
	s := livingServer(t)
	event := []string{"--system", "orders", "--actor", "42", "--type", "Deployed"}
	emit := func(user, kind string, args ...string) (int, string, string) {
		return ctl(t, append(append([]string{"emit", kind}, loginAs(s, user)...), args...)...)
	}
	// Nobody listens.
	if code, _, said := emit("all", "event", append(event, "--timeout", "300ms")...); code != cli.CodeUnavailable || !strings.Contains(said, "no sink listens to papyra.v1.records.orders.events") {
		t.Errorf("without a sink: code %d, %s", code, said)
	}
	store := startSink(t, s)
	at := []string{"--time", "2024-05-31T14:00:00Z", "--node", "eu-1"}
	for _, tt := range []struct {
		kind string
		args []string
		want string // a part of the stored line
	}{
		{"event", append(event, "--field", "version=1.4", "--field", "by=me"), `"event_type":"Deployed","payload":{"version":"1.4","by":"me"},"timestamp":1717164000.0,"node":"eu-1"`},
		{"event", append(event, "--payload", `{"a": 1.50, "b":[null]}`), `"payload":{"a":1.50,"b":[null]}`},
		{"dead-letter", []string{"--system", "orders", "--target", "cart:7", "--type", "Pay", "--payload", `"x"`}, `"target":{"system":"cart","actor_id":7},"message_type":"Pay","payload":"x"`},
		{"dead-letter", []string{"--system", "orders", "--type", "Pay"}, `"target":null`},
		{"audit", []string{"--system", "orders", "--total", "10", "--alive", "9", "--orphan", "a"}, `"timestamp":1717164000.0,"total_actors":10,"alive_actors":9,"stopping_actors":0,"restarting_actors":0,"registry_size":0,"registry_orphans":["a"]`},
	} {
		code, out, said := emit("all", tt.kind, append(append(tt.args, at...), "--output", "json")...)
		var result struct {
			Run       string
			Confirmed bool
		}
		if err := json.Unmarshal([]byte(out), &result); code != 0 || err != nil || !result.Confirmed {
			t.Fatalf("emit %s: code %d, %s%s (%v)", tt.kind, code, out, said, err)
		}
		await(t, func() bool { // the record, and the last report of its run
			var lines []string
			_, err := store.Read(t.Context(), papyra.Query{Nodes: []string{"eu-1"}}, func(r *papyra.Record, _ papyra.Place) error {
				if string(r.Run) == result.Run {
					lines = append(lines, string(r.Line))
				}
				return nil
			})
			all := strings.Join(lines, "\n")
			return err == nil && strings.Contains(all, tt.want) && strings.Contains(all, `"final":true`)
		})
	}
	for _, tt := range []struct {
		name, user, kind string
		args             []string
		code             int
		says             string
	}{
		{"another system's login", "shop", "event", event, cli.CodeDenied, "does not allow"},
		{"no such login", "nobody", "event", event, cli.CodeDenied, "does not allow"},
		{"no type", "all", "event", []string{"--system", "orders", "--actor", "1"}, cli.CodeUsage, "type"},
		{"payload is no JSON", "all", "event", append(event, "--payload", "text"), cli.CodeUsage, "is not JSON"},
		{"payload and field", "all", "event", append(event, "--payload", "1", "--field", "a=b"), cli.CodeUsage, "not both"},
		{"field without a name", "all", "event", append(event, "--field", "ab"), cli.CodeUsage, "NAME=TEXT"},
		{"the pipeline's own system", "all", "audit", []string{"--system", "papyra"}, cli.CodeConfig, "reserved"},
		{"a count that is none", "all", "audit", []string{"--system", "orders", "--total", "many"}, cli.CodeUsage, "--total"},
		{"too large", "all", "event", append(event, "--payload", `"`+strings.Repeat("x", papyra.MaxPublishedLine)+`"`), cli.CodeUsage, "larger than"},
		{"too deep", "all", "event", append(event, "--payload", strings.Repeat("[", 100)+strings.Repeat("]", 100)), cli.CodeUsage, "too deeply"},
	} {
		if code, out, said := emit(tt.user, tt.kind, tt.args...); code != tt.code || !strings.Contains(said, tt.says) || out != "" {
			t.Errorf("%s: code %d, want %d with %q: %s%s", tt.name, code, tt.code, tt.says, out, said)
		}
	}
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited a minute in vain")
		}
	}
}

func TestAudit(t *testing.T) {
	s := livingServer(t)
	start := func(node string, counts func() papyra.Audit) *publisher.Publisher {
		p, err := publisher.Connect(strings.Replace(s.ClientURL(), "nats://", "nats://all:pw@", 1),
			publisher.Config{System: "orders", Node: node, AuditFunc: counts, ReportEvery: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = p.Close(ctx)
		})
		await(t, func() bool { return p.Stats().Connected })
		return p
	}
	ask := func(user string, args ...string) (int, string, string) {
		return ctl(t, append(append([]string{"audit"}, loginAs(s, user)...), args...)...)
	}
	if code, _, said := ask("all", "--system", "orders", "--wait", "50ms"); code != cli.CodeIncomplete || !strings.Contains(said, "no runtime of orders answered") {
		t.Errorf("nobody there: code %d, %s", code, said)
	}
	startSink(t, s)
	start("eu-1", func() papyra.Audit { return papyra.Audit{TotalActors: 1234, AliveActors: 9} })
	start("eu-2", func() papyra.Audit { return papyra.Audit{TotalActors: 7} })
	mute := start("eu-3", nil)
	// A publisher that has just connected may not have subscribed yet; one that changes
	// nothing reports every sixth time.
	var code int
	var out, said string
	await(t, func() bool {
		mute.Event(papyra.Event{Actor: papyra.Address{ID: 1}, Type: "T"})
		code, out, said = ask("all", "--system", "orders", "--wait", "400ms", "--output", "json")
		var got struct {
			Audits []struct {
				Node  string
				Total int64 `json:"total_actors"`
			}
			Silent []struct{ Node, Run string }
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return len(got.Audits) == 2 && got.Audits[0].Node == "eu-1" && got.Audits[0].Total == 1234 && got.Audits[1].Total == 7 &&
			len(got.Silent) == 1 && got.Silent[0].Node == "eu-3" && got.Silent[0].Run == mute.Run()
	})
	if code != cli.CodeIncomplete {
		t.Errorf("a runtime was silent: code %d, %s%s", code, out, said)
	}
	for _, tt := range []struct {
		name, user string
		args       []string
		code       int
		says       string
	}{
		{"may not ask", "shop", []string{"--system", "orders", "--wait", "10m"}, cli.CodeDenied, `"papyra.v1.`},
		{"may not listen", "blind", []string{"--system", "orders", "--wait", "10m"}, cli.CodeDenied, `"papyra.v1.records.orders`},
		{"no such login", "nobody", []string{"--system", "orders"}, cli.CodeDenied, "Authorization"},
		{"no wait", "all", []string{"--system", "orders", "--wait", "0s"}, cli.CodeUsage, "--wait"},
		{"no system", "all", []string{"--system", "a\tb"}, cli.CodeUsage, "control character"},
	} {
		code, out, said := ask(tt.user, tt.args...)
		if code != tt.code || !strings.Contains(said, tt.says) || out != "" {
			t.Errorf("%s: code %d, want %d with %q: %s%s", tt.name, code, tt.code, tt.says, out, said)
		}
	}
}
