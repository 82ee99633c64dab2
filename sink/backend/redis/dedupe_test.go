package redis_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/redis"
)

// Exactly the copies go, and of each part of a compaction the report says which
// groups lose what; together they are in the result.
func TestDedupeIDsAndGroups(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	l := testrecord.New(1).Events(8)
	// The first two go by the limit; then 3 4 3 5 | 4 6 7 3 8, of which the first
	// 3 and 4 and the second 3 go.
	fill(t, store, l[0], l[1], l[2], l[3], l[2], l[4])
	if err := c.XGroupCreate(ctx, events, "late", "$").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.XGroupCreate(ctx, events, "half", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: "half", Consumer: "c", Streams: []string{events, ">"}, Count: 4}).Err(); err != nil {
		t.Fatal(err)
	}
	fill(t, store, l[3], l[5], l[6], l[2], l[7])
	before := c.XRange(ctx, events, "-", "+").Val()
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 9}}, Dedupe: true, At: testrecord.Start, DryRun: true}
	// Pending are entries 1 to 4, to come 5 to 11; gone are 1 and 2, then 3, 4, 5.
	want := []papyra.RemovedGroup{{Stream: events, Group: "half", Pending: 4, Undelivered: 1}}
	for _, dry := range []bool{true, false} {
		o.DryRun = dry
		r, err := store.Compact(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.Groups); diff != "" {
			t.Errorf("dry %v: groups (-want +got):\n%s", dry, diff)
		}
	}
	var ids []string
	for _, e := range c.XRange(ctx, events, "-", "+").Val() {
		ids = append(ids, e.ID)
	}
	var wantIDs []string
	for _, e := range before[5:] {
		wantIDs = append(wantIDs, e.ID)
	}
	if diff := cmp.Diff(wantIDs, ids); diff != "" {
		t.Errorf("ids that are left (-want +got):\n%s", diff)
	}
	told := removals(t, c, "papyra")
	if len(told) != 2 || told[0].Act != papyra.ActCompact || told[1].Act != papyra.ActDedupe ||
		!slices.Equal(told[0].Groups, []papyra.RemovedGroup{{Stream: events, Group: "half", Pending: 2}}) ||
		!slices.Equal(told[1].Groups, []papyra.RemovedGroup{{Stream: events, Group: "half", Pending: 2, Undelivered: 1}}) {
		t.Errorf("RemovalReports %+v, want one of each act with its part of the group", told)
	}
}

// An interrupted removal of duplicates leaves of every record at least one copy,
// and what is gone was announced.
func TestDedupeInterrupted(t *testing.T) {
	t.Parallel()
	o := papyra.CompactOptions{Dedupe: true, At: testrecord.Start}
	copies := func(t *testing.T, store *redis.Store) {
		for i := range 3 {
			for _, system := range []string{"orders", "shop"} {
				all := lines(t, store, papyra.Query{Systems: []string{system}, Kinds: []papyra.Kind{papyra.KindEvent}})
				for _, line := range all[4*i : 4*i+9] {
					fill(t, store, []byte(line))
				}
			}
		}
	}
	interrupted(t, copies,
		func(s *redis.Store) error { _, err := s.Compact(context.Background(), o); return err },
		func(t *testing.T, c goredis.UniversalClient, prefix string, before []string) {
			t.Helper()
			now := entries(t, c, streamsUnder(prefix)...)
			must := entries(t, c, streamsUnder("p0")...) // the newest copies and the damage
			if len(must) != len(before)-54 {
				t.Fatalf("undisturbed it left %d of %d entries, want 54 copies removed", len(must), len(before))
			}
			for _, e := range must {
				if !slices.Contains(now, e) {
					t.Errorf("gone, and no copy: %s", e)
				}
			}
			announced := int64(0)
			for _, r := range removals(t, c, prefix) {
				for _, n := range r.Categories {
					announced += n.Records
				}
				if r.Act != papyra.ActDedupe {
					t.Errorf("a report of act %s", r.Act)
				}
			}
			if gone := int64(len(before) - len(now)); gone > announced {
				t.Errorf("%d entries are gone, %d were announced", gone, announced)
			}
		})
}

// Compactions by limits and of duplicates at the same time, from several
// processes, and copies that come in meanwhile: of every record that the limits
// keep a copy is left.
func TestDedupeBesideOtherActs(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := s.Client(t)
	url := "redis://" + s.Addr()
	src := testrecord.New(1)
	lines := src.Events(300)
	for range long(4, 60) {
		c.Del(ctx, events)
		fill(t, open(t, url), slices.Concat(lines, lines[:200], lines[50:150])...)
		view := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 150}}, At: testrecord.Start}
		want := map[string]bool{}
		var running sync.WaitGroup
		a := appender(t, open(t, url))
		for _, line := range slices.Concat(lines[:200], lines[50:150])[150:] {
			want[string(line)] = true // the newest 150 entries
		}
		for range 2 {
			for _, o := range []papyra.CompactOptions{view, {Dedupe: true, At: testrecord.Start}} {
				store := open(t, url)
				running.Go(func() {
					if _, err := store.Compact(ctx, o); err != nil {
						t.Errorf("compact: %v", err)
					}
				})
			}
		}
		// Copies of what is in the view, at its end.
		running.Go(func() {
			for i := 60; i < 70; i++ {
				if _, err := a.Append(ctx, testrecord.Batch(lines[i])); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
		running.Wait()
		left := stored(t, c, events)
		missing := 0
		for line := range want {
			if !slices.Contains(left, line) {
				missing++
			}
		}
		// Ten came in behind: a compaction that began later has room for ten less.
		if missing > 10 {
			t.Fatalf("%d records of the view are gone, want at most the 10 that later ones pushed out", missing)
		}
	}
}

// A removal of a great many copies is done in bounded steps and holds little.
func TestDedupeManyCopies(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	src := testrecord.New(1)
	lines := src.Events(5000)
	for range 3 {
		fill(t, store, lines...)
	}
	began := time.Now()
	r, err := store.Compact(ctx, papyra.CompactOptions{Dedupe: true, At: testrecord.Start})
	if err != nil || r.RecordsAfter != 5000 || r.RecordsBefore != 15000 {
		t.Fatalf("%+v, %v", r, err)
	}
	t.Logf("took %v", time.Since(began))
	got := stored(t, c, events)
	if len(got) != len(lines) {
		t.Fatalf("%d entries are left, want %d", len(got), len(lines))
	}
	for i := range got {
		if got[i] != string(lines[i]) {
			t.Fatalf("entry %d is %s, want %s", i, got[i], lines[i])
		}
	}
}
