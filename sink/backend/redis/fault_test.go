package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend/redis"
)

// canary is a password that no message may show.
const canary = "cAnArY-42"

// Every way in which a server refuses is named, says whether to try again, and
// loses and doubles nothing: what was refused is stored when the cause is gone.
func TestFaults(t *testing.T) {
	t.Parallel()
	admin := "ACL SETUSER sink on >" + canary + " ~* &* +@all"
	for _, c := range []struct {
		name  string
		fault papyra.Cause
		again bool   // wraps papyra.ErrUnavailable
		hint  string // a part of the message
		// cause and cure are commands, a word each between spaces.
		cause, cure []string
	}{
		{"login revoked", papyra.CauseNOAUTH, true, "check the user and password",
			[]string{"ACL SETUSER sink resetpass >other", "CLIENT KILL USER sink"}, []string{admin}},
		{"user gone", papyra.CauseNOAUTH, true, "check the user and password", []string{"ACL DELUSER sink"}, []string{admin}},
		{"no XADD", papyra.CauseNOPERM, true, "give the user", []string{"ACL SETUSER sink -xadd"}, []string{admin}},
		{"no scripts", papyra.CauseNOPERM, true, "give the user", []string{"ACL SETUSER sink -evalsha -eval"}, []string{admin}},
		{"not these keys", papyra.CauseNOPERM, true, "give the user", []string{"ACL SETUSER sink resetkeys ~other:*"}, []string{admin}},
		{"no fences", papyra.CauseNOPERM, true, "give the user", []string{"ACL SETUSER sink -set"}, []string{admin}},
		{"memory full", papyra.CauseOOM, true, "raise maxmemory", []string{"CONFIG SET maxmemory 1"}, []string{"CONFIG SET maxmemory 0"}},
		{"replica", papyra.CauseREADONLY, true, "point the URL at the master", []string{"REPLICAOF 127.0.0.1 1"}, []string{"REPLICAOF NO ONE"}},
		{"too few replicas", papyra.CauseNOREPLICAS, true, "min-replicas-to-write", []string{"CONFIG SET min-replicas-to-write 1"}, []string{"CONFIG SET min-replicas-to-write 0"}},
		{"something else under the key", papyra.CauseWRONGTYPE, false, "rename or delete it",
			[]string{"RENAME papyra:orders:events saved", "SET papyra:orders:events x"}, []string{"RENAME saved papyra:orders:events"}},
		{"stands still", papyra.CauseTimeout, true, "too slow", []string{"SIGSTOP"}, []string{"SIGCONT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := redistest.Start(t)
			s.Do(t, words(admin)...)
			store := open(t, "redis://sink:"+canary+"@"+s.Addr()+"?timeout=300ms")
			a := appender(t, store)
			src := testrecord.New(1)
			var want []string
			push := func() (papyra.Batch, error) {
				lines := src.Events(30)
				for _, l := range lines {
					want = append(want, string(l))
				}
				b := testrecord.Batch(lines...)
				n, err := a.Append(context.Background(), b)
				if n > 0 && err != nil {
					t.Errorf("%d lines stored beside the error %v", n, err)
				}
				return *b, err
			}
			if _, err := push(); err != nil {
				t.Fatalf("append: %v", err)
			}
			for _, cmd := range c.cause {
				order(t, s, cmd)
			}
			b, err := push()
			for range 3 {
				if redis.CauseOf(err) == papyra.CauseUnreachable && c.fault == papyra.CauseNOAUTH {
					_, err = a.Append(context.Background(), &b) // the server has ended the old connections
				}
			}
			if got := sink.CauseOf(err); got != c.fault {
				t.Errorf("a sink counts %v as %q, want %q", err, got, c.fault)
			}
			if got := redis.CauseOf(err); err == nil || got != c.fault || errors.Is(err, papyra.ErrUnavailable) != c.again || !strings.Contains(err.Error(), c.hint) {
				t.Errorf("append: %v\ngot fault %q, again %v; want %q, %v and the hint %q", err, got, errors.Is(err, papyra.ErrUnavailable), c.fault, c.again, c.hint)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the password is in the message: %v", err)
			}
			for _, cmd := range c.cure {
				order(t, s, cmd)
			}
			testkit.Await(t, "the store to take records again", func() bool {
				n, err := a.Append(context.Background(), &b)
				b.DropStored(n, err)
				return err == nil
			})
			if diff := cmp.Diff(want, stored(t, s.Client(t), "papyra:orders:events")); diff != "" {
				t.Errorf("(-appended +stored):\n%.4000s", diff)
			}
		})
	}
}

