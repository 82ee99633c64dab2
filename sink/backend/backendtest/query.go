package backendtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

func queries(t *testing.T, m Medium) {
	b := open(t, m)
	src := testrecord.New(1)
	var lines [][]byte
	for i := range 60 {
		// Every third event is of a rare type, which a limit must find behind the
		// others.
		line := src.Event()
		if i%3 == 0 {
			line = unsealedEvent("Rare", "orders:worker", "n1", testrecord.Start.Add(time.Duration(i)*time.Second))
		}
		lines = append(lines, line)
	}
	store(t, b, testrecord.Batch(lines...))
	at := func(i int) time.Time { return testrecord.Start.Add(time.Duration(i) * time.Second) }
	for _, c := range []struct {
		name string
		q    papyra.Query
	}{
		{"everything", papyra.Query{}},
		{"newest", papyra.Query{Limit: 7}},
		{"newest in reverse", papyra.Query{Limit: 7, Reverse: true}},
		{"more than there are", papyra.Query{Limit: 1000}},
		{"reverse", papyra.Query{Reverse: true}},
		{"type", papyra.Query{Types: []string{"Rare"}}},
		{"newest of a rare type", papyra.Query{Types: []string{"Rare"}, Limit: 5}},
		{"newest of a rare type in reverse", papyra.Query{Types: []string{"Rare"}, Limit: 5, Reverse: true}},
		{"no such type", papyra.Query{Types: []string{"None"}, Limit: 5}},
		{"since is included, until is not", papyra.Query{Since: at(10), Until: at(20)}},
		{"since with limit", papyra.Query{Since: at(10), Until: at(20), Limit: 3}},
		{"actor with its system", papyra.Query{Actors: []string{"orders:worker"}, Limit: 4}},
		{"actor's bare id", papyra.Query{Actors: []string{"7", "worker"}}},
		{"node", papyra.Query{Nodes: []string{"sample"}, Limit: 9}},
		{"system", papyra.Query{Systems: []string{"orders"}, Limit: 2}},
		{"another system", papyra.Query{Systems: []string{"Orders"}}},
		{"kind", papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}, Limit: 3}},
		{"another kind", papyra.Query{Kinds: []papyra.Kind{papyra.KindAudit}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(modelRead(text(lines), c.q), list(t, b, c.q)); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", c.q, diff)
			}
		})
	}
	_, err := b.Read(context.Background(), papyra.Query{Limit: -1}, func(*papyra.Record, papyra.Place) error { return nil })
	if !errors.Is(err, papyra.ErrUsage) {
		t.Errorf("a negative limit: got %v, want papyra.ErrUsage", err)
	}
}

// unsealedEvent is an event as a stranger sends it.
func unsealedEvent(typ, actor, node string, at time.Time) []byte {
	return fmt.Appendf(nil, `{"kind":"event","system_id":"orders","actor_address":%q,"event_type":%q,"payload":{"from":%q},"timestamp":%d.0}`,
		actor, typ, node, at.Unix())
}

// oddEvent is an event of system a as no encoder of ours spells it: what stores
// it must keep it byte for byte.
func oddEvent(at time.Time) []byte {
	return fmt.Appendf(nil, `{ "kind" : "event", "system_id":"a", "actor_address":"a:b", "event_type":"O\u0064d", "payload":[1e400,-0.0,0.10000000000000000555111512312578270211815834045410156250,"\/","\u00e9"], "timestamp":%d.0 }`, at.Unix())
}

func yieldError(t *testing.T, m Medium) {
	b := open(t, m)
	store(t, b, testrecord.Batch(testrecord.New(1).Events(10)...))
	enough := errors.New("enough")
	for _, q := range []papyra.Query{{}, {Limit: 5}, {Reverse: true}, {Retention: keep(4)}} {
		n := 0
		_, err := b.Read(context.Background(), q, func(*papyra.Record, papyra.Place) error {
			if n++; n == 3 {
				return enough
			}
			return nil
		})
		if err != enough || n != 3 { //nolint:errorlint // as it is, not wrapped
			t.Errorf("%+v: got error %v after %d records, want the one that yield returned after 3", q, err, n)
		}
	}
}

