package papyra

import (
	"fmt"
	goparser "go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSubjects(t *testing.T) {
	for _, c := range []struct{ system, subject string }{
		{"orders", "papyra.v1.records.orders.events"},
		{"a.b", "papyra.v1.records.a=2Eb.events"},
		{"*", "papyra.v1.records.=2A.events"},
		{">", "papyra.v1.records.=3E.events"},
		{"x y=z", "papyra.v1.records.x=20y=3Dz.events"},
		{"é", "papyra.v1.records.=C3=A9.events"},
	} {
		if got := RecordsSubject(c.system, KindEvent); got != c.subject {
			t.Errorf("RecordsSubject(%q) = %s, want %s", c.system, got, c.subject)
		}
		got, err := ParseRecordsSubject(c.subject)
		if err != nil || got != (Stream{c.system, KindEvent}) {
			t.Errorf("ParseRecordsSubject(%s) = %v, %v", c.subject, got, err)
		}
	}
	for _, bad := range []string{
		"", "papyra.v1.records", "papyra.v1.records.orders", "papyra.v1.records.orders.event", "papyra.v1.records.orders.events.x",
		"papyra.v1.records..events", "papyra.v1.records.a=2eb.events", "papyra.v1.records.a=41.events", "papyra.v1.records.a=2.events",
		"papyra.v1.records.a=.events", "papyra.v1.records.=FF.events", "papyra.v1.records.=07.events", "papyra.v1.records.é.events",
		"papyra.v1.records." + strings.Repeat("a", 65) + ".events", "papyra.v2.records.orders.events",
	} {
		if got, err := ParseRecordsSubject(bad); err == nil {
			t.Errorf("ParseRecordsSubject(%q) = %v, want an error", bad, got)
		}
	}
}

func TestTokensAreReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringN(1, -1, 64).Draw(t, "id")
		token := EncodeToken(id)
		if strings.ContainsAny(token, ".*> \t\r\n") {
			t.Fatalf("%q: token %q", id, token)
		}
		if back, err := DecodeToken(token); err != nil || back != id {
			t.Fatalf("%q -> %q -> %q, %v", id, token, back, err)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.StringMatching(`[A-Za-z=0-9_\-]{1,20}`).Draw(t, "token")
		if id, err := DecodeToken(token); err == nil && EncodeToken(id) != token {
			t.Fatalf("%q decodes to %q, which encodes to %q", token, id, EncodeToken(id))
		}
	})
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"archive": true, "a_B-9": true, "": false, "a.b": false, "a b": false, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false} {
		if err := CheckName("group", name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
	for system, ok := range map[string]bool{"orders": true, "": false, "\n": false, "\u0085": false, "\xff": false, strings.Repeat("ü", 32): true, strings.Repeat("ü", 33): false} {
		if err := CheckSystem(system); (err == nil) != ok || (checkSystem([]byte(system)) == "") != ok && system != "\xff" {
			t.Errorf("CheckSystem(%q) = %v", system, err)
		}
	}
}

// entry is a record as retention sees it.
type entry struct {
	time, size int64
}

// viewOf says in the slow and obvious way what the view is.
func viewOf(stream []entry, l Limits, now time.Time) []bool {
	keep := make([]bool, len(stream))
	var left []int
	for i, e := range stream {
		if l.Age == 0 || e.time >= now.Add(-l.Age).UnixMicro() || e.time < MinDate*1e6 {
			left = append(left, i)
		}
	}
	if l.Records > 0 && int64(len(left)) > l.Records {
		left = left[int64(len(left))-l.Records:]
	}
	for first := 0; first <= len(left); first++ {
		sum := int64(0)
		for _, i := range left[first:] {
			sum += stream[i].size
		}
		if l.Bytes == 0 || sum <= l.Bytes {
			for _, i := range left[first:] {
				keep[i] = true
			}
			break
		}
	}
	return keep
}

func drawLimits(t *rapid.T) Limits {
	return Limits{
		Records: rapid.Int64Range(0, 8).Draw(t, "keep_records"),
		Age:     time.Duration(rapid.Int64Range(0, 8).Draw(t, "keep_age")) * time.Second,
		Bytes:   rapid.Int64Range(0, 60).Draw(t, "keep_bytes"),
	}
}

func keeps(stream []entry, l Limits, now time.Time) []bool {
	v := NewView(l, now)
	keep := make([]bool, len(stream))
	for i := len(stream) - 1; i >= 0; i-- {
		keep[i] = v.Keep(stream[i].time, stream[i].size)
	}
	return keep
}

// TestViewIsTheDefinition compares the streaming form with the definition, and
// wants that compaction at T changes no later view into one that shows more.
func TestViewIsTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(MinDate+9, 0) // some of the records have no date
		l := drawLimits(t)
		stream := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) entry {
			return entry{(MinDate + rapid.Int64Range(-3, 11).Draw(t, "t")) * 1e6, rapid.Int64Range(1, 20).Draw(t, "size")}
		}), 0, 20).Draw(t, "stream")
		got, want := keeps(stream, l, now), viewOf(stream, l, now)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("limits %+v\nstream %v\ngot  %v\nwant %v", l, stream, got, want)
		}
		var compacted []entry
		for i := range stream {
			if got[i] {
				compacted = append(compacted, stream[i])
			}
		}
		for i, keep := range keeps(compacted, l, now) {
			if !keep {
				t.Fatalf("the view at the same time lost entry %d", i)
			}
		}
		later := now.Add(3 * time.Second)
		before, after := map[int64]int{}, map[int64]int{}
		for i, keep := range keeps(stream, l, later) {
			if keep {
				before[stream[i].time<<8|stream[i].size]++
			}
		}
		for i, keep := range keeps(compacted, l, later) {
			if keep {
				after[compacted[i].time<<8|compacted[i].size]++
			}
		}
		for e, n := range after {
			if n > before[e] {
				t.Fatalf("later the compacted store shows more: limits %+v stream %v", l, stream)
			}
		}
	})
}

