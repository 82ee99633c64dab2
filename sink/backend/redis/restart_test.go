package redis_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// A server that is killed in the middle and started again has, with a log that
// is synced, everything that it acknowledged, once.
func TestKilledAndRestarted(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	crashInAppends(t, s, s.Kill, func() { s.Restart(t) }, long(4, 40))
}

// The same where the machine of the server loses its power.
func TestRootPowerCut(t *testing.T) {
	t.Parallel()
	s, cut, restore := powerServer(t, "--appendfsync", "always")
	crashInAppends(t, s, cut, restore, long(4, 40))
}

// powerServer starts a server with a log on a disk whose power cut ends both,
// after which restore starts both again.
func powerServer(t *testing.T, options ...string) (s *redistest.Server, cut, restore func()) {
	t.Helper()
	s = redistest.Start(t, append([]string{"--appendonly", "yes"}, options...)...)
	s.Kill()
	disk := faultdisk.NewPowerDisk(t, 64<<20, s.Dir)
	s.Restart(t)
	cut = func() {
		// Without power nothing runs: an fsync that the cut overtakes may return as
		// if it had worked, and must not be answered for.
		s.Pause()
		disk.Cut()
		s.Kill()
	}
	restore = func() {
		t.Helper()
		disk.Restore()
		s.Restart(t)
	}
	return s, cut, restore
}

// crashInAppends ends a server at random times while batches come in, and starts
// it again.
func crashInAppends(t *testing.T, s *redistest.Server, end, again func(), times int) {
	t.Helper()
	a := appender(t, open(t, "redis://"+s.Addr()+"?timeout=2s"))
	f := newFeed(t, a, 1)
	twice := false
	for range times {
		after := time.Duration(f.rng.IntN(30)) * time.Millisecond
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			time.Sleep(after) // anywhere in what is done meanwhile
			end()
		}()
		for alive := true; alive; {
			f.add(1 + f.rng.IntN(500))
			alive = f.try(5 * time.Second)
			if alive {
				f.batch.Reset()
			}
		}
		<-ended
		again()
		f.drain()
		c := tcpClient(s)
		if twice = twice || strings.Contains(s.Log(t), doneTwice); twice {
			f.compare(c, once) // see TestTornTransaction
		} else {
			f.check(c)
		}
		_ = c.Close()
	}
	t.Logf("%d failed appends, %d chunks sent again, %d of them stored before", f.errors, a.Stats().Resent, a.Stats().Fenced)
}

// tcpClient returns a client that holds nothing in the server's directory, as a
// socket there does.
func tcpClient(s *redistest.Server) *goredis.Client {
	return goredis.NewClient(&goredis.Options{Addr: s.Addr(), Protocol: 2, DisableIdentity: true})
}

// doneTwice is what a server logs that has done a part of a transaction of its
// log a second time.
const doneTwice = "MULTI calls can not be nested"

// once leaves of equal lines the first.
func once(lines []string) (out []string) {
	seen := map[string]bool{}
	for _, l := range lines {
		if !seen[l] {
			out = append(out, l)
		}
		seen[l] = true
	}
	return out
}

