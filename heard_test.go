package papyra_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/papyra/papyra"
)

func TestHeardSubject(t *testing.T) {
	const run = "k3f9x2ab7q04mzt1"
	if got, want := papyra.HeardSubject("a b", run, 17), "papyra.v1.heard.a=20b."+run+".17"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	if got, want := papyra.HeardByRun("a b", run), "papyra.v1.heard.a=20b."+run+".*"; got != want {
		t.Errorf("wildcard %q, want %q", got, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		system := rapid.StringMatching(`[a-z.* é>]{1,20}`).Draw(t, "system")
		n := rapid.Uint64Range(1, math.MaxUint64).Draw(t, "n")
		s, r, m, err := papyra.ParseHeardSubject(papyra.HeardSubject(system, run, n))
		if s != system || r != run || m != n || err != nil {
			t.Errorf("%q, %q, %d, %v", s, r, m, err)
		}
		if r, m, ok := papyra.HeardMessage(papyra.HeardSubject(system, run, n), papyra.HeardBySystem(system)); r != run || m != n || !ok {
			t.Errorf("of the system: %q, %d, %v", r, m, ok)
		}
	})
	for _, bad := range []string{
		"", "papyra.v1.heard.", "papyra.v1.heard.orders", "papyra.v1.heard.orders." + run, "papyra.v1.heard.orders." + run + ".",
		"papyra.v1.heard.orders." + run + ".0", "papyra.v1.heard.orders." + run + ".01", "papyra.v1.heard.orders." + run + ".+1",
		"papyra.v1.heard.orders." + run + ".1.2", "papyra.v1.heard.orders." + run + ".18446744073709551616",
		"papyra.v1.heard.orders.SHORT.1", "papyra.v1.heard.a b." + run + ".1", "papyra.v1.heard.." + run + ".1",
		"papyra.v1.records.orders." + run + ".1", "_INBOX.x.1",
	} {
		if _, _, _, err := papyra.ParseHeardSubject(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
		if _, _, ok := papyra.HeardMessage(bad, papyra.HeardBySystem("orders")); ok {
			t.Errorf("%q is taken as one of the system", bad)
		}
	}
	if _, _, ok := papyra.HeardMessage(papyra.HeardSubject("orders2", run, 1), papyra.HeardBySystem("orders")); ok {
		t.Error("a subject of another system is taken")
	}
}

func TestHeardAnswer(t *testing.T) {
	for _, a := range []papyra.HeardAnswer{
		{Group: "archive", Categories: []string{"events"}},
		{Group: "a", Categories: []string{"events", "audits", "dead_letters", "reports"}, Heard: []papyra.Range{{1, 1}, {3, math.MaxUint64}}},
	} {
		b := a.AppendJSON(nil)
		got, err := papyra.ParseHeardAnswer(b)
		if diff := cmp.Diff(a, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", b, err, diff)
		}
	}
	got, err := papyra.ParseHeardAnswer([]byte(` {"new":[1,{"a":2}],"group":"g","categories":["novels","events"]}`))
	if want := (papyra.HeardAnswer{Group: "g", Categories: []string{"events"}}); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("what a later version says: %+v, %v", got, err)
	}
	for _, bad := range []string{
		"", "+ACK", "null", "[]", `{}`, `{"stream":"S","seq":1}`, `{"group":"a b"}`, `{"group":7}`, `{"group":"g","heard":[[2,1]]}`,
		`{"group":"g","heard":[[-1,1]]}`, `{"group":"g","heard":[[1.5,2]]}`, `{"group":"g"} x`,
		`{"group":"g","x":"` + strings.Repeat("x", papyra.MaxHeardAnswer) + `"}`,
	} {
		if a, err := papyra.ParseHeardAnswer([]byte(bad)); err == nil {
			t.Errorf("%q is taken as %+v", bad, a)
		}
	}
}

// The longest answer that a sink makes is not longer than a publisher reads.
func TestHeardAnswerIsBounded(t *testing.T) {
	a := papyra.HeardAnswer{Group: strings.Repeat("g", papyra.MaxNameBytes)}
	for _, k := range papyra.Kinds() {
		a.Categories = append(a.Categories, k.Category())
	}
	for range papyra.MaxHeardRanges {
		a.Heard = append(a.Heard, papyra.Range{math.MaxUint64, math.MaxUint64})
	}
	if n := len(a.AppendJSON(nil)); n > papyra.MaxHeardAnswer {
		t.Errorf("%d bytes", n)
	}
}
