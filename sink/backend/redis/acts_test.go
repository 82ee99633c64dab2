package redis_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
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

// damagedStore fills two streams with records and damage among them, and returns
// all entries as "key id data".
func damagedStore(t *testing.T, s *redistest.Server, c goredis.UniversalClient, prefix string) []string {
	t.Helper()
	store := open(t, "redis://"+s.Addr()+"?prefix="+prefix)
	src := testrecord.New(1)
	rng := rand.New(rand.NewPCG(7, 7))
	for range 25 {
		fill(t, store, src.Line("orders", papyra.KindEvent, strings.Repeat("x", rng.IntN(300))),
			src.Line("orders", papyra.KindAudit, ""), src.Line("shop", papyra.KindEvent, "y"))
		if rng.IntN(2) == 0 {
			plant(t, c, prefix+":orders:events", "data", fmt.Sprintf("junk %d", rng.Uint64()))
		}
		if rng.IntN(4) == 0 {
			plant(t, c, prefix+":shop:events", "other", "x", "data", "\xff\x00")
		}
	}
	return entries(t, c, streamsUnder(prefix)...)
}

func streamsUnder(prefix string) []string {
	return []string{prefix + ":orders:events", prefix + ":orders:audits", prefix + ":shop:events"}
}

func entries(t *testing.T, c goredis.UniversalClient, keys ...string) []string {
	t.Helper()
	var out []string
	for _, key := range keys {
		list, err := c.XRange(context.Background(), key, "-", "+").Result()
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(key, ":")
		for _, e := range list {
			out = append(out, fmt.Sprint(name, " ", e.ID, " ", e.Values["data"]))
		}
	}
	return out
}

// inQuarantine returns what was moved away, in the form of entries.
func inQuarantine(t *testing.T, c goredis.UniversalClient, prefix string) []string {
	t.Helper()
	var out []string
	for _, key := range streamsUnder(prefix) {
		system := strings.Split(key, ":")[1]
		for _, q := range quarantined(t, c, prefix+":"+system+":quarantine:"+strings.ReplaceAll(key, ":", "_")) {
			_, name, _ := strings.Cut(q.source, ":")
			out = append(out, fmt.Sprint(name, " ", q.id, " ", q.data))
		}
	}
	return out
}

// interrupted runs an act that is interrupted at many points, each on a copy of
// the same store, to which more may add: all connections end for good when so many bytes have reached
// the server.
func interrupted(t *testing.T, more func(*testing.T, *redis.Store), act func(*redis.Store) error, check func(t *testing.T, c goredis.UniversalClient, prefix string, before []string)) {
	s := redistest.Start(t)
	c := s.Client(t)
	damagedStore(t, s, c, "base")
	more(t, open(t, "redis://"+s.Addr()+"?prefix=base"))
	p := testkit.NewProxy(t, s.Addr())
	attempt := func(n int, budget int64) (string, error) {
		prefix := fmt.Sprintf("p%d", n)
		s.Do(t, "COPY", "base:store", prefix+":store")
		for i, key := range streamsUnder("base") {
			s.Do(t, "COPY", key, streamsUnder(prefix)[i])
		}
		p.Budget(budget)
		store, err := redis.Open("redis://"+p.Addr()+"?timeout=2s&prefix="+prefix, redis.Config{})
		if err != nil {
			t.Fatal(err)
		}
		err = act(store)
		_ = store.Close()
		p.Budget(-1)
		p.CutAll()
		return prefix, err
	}
	_, err := attempt(0, -1)
	if err != nil {
		t.Fatalf("without an interruption: %v", err)
	}
	whole := p.Passed()
	points := int64(long(20, 600))
	failed := 0
	for i := range points {
		prefix, err := attempt(int(i)+1, whole*i/points)
		if err != nil {
			failed++
			if !errors.Is(err, papyra.ErrUnavailable) {
				t.Fatalf("cut after %d bytes: %v, want papyra.ErrUnavailable", whole*i/points, err)
			}
		}
		before := entries(t, c, streamsUnder("base")...)
		check(t, c, prefix, before)
		// Again, and undisturbed, it finishes.
		again, err := redis.Open("redis://"+s.Addr()+"?prefix="+prefix, redis.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(act(again), again.Close()); err != nil {
			t.Fatal(err)
		}
		check(t, c, prefix, before)
		if got, want := finished(t, c, prefix), finished(t, c, "p0"); !slices.Equal(got, want) {
			t.Fatalf("cut after %d of %d bytes, and done again (-want +got):\n%s", whole*i/points, whole, cmp.Diff(want, got))
		}
		if t.Failed() {
			t.Fatalf("cut after %d of %d bytes", whole*i/points, whole)
		}
	}
	if failed < int(points)*3/4 {
		t.Errorf("only %d of %d interruptions were felt", failed, points)
	}
}

func nothing(*testing.T, *redis.Store) {}

func finished(t *testing.T, c goredis.UniversalClient, prefix string) []string {
	return append(entries(t, c, streamsUnder(prefix)...), inQuarantine(t, c, prefix)...)
}

// removals returns the RemovalReports of a store.
func removals(t *testing.T, c goredis.UniversalClient, prefix string) (out []papyra.RemovalReport) {
	t.Helper()
	for _, line := range stored(t, c, prefix+":papyra:reports") {
		rec, err := papyra.Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if string(rec.Type) == papyra.ReportRemoval {
			var r papyra.RemovalReport
			if err := json.Unmarshal(rec.Payload, &r); err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
	}
	return out
}

// A recovery that is interrupted anywhere has every entry in one place, and no
// entry in two.
func TestRecoverInterrupted(t *testing.T) {
	t.Parallel()
	interrupted(t, nothing,
		func(s *redis.Store) error {
			_, err := s.Recover(context.Background(), papyra.RecoverOptions{})
			return err
		},
		func(t *testing.T, c goredis.UniversalClient, prefix string, before []string) {
			t.Helper()
			saved := inQuarantine(t, c, prefix)
			now := append(entries(t, c, streamsUnder(prefix)...), saved...)
			slices.Sort(now)
			want := slices.Sorted(slices.Values(before))
			if !slices.Equal(want, now) {
				t.Errorf("entries in the streams and in quarantine (-before +now):\n%s", cmp.Diff(want, now))
			}
			if len(saved) > 0 && len(removals(t, c, prefix)) == 0 {
				t.Error("entries were moved before the RemovalReport was written")
			}
		})
}

// A compaction that is interrupted anywhere keeps the view, and what is gone was
// announced.
func TestCompactInterrupted(t *testing.T) {
	t.Parallel()
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 6}}, At: testrecord.Start.Add(time.Hour)}
	interrupted(t, nothing,
		func(s *redis.Store) error { _, err := s.Compact(context.Background(), o); return err },
		func(t *testing.T, c goredis.UniversalClient, prefix string, before []string) {
			t.Helper()
			now := entries(t, c, streamsUnder(prefix)...)
			must := entries(t, c, streamsUnder("p0")...) // the view and the damage
			for _, e := range must {
				if !slices.Contains(now, e) {
					t.Errorf("gone, but in the view or damaged: %s", e)
				}
			}
			gone := 0
			for _, e := range before {
				if !slices.Contains(now, e) {
					gone++
				}
			}
			if len(now)+gone != len(before) {
				t.Errorf("%d entries were, %d are gone, %d are there", len(before), gone, len(now))
			}
			announced := int64(0)
			for _, r := range removals(t, c, prefix) {
				for _, n := range r.Categories {
					announced = max(announced, 0) + n.Records
				}
			}
			if int64(gone) > announced {
				t.Errorf("%d records are gone, %d were announced", gone, announced)
			}
		})
}