// A server that is killed within the write of a batch to its log cuts the log
// behind the last whole command of that batch, and does not do these when it
// starts; when it starts the next time it does, before those that it logged since.
// No client can prevent that. What stands twice are exact duplicates, which are
// shown once.
func TestTornTransaction(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	lines := testrecord.New(1).Events(6)
	fill(t, open(t, "redis://"+s.Addr()), lines...)
	s.Kill()
	logs, err := filepath.Glob(filepath.Join(s.Dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs of the server %v, %v; want one", logs, err)
	}
	text, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	cut := bytes.LastIndex(text, lines[4][:len(lines[4])-1])
	if err := os.WriteFile(logs[0], text[:cut+20], 0o600); err != nil {
		t.Fatal(err)
	}
	s.Restart(t)
	store := open(t, "redis://"+s.Addr())
	fill(t, store, lines...)
	s.Kill()
	s.Restart(t)

	var want []string
	for _, l := range lines {
		want = append(want, string(bytes.TrimSuffix(l, []byte("\n"))))
	}
	got := stored(t, s.Client(t), events)
	if diff := cmp.Diff(want, once(got)); diff != "" {
		t.Errorf("stored, without duplicates (-want +got):\n%s", diff)
	}
	if twice := strings.Contains(s.Log(t), doneTwice); twice != (len(got) > len(want)) {
		t.Errorf("%d entries of %d lines, and the server's log says %v that it did some twice", len(got), len(want), twice)
	}
	r, err := store.Scan(t.Context(), papyra.ScanOptions{Full: true})
	if err != nil || !r.Clean() || r.Duplicates != int64(len(got)-len(want)) {
		t.Errorf("scan: %+v, %v; want %d duplicates", r, err, len(got)-len(want))
	}
	n := 0
	if _, err := store.Read(t.Context(), papyra.Query{}, func(*papyra.Record, papyra.Place) error { n++; return nil }); err != nil || n != len(want) {
		t.Errorf("read %d records, %v; want %d", n, err, len(want))
	}
}

// A replica takes over in good order while batches come in: they reach the old
// master, a replica that refuses them, and the new master.
func TestReplicaPromoted(t *testing.T) {
	t.Parallel()
	one := redistest.Start(t)
	two := redistest.Replica(t, one)
	p := testkit.NewProxy(t, one.Addr())
	a := appender(t, open(t, "redis://"+p.Addr()+"?timeout=2s"))
	f := newFeed(t, a, 1)
	f.add(100)
	f.drain()
	master, replica := one, two
	for range long(3, 30) {
		f.add(200)
		f.drain()
		// The coordinated failover waits until the replica has everything.
		master.Do(t, "FAILOVER")
		f.add(300)
		f.try(5 * time.Second)
		p.Target(replica.Addr())
		testkit.Await(t, "the failover", func() bool { return role(t, replica) == "master" && role(t, master) == "slave" })
		f.drain() // connections to the old master end because it refuses
		master.AwaitLink(t)
		master, replica = replica, master
	}
	f.check(master.Client(t))
	if st := a.Stats(); st.RolledBack != 0 {
		t.Errorf("%+v: nothing was lost", st)
	}
}

func role(t *testing.T, s *redistest.Server) string {
	r, _ := s.Do(t, "ROLE").([]any)[0].(string)
	return r
}

// The sentinels find a new master when the old one dies.
func TestSentinel(t *testing.T) {
	t.Parallel()
	one := redistest.Start(t)
	two := redistest.Replica(t, one)
	sentinel := redistest.Sentinel(t, one, "main")
	testkit.Await(t, "the sentinel to know the replica", func() bool {
		list, _ := sentinel.Do(t, "SENTINEL", "REPLICAS", "main").([]any)
		return len(list) == 1
	})
	store := open(t, "redis+sentinel://"+sentinel.Addr()+"/main/0?timeout=1s")
	a := appender(t, store)
	f := newFeed(t, a, 1)
	f.add(300)
	f.drain()
	one.Do(t, "WAIT", 1, 5000)
	one.Kill()
	f.add(300)
	testkit.Await(t, "the new master to take records", func() bool { return f.try(2 * time.Second) })
	f.check(two.Client(t))
	if f.errors == 0 {
		t.Error("no append failed while there was no master")
	}
	r, err := store.Scan(context.Background(), papyra.ScanOptions{})
	if err != nil || !r.Clean() || r.Records != 600 {
		t.Errorf("scan: %+v, %v; want 600 records", r, err)
	}
}

// A new master that lacks what the old one acknowledged is noticed, and takes
// what comes next.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	one := redistest.Start(t)
	two := redistest.Replica(t, one)
	p := testkit.NewProxy(t, one.Addr())
	a := appender(t, open(t, "redis://"+p.Addr()))
	src := testrecord.New(1)
	var kept []string
	push := func(keep bool) {
		lines := src.Events(10)
		b := testrecord.Batch(lines...)
		testkit.Await(t, "the append", func() bool {
			n, err := a.Append(context.Background(), b)
			b.DropStored(n, err)
			return err == nil
		})
		for _, l := range lines {
			if keep {
				kept = append(kept, string(l))
			}
		}
	}
	push(true)
	one.Do(t, "WAIT", 1, 5000)
	two.Do(t, "REPLICAOF", "NO", "ONE")
	push(false)
	p.Target(two.Addr())
	p.CutAll()
	push(true)
	push(true)
	if diff := cmp.Diff(kept, stored(t, two.Client(t), "papyra:orders:events")); diff != "" {
		t.Errorf("(-want +stored):\n%s", diff)
	}
	if st := a.Stats(); st.RolledBack != 1 {
		t.Errorf("%+v, want one chunk noticed as lost", st)
	}
}

