package judge

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

func TestLine(t *testing.T) {
	sealed := testrecord.New(1).Event()
	for _, c := range []struct {
		name, line string
		verdict    Verdict
		class      papyra.Class
	}{
		{"sealed", string(sealed), Valid, ""},
		{"unsealed", `{"kind":"audit","system_id":"a","timestamp":1,"total_actors":1,"alive_actors":1,"stopping_actors":0,"restarting_actors":0,"registry_size":0,"registry_orphans":[],"registry_dead":[],"dead_letters_count":0}`, Valid, ""},
		{"empty", "", Blank, ""},
		{"white space", " \t\r", Blank, ""},
		{"junk", "x", Damaged, papyra.ClassCorrupted},
		{"flipped", strings.Replace(string(sealed), "text", "texu", 1), Damaged, papyra.ClassChecksumMismatch},
	} {
		for _, full := range []bool{false, true} {
			var rec papyra.Record
			verdict, damage := Line(&rec, []byte(c.line), full)
			if verdict != c.verdict || (damage == nil) != (c.class == "") || damage != nil && damage.Class != c.class {
				t.Errorf("%s, full %v: verdict %d, damage %v; want %d, %s", c.name, full, verdict, damage, c.verdict, c.class)
			}
		}
	}
}

// Split finds again what was joined without newlines, whatever lies between.
func TestSplit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		src := testrecord.New(1)
		var (
			line []byte
			want []Piece
		)
		junk := rapid.SampledFrom([]string{"", "x", "\x00\x00\x00", `{"kind":"event","system_id":"ord`, `,"crc":"00000000"}`, `{"kind":"`, "\xff"})
		for range rapid.IntRange(1, 4).Draw(rt, "records") {
			if j := junk.Draw(rt, "junk"); j != "" {
				want = append(want, Piece{Start: len(line), End: len(line) + len(j), Damage: &papyra.LineError{}})
				line = append(line, j...)
			}
			start := len(line)
			line = append(line, src.Line("orders", rapid.SampledFrom(papyra.Kinds()).Draw(rt, "kind"), "x")...)
			want = append(want, Piece{Start: start, End: len(line)})
		}
		// A comma or a bracket behind a record would make it part of something.
		if j := junk.Filter(func(s string) bool { return !strings.HasPrefix(s, ",") }).Draw(rt, "last"); j != "" {
			want = append(want, Piece{Start: len(line), End: len(line) + len(j), Damage: &papyra.LineError{}})
			line = append(line, j...)
		}
		got := Split(line)
		for i := range got {
			if got[i].Damage != nil {
				got[i].Damage = &papyra.LineError{}
			}
		}
		// Junk that begins with a comma makes the record before it unprovable.
		for i := 0; i+1 < len(want); i++ {
			if want[i].Damage == nil && line[want[i].End] == ',' {
				return
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("%q (-want +got):\n%s", line, diff)
		}
	})
}

// A line made to be split for ever is given up.
func TestSplitIsBounded(t *testing.T) {
	for name, line := range map[string][]byte{
		"beginnings and ends": bytes.Repeat([]byte(`{"kind":","crc":"00000000"}`), papyra.MaxLine/27),
		"beginnings":          bytes.Repeat([]byte(`{"kind":"`), papyra.MaxLine/9),
		"beginnings, one end": append(bytes.Repeat([]byte(`{"kind":"`), papyra.MaxLine/9-10), `,"crc":"00000000"}x`...),
		"ends":                bytes.Repeat([]byte(`,"crc":"00000000"}`), papyra.MaxLine/18),
	} {
		began := time.Now()
		pieces := Split(line)
		if len(pieces) != 1 || pieces[0].Damage == nil || pieces[0].End != len(line) {
			t.Errorf("%s: %d pieces, want the whole line", name, len(pieces))
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("%s took %v", name, took)
		}
	}
}

func TestTallyOfPartsAddsUp(t *testing.T) {
	src := testrecord.New(1)
	var all, first, second Tally
	for i := range 100 {
		line := src.Line([]string{"a", "b"}[i%2], papyra.Kinds()[i%4], "x")
		rec, err := papyra.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		all.Add(&rec)
		if i < 30 {
			first.Add(&rec)
		} else {
			second.Add(&rec)
		}
	}
	second.Merge(&first)
	o := papyra.ScanOptions{}
	if diff := cmp.Diff(Report("x", &all, NewFindings(o)), Report("x", &second, NewFindings(o))); diff != "" {
		t.Errorf("(-whole +parts):\n%s", diff)
	}
}

// The memory of identities is bounded, and says when the bound is reached.
func TestIdentitiesAreBounded(t *testing.T) {
	ids := NewIdentities(1)
	rec := papyra.Record{Kind: papyra.KindEvent, System: []byte("a")}
	for i := range 300_000 {
		rec.Run = fmt.Appendf(rec.Run[:0], "%016d", i)
		rec.Seq = uint64(i)*77_777_777 + 1
		ids.Add(&rec)
	}
	if size := len(ids.runs) * runOverhead; size > identityBudget+identityBudget/8 {
		t.Errorf("%d runs are remembered, about %d bytes", len(ids.runs), size)
	}
	if _, limits := ids.Repeated().Result(); len(limits) != 1 {
		t.Errorf("limits %q, want one", limits)
	}
}

// Repeated identities of parts are found across the parts.
func TestIdentitiesAcrossParts(t *testing.T) {
	lines := testrecord.New(1).Events(10)
	add := func(ids *Identities, line []byte) papyra.Record {
		rec, err := papyra.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		ids.Add(&rec)
		return rec
	}
	one, two, whole := NewIdentities(2), NewIdentities(2), NewIdentities(1)
	for _, l := range lines[:6] {
		add(one, l)
	}
	for _, l := range lines[4:] {
		add(two, l)
	}
	whole.Merge(one)
	whole.Merge(two)
	repeated := whole.Repeated()
	for _, l := range [][]byte{lines[3], lines[4], lines[5], lines[4], lines[5], lines[6]} {
		rec, _ := papyra.Parse(l)
		if repeated.Conflict(&rec) {
			t.Errorf("a conflict for %s", l)
		}
	}
	if n, limits := repeated.Result(); n != 2 || limits != nil {
		t.Errorf("%d duplicates, limits %v; want 2, none", n, limits)
	}
}
