package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/admin"
	"github.com/papyra/papyra/sink/backend"
)

// runAdminSink runs a sink that can be asked, and returns its store's path.
func runAdminSink(t *testing.T, url string, c admin.Config) (path string) {
	t.Helper()
	path = filepath.Join(testkit.FastDir(t), "records.ndjson")
	var text []byte
	for _, line := range testrecord.New(1).Events(20) {
		text = append(append(text, line...), '\n')
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := backend.Open("json:" + path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := sink.New(sink.Config{
		URL: url, NATS: []nats.Option{nats.UserInfo("sink", "sink-secret")}, Group: "archive", Instance: "eu-1",
		Admin: admin.NewServer(store, c),
	}, store)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, store.Close()); err != nil {
			t.Errorf("the sink ended with %v", err)
		}
	})
	return path
}

// as connects under a role of the shipped configuration.
func as(t *testing.T, url, role string) *admin.Fleet {
	t.Helper()
	fleet, err := admin.Connect(admin.FleetConfig{URL: url, NATS: []nats.Option{nats.UserInfo(role, role+"-secret")}, By: "tester"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	return fleet
}

// theSink returns the store of the only sink.
func theSink(t *testing.T, fleet *admin.Fleet) papyra.Store {
	t.Helper()
	var found []admin.Member
	testkit.Await(t, "the sink", func() bool {
		var err error
		found, err = fleet.Find(t.Context(), admin.Find{Group: "archive", Verb: admin.VerbInspect})
		return err == nil && len(found) == 1
	})
	return found[0].Store
}

// Each role may do what it is for, and hears at once what it may not.
func TestShippedRoles(t *testing.T) {
	url := startShipped(t)
	path := runAdminSink(t, url, admin.Config{NoSocket: true})
	at := func(o papyra.CompactOptions) papyra.CompactOptions {
		o.Dedupe, o.At = true, time.Now()
		return o
	}
	for _, role := range []string{"viewer", "operator"} {
		store := theSink(t, as(t, url, role))
		if r, err := store.Scan(t.Context(), papyra.ScanOptions{Full: true}); err != nil || r.Records < 20 {
			t.Errorf("%s scans: %+v, %v", role, r, err)
		}
		n := 0
		if _, err := store.Read(t.Context(), papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}}, func(*papyra.Record, papyra.Place) error { n++; return nil }); err != nil || n != 20 {
			t.Errorf("%s reads %d records: %v", role, n, err)
		}
		through, _ := store.(*admin.Store)
		jobs, err := through.Jobs(t.Context())
		if err != nil || len(jobs) == 0 {
			t.Errorf("%s lists the jobs: %v, %v", role, jobs, err)
		}
		began := time.Now()
		_, compacted := store.Compact(t.Context(), at(papyra.CompactOptions{}))
		_, recovered := store.Recover(t.Context(), papyra.RecoverOptions{Now: time.Now()})
		_, cancelled := through.Cancel(t.Context(), "none")
		switch role {
		case "viewer":
			for _, err := range []error{compacted, recovered, cancelled} {
				if !errors.Is(err, papyra.ErrDenied) {
					t.Errorf("a viewer changes the store: %v, want ErrDenied", err)
				}
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the refusals took %v", took)
			}
		case "operator":
			if compacted != nil || recovered != nil || !errors.Is(cancelled, papyra.ErrNotFound) {
				t.Errorf("an operator: %v, %v, %v", compacted, recovered, cancelled)
			}
		}
	}
	if _, err := as(t, url, "orders").Find(t.Context(), admin.Find{Group: "archive"}); !errors.Is(err, papyra.ErrDenied) {
		t.Errorf("a publisher looks for sinks: %v, want ErrDenied", err)
	}
	if _, err := admin.Connect(admin.FleetConfig{URL: url, NATS: []nats.Option{nats.UserInfo("viewer", "wrong")}}); !errors.Is(err, papyra.ErrDenied) {
		t.Errorf("a wrong password: %v, want ErrDenied", err)
	}
	requests := requestsOf(t, path)
	if len(requests) != 2 || requests[0].By != "tester" || requests[0].Proven != "" {
		t.Errorf("written down is %+v, want the two acts of the operator, as he claims", requests)
	}
}

func requestsOf(t *testing.T, path string) []papyra.ActRequested {
	t.Helper()
	store, err := backend.Open("json:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	list, err := testrecord.Reports[papyra.ActRequested](t.Context(), store, papyra.ReportActRequested)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Under a configuration of an older version a sink announces itself as before, and who
// asks it for anything is told that it is refused.
func TestOlderConfiguration(t *testing.T) {
	raw, err := os.ReadFile(shippedConfig)
	if err != nil {
		t.Fatal(err)
	}
	older := strings.Replace(string(raw), `            "papyra.v1.sink.*.*.*"`+"\n", "", 1)
	if older == string(raw) {
		t.Fatal("the configuration has another text")
	}
	path := filepath.Join(t.TempDir(), "older.conf")
	if err := os.WriteFile(path, []byte(older), 0o600); err != nil {
		t.Fatal(err)
	}
	url := startConfig(t, path)
	runAdminSink(t, url, admin.Config{NoSocket: true})
	store := theSink(t, as(t, url, "operator"))
	if _, err := store.Scan(t.Context(), papyra.ScanOptions{}); !errors.Is(err, papyra.ErrDenied) {
		t.Errorf("a sink that may not be asked: %v, want ErrDenied", err)
	}
	nc, err := nats.Connect(url, nats.UserInfo("operator", "operator-secret"), nats.CustomInboxPrefix(papyra.ToolInbox))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	announced := ""
	for range 4 {
		m, err := nc.Request("$SRV.PING.papyra-sink", nil, testkit.Patience)
		var ping struct {
			ID string `json:"id"`
		}
		if err != nil || json.Unmarshal(m.Data, &ping) != nil || announced != "" && ping.ID != announced {
			t.Fatalf("the sink announces itself anew: %q after %q, %v", ping.ID, announced, err)
		}
		announced = ping.ID
		time.Sleep(500 * time.Millisecond) // it would do so within a quarter of a second, and then within more
	}
}

// A header that says who asks is proof only where the sink was told to trust it.
func TestForgedRequestInfo(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		url := startShipped(t)
		path := runAdminSink(t, url, admin.Config{NoSocket: true, TrustRequestInfo: trusted})
		theSink(t, as(t, url, "operator"))
		nc, err := nats.Connect(url, nats.UserInfo("operator", "operator-secret"), nats.CustomInboxPrefix(papyra.ToolInbox))
		if err != nil {
			t.Fatal(err)
		}
		m := nats.NewMsg(papyra.AdminSubject("archive", "eu-1", admin.VerbCompact))
		m.Data = []byte(`{"dedupe":true,"at":"2024-01-01T00:00:00Z"}`)
		m.Header.Set("Nats-Request-Info", `{"acc":"OPS","user":"boss"}`)
		m.Header.Set("Papyra-By", "somebody")
		if _, err := nc.RequestMsg(m, testkit.Patience); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		testkit.Await(t, "the request", func() bool { return len(requestsOf(t, path)) == 1 })
		want, by := "", "somebody"
		if trusted {
			want, by = papyra.ProvenBroker, "boss of account OPS"
		}
		if r := requestsOf(t, path)[0]; r.Proven != want || r.By != by {
			t.Errorf("trusted %v: written down is %+v", trusted, r)
		}
	}
}
