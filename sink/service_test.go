package sink_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// quick is a sink that looks for others all the time.
func quick(url, group, instance string) sink.Config {
	return sink.Config{
		URL: url, Group: group, Instance: instance,
		SyncEvery: 5 * time.Millisecond, ReportEvery: 10 * time.Millisecond, PeersEvery: 100 * time.Millisecond,
	}
}

// announced returns what the sinks on a broker say of themselves.
func announced(t *testing.T, nc *nats.Conn) (list []micro.Info) {
	t.Helper()
	subject, err := micro.ControlSubject(micro.InfoVerb, papyra.SinkService, "")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(subject, sub.Subject, nil); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := sub.NextMsg(200 * time.Millisecond)
		if err != nil {
			return list
		}
		var info micro.Info
		if json.Unmarshal(m.Data, &info) == nil {
			list = append(list, info)
		}
	}
}

func TestSinkAnnouncesItself(t *testing.T) {
	b := startBroker(t)
	nc := dial(t, b.URL())
	store := openStore(t, "json:"+filepath.Join(t.TempDir(), "a.ndjson"))
	w := runSink(t, quick(b.URL(), "archive", "eu-1"), store)
	var list []micro.Info
	eventually(t, "the sink answers", func() bool { list = announced(t, nc); return len(list) == 1 })
	want := map[string]string{"group": "archive", "instance": "eu-1", "store": reportsIn(t, store)[0].Store}
	for key, value := range want {
		if got := list[0].Metadata[key]; got != value || value == "" {
			t.Errorf("%s is %q, want %q", key, got, value)
		}
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the announcement ends with the sink", func() bool { return len(announced(t, nc)) == 0 })
}

// A store of which nobody can know yet is not announced: if the sink were
// killed now, the store would get another id, and that one would be missed for
// ever.
func TestOnlyAStoreThatKnowsItsIDIsAnnounced(t *testing.T) {
	b := startBroker(t)
	nc := dial(t, b.URL())
	for name, store := range map[string]*fakeStore{
		"nothing is appended": {before: refuse},
		"nothing is durable":  {onSync: func() error { return errors.New("input/output error") }},
	} {
		t.Run(name, func(t *testing.T) {
			c := quick(b.URL(), "archive", "eu-1")
			c.StopTimeout = 50 * time.Millisecond
			w := runSink(t, c, store)
			other := runSink(t, quick(b.URL(), "archive", "eu-2"), &fakeStore{})
			eventually(t, "the other sink answers", func() bool { return len(announced(t, nc)) > 0 })
			for _, i := range announced(t, nc) {
				if i.Metadata["instance"] != "eu-2" {
					t.Errorf("announced: %+v", i.Metadata)
				}
			}
			_ = w.stop()
			_ = other.stop()
		})
	}
}

// Sinks of a group tell of each other's stores, also when one has gone, and of
// nobody else's.
func TestSinksFindEachOther(t *testing.T) {
	b := startBroker(t)
	dir := t.TempDir()
	var stores []sink.Backend
	var workers []*worker
	for i, group := range []string{"archive", "archive", "archive", "live"} {
		stores = append(stores, openStore(t, "json:"+filepath.Join(dir, strconv.Itoa(i))))
		workers = append(workers, runSink(t, quick(b.URL(), group, fmt.Sprintf("w%d", i)), stores[i]))
	}
	known := func(i int) (peers []papyra.Peer) {
		for _, r := range reportsIn(t, stores[i]) {
			if len(r.Peers) > 0 {
				peers = r.Peers
			}
		}
		return peers
	}
	for i := range 3 {
		eventually(t, "a sink knows the two others", func() bool { return len(known(i)) == 2 })
	}
	if err := workers[2].stop(); err != nil {
		t.Fatal(err)
	}
	gone := reportsIn(t, stores[2])[0].Store
	for i := range 2 {
		if err := workers[i].stop(); err != nil {
			t.Fatal(err)
		}
		list := reportsIn(t, stores[i])
		last := list[len(list)-1]
		other := reportsIn(t, stores[1-i])[0].Store
		host, url := list[0].Host, func(i int) string { return stores[i].URL() }
		want := []papyra.Peer{{Instance: fmt.Sprintf("w%d", 1-i), Store: other, Host: host, URL: url(1 - i)}, {Instance: "w2", Store: gone, Host: host, URL: url(2)}}
		if host == "" || last.URL != url(i) {
			t.Errorf("the last report of w%d names the host %q and the store %q", i, host, last.URL)
		}
		if last.State != "stopped" || !slices.Equal(last.Peers, want) {
			t.Errorf("the last report of w%d is %q with %v, want %v", i, last.State, last.Peers, want)
		}
	}
	if err := workers[3].stop(); err != nil {
		t.Fatal(err)
	}
	if peers := known(3); len(peers) > 0 {
		t.Errorf("the sink of the other group has peers %v", peers)
	}
	for _, w := range workers {
		if n := w.Stats().ServiceErrors; n > 0 {
			t.Errorf("%d errors of the service", n)
		}
	}
}

// What others answer in the name of sinks costs at most some memory.
func TestHostileAnswers(t *testing.T) {
	b := startBroker(t)
	nc := dial(t, b.URL())
	subject, err := micro.ControlSubject(micro.InfoVerb, papyra.SinkService, "")
	if err != nil {
		t.Fatal(err)
	}
	huge := make([]byte, 900<<10)
	if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
		for i := range 5000 {
			_ = m.Respond(fmt.Appendf(nil, `{"type":%q,"name":%q,"metadata":{"group":"archive","instance":"x%d\u001b","store":"y%d"}}`, micro.InfoResponseType, papyra.SinkService, i, i))
		}
		for range 20 {
			_ = m.Respond(huge)
		}
		_ = m.Respond(nil)
	}); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	store := openStore(t, "memory:")
	w := runSink(t, quick(b.URL(), "archive", "eu-1"), store)
	friend := runSink(t, quick(b.URL(), "archive", "eu-2"), openStore(t, "memory:"))
	r := newRun(t, "orders", runA)
	for range 50 {
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(10))
		flush(t, nc)
	}
	eventually(t, "both have stored all", func() bool { return w.Stats().Stored+friend.Stats().Stored == 500 })
	if err := errors.Join(w.stop(), friend.stop()); err != nil {
		t.Fatal(err)
	}
	for _, r := range reportsIn(t, store) {
		for _, p := range r.Peers {
			if p.Instance != "eu-2" {
				t.Errorf("the sink believes in %+v", p)
			}
		}
	}
}

