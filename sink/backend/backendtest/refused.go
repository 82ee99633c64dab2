package backendtest

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// streamRefused: a stream that cannot be written keeps no other from being stored,
// and when it can be written again its lines are stored once, in their order.
func streamRefused(t *testing.T, m Medium) {
	if m.Refuse == nil {
		t.Skip("no stream of this store can fail alone")
	}
	ctx := context.Background()
	b := open(t, m)
	a := appender(t, b)
	defer closeAppender(t, a)
	bad := papyra.Stream{System: "bad", Kind: papyra.KindEvent}
	allow := m.Refuse(t, bad)

	src := testrecord.New(1)
	want := map[papyra.Stream][]string{}
	line := func(system string) []byte {
		l := src.Line(system, papyra.KindEvent, "x")
		s := papyra.Stream{System: system, Kind: papyra.KindEvent}
		want[s] = append(want[s], string(l))
		return l
	}
	// check hands a batch in, and wants everything but the bad stream's lines stored.
	check := func(what string, batch *papyra.Batch, first, rest int) {
		t.Helper()
		n, err := a.Append(ctx, batch)
		var refused *papyra.RefusedError
		if !errors.As(err, &refused) || len(refused.Streams) != 1 || refused.Streams[0].Stream != bad ||
			refused.Streams[0].Stored != 0 || refused.Streams[0].Err == nil || n != first {
			t.Fatalf("%s: stored %d, error %v; want %d and a papyra.RefusedError that names %s", what, n, err, first, bad)
		}
		if batch.DropStored(n, err); batch.Len() != rest {
			t.Fatalf("%s: %d lines are left, want %d", what, batch.Len(), rest)
		}
		held := map[papyra.Stream][]string{}
		for s, lines := range want {
			if s != bad {
				held[s] = lines
			}
		}
		if diff := cmp.Diff(held, read(t, b, papyra.Query{Systems: []string{"good", "other"}})); diff != "" {
			t.Errorf("%s (-want +stored):\n%s", what, diff)
		}
	}
	rest := testrecord.Batch(line("good"), line("bad"), line("other"), line("bad"), line("good"))
	check("the first batch", rest, 1, 2)
	check("the rest alone", rest, 0, 2)
	appendAll(t, a, testrecord.Batch(line("good"), line("other")))
	rest.Append(rest.StreamIndex(papyra.Stream{System: "good", Kind: papyra.KindEvent}), line("good"))
	check("the rest with another line", rest, 0, 2)

	allow()
	second, _ := rest.Line(1)
	second = append([]byte(nil), second...)
	first, _ := rest.Line(0)
	appendAll(t, a, testrecord.Batch(first))
	appendAll(t, a, testrecord.Batch(line("other"), second, line("bad")))
	if diff := cmp.Diff(want, read(t, b, papyra.Query{Systems: []string{"bad", "good", "other"}, Duplicates: true})); diff != "" {
		t.Errorf("in the end (-want +stored):\n%s", diff)
	}
}