// Acts of several processes beside appends of several others do no harm.
func TestActsTogether(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := s.Client(t)
	url := "redis://" + s.Addr()
	before := damagedStore(t, s, c, "papyra")
	first, err := open(t, url).Scan(ctx, papyra.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var (
		running sync.WaitGroup
		want    [2][]string
	)
	for i := range want {
		a := appender(t, open(t, url))
		running.Go(func() {
			src := testrecord.New(10 + i)
			for range 100 {
				line := src.Line(fmt.Sprintf("new%d", i), papyra.KindEvent, "x")
				if _, err := a.Append(ctx, testrecord.Batch(line)); err != nil {
					t.Errorf("append: %v", err)
					return
				}
				want[i] = append(want[i], string(line))
			}
		})
	}
	o := papyra.CompactOptions{Retention: papyra.Retention{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindAudit: {Records: 3}}}, At: testrecord.Start}
	for range 2 {
		for range 2 {
			store := open(t, url)
			running.Go(func() {
				if _, err := store.Recover(ctx, papyra.RecoverOptions{}); err != nil {
					t.Errorf("recover: %v", err)
				}
			})
			running.Go(func() {
				if _, err := store.Compact(ctx, o); err != nil {
					t.Errorf("compact: %v", err)
				}
			})
		}
	}
	running.Wait()
	saved := inQuarantine(t, c, "papyra")
	if int64(len(saved)) != first.AnomalyCounts[papyra.ClassCorrupted] {
		t.Errorf("%d entries in quarantine, want each of %d once", len(saved), first.AnomalyCounts[papyra.ClassCorrupted])
	}
	now := append(entries(t, c, streamsUnder("papyra")...), saved...)
	for _, e := range before {
		if !slices.Contains(now, e) && !strings.HasPrefix(e, "orders:audits") {
			t.Errorf("gone: %s", e)
		}
	}
	if n := len(entries(t, c, "papyra:orders:audits")); n != 3 {
		t.Errorf("%d audits are left, want 3", n)
	}
	for i := range want {
		if diff := cmp.Diff(want[i], stored(t, c, fmt.Sprintf("papyra:new%d:events", i))); diff != "" {
			t.Errorf("appended meanwhile (-want +got):\n%s", diff)
		}
	}
}

// A server that is killed in the middle of a recovery has, with its log, every
// entry in one place.
func TestServerKilledInRecovery(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
	crashInRecovery(t, s, s.Kill, func() { s.Restart(t) }, long(4, 40))
}

