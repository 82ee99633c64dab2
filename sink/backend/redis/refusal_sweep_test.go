package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/backend/redis"
)

// stepping passes connections on to a server and counts what clients send, piece by
// piece: a command, or several in one go. Before one of the pieces it calls a function.
type stepping struct {
	net.Listener
	count  atomic.Int64
	before func(n int64)
}

func newStepping(t *testing.T, target string) *stepping {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &stepping{Listener: l}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			end := func() { _, _ = client.Close(), server.Close() }
			running.Go(func() { defer end(); p.pass(client, server, p.step) })
			running.Go(func() { defer end(); p.pass(server, client, func() {}) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	return p
}

func (p *stepping) step() {
	n := p.count.Add(1)
	if p.before != nil {
		p.before(n)
	}
}

func (p *stepping) pass(from, to net.Conn, each func()) {
	b := make([]byte, 1<<20)
	for {
		n, err := from.Read(b)
		if n > 0 {
			each()
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// The server has no memory left from any step of an act on: the act goes on all the
// same. Or it refuses every change at two steps, whichever: the act fails and says how it
// ended. Each record is stored or removed, the account is exact, also after a loss that
// follows, and the same act finishes when the cause is gone.
func TestRefusalAtEachStepOfAnAct(t *testing.T) {
	t.Parallel()
	at := testrecord.Start.Add(time.Hour)
	acts := map[string]func(context.Context, *redis.Store) error{
		"compact": func(ctx context.Context, s *redis.Store) error {
			_, err := s.Compact(ctx, papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 7}}, At: at})
			return err
		},
		"dedupe": func(ctx context.Context, s *redis.Store) error {
			_, err := s.Compact(ctx, papyra.CompactOptions{Dedupe: true, At: at})
			return err
		},
		"recover": func(ctx context.Context, s *redis.Store) error {
			_, err := s.Recover(ctx, papyra.RecoverOptions{})
			return err
		},
	}
	for name, act := range acts {
		for _, fault := range []struct {
			cause       papyra.Cause
			begin, heal string
			lasts       int64 // steps; 0 for ever
		}{
			{papyra.CauseOOM, "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", 0},
			{papyra.CauseNOPERM, "ACL SETUSER default -@write -eval -evalsha", "ACL SETUSER default +@all", 2},
		} {
			t.Run(fmt.Sprintf("%s, %s", name, fault.cause), func(t *testing.T) {
				t.Parallel()
				s := redistest.Start(t)
				w := newSweep(t, s, act)
				w.attempt(0, func(int64) {})
				steps, failed := w.p.count.Load(), 0
				for n := range steps {
					begun := false
					err := w.attempt(n+1, func(step int64) {
						switch {
						case step == n+1:
							begun = true
							s.Do(t, words(fault.begin)...)
						case fault.lasts > 0 && step == n+1+fault.lasts:
							s.Do(t, words(fault.heal)...)
						}
					})
					s.Do(t, words(fault.heal)...)
					if err != nil {
						failed++
					}
					if err != nil && (fault.lasts == 0 || redis.CauseOf(err) != fault.cause || !begun) {
						t.Fatalf("step %d of %d: %v", n+1, steps, err)
					}
					w.check(n + 1)
				}
				if fault.lasts > 0 && failed == 0 || steps < 5 {
					t.Errorf("%d of %d steps failed: are they seen?", failed, steps)
				}
			})
		}
	}
}

// refusalSweep is one act, tried on copies of one store.
type refusalSweep struct {
	t      *testing.T
	s      *redistest.Server
	p      *stepping
	client goredis.UniversalClient
	act    func(context.Context, *redis.Store) error
}

func newSweep(t *testing.T, s *redistest.Server, act func(context.Context, *redis.Store) error) *refusalSweep {
	w := &refusalSweep{t: t, s: s, p: newStepping(t, s.Addr()), client: s.Client(t), act: act}
	lines := testrecord.New(1).Events(40)
	fill(t, open(t, "redis://"+s.Addr()+"?prefix=base"), lines...)
	for _, data := range []string{"junk", string(lines[3]), string(lines[30]), "more junk"} {
		plant(t, w.client, "base:orders:events", "data", data)
	}
	return w
}

func (w *refusalSweep) open(addr string, n int64) *redis.Store {
	w.t.Helper()
	store, err := redis.Open(fmt.Sprintf("redis://%s?timeout=5s&prefix=p%d", addr, n), redis.Config{})
	if err != nil {
		w.t.Fatal(err)
	}
	return store
}

// attempt tries the act on a copy. before is called before each piece that it sends.
func (w *refusalSweep) attempt(n int64, before func(step int64)) error {
	w.t.Helper()
	for _, key := range []string{"store", "orders:events"} {
		w.s.Do(w.t, "COPY", "base:"+key, fmt.Sprintf("p%d:%s", n, key))
	}
	w.p.count.Store(0)
	w.p.before = before
	store := w.open(w.p.Addr().String(), n)
	err := w.act(w.t.Context(), store)
	return errors.Join(err, store.Close())
}

// check looks at a copy after the act has ended, after a loss, and after the same act.
func (w *refusalSweep) check(n int64) {
	t := w.t
	t.Helper()
	store := w.open(w.s.Addr(), n)
	defer func() { _ = store.Close() }()
	counts := func(when string, missing uint64) {
		t.Helper()
		r, err := account.Read(t.Context(), account.Options{}, nil, store)
		if err != nil {
			t.Fatal(err)
		}
		got := r.Total
		for _, run := range r.Runs {
			if run.System == "orders" {
				got = run.Categories[0].Counts
			}
		}
		if got.Missing != missing || got.Stored+got.RemovedTotal()+missing != 40 {
			t.Fatalf("step %d, %s: %d stored, %d removed, %d missing; want %d missing of 40", n, when, got.Stored, got.RemovedTotal(), got.Missing, missing)
		}
	}
	counts("after it", 0)
	// What is still stored is lost: what stays in every view, and what the act may
	// have announced. Of two a copy may have been removed.
	lost := uint64(0)
	key := fmt.Sprintf("p%d:orders:events", n)
	list, err := w.client.XRange(t.Context(), key, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range list {
		rec, err := papyra.Parse([]byte(fmt.Sprint(e.Values["data"])))
		if err == nil && (rec.Seq == 36 || rec.Seq == 38 || lost == 0 && i > 0 && rec.Seq != 4 && rec.Seq != 31) {
			w.s.Do(t, "XDEL", key, e.ID)
			lost++
		}
	}
	if lost < 2 {
		t.Fatalf("step %d: %d records could be lost", n, lost)
	}
	counts("after a loss", lost)
	if err := w.act(t.Context(), store); err != nil {
		t.Fatalf("step %d, again: %v", n, err)
	}
	counts("after the same act", lost)
}
