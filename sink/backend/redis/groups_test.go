package redis_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testrecord"
)

// Groups are listed with the system of their stream, whatever its id; a lag that
// the server does not know is not taken for none.
func TestGroups(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	src := testrecord.New(1)
	fill(t, store, src.Events(4)...)
	fill(t, store, src.Line("a:b =c", papyra.KindAudit, ""))
	foreign := "papyra:a b:events" // as the Python implementation spells it
	plant(t, c, foreign, "data", string(src.Line("a b", papyra.KindEvent, "x")))
	name := "\x1b[31mred\n\xff"
	for _, g := range []struct{ key, group, from string }{
		{events, name, "0"}, {events, "b", "$"}, {"papyra:a=3Ab=20=3Dc:audits", "a", "0"}, {foreign, "f", "0"},
	} {
		if err := c.XGroupCreate(ctx, g.key, g.group, g.from).Err(); err != nil {
			t.Fatal(err)
		}
	}
	read, err := c.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: name, Consumer: "c", Streams: []string{events, ">"}, Count: 2}).Result()
	if err != nil {
		t.Fatal(err)
	}
	// A hole behind what was delivered: from now on nobody knows how much is to come.
	if err := c.XDel(ctx, events, c.XRange(ctx, events, "("+read[0].Messages[1].ID, "+").Val()[0].ID).Err(); err != nil {
		t.Fatal(err)
	}
	one, none := int64(1), int64(0)
	got, err := store.Groups(ctx)
	want := []papyra.ConsumerGroup{
		{Stream: foreign, System: "a b", Category: "events", Group: "f", Lag: &one},
		{Stream: "papyra:a=3Ab=20=3Dc:audits", System: "a:b =c", Category: "audits", Group: "a", Lag: &one},
		{Stream: events, System: "orders", Category: "events", Group: name, Consumers: 1, Pending: 2},
		{Stream: events, System: "orders", Category: "events", Group: "b", Lag: &none},
	}
	slices.SortFunc(want, func(a, b papyra.ConsumerGroup) int {
		return slices.Compare([]string{a.Stream, a.Group}, []string{b.Stream, b.Group})
	})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// A dry recovery names the groups that the real one takes entries from.
func TestDryRecoveryNamesGroups(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	fill(t, store, testrecord.New(1).Events(2)...)
	plant(t, c, events, "data", "junk")
	if err := c.XGroupCreate(ctx, events, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	want := []papyra.RemovedGroup{{Stream: events, Group: "g", Undelivered: 1}}
	for _, dry := range []bool{true, false} {
		r, err := store.Recover(ctx, papyra.RecoverOptions{DryRun: dry})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.Groups); diff != "" {
			t.Errorf("dry %v (-want +got):\n%s", dry, diff)
		}
	}
}
