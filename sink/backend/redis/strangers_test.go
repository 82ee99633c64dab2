package redis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testrecord"
)

// spaced is an event as the Python implementation writes it.
func spaced(system, text string) string {
	return fmt.Sprintf(`{"kind": "event", "system_id": %q, "actor_address": null, "event_type": "X", "payload": %q, "timestamp": 1700000000.5}`, system, text)
}

// notRead returns the keys that a scan names as not read. Nothing else may be wrong.
func notRead(t *testing.T, store papyra.Store) (keys []string) {
	t.Helper()
	r, err := store.Scan(t.Context(), papyra.ScanOptions{Full: true})
	if err != nil || !r.Clean() || r.Incomplete {
		t.Fatalf("scan: %+v, %v", r, err)
	}
	for _, n := range r.Notices {
		if n.Class == papyra.NoticeNotRead {
			keys = append(keys, n.Stream)
			if others := strings.HasPrefix(n.Stream, "papyra:eu:"); others != strings.Contains(n.Detail, "longer prefix") {
				t.Errorf("%s: %s", n.Stream, n.Detail)
			}
		}
	}
	if int64(len(keys)) != r.NoticeCounts[papyra.NoticeNotRead] {
		t.Errorf("notices %+v, counted %v", r.Notices, r.NoticeCounts)
	}
	return keys
}

// A system id with a colon has a key that could as well be one of a longer prefix:
// the records tell. Under both prefixes nothing is lost and nothing is moved.
func TestSystemsWithColons(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	short, longer := open(t, "redis://"+s.Addr()), open(t, "redis://"+s.Addr()+"?prefix=papyra:eu")
	// The Python implementation with the prefix papyra and the system eu:shop.
	first, second := spaced("eu:shop", "one"), spaced("eu:shop", "two")
	plant(t, c, "papyra:eu:shop:events", "data", first)
	plant(t, c, "papyra:eu:shop:events", "data", second)
	// A store with the prefix papyra:eu, also with a system that is escaped.
	own, odd := testrecord.New(1).Line("till", papyra.KindEvent, "x"), testrecord.New(2).Line("a:b", papyra.KindEvent, "y")
	fill(t, longer, own, odd)
	// Our own sink with the prefix papyra.
	sealed := testrecord.New(3).Line("eu:shop", papyra.KindEvent, "z")
	fill(t, short, sealed)

	want := []string{first, second, string(sealed)}
	for _, q := range []papyra.Query{{}, {Systems: []string{"eu:shop"}}, {Systems: []string{"eu:shop"}, Kinds: []papyra.Kind{papyra.KindEvent}, Limit: 5}} {
		if diff := cmp.Diff(want, lines(t, short, q)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", q, diff)
		}
	}
	if diff := cmp.Diff([]string{"papyra:eu:a=3Ab:events", "papyra:eu:till:events"}, notRead(t, short)); diff != "" {
		t.Errorf("not read with the shorter prefix (-want +got):\n%s", diff)
	}
	got := lines(t, longer, papyra.Query{})
	slices.Sort(got)
	wantLonger := []string{first, second, string(own), string(odd)}
	slices.Sort(wantLonger)
	if diff := cmp.Diff(wantLonger, got); diff != "" {
		t.Errorf("with the longer prefix (-want +got):\n%s", diff)
	}
	if keys := notRead(t, longer); len(keys) > 0 {
		t.Errorf("not read with the longer prefix: %q", keys)
	}
	for name, store := range map[string]papyra.Store{"papyra": short, "papyra:eu": longer} {
		if r, err := store.Recover(t.Context(), papyra.RecoverOptions{Now: time.Unix(1_700_000_100, 0)}); err != nil || r.Moved != 0 {
			t.Errorf("recover with prefix %s: %+v, %v; want nothing moved", name, r, err)
		}
	}
	// What is damaged in the stream is moved, where the Python implementation looks.
	plant(t, c, "papyra:eu:shop:events", "data", "junk")
	r, err := short.Recover(t.Context(), papyra.RecoverOptions{Now: time.Unix(1_700_000_100, 0)})
	if err != nil || r.Moved != 1 || s.Do(t, "XLEN", "papyra:eu:shop:quarantine:papyra_eu_shop_events") != int64(1) {
		t.Errorf("recover: %+v, %v; want the junk in quarantine", r, err)
	}
}

// What under the prefix is not read is named, if it is a stream.
func TestStreamsThatAreNotRead(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	fill(t, store, testrecord.New(1).Event())
	plant(t, c, "papyra:orders:metrics", "data", spaced("orders", "x"))
	plant(t, c, "papyra:orders", "data", spaced("orders", "x"))
	plant(t, c, "papyra:a:b:events", "data", "junk")                                              // nobody can say whose it is
	plant(t, c, "papyra:a:b:audits", "other", "field")                                            // nor here
	plant(t, c, "papyra:orders:quarantine:papyra_orders_events", "a", "b")                        // ours
	plant(t, c, "other:orders:metrics", "data", spaced("orders", "x"))                            // another prefix
	for _, key := range []string{"papyra:a:b:dead_letters", "papyra:some", "papyra:thing:else"} { // no streams
		s.Do(t, "SET", key, "x")
	}
	want := []string{"papyra:a:b:audits", "papyra:a:b:events", "papyra:orders", "papyra:orders:metrics"}
	if diff := cmp.Diff(want, notRead(t, store)); diff != "" {
		t.Errorf("not read (-want +got):\n%s", diff)
	}
	if r, err := store.Recover(t.Context(), papyra.RecoverOptions{Now: time.Unix(1_700_000_100, 0)}); err != nil || r.Moved != 0 {
		t.Errorf("recover: %+v, %v", r, err)
	}
	// Damage behind a good record does not hide whose the stream is.
	plant(t, c, "papyra:eu:shop:events", "data", spaced("eu:shop", "x"))
	for range 3 {
		plant(t, c, "papyra:eu:shop:events", "data", "junk")
	}
	r, err := store.Scan(t.Context(), papyra.ScanOptions{})
	if err != nil || r.Damaged() != 3 || r.Records != 2 {
		t.Errorf("scan: %+v, %v; want 3 damaged entries and 2 records", r, err)
	}
}