// A broker that forbids all of the services framework, or only answers, does
// not change what becomes of records.
func TestServiceIsForbidden(t *testing.T) {
	for name, permissions := range map[string]string{
		"all":      `publish: {deny: [">"]}, subscribe: {allow: ["papyra.v1.records.*.* *"]}`,
		"to ask":   `publish: {deny: ["$SRV.>"]}`,
		"to serve": `subscribe: {deny: ["$SRV.>"]}`,
		"answers":  `subscribe: {deny: ["_INBOX_papyra-sink.>"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			url := startServerWithUsers(t, `{user: p, password: p}, {user: sink, password: s, permissions: {`+permissions+`}}`)
			var log syncBuffer
			c := quick(url, "archive", "eu-1")
			c.NATS = []nats.Option{nats.UserInfo("sink", "s")}
			c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
			store := openStore(t, "memory:")
			w := runSink(t, c, store)
			eventually(t, "the trouble is counted more than once", func() bool { return w.Stats().ServiceErrors > 3 })
			nc, err := nats.Connect(url, nats.UserInfo("p", "p"))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), newRun(t, "orders", runA).Events(10))
			flush(t, nc)
			eventually(t, "the records are stored", func() bool { return w.Stats().Stored == 10 })
			if err := w.Ready(); err != nil {
				t.Errorf("the sink is not ready: %v", err)
			}
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(log.String(), "deploy/nats/papyra.conf"); n != 1 {
				t.Errorf("the advice is logged %d times:\n%s", n, log.String())
			}
		})
	}
}

// The service outlives its broker like everything else.
func TestServiceComesBackWithItsBroker(t *testing.T) {
	b := startBroker(t)
	stores := []sink.Backend{openStore(t, "memory:"), openStore(t, "memory:")}
	first := runSink(t, quick(b.URL(), "archive", "eu-1"), stores[0])
	eventually(t, "the sink answers", func() bool { return len(announced(t, dial(t, b.URL()))) == 1 })
	b.Close()
	b = startBrokerAt(t, b.Addr())
	second := runSink(t, quick(b.URL(), "archive", "eu-2"), stores[1])
	for _, store := range stores {
		eventually(t, "both know of each other", func() bool {
			return slices.ContainsFunc(reportsIn(t, store), func(r papyra.SinkReport) bool { return len(r.Peers) == 1 })
		})
	}
	if err := errors.Join(first.stop(), second.stop()); err != nil {
		t.Fatal(err)
	}
}
