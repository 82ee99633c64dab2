package redis_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/redis"
)

// On a server whose memory is full nothing can be appended, and yet the acts work
// that make room: what they write down goes beyond the bound.
func TestActsOnAFullServer(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client := s.Client(t)
	before := damagedStore(t, s, client, "papyra")
	other := open(t, "redis://"+s.Addr())
	appender(t, other) // makes the store
	s.Do(t, words("CONFIG SET maxmemory 1")...)
	store := open(t, "redis://"+s.Addr())
	a := appender(t, store)
	if _, err := a.Append(context.Background(), testrecord.Batch(testrecord.New(9).Event())); redis.CauseOf(err) != papyra.CauseOOM {
		t.Fatalf("append: %v, want that the memory is full", err)
	}
	moved, err := store.Recover(context.Background(), papyra.RecoverOptions{})
	if err != nil || moved.Moved == 0 || !moved.After.Clean() {
		t.Fatalf("recover: %+v, %v", moved, err)
	}
	now := append(entries(t, client, streamsUnder("papyra")...), inQuarantine(t, client, "papyra")...)
	if diff := cmp.Diff(slices.Sorted(slices.Values(before)), slices.Sorted(slices.Values(now))); diff != "" {
		t.Errorf("entries and quarantine (-before +after):\n%s", diff)
	}
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 1}}, At: testrecord.Start.Add(time.Hour)}
	compacted, err := store.Compact(context.Background(), o)
	if err != nil || compacted.RecordsAfter >= compacted.RecordsBefore {
		t.Fatalf("compact: %+v, %v", compacted, err)
	}
}

// An act that the server refuses, because it is a replica or does not let
// this user write, changes nothing: no entry goes that was not copied, none goes
// that was not announced. The same act finishes the job when the cause is gone.
func TestActsRefused(t *testing.T) {
	t.Parallel()
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 6}}, At: testrecord.Start.Add(time.Hour)}
	for _, c := range []struct {
		name        string
		fault       papyra.Cause
		cause, cure string
	}{
		{name: "replica", fault: papyra.CauseREADONLY, cause: "REPLICAOF 127.0.0.1 1", cure: "REPLICAOF NO ONE"},
		{name: "no XADD", fault: papyra.CauseNOPERM, cause: "ACL SETUSER default -xadd", cure: "ACL SETUSER default +@all"},
	} {
		for name, act := range map[string]func(*redis.Store) error{
			"recover": func(s *redis.Store) error {
				_, err := s.Recover(context.Background(), papyra.RecoverOptions{})
				return err
			},
			"compact": func(s *redis.Store) error { _, err := s.Compact(context.Background(), o); return err },
		} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				s := redistest.Start(t)
				client := s.Client(t)
				before := damagedStore(t, s, client, "papyra")
				store := open(t, "redis://"+s.Addr())
				s.Do(t, words(c.cause)...)
				if err := act(store); redis.CauseOf(err) != c.fault {
					t.Errorf("got %v (fault %q), want fault %q", err, redis.CauseOf(err), c.fault)
				}
				s.Do(t, words(c.cure)...)
				if diff := cmp.Diff(before, entries(t, client, streamsUnder("papyra")...)); diff != "" {
					t.Errorf("entries (-before +after):\n%s", diff)
				}
				if saved := inQuarantine(t, client, "papyra"); len(saved) > 0 {
					t.Errorf("in quarantine: %v", saved)
				}
				if err := act(store); err != nil {
					t.Fatalf("when the cause is gone: %v", err)
				}
				now := entries(t, client, streamsUnder("papyra")...)
				if name == "recover" {
					now = append(now, inQuarantine(t, client, "papyra")...)
					if diff := cmp.Diff(slices.Sorted(slices.Values(before)), slices.Sorted(slices.Values(now))); diff != "" {
						t.Errorf("entries and quarantine (-before +after):\n%s", diff)
					}
				} else if len(now) >= len(before) {
					t.Errorf("%d entries are left of %d", len(now), len(before))
				}
			})
		}
	}
}

// Memory does not grow with the store, nor by more than a few times the longest
// entry, which the server hands out whole.
func TestBoundedMemory(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "unix://"+s.Socket)
	a := appender(t, store)
	src := testrecord.New(1)
	const batches, records = 30, 30 * 500
	size := 0
	for range batches {
		var lines [][]byte
		for range records / batches {
			lines = append(lines, src.Line("orders", papyra.KindEvent, strings.Repeat("x", 2000)))
		}
		b := testrecord.Batch(lines...)
		size += len(b.Bytes())
		if _, err := a.Append(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	const huge = 4 << 20
	plant(t, c, events, "data", strings.Repeat("x", huge))
	const most = 24 << 20
	if size < most {
		t.Fatalf("the store has only %d MiB", size>>20)
	}
	ctx := context.Background()
	// Heap in use, looked at some twenty to fifty times while an act is in the middle.
	var base, peak uint64
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	n := 0
	look := func() {
		if n++; n < 100 && n%5 == 0 || n%500 == 0 {
			peak = max(peak, heap())
		}
	}
	progress := func(int64, int64) { look() }
	for _, work := range []struct {
		name string
		do   func() error
	}{
		{"scan", func() error {
			r, err := store.Scan(ctx, papyra.ScanOptions{Progress: progress})
			if err == nil && (r.Records != records || r.AnomalyCounts[papyra.ClassCorrupted] != 1) {
				err = fmt.Errorf("scan: %+v", r)
			}
			return err
		}},
		{"full scan", func() error {
			_, err := store.Scan(ctx, papyra.ScanOptions{Full: true, Progress: progress})
			return err
		}},
		{"read", func() error {
			_, err := store.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error {
				if n++; n%1000 == 0 {
					peak = max(peak, heap())
				}
				return nil
			})
			return err
		}},
		{"compact", func() error {
			_, err := store.Compact(ctx, papyra.CompactOptions{
				Retention: papyra.Retention{General: papyra.Limits{Records: records - 100}}, At: testrecord.Start, DryRun: true, Progress: progress,
			})
			return err
		}},
		{"recover", func() error {
			r, err := store.Recover(ctx, papyra.RecoverOptions{Progress: progress})
			if err == nil && (r.Moved != 1 || r.MovedBytes != huge+1 || !r.After.Clean()) {
				err = fmt.Errorf("recover: %+v", r)
			}
			return err
		}},
	} {
		base, peak, n = heap(), 0, 0
		if err := work.do(); err != nil {
			t.Fatalf("%s: %v", work.name, err)
		}
		if peak == 0 || peak > base+most {
			t.Errorf("%s: the heap grew from %d to %d KiB on a store of %d KiB", work.name, base>>10, peak>>10, size>>10)
		}
		t.Logf("%s: the heap grew by %d KiB", work.name, (int64(peak)-int64(base))>>10)
	}
}