// order gives the server a command or a signal.
func order(t *testing.T, s *redistest.Server, cmd string) {
	t.Helper()
	switch cmd {
	case "SIGSTOP":
		s.Pause()
	case "SIGCONT":
		s.Resume()
	default:
		s.Do(t, words(cmd)...)
	}
}

func words(cmd string) []any {
	var out []any
	for w := range strings.FieldsSeq(cmd) {
		out = append(out, w)
	}
	return out
}

// A server that is not there, not ready, not alone or not asked rightly.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	check := func(t *testing.T, url string, fault papyra.Cause, hint string) {
		t.Helper()
		store := open(t, url)
		for name, call := range map[string]func() error{
			"scan":     func() error { _, err := store.Scan(ctx, papyra.ScanOptions{}); return err },
			"appender": func() error { _, err := store.Appender(ctx); return err },
			"read": func() error {
				_, err := store.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error { return nil })
				return err
			},
			"recover": func() error { _, err := store.Recover(ctx, papyra.RecoverOptions{}); return err },
			"compact": func() error {
				_, err := store.Compact(ctx, papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 1}}, At: testrecord.Start})
				return err
			},
			"warnings": func() error { _, err := store.Warnings(ctx, papyra.Retention{}); return err },
			"groups":   func() error { _, err := store.Groups(ctx); return err },
		} {
			err := call()
			if name == "warnings" && fault == papyra.CauseCLUSTERDOWN {
				continue // the server's own settings are to be had
			}
			if fault == papyra.CauseMaxClients && redis.CauseOf(err) == papyra.CauseUnreachable {
				continue // the server said it, and closed before the client read it
			}
			if !errors.Is(err, papyra.ErrUnavailable) || redis.CauseOf(err) != fault || sink.CauseOf(err) != fault || !strings.Contains(err.Error(), hint) {
				t.Errorf("%s: got %v (fault %q), want papyra.ErrUnavailable, fault %q and the hint %q", name, err, redis.CauseOf(err), fault, hint)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("%s: the password is in the message: %v", name, err)
			}
		}
	}
	t.Run("refused", func(t *testing.T) {
		s := redistest.Start(t)
		s.Kill()
		check(t, "redis://:"+canary+"@"+s.Addr(), papyra.CauseUnreachable, "check that the server runs")
	})
	t.Run("no socket", func(t *testing.T) {
		check(t, "unix://"+t.TempDir()+"/none", papyra.CauseUnreachable, "check that the server runs")
	})
	t.Run("wrong password", func(t *testing.T) {
		s := redistest.Start(t, "--requirepass", "right")
		check(t, "redis://:"+canary+"@"+s.Addr(), papyra.CauseNOAUTH, "check the user and password")
	})
	t.Run("no password", func(t *testing.T) {
		s := redistest.Start(t, "--requirepass", canary)
		check(t, "redis://"+s.Addr(), papyra.CauseNOAUTH, "check the user and password")
	})
	t.Run("a cluster without its slots", func(t *testing.T) {
		s := redistest.Start(t, "--cluster-enabled", "yes")
		check(t, "redis://"+s.Addr(), papyra.CauseCLUSTERDOWN, "bring its node back")
	})
	t.Run("one of a cluster, as if it were alone", func(t *testing.T) {
		servers := redistest.Cluster(t, 3)
		store := open(t, "redis://"+servers[0].Addr())
		moved := 0
		for i := range 20 { // each under another key, some of which are here
			b := testrecord.Batch(testrecord.New(1).Line(fmt.Sprintf("s%d", i), papyra.KindEvent, "x"))
			a, err := store.Appender(ctx)
			if err == nil {
				_, err = a.Append(ctx, b)
				_ = a.Close()
			}
			if redis.CauseOf(err) == papyra.CauseMOVED && errors.Is(err, papyra.ErrUnavailable) && strings.Contains(err.Error(), "redis+cluster://") {
				moved++
			} else if err != nil {
				t.Errorf("append: %v (fault %q)", err, redis.CauseOf(err))
			}
		}
		if moved == 0 {
			t.Error("no append was told that its key is elsewhere")
		}
	})
	t.Run("too many clients", func(t *testing.T) {
		s := redistest.Start(t, "--maxclients", "1")
		c := s.Client(t).Conn()
		defer func() { _ = c.Close() }()
		if err := c.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		check(t, "redis://"+s.Addr(), papyra.CauseMaxClients, "raise maxclients")
	})
}

