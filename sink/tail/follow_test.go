package tail_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/backend/memory"
	"github.com/papyra/papyra/sink/tail"
)

func Example() {
	m := memory.New(nil)
	store := m.Open()
	defer store.Close()
	ctx := context.Background()
	f, err := tail.Follow(ctx, store)
	if err != nil {
		panic(err)
	}
	m.Plant([]byte(`{"kind":"event","system_id":"orders","actor_address":"orders:1","event_type":"ActorStarted","payload":{},"timestamp":1700000000.5}`))
	_, err = f.Next(ctx, func(rec *papyra.Record) error {
		fmt.Println(string(rec.Type))
		return nil
	})
	fmt.Println(err)
	// Output:
	// ActorStarted
	// <nil>
}

// What is appended is shown once, whatever happens to the store meanwhile.
func TestFollow(t *testing.T) {
	for _, scheme := range []string{"json:", "rotating:", "memory:"} {
		t.Run(scheme, func(t *testing.T) {
			u := scheme
			if scheme != "memory:" {
				u += filepath.Join(testkit.FastDir(t), "s.ndjson")
			}
			if scheme == "rotating:" {
				u += "?max_bytes=3KB&max_files=100"
			}
			store, err := backend.Open(u)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			a, err := store.Appender(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s := testrecord.New(1)
			add := func(lines ...[]byte) {
				t.Helper()
				if _, err := a.Append(t.Context(), testrecord.Batch(lines...)); err != nil {
					t.Fatal(err)
				}
			}
			var f *tail.Follower
			next := func() (got string) {
				t.Helper()
				left, err := f.Next(t.Context(), func(rec *papyra.Record) error {
					got += fmt.Sprint(rec.Seq, " ")
					return nil
				})
				if err != nil || left != 0 {
					t.Fatalf("%d left: %v", left, err)
				}
				return got
			}
			first := s.Events(5)
			add(first...)
			if f, err = tail.Follow(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			if got := next(); got != "" {
				t.Errorf("what was there before is shown: %s", got)
			}
			more := s.Events(3)
			add(more...)
			// A copy of what was seen, in the middle and at the end.
			add(first[4])
			add(s.Events(1)...)
			add(more[0])
			if got := next(); got != "6 7 8 9 " {
				t.Errorf("got %q, want 6 to 9", got)
			}
			if got := next(); got != "" {
				t.Errorf("shown again: %s", got)
			}
			add(s.Events(30)...) // rotates
			if got := next(); got != "10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 " {
				t.Errorf("after a rotation: %s", got)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Compact(t.Context(), papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 20}}, At: time.Now()}); err != nil {
				t.Fatal(err)
			}
			if a, err = store.Appender(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			add(s.Events(2)...)
			if got := next(); !strings.HasSuffix(got, "40 41 ") || strings.Contains(got, "39") {
				t.Errorf("after a compaction: %q, want the reports of the act, 40 and 41", got)
			}
		})
	}
}