func TestRetentionFor(t *testing.T) {
	r := Retention{General: Limits{Records: 5, Age: time.Hour}}
	r.ByKind[KindDeadLetter].Age = 30 * 24 * time.Hour
	r.ByKind[KindReport].Records = 9
	for kind, want := range map[Kind]Limits{
		KindEvent:      {Records: 5, Age: time.Hour},
		KindDeadLetter: {Records: 5, Age: 30 * 24 * time.Hour},
		KindReport:     {Records: 9},
		KindUnknown:    {},
	} {
		if got := r.For(kind); got != want {
			t.Errorf("For(%v) = %+v, want %+v", kind, got, want)
		}
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	r.ByKind[KindAudit].Bytes = -1
	if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "audits.keep_bytes") {
		t.Errorf("Validate = %v", err)
	}
	if !(Retention{}).IsZero() || r.IsZero() {
		t.Error("IsZero")
	}
}

func TestQueryMatch(t *testing.T) {
	rec, err := Parse([]byte(sealedLines(t)[0]))
	if err != nil {
		t.Fatal(err)
	}
	at := rec.Timestamp()
	for _, c := range []struct {
		name string
		q    Query
		want bool
	}{
		{"zero", Query{}, true},
		{"kind", Query{Kinds: []Kind{KindAudit, KindEvent}}, true},
		{"other kind", Query{Kinds: []Kind{KindAudit}}, false},
		{"system", Query{Systems: []string{"orders"}}, true},
		{"other system", Query{Systems: []string{"order"}}, false},
		{"type", Query{Types: []string{ActorCrashed}}, true},
		{"other type", Query{Types: []string{ActorStarted}}, false},
		{"actor", Query{Actors: []string{"orders:42"}}, true},
		{"bare actor", Query{Actors: []string{"42"}}, true},
		{"other actor", Query{Actors: []string{"4"}}, false},
		{"node", Query{Nodes: []string{"eu-1"}}, true},
		{"other node", Query{Nodes: []string{"eu-2"}}, false},
		{"since its own time", Query{Since: at}, true},
		{"since later", Query{Since: at.Add(time.Microsecond)}, false},
		{"until its own time", Query{Until: at}, false},
		{"until later", Query{Until: at.Add(time.Microsecond)}, true},
	} {
		if got := c.q.Match(&rec); got != c.want {
			t.Errorf("%s: Match = %v, want %v", c.name, got, c.want)
		}
	}
	audit, err := Parse([]byte(goodAudit))
	if err != nil {
		t.Fatal(err)
	}
	if (&Query{Actors: []string{"42"}}).Match(&audit) {
		t.Error("an audit has no actor")
	}
}