// What a script flush or a new server forgets is taught again.
func TestScriptForgotten(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a := appender(t, open(t, "redis://"+s.Addr()))
	f := newFeed(t, a, 1)
	for range 3 {
		f.add(500)
		f.drain()
		s.Do(t, "SCRIPT", "FLUSH")
	}
	if f.errors != 0 {
		t.Errorf("%d appends failed", f.errors)
	}
	f.check(s.Client(t))
}

// Fences expire, are no streams, and are forgotten soon after Close.
func TestFences(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	ctx := context.Background()
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	a := appender(t, store)
	f := newFeed(t, a, 1)
	f.add(200)
	f.drain()
	fences, err := c.Keys(ctx, "*:fence:*").Result()
	if err != nil || len(fences) == 0 {
		t.Fatalf("fences: %v, %v", fences, err)
	}
	left := func(between, and time.Duration) {
		t.Helper()
		for _, key := range fences {
			if typ, ttl := c.Type(ctx, key).Val(), c.TTL(ctx, key).Val(); typ != "string" || ttl < between || ttl > and {
				t.Errorf("%s is a %s that lives %v, want a string and %v to %v", key, typ, ttl, between, and)
			}
		}
	}
	left(5*time.Hour, 6*time.Hour)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	left(0, time.Minute)
	// Without fences, as after long idleness, appends go on.
	a = appender(t, store)
	f.appender = a
	f.add(100)
	f.drain()
	for _, key := range c.Keys(ctx, "*:fence:*").Val() {
		c.Del(ctx, key)
	}
	f.add(100)
	f.drain()
	f.check(c)
}

// A slot that moves to another node takes its streams and fences along; meanwhile
// the cluster refuses, and afterwards nothing is missing and nothing double.
func TestSlotMoves(t *testing.T) {
	t.Parallel()
	servers := redistest.Cluster(t, 2)
	c := clusterClient(t, servers)
	a := appender(t, open(t, clusterURL(servers)+"?timeout=2s"))
	f := newFeed(t, a, 1)
	f.add(2000) // some of every stream
	f.drain()
	const key = "papyra:a:events"
	slot := servers[0].Do(t, "CLUSTER", "KEYSLOT", key)
	from, to := servers[0], servers[1]
	if slot.(int64) >= 8192 {
		from, to = to, from
	}
	id := func(s *redistest.Server) any { return s.Do(t, "CLUSTER", "MYID") }
	for range long(2, 10) {
		f.add(1000)
		to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(from))
		from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(to))
		f.try(5 * time.Second)
		keys, _ := from.Do(t, "CLUSTER", "GETKEYSINSLOT", slot, 100).([]any)
		if len(keys) < 2 {
			t.Fatalf("in slot %v are %v, want a stream and a fence; there are %v and %v", slot, keys, from.Do(t, "KEYS", "*"), to.Do(t, "KEYS", "*"))
		}
		for _, k := range keys {
			from.Do(t, "MIGRATE", "127.0.0.1", to.Port, k, 0, 5000)
			f.add(300)
			f.try(5 * time.Second)
		}
		to.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", id(to))
		from.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", id(to))
		testkit.Await(t, "the moved slot to take records", func() bool { return f.try(5 * time.Second) })
		f.batch.Reset()
		from, to = to, from
	}
	f.check(c)
	if st := a.Stats(); f.errors == 0 || st.RolledBack != 0 {
		t.Errorf("%d appends failed, %+v; want some, and nothing rolled back", f.errors, st)
	}
	t.Logf("%d failed appends, last: %v", f.errors, f.last)
}