// The same where the machine of the server loses its power, with a log that is
// synced.
func TestRootPowerCutInRecovery(t *testing.T) {
	t.Parallel()
	s, cut, restore := powerServer(t, "--appendfsync", "always")
	crashInRecovery(t, s, cut, restore, long(4, 40))
}

// crashInRecovery ends a server at random times of recoveries, and starts it
// again.
func crashInRecovery(t *testing.T, s *redistest.Server, end, again func(), times int) {
	t.Helper()
	ctx := context.Background()
	c := tcpClient(s)
	defer func() { _ = c.Close() }()
	store := open(t, "redis://"+s.Addr()+"?timeout=2s")
	fill(t, store, testrecord.New(1).Events(10)...)
	rng := rand.New(rand.NewPCG(1, 1))
	for range times {
		for i := range 400 {
			plant(t, c, events, "data", fmt.Sprintf("junk %d", i))
		}
		keys := []string{events, "papyra:orders:quarantine:papyra_orders_events"}
		before := c.XLen(ctx, keys[0]).Val() + c.XLen(ctx, keys[1]).Val()
		after := time.Duration(rng.IntN(60)) * time.Millisecond
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			time.Sleep(after) // anywhere in what is done meanwhile
			end()
		}()
		_, _ = store.Recover(ctx, papyra.RecoverOptions{})
		<-killed
		again()
		testkit.Await(t, "the pool to connect again", func() bool { return c.Ping(ctx).Err() == nil })
		ids := map[string]int{}
		for _, e := range entries(t, c, events) {
			ids[strings.Fields(e)[1]]++
		}
		for _, q := range quarantined(t, c, keys[1]) {
			ids[q.id]++
		}
		for id, n := range ids {
			if n != 1 {
				t.Fatalf("entry %s is in %d places", id, n)
			}
		}
		if int64(len(ids)) != before {
			t.Fatalf("%d entries are left of %d", len(ids), before)
		}
		// A pool that could not connect tries again only after a second.
		var r *papyra.RecoverReport
		var err error
		testkit.Await(t, "the store's pool to connect again", func() bool {
			r, err = store.Recover(ctx, papyra.RecoverOptions{})
			return !errors.Is(err, papyra.ErrUnavailable)
		})
		if err != nil || !r.After.Clean() || c.XLen(ctx, events).Val() != 10 {
			t.Fatalf("recover again: %+v, %v", r, err)
		}
	}
}

// A compaction whose server's machine loses its power has taken nothing of the
// view, nothing that its report does not name, and the next one finishes.
func TestRootPowerCutInCompaction(t *testing.T) {
	t.Parallel()
	s, cut, restore := powerServer(t, "--appendfsync", "always")
	c := tcpClient(s)
	defer func() { _ = c.Close() }()
	store := open(t, "redis://"+s.Addr()+"?timeout=2s")
	const keep = 100
	o := papyra.CompactOptions{Retention: papyra.Retention{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindEvent: {Records: keep}}}, At: testrecord.Start}
	src := testrecord.New(1)
	rng := rand.New(rand.NewPCG(2, 2))
	var view []string
	gone := int64(0)
	for range long(4, 40) {
		lines := src.Events(2000)
		view = text(lines[len(lines)-keep:])
		a, b := appender(t, store), testrecord.Batch(lines...)
		testkit.Await(t, "the append", func() bool { // connections of before may still be in the pool
			n, err := a.Append(t.Context(), b)
			b.DropStored(n, err)
			return err == nil
		})
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		before := int64(len(stored(t, c, events)))
		after := time.Duration(rng.IntN(60)) * time.Millisecond
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(after) // anywhere in what is done meanwhile
			cut()
		}()
		_, _ = store.Compact(t.Context(), o)
		<-done
		restore()
		testkit.Await(t, "the pool to connect again", func() bool { return c.Ping(t.Context()).Err() == nil })
		check := func() {
			t.Helper()
			got := stored(t, c, events)
			if len(got) < keep || !slices.Equal(got[len(got)-keep:], view) {
				t.Fatalf("%d entries, of which the newest are not the view", len(got))
			}
			announced := int64(0)
			for _, r := range removals(t, c, "papyra") {
				for _, n := range r.Categories {
					announced += n.Records
				}
			}
			gone += before - int64(len(got))
			before = int64(len(got))
			if gone > announced {
				t.Fatalf("%d records are gone, %d were announced", gone, announced)
			}
		}
		check()
		var err error
		testkit.Await(t, "the store's pool to connect again", func() bool {
			_, err = store.Compact(t.Context(), o)
			return !errors.Is(err, papyra.ErrUnavailable)
		})
		if err != nil {
			t.Fatalf("compact again: %v", err)
		}
		check()
		if before != keep {
			t.Fatalf("%d records are left, want %d", before, keep)
		}
	}
}

func text(lines [][]byte) (out []string) {
	for _, l := range lines {
		out = append(out, string(l))
	}
	return out
}
