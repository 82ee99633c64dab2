package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/redis"
)

// feed appends batches as a sink does: it hands in what was not reported as
// stored until everything is.
type feed struct {
	t        *testing.T
	appender papyra.Appender
	source   *testrecord.Source
	rng      *rand.Rand
	systems  []string

	batch  papyra.Batch
	want   map[string][]string // stored or in batch, by key
	errors int
	last   error
}

func newFeed(t *testing.T, a papyra.Appender, seed uint64) *feed {
	return &feed{
		t: t, appender: a, source: testrecord.New(int(seed)), rng: rand.New(rand.NewPCG(seed, 0)),
		systems: []string{"a", "b", "c:d"}, want: map[string][]string{},
	}
}

// add puts n lines of random streams into the batch, runs of one stream and
// single ones.
func (f *feed) add(n int) {
	for n > 0 {
		system, kind := f.systems[f.rng.IntN(len(f.systems))], papyra.Kinds()[f.rng.IntN(3)]
		for range min(n, 1+f.rng.IntN(40)) {
			line := f.source.Line(system, kind, "x")
			stream := papyra.Stream{System: system, Kind: kind}
			f.batch.Append(f.batch.StreamIndex(stream), line)
			key := fmt.Sprintf("papyra:%s:%s", map[string]string{"a": "a", "b": "b", "c:d": "c=3Ad"}[system], kind.Category())
			f.want[key] = append(f.want[key], string(line))
			n--
		}
	}
}

// try hands the batch in once, and checks that an error is one that says to try
// again.
func (f *feed) try(within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	n, err := f.appender.Append(ctx, &f.batch)
	if (err == nil) != (n == f.batch.Len()) || n > f.batch.Len() {
		f.t.Fatalf("append stored %d of %d lines with error %v", n, f.batch.Len(), err)
	}
	f.batch.DropStored(n, err)
	if err == nil {
		return true
	}
	f.errors++
	f.last = err
	if !errors.Is(err, papyra.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		f.t.Fatalf("append: %v, want an error that wraps papyra.ErrUnavailable", err)
	}
	return false
}

// drain hands the batch in until it is stored.
func (f *feed) drain() {
	f.t.Helper()
	// A client that could not connect a few times tries again only after a second.
	for deadline := time.Now().Add(30 * time.Second); !f.try(10 * time.Second); {
		if time.Now().After(deadline) {
			f.t.Fatalf("append never succeeded: %v", f.last)
		}
		time.Sleep(time.Millisecond)
	}
	f.batch.Reset()
}

// check compares what is stored with what was handed in: everything once and in
// order.
func (f *feed) check(c goredis.UniversalClient) {
	f.t.Helper()
	f.compare(c, func(lines []string) []string { return lines })
}

// compare is check after a change to what is stored.
func (f *feed) compare(c goredis.UniversalClient, change func([]string) []string) {
	f.t.Helper()
	for key, want := range f.want {
		if diff := cmp.Diff(want, change(stored(f.t, c, key))); diff != "" {
			f.t.Fatalf("%s (-appended +stored):\n%.4000s", key, diff)
		}
	}
}

// stored returns the lines of a stream.
func stored(t testing.TB, c goredis.UniversalClient, key string) []string {
	t.Helper()
	entries, err := c.XRange(context.Background(), key, "-", "+").Result()
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	var out []string
	for _, e := range entries {
		if len(e.Values) != 1 {
			t.Fatalf("%s %s has fields %v", key, e.ID, e.Values)
		}
		out = append(out, e.Values["data"].(string))
	}
	return out
}

func appender(t testing.TB, s *redis.Store) papyra.Appender {
	t.Helper()
	a, err := s.Appender(context.Background())
	if err != nil {
		t.Fatalf("open appender: %v", err)
	}
	return a
}

// A connection that is cut anywhere, in the batch or in the answers to it, costs
// no record and doubles none.
func TestConnectionCut(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := testkit.NewProxy(t, s.Addr())
	cutOften(t, "redis://"+p.Addr(), s.Client(t), []*testkit.Proxy{p}, long(120, 1000))
}

