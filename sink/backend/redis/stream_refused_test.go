package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/redis"
)

// refusedBy returns the streams that an Append's error names.
func refusedBy(t *testing.T, err error) (names []string) {
	t.Helper()
	var refused *papyra.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("append: %v, want a papyra.RefusedError", err)
	}
	for _, s := range refused.Streams {
		names = append(names, s.Stream.System)
	}
	return names
}

// What a server says of one key keeps no other stream from being stored.
func TestStreamRefusedByItsServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		fault       papyra.Cause
		cause, cure string
	}{
		{"another type", papyra.CauseWRONGTYPE, "SET papyra:bad:events x", "DEL papyra:bad:events"},
		{
			"a permission on a key", papyra.CauseNOPERM, "ACL SETUSER default resetkeys ~papyra:good:* ~{papyra:good:* ~{papyra:bad:*",
			"ACL SETUSER default resetkeys ~*",
		},
		{
			"a permission on a fence", papyra.CauseNOPERM, "ACL SETUSER default resetkeys ~papyra:* ~{papyra:good:*",
			"ACL SETUSER default resetkeys ~*",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			store := open(t, "redis://"+s.Addr())
			a := appender(t, store)
			s.Do(t, words(c.cause)...)
			src := testrecord.New(1)
			var lines [][]byte
			want := map[string][]string{}
			for i := range 5000 { // several chunks of each
				system := []string{"good", "bad"}[i%2]
				lines = append(lines, src.Line(system, papyra.KindEvent, "x"))
				want[system] = append(want[system], string(lines[i]))
			}
			b := testrecord.Batch(lines...)
			n, err := a.Append(context.Background(), b)
			if got := refusedBy(t, err); n != 1 || !slices.Equal(got, []string{"bad"}) || redis.CauseOf(err) != c.fault {
				t.Fatalf("stored %d, refused %v for %q: %v", n, got, redis.CauseOf(err), err)
			}
			if b.DropStored(n, err); b.Len() != len(lines)/2 {
				t.Fatalf("%d lines are left, want %d", b.Len(), len(lines)/2)
			}
			client := s.Client(t)
			s.Do(t, words(c.cure)...)
			if n, err := a.Append(context.Background(), b); err != nil || n != b.Len() {
				t.Fatalf("when the cause is gone: %d, %v", n, err)
			}
			for system, lines := range want {
				if diff := cmp.Diff(lines, stored(t, client, "papyra:"+system+":events")); diff != "" {
					t.Errorf("%s (-appended +stored):\n%.2000s", system, diff)
				}
			}
		})
	}
}

// What is said of a command, or of the server, is no refusal of a stream.
func TestServerThatRefusesEverything(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]string{
		"command":  "ACL SETUSER default -evalsha -eval",
		"in it":    "ACL SETUSER default -xadd",
		"memory":   "CONFIG SET maxmemory 1",
		"replicas": "CONFIG SET min-replicas-to-write 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			a := appender(t, open(t, "redis://"+s.Addr()))
			s.Do(t, words(cause)...)
			n, err := a.Append(context.Background(), testrecord.Batch(testrecord.New(1).Events(3)...))
			var refused *papyra.RefusedError
			if n != 0 || err == nil || errors.As(err, &refused) {
				t.Errorf("stored %d: %v", n, err)
			}
		})
	}
}

// A stream that begins to be refused in the middle: what stood before is counted,
// and not stored again.
func TestStreamRefusedInTheMiddle(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client := s.Client(t)
	a := appender(t, open(t, "redis://"+s.Addr()))
	src := testrecord.New(1)
	before := src.Events(10)
	if _, err := a.Append(context.Background(), testrecord.Batch(before...)); err != nil {
		t.Fatal(err)
	}
	s.Do(t, words("RENAME papyra:orders:events papyra:kept")...)
	s.Do(t, words("SET papyra:orders:events x")...)
	more := src.Events(10)
	b := testrecord.Batch(more...)
	for range 3 {
		n, err := a.Append(context.Background(), b)
		if refusedBy(t, err); n != 0 {
			t.Fatalf("stored %d", n)
		}
		b.DropStored(n, err)
	}
	s.Do(t, words("RENAME papyra:kept papyra:orders:events")...)
	if _, err := a.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text(append(before, more...)), stored(t, client, "papyra:orders:events")); diff != "" {
		t.Errorf("(-appended +stored):\n%.2000s", diff)
	}
}

// A master of a cluster that is down keeps the others from nothing, whatever it had
// stored when its answer was lost; and what it holds is not stored twice.
func TestMasterOfAClusterDown(t *testing.T) {
	t.Parallel()
	servers := redistest.Cluster(t, 3)
	for _, s := range servers {
		s.Do(t, words("CONFIG SET cluster-require-full-coverage no")...)
	}
	client := clusterClient(t, servers)
	a := appender(t, open(t, clusterURL(servers)+"?timeout=500ms"))
	src := testrecord.New(1)
	want := map[string][]string{}
	batch := func() *papyra.Batch {
		var lines [][]byte
		for i := range 300 {
			system := fmt.Sprint("s", i%10)
			l := src.Line(system, papyra.KindEvent, "x")
			lines = append(lines, l)
			want[system] = append(want[system], string(l))
		}
		return testrecord.Batch(lines...)
	}
	if b := batch(); true {
		if n, err := a.Append(context.Background(), b); err != nil {
			t.Fatalf("stored %d: %v", n, err)
		}
	}
	for name, fault := range map[string][2]func(*redistest.Server){
		"stands still": {(*redistest.Server).Pause, (*redistest.Server).Resume},
		"refuses":      {func(s *redistest.Server) { s.Do(t, words("CONFIG SET maxmemory 1")...) }, func(s *redistest.Server) { s.Do(t, words("CONFIG SET maxmemory 0")...) }},
	} {
		fault[0](servers[1])
		rest := batch()
		n, err := a.Append(context.Background(), rest)
		down := refusedBy(t, err)
		if len(down) == 0 || len(down) > 6 {
			t.Fatalf("%s: refused: %v", name, down)
		}
		rest.DropStored(n, err)
		for i := range rest.Len() {
			if _, s := rest.Line(i); !slices.Contains(down, s.System) {
				t.Fatalf("%s: a line of %s is left; refused are %v", name, s.System, down)
			}
		}
		// Others go on.
		for system := range want {
			if !slices.Contains(down, system) {
				l := src.Line(system, papyra.KindEvent, "meanwhile")
				want[system] = append(want[system], string(l))
				if n, err := a.Append(context.Background(), testrecord.Batch(l)); err != nil {
					t.Fatalf("%s: %s: stored %d: %v", name, system, n, err)
				}
			}
		}
		fault[1](servers[1])
		// The rest comes a few lines at a time.
		var lines [][]byte
		for i := range rest.Len() {
			l, _ := rest.Line(i)
			lines = append(lines, l)
		}
		for some := range slices.Chunk(lines, 13) {
			b := testrecord.Batch(some...)
			testkit.Await(t, "the rest is stored", func() bool {
				n, err := a.Append(context.Background(), b)
				b.DropStored(n, err)
				return err == nil
			})
		}
		for system, lines := range want {
			if diff := cmp.Diff(lines, stored(t, client, "papyra:"+system+":events")); diff != "" {
				t.Fatalf("%s: %s (-appended +stored):\n%.2000s", name, system, diff)
			}
		}
	}
}
