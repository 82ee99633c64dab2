package redis

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/papyra/papyra"
)

func TestKeys(t *testing.T) {
	for _, c := range []struct{ system, key string }{
		{"orders", "papyra:orders:events"},
		{"a:b", "papyra:a=3Ab:events"},
		{"a=b", "papyra:a=3Db:events"},
		{"a b", "papyra:a=20b:events"},
		{`{}*?[]\`, "papyra:=7B=7D=2A=3F=5B=5D=5C:events"},
		{"sh/op:é", "papyra:sh/op=3Aé:events"},
		{"\x7f", "papyra:=7F:events"},
	} {
		k := keyspace{prefix: "papyra"}
		if got := k.stream(papyra.Stream{System: c.system, Kind: papyra.KindEvent}); got != c.key {
			t.Errorf("%q: key %s, want %s", c.system, got, c.key)
		}
	}
	alone, cluster := keyspace{prefix: "p"}, keyspace{prefix: "p", cluster: true}
	key, ok := alone.parse("p:a=3Ab:dead_letters")
	if !ok || key.token != "a=3Ab" || key.kind != papyra.KindDeadLetter {
		t.Fatalf("%+v, %v", key, ok)
	}
	for got, want := range map[string]string{
		alone.quarantine(key):                 "p:a=3Ab:quarantine:p_a=3Ab_dead_letters",
		cluster.quarantine(key):               "{p:a=3Ab:dead_letters}:quarantine",
		fence(key.name, "x"):                  "{p:a=3Ab:dead_letters}:fence:x",
		alone.marker():                        "p:store",
		(keyspace{prefix: `a[b*\`}).pattern(): `a\[b\*\\:*`,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, name := range []string{"p", "p:", "p:store", "p::events", "p:a:", "p:a:Events", "p:a:quarantine:p_a_events", "q:a:events", "{p:a:events}:quarantine"} {
		if key, ok := alone.parse(name); ok {
			t.Errorf("%s is taken for %+v", name, key)
		}
	}
}

// No two streams share a key, every key is found again, and its record belongs
// there.
func TestKeysAreReversible(t *testing.T) {
	id := rapid.StringOfN(rapid.RuneFrom([]rune(`ab:={}*?[]\ é3AD`)), 1, 12, papyra.MaxSystemBytes)
	rapid.Check(t, func(t *rapid.T) {
		k := keyspace{prefix: "p"}
		one := papyra.Stream{System: id.Draw(t, "one"), Kind: rapid.SampledFrom(papyra.Kinds()).Draw(t, "kind")}
		two := papyra.Stream{System: id.Draw(t, "two"), Kind: one.Kind}
		name := k.stream(one)
		if one != two && name == k.stream(two) {
			t.Fatalf("%q and %q share %s", one.System, two.System, name)
		}
		key, ok := k.parse(name)
		if !ok || key.kind != one.Kind || !key.holds(&papyra.Record{Kind: one.Kind, System: []byte(one.System)}) {
			t.Fatalf("%q: %s is read as %+v, %v", one.System, name, key, ok)
		}
		if strings.ContainsAny(name, "{}*?[]\\ ") {
			t.Fatalf("%s holds a byte that must be escaped", name)
		}
		if !mayHold(&papyra.Query{Systems: []string{one.System}, Kinds: []papyra.Kind{one.Kind}}, key) {
			t.Fatalf("a query for %v rules %s out", one, name)
		}
	})
}