// In a cluster the chunks of a batch go to several masters at once.
func TestConnectionCutCluster(t *testing.T) {
	t.Parallel()
	servers := redistest.Cluster(t, 3)
	c := clusterClient(t, servers)
	var proxies []*testkit.Proxy
	var hosts []string
	for _, s := range servers {
		p := testkit.NewProxy(t, s.Addr())
		_, port, _ := net.SplitHostPort(p.Addr())
		s.Do(t, "CONFIG", "SET", "cluster-announce-bus-port", s.Port+10000)
		s.Do(t, "CONFIG", "SET", "cluster-announce-port", port)
		proxies, hosts = append(proxies, p), append(hosts, p.Addr())
	}
	for _, s := range servers {
		testkit.Await(t, "the proxies' ports to be known", func() bool {
			nodes := fmt.Sprint(s.Do(t, "CLUSTER", "NODES"))
			return !slices.ContainsFunc(hosts, func(h string) bool { return !strings.Contains(nodes, h+"@") })
		})
	}
	cutOften(t, "redis+cluster://"+strings.Join(hosts, ","), c, proxies, long(60, 1000))
}

func cutOften(t *testing.T, url string, c goredis.UniversalClient, proxies []*testkit.Proxy, cuts int) {
	store := open(t, url+"?timeout=2s")
	a := appender(t, store)
	f := newFeed(t, a, 1)
	f.add(500)
	f.drain() // the script is known, the ways are warm
	each := func(do func(p *testkit.Proxy)) {
		for _, p := range proxies {
			do(p)
		}
	}
	done := func() (n int) {
		each(func(p *testkit.Proxy) { n += p.Cuts() })
		return n
	}
	each(func(p *testkit.Proxy) {
		rng := rand.New(rand.NewPCG(uint64(len(p.Addr())), 1)) // of the proxy's goroutine
		p.Plan(func() testkit.Plan {
			plan := testkit.Through
			// A batch of 600 lines has about 130 KB, its answer some 500 bytes.
			if rng.IntN(2) == 0 {
				plan.Up = rng.Int64N(150_000 / int64(len(proxies)))
			} else {
				plan.Down = rng.Int64N(700)
			}
			return plan
		})
		p.CutAll()
	})
	for done() < cuts {
		f.add(1 + f.rng.IntN(600))
		for !f.try(10 * time.Second) {
			if f.rng.IntN(3) == 0 {
				f.add(f.rng.IntN(50)) // others come in meanwhile
			}
		}
		f.batch.Reset()
		if f.rng.IntN(4) == 0 {
			each((*testkit.Proxy).CutAll)
		}
	}
	each(func(p *testkit.Proxy) { p.Plan(func() testkit.Plan { return testkit.Through }) })
	f.check(c)
	stats := a.Stats()
	if stats.Resent == 0 || stats.Fenced == 0 || stats.RolledBack != 0 {
		t.Errorf("%+v: chunks must have been sent again, and some must have been stored before", stats)
	}
	t.Logf("%d cuts, %d failed appends, %d sent again, %d of them stored before", done(), f.errors, stats.Resent, stats.Fenced)
}

// What was sent before a connection was given up may reach the server late, when
// it was sent again already, and in any order.
func TestLateCopies(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := testkit.NewProxy(t, s.Addr())
	store := open(t, "redis://"+p.Addr()+"?timeout=100ms")
	a := appender(t, store)
	f := newFeed(t, a, 2)
	f.add(10)
	f.drain()
	rng := rand.New(rand.NewPCG(2, 1)) // of the proxy's goroutine
	for range long(8, 60) {
		p.Plan(func() testkit.Plan {
			return testkit.Plan{Up: rng.Int64N(60_000), Down: -1, Hold: true}
		})
		p.CutAll()
		f.add(400)
		for range 3 {
			if f.try(time.Second) {
				f.batch.Reset()
				f.add(400)
			}
		}
		p.Plan(func() testkit.Plan { return testkit.Through })
		p.CutAll() // what is held stays on its way
		f.drain()
		p.Release()
		f.add(5)
		f.drain()
	}
	// The server has read everything when it has answered the last ones of all.
	testkit.Await(t, "the held connections to end", func() bool { return p.Open() <= 2 })
	f.check(s.Client(t))
	t.Logf("%d failed appends, %d chunks sent again, %d of them stored before", f.errors, a.Stats().Resent, a.Stats().Fenced)
}

// A server that stands still answers too late; it then does what it was told.
func TestServerStandsStill(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	store := open(t, "redis://"+s.Addr()+"?timeout=100ms")
	a := appender(t, store)
	f := newFeed(t, a, 3)
	f.add(10)
	f.drain()
	for range long(3, 20) {
		s.Pause()
		f.add(300)
		for range 3 {
			if f.try(time.Second) {
				t.Fatal("a server that stands still has stored something")
			}
		}
		s.Resume()
		f.drain()
	}
	f.check(s.Client(t))
	if st := a.Stats(); st.Fenced == 0 {
		t.Errorf("%+v: no chunk was stored by a copy before the last", st)
	}
}