// A server that reads a large data set refuses until it is done.
func TestLoading(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
	store := open(t, "redis://"+s.Addr()+"?timeout=2s")
	a := appender(t, store)
	lines := testrecord.New(1).Events(20)
	if _, err := a.Append(context.Background(), testrecord.Batch(lines[:10]...)); err != nil {
		t.Fatal(err)
	}
	// Each key that is loaded takes a millisecond.
	s.Do(t, "DEBUG", "POPULATE", 20_000)
	s.Do(t, "SAVE")
	s.Do(t, "CONFIG", "SET", "appendonly", "no")
	s.Do(t, "SAVE")
	s.Kill()
	s.RestartWith(t, "--appendonly", "no", "--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024")
	b := testrecord.Batch(lines[10:]...)
	n, err := a.Append(context.Background(), b)
	for n == 0 && redis.CauseOf(err) == papyra.CauseUnreachable { // the pooled connection was lost
		n, err = a.Append(context.Background(), b)
	}
	if redis.CauseOf(err) != papyra.CauseLOADING || !errors.Is(err, papyra.ErrUnavailable) || !strings.Contains(err.Error(), "try again") {
		t.Errorf("append while the server loads: %v (fault %q)", err, redis.CauseOf(err))
	}
	s.Do(t, "CONFIG", "SET", "key-load-delay", "0")
	testkit.Await(t, "the server to have loaded", func() bool {
		n, err := a.Append(context.Background(), b)
		b.DropStored(n, err)
		return err == nil
	})
	var want []string
	for _, l := range lines {
		want = append(want, string(l))
	}
	if diff := cmp.Diff(want, stored(t, s.Client(t), "papyra:orders:events")); diff != "" {
		t.Errorf("(-appended +stored):\n%s", diff)
	}
}

// A server whose disk is full refuses, and says why.
func TestMisconf(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--save", "3600 1")
	a := appender(t, open(t, "redis://"+s.Addr()))
	if _, err := a.Append(context.Background(), testrecord.Batch(testrecord.New(1).Events(1)...)); err != nil {
		t.Fatal(err)
	}
	// The snapshot cannot be written where a directory has its name.
	if err := os.MkdirAll(filepath.Join(s.Dir, "dump.rdb", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Do(t, "BGSAVE")
	testkit.Await(t, "the snapshot to fail", func() bool {
		return strings.Contains(fmt.Sprint(s.Do(t, "INFO", "persistence")), "rdb_last_bgsave_status:err")
	})
	_, err := a.Append(context.Background(), testrecord.Batch(testrecord.New(2).Events(1)...))
	if redis.CauseOf(err) != papyra.CauseMISCONF || !errors.Is(err, papyra.ErrUnavailable) || !strings.Contains(err.Error(), "cannot save to its disk") {
		t.Errorf("append: %v (fault %q)", err, redis.CauseOf(err))
	}
}

// Somebody's endless script keeps the server busy.
func TestBusyScript(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--busy-reply-threshold", "10")
	a, c := appender(t, open(t, "redis://"+s.Addr())), s.Client(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Eval(context.Background(), "while true do end", nil).Err()
	}()
	defer func() { <-done }()
	src := testrecord.New(1)
	var b *papyra.Batch
	var err error
	testkit.Await(t, "the script to run", func() bool {
		b = testrecord.Batch(src.Events(5)...) // until then the store takes them all
		var n int
		n, err = a.Append(context.Background(), b)
		b.DropStored(n, err)
		return err != nil
	})
	if redis.CauseOf(err) != papyra.CauseBUSY || !errors.Is(err, papyra.ErrUnavailable) {
		t.Errorf("append: %v (fault %q)", err, redis.CauseOf(err))
	}
	s.Do(t, "SCRIPT", "KILL")
	testkit.Await(t, "the store to take records again", func() bool {
		n, err := a.Append(context.Background(), b)
		b.DropStored(n, err)
		return err == nil
	})
}
