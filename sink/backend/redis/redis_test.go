package redis_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/backend/backendtest"
	"github.com/papyra/papyra/sink/backend/redis"
)

func TestMain(m *testing.M) {
	redis.DiscardClientLogs()
	// Of a client that could not connect it ends within a second after Close.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// long is how often what is worth repeating is repeated.
func long(short, many int) int {
	if os.Getenv("PAPYRA_LONG") != "" {
		return many
	}
	return short
}

// open opens a store that is closed with the test.
func open(t testing.TB, url string) *redis.Store {
	t.Helper()
	s, err := redis.Open(url, redis.Config{})
	if err != nil {
		t.Fatalf("open %s: %v", url, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close %s: %v", url, err)
		}
	})
	return s
}

// medium is a store under a prefix of its own.
func medium(c goredis.UniversalClient, url, prefix string, cluster bool) backendtest.Medium {
	ctx := context.Background()
	return backendtest.Medium{
		Shared: true,
		Open: func(t testing.TB) papyra.Store {
			t.Helper()
			b, err := backend.Open(url + "?prefix=" + prefix)
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		Plant: func(t testing.TB, line []byte) {
			t.Helper()
			if err := c.XAdd(ctx, &goredis.XAddArgs{Stream: prefix + ":orders:events", Values: []any{"data", line}}).Err(); err != nil {
				t.Fatal(err)
			}
		},
		Refuse: func(t testing.TB, s papyra.Stream) func() {
			t.Helper()
			key := prefix + ":" + s.System + ":" + s.Kind.Category()
			if err := c.Set(ctx, key, "x", 0).Err(); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := c.Del(ctx, key).Err(); err != nil {
					t.Fatal(err)
				}
			}
		},
		Quarantined: func(t testing.TB, r *papyra.RecoverReport) [][]byte {
			t.Helper()
			want := prefix + ":orders:quarantine:" + prefix + "_orders_events"
			if cluster {
				want = "{" + prefix + ":orders:events}:quarantine"
			}
			if r.Quarantine != want {
				t.Errorf("quarantine is %q, want %q", r.Quarantine, want)
			}
			var out [][]byte
			for _, q := range quarantined(t, c, r.Quarantine) {
				if len(q.fields) != 1 || q.fields[0][0] != "data" || q.fields[0][1] != q.data || q.source != prefix+":orders:events" {
					t.Errorf("quarantined entry %+.200v is not the whole entry", q)
				}
				out = append(out, []byte(q.data))
			}
			return out
		},
	}
}

// saved is an entry of a quarantine stream.
type saved struct {
	source, data, timestamp, id string
	fields                      [][2]string // decoded
}

func quarantined(t testing.TB, c goredis.UniversalClient, key string) []saved {
	t.Helper()
	entries, err := c.XRange(context.Background(), key, "-", "+").Result()
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	var out []saved
	for _, e := range entries {
		text := func(name string) string { s, _ := e.Values[name].(string); return s }
		q := saved{source: text("source"), data: text("data"), timestamp: text("timestamp"), id: text("id")}
		if err := json.Unmarshal([]byte(text("fields")), &q.fields); err != nil {
			t.Fatalf("fields of %v: %v", e.ID, err)
		}
		for i := range q.fields {
			for j := range q.fields[i] {
				plain, err := base64.StdEncoding.DecodeString(q.fields[i][j])
				if err != nil {
					t.Fatalf("fields of %v: %v", e.ID, err)
				}
				q.fields[i][j] = string(plain)
			}
		}
		out = append(out, q)
	}
	return out
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	n := 0
	backendtest.Exercise(t, func(testing.TB) backendtest.Medium {
		n++
		return medium(c, "unix://"+s.Socket, fmt.Sprintf("p%d", n), false)
	})
}

func TestConformanceCluster(t *testing.T) {
	t.Parallel()
	servers := redistest.Cluster(t, 3)
	c := clusterClient(t, servers)
	n := 0
	backendtest.Laws(t, func(testing.TB) backendtest.Medium {
		n++
		return medium(c, clusterURL(servers), fmt.Sprintf("p%d", n), true)
	})
}

func hosts(servers []*redistest.Server) []string {
	out := make([]string, len(servers))
	for i, s := range servers {
		out[i] = s.Addr()
	}
	return out
}

func clusterURL(servers []*redistest.Server) string {
	return "redis+cluster://" + strings.Join(hosts(servers), ",")
}

func clusterClient(t testing.TB, servers []*redistest.Server) *goredis.ClusterClient {
	t.Helper()
	c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: hosts(servers), Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// What only Redis has can be asked for through the backend that a URL opens.
func TestOpenByURL(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b, err := backend.OpenWith("unix://"+s.Socket, backend.Options{"prefix": "p", "db": "3"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	if want := "unix://" + s.Socket + "?prefix=p&db=3"; b.URL() != want || b.RejectFile() != "" {
		t.Errorf("URL %s, rejects %q; want %s and none", b.URL(), b.RejectFile(), want)
	}
	if list, err := b.Warnings(context.Background(), papyra.Retention{}); err != nil || len(list) != 1 {
		t.Errorf("warnings %v, %v; want the one about persistence", list, err)
	}
	for _, url := range []string{"redis://:" + canary + "@h?keep=1", "redis://:" + canary + "@h/x", "rediss+cluster://:" + canary + "@"} {
		if _, err := backend.Open(url); !errors.Is(err, papyra.ErrConfig) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want papyra.ErrConfig without the password", url, err)
		}
	}
}

func TestUnendedAct(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	n := 0
	backendtest.Unended(t, func(testing.TB) backendtest.Medium {
		n++
		return medium(c, "unix://"+s.Socket, fmt.Sprintf("p%d", n), false)
	})
}