func duplicates(t *testing.T, m Medium) {
	b := open(t, m)
	l := testrecord.New(1).Events(4)
	plain := unsealedEvent("Same", "orders:w", "n", testrecord.Start)
	// A record that was sent again comes some others later. What has no identity
	// is never a duplicate. The same identity with other bytes is shown too.
	conflict := conflicting(t, l[1])
	store(t, b, testrecord.Batch(l[0], l[1], plain, l[2], l[1], plain, conflict, l[3], l[0]))
	want := text([][]byte{l[0], l[1], plain, l[2], plain, conflict, l[3]})
	if diff := cmp.Diff(want, list(t, b, papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = text([][]byte{l[0], l[3], conflict, plain, l[1], l[2], plain})
	if diff := cmp.Diff(want, list(t, b, papyra.Query{Reverse: true})); diff != "" {
		t.Errorf("in reverse (-want +got):\n%s", diff)
	}
	want = text([][]byte{conflict, l[3], l[0]})
	if diff := cmp.Diff(want, list(t, b, papyra.Query{Limit: 3})); diff != "" {
		t.Errorf("with a limit (-want +got):\n%s", diff)
	}
	want = text([][]byte{l[0], l[1], plain, l[2], l[1], plain, conflict, l[3], l[0]})
	if diff := cmp.Diff(want, list(t, b, papyra.Query{Duplicates: true})); diff != "" {
		t.Errorf("every copy (-want +got):\n%s", diff)
	}
	// For retention a duplicate is a line like any other.
	want = text([][]byte{l[1], plain, conflict, l[3], l[0]})
	if diff := cmp.Diff(want, list(t, b, papyra.Query{Retention: keep(5)})); diff != "" {
		t.Errorf("under retention (-want +got):\n%s", diff)
	}
}

// conflicting returns a sealed record with the identity of line and another
// payload.
func conflicting(t testing.TB, line []byte) []byte {
	t.Helper()
	rec, err := papyra.Parse(line)
	if err != nil {
		t.Fatalf("parse %s: %v", line, err)
	}
	id, err := papyra.NewIdentityRun(string(rec.Node), string(rec.Run))
	if err != nil {
		t.Fatal(err)
	}
	var enc papyra.Encoder
	err = enc.Event(id, string(rec.System), &papyra.Event{Actor: papyra.Address{ID: 1}, Type: "Other", Payload: "other", Time: rec.Timestamp()}, nil, rec.Timestamp())
	if err != nil {
		t.Fatal(err)
	}
	out := enc.AppendLine(nil, rec.Seq)
	return out[:len(out)-1]
}

func retention(t *testing.T, m Medium) {
	b := open(t, m)
	src := testrecord.New(1)
	var lines [][]byte
	for i := range 200 {
		kind := []papyra.Kind{papyra.KindEvent, papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter}[i%4]
		lines = append(lines, src.Line([]string{"a", "b"}[i/2%2], kind, "x"))
	}
	// The bytes of a record are those of its line, whatever its spelling.
	wide := oddEvent(testrecord.Start.Add(200 * time.Second))
	lines = append(lines, wide, wide, wide)
	store(t, b, testrecord.Batch(lines...))
	at := testrecord.Start.Add(201 * time.Second)
	for _, r := range []papyra.Retention{
		{},
		keep(1),
		keep(7),
		keepAge(30 * time.Second),
		{General: papyra.Limits{Bytes: 1000}},
		{General: papyra.Limits{Bytes: 1}}, // nothing fits
		{General: papyra.Limits{Bytes: 3 * int64(len(wide)+1)}},
		{General: papyra.Limits{Bytes: 3*int64(len(wide)+1) - 1}},
		{General: papyra.Limits{Records: 5, Age: 40 * time.Second, Bytes: 900}},
		{General: papyra.Limits{Records: 5}, ByKind: [papyra.KindCount]papyra.Limits{papyra.KindDeadLetter: {Records: 9}}},
		{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindAudit: {Age: time.Second}}},
	} {
		for _, limit := range []int{0, 3} {
			q := papyra.Query{Retention: r, At: at, Limit: limit, Kinds: []papyra.Kind{papyra.KindEvent, papyra.KindDeadLetter}, Systems: []string{"a"}}
			if limit > 0 {
				q.Kinds = q.Kinds[:1] // one stream: the newest of several are another matter
			}
			want := map[papyra.Stream][]string{}
			for stream, view := range modelViews(text(lines), r, at) {
				if slices.Contains(q.Kinds, stream.Kind) && stream.System == "a" && len(view) > 0 {
					want[stream] = view[max(len(view)-limit, 0)*min(limit, 1):]
				}
			}
			if diff := cmp.Diff(want, read(t, b, q)); diff != "" {
				t.Errorf("retention %+v, limit %d (-want +got):\n%s", r, limit, diff)
			}
		}
	}
}
