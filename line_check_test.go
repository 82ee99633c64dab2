package papyra

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/papyra/papyra/internal/checksum"
)

// wrongLines are lines that Parse refuses, one for each way to be wrong.
func wrongLines() map[string]string {
	good := `{"kind":"event","system_id":"orders","actor_address":"orders:x","event_type":"T","payload":{},"timestamp":1}`
	change := func(old, now string) string { return string(bytes.Replace([]byte(good), []byte(old), []byte(now), 1)) }
	return map[string]string{
		"a letter":          "x",
		"white space":       "  ",
		"a byte order mark": "\ufeff" + good,
		"cut off":           good[:len(good)-1],
		"in a string":       good[:12],
		"a NUL":             "\x00",
		"no UTF-8":          "\xff",
		"no comma":          change(`,"payload"`, ` "payload"`),
		"no colon":          change(`"payload":`, `"payload"`),
		"more behind it":    good + "x",
		"no payload":        change(`"payload":{},`, ""),
		"a kind of number":  change(`"kind":"event"`, `"kind":1`),
		"a bad timestamp":   change(`"timestamp":1`, `"timestamp":-1`),
		"part of a seal":    change(`"payload"`, `"seq":1,"payload"`),
	}
}

// Check says what Parse says, and damage costs it no allocation.
func TestCheckIsParseWithoutTheDetail(t *testing.T) {
	var p Parser
	var rec Record
	for name, line := range wrongLines() {
		var damage *LineError
		if err := p.Parse(&rec, []byte(line)); !errors.As(err, &damage) {
			t.Fatalf("%s: Parse takes %q: %v", name, line, err)
		}
		if got := p.Check(&rec, []byte(line)); got != damage.Class || damage.Detail == "" {
			t.Errorf("%s: Check says %q, Parse %v", name, got, damage)
		}
		b := []byte(line)
		if n := testing.AllocsPerRun(10, func() { p.Check(&rec, b) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// SealedIdentity says the same of a line whether it begins as the Encoder's do or
// with spaces between the members.
func TestSealedIdentityOfAnyLayout(t *testing.T) {
	seal := func(body string) []byte {
		body += `,"node":"n","run":"aaaaaaaaaaaaaaaa","seq":7`
		return fmt.Appendf(nil, `%s,"crc":"%08x"}`, body, checksum.Of([]byte(body)))
	}
	for _, c := range []struct {
		kind, system string
		ok           bool
		want         string
	}{
		{"event", "orders", true, "orders"},
		{"event", "\u00e9", true, "\u00e9"},
		{"event", `o\u0072ders`, true, "orders"},
		{"metric", "orders", true, "orders"},
		{"event", "\xff", false, ""},
		{"event", "a\x01", false, ""},
		{"event", "", false, ""},
		{"event", strings.Repeat("x", MaxSystemBytes+1), false, ""},
	} {
		for _, layout := range []string{`{"kind":"%s","system_id":"%s" nonsense`, `{ "kind":"%s","system_id":"%s" nonsense`} {
			line := seal(fmt.Sprintf(layout, c.kind, c.system))
			var rec Record
			ok := SealedIdentity(&rec, line)
			if ok != c.ok || ok && (string(rec.System) != c.want || rec.Kind != kindOf([]byte(c.kind)) || rec.Seq != 7 || !rec.Sealed || string(rec.Line) != string(line)) {
				t.Errorf("%q: %v, %+v", line, ok, rec)
			}
		}
	}
}