// A way to the server that carries much less within the timeout than waits for it:
// what is sent gets smaller until it arrives, and nothing is stored twice.
func TestSlowWay(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := testkit.NewProxy(t, s.Addr())
	a := appender(t, open(t, "redis://"+p.Addr()+"?timeout=300ms"))
	f := newFeed(t, a, 5)
	f.add(20_000) // about 5 MB
	p.Rate(2 << 20)
	for tries := 0; !f.try(time.Minute); tries++ {
		if tries == 60 {
			t.Fatalf("60 tries, and %d lines still wait", f.batch.Len())
		}
	}
	f.check(s.Client(t))
	t.Logf("%+v", a.Stats())
}

// What was stored without an answer, and is refused when it is sent again, is
// known to be stored when the server takes records again.
func TestLostAnswerThenRefused(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := testkit.NewProxy(t, s.Addr())
	a := appender(t, open(t, "redis://"+p.Addr()+"?timeout=2s"))
	f := newFeed(t, a, 1)
	f.add(200)
	f.drain()
	f.add(2500)
	c := s.Client(t)
	down := int64(0) // as much of the answers passes as the greeting needs, and no more
	testkit.Await(t, "lines that are stored without an answer", func() bool {
		down += 10
		p.Plan(func() testkit.Plan { return testkit.Plan{Up: -1, Down: down} })
		p.CutAll()
		if f.try(5 * time.Second) {
			t.Fatal("an append without an answer succeeded")
		}
		there, handedIn := 0, 0
		for key, lines := range f.want {
			handedIn += len(lines)
			there += int(c.XLen(context.Background(), key).Val())
		}
		return there > handedIn-f.batch.Len()
	})
	p.Plan(func() testkit.Plan { return testkit.Through })
	s.Do(t, words("ACL SETUSER default -evalsha -eval")...) // before the script can look at its fence
	refused := 0
	testkit.Await(t, "the appends to be refused", func() bool {
		if f.try(5 * time.Second) {
			t.Fatal("an append without permission succeeded")
		}
		if redis.CauseOf(f.last) == papyra.CauseNOPERM {
			refused++
		}
		return refused == 3
	})
	s.Do(t, words("ACL SETUSER default +@all")...)
	f.drain()
	f.check(c)
}

// A server that refuses some of the chunks of a batch and takes others takes none
// behind a refused one of the same stream.
func TestRefusedInTheMiddle(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a := appender(t, open(t, "redis://"+s.Addr()))
	f := newFeed(t, a, 1)
	f.systems = f.systems[:1]
	f.add(10)
	f.drain()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		c := s.Client(t)
		for full := true; ; full = !full {
			select {
			case <-stop:
				c.ConfigSet(context.Background(), "maxmemory", "0")
				return
			default:
				c.ConfigSet(context.Background(), "maxmemory", map[bool]string{true: "1", false: "0"}[full])
			}
		}
	}()
	for range long(3, 60) {
		f.add(9_000) // three streams of three chunks each
		f.drain()
	}
	close(stop)
	<-done
	f.check(s.Client(t))
	if f.errors == 0 {
		t.Error("nothing was refused")
	}
	t.Logf("%d failed appends, %d chunks sent again, %d of them stored before", f.errors, a.Stats().Resent, a.Stats().Fenced)
}

// A caller may give a batch up, and hand other lines in.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := testkit.NewProxy(t, s.Addr())
	a := appender(t, open(t, "redis://"+p.Addr()+"?timeout=2s"))
	src := testrecord.New(1)
	first, second := src.Events(50), src.Events(50)
	ctx := context.Background()
	if _, err := a.Append(ctx, testrecord.Batch(src.Events(1)...)); err != nil {
		t.Fatal(err)
	}
	p.Plan(func() testkit.Plan { return testkit.Plan{Up: -1, Down: 20} })
	p.CutAll()
	if n, err := a.Append(ctx, testrecord.Batch(first...)); n != 0 || !errors.Is(err, papyra.ErrUnavailable) {
		t.Fatalf("append without an answer: %d, %v", n, err)
	}
	p.Plan(func() testkit.Plan { return testkit.Through })
	for _, b := range [][][]byte{second, src.Events(1)} {
		for {
			batch := testrecord.Batch(b...)
			if n, err := a.Append(ctx, batch); err == nil {
				break
			} else if n != 0 {
				t.Fatalf("stored %d: %v", n, err)
			}
		}
	}
	lines := stored(t, s.Client(t), "papyra:orders:events")
	for _, line := range second {
		if n := len(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return l != string(line) })); n != 1 {
			t.Fatalf("%s is stored %d times", line, n)
		}
	}
}