func TestAddressForms(t *testing.T) {
	for raw, want := range map[string]string{
		`{"system":"orders","actor_id":42}`:                  "orders:42",
		`{ "actor_id" : -7 , "x" : [1] , "system" : "o\"" }`: `o":-7`,
		`"orders:a:b"`:                          "orders:a:b",
		`"bare"`:                                ":bare",
		`{"system":"orders","actor_id":"cart"}`: "orders:cart",
		`null`:                                  "",
		`{"system":"orders"}`:                   "",
		`{"actor_id":1.5}`:                      "",
		`{"actor_id":99999999999999999999}`:     "",
		`{}`:                                    "",
	} {
		rec := Record{Actor: []byte(raw)}
		addr, ok := rec.Address()
		if ok != (want != "") || ok && addr.String() != want {
			t.Errorf("%s: got %q %v, want %q", raw, addr, ok, want)
		}
	}
}

func TestBatch(t *testing.T) {
	var b Batch
	var want []string
	for round := range 2 {
		b.Reset()
		want = want[:0]
		for i := range 10 {
			s := Stream{System: "s" + strconv.Itoa(i%3), Kind: KindEvent}
			line := fmt.Sprintf("round %d line %d", round, i)
			b.Append(b.StreamIndex(s), []byte(line))
			want = append(want, line+"/"+s.System)
		}
		if b.Len() != 10 || strings.Count(string(b.Bytes()), "\n") != 10 {
			t.Fatalf("Len %d, bytes %q", b.Len(), b.Bytes())
		}
		for n := range 11 {
			if got := b.LinesWithin(b.End(n)); got != n {
				t.Errorf("LinesWithin(End(%d)) = %d", n, got)
			}
			if n > 0 && b.LinesWithin(b.End(n)-1) != n-1 {
				t.Errorf("LinesWithin(End(%d)-1) = %d", n, b.LinesWithin(b.End(n)-1))
			}
		}
		b.Drop(4)
		if b.Len() != 6 {
			t.Fatalf("Len after Drop = %d", b.Len())
		}
		for i := range 6 {
			line, s := b.Line(i)
			if got := string(line) + "/" + s.System; got != want[i+4] {
				t.Errorf("Line(%d) = %s, want %s", i, got, want[i+4])
			}
		}
		b.Drop(6)
		if b.Len() != 0 || len(b.Bytes()) != 0 {
			t.Errorf("after dropping all: %d lines, %q", b.Len(), b.Bytes())
		}
	}
}

// TestOnlyStandardLibrary holds the package, and the internal packages that it
// uses, to the promise: they import nothing else but each other.
func TestOnlyStandardLibrary(t *testing.T) {
	const internal = "github.com/papyra/papyra/internal/"
	var files []string
	for _, dir := range []string{"", "internal/checksum/", "internal/escape/", "internal/jsontext/"} {
		in, err := filepath.Glob(dir + "*.go")
		if err != nil || len(in) == 0 {
			t.Fatal(dir, in, err)
		}
		files = append(files, in...)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := goparser.ParseFile(token.NewFileSet(), name, nil, goparser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			if !strings.Contains(name, "/") && (path == internal+"checksum" || path == internal+"escape" || path == internal+"jsontext") {
				continue
			}
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}
