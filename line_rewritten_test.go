package papyra_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// preciseJSON is a text that a rewrite does not give back.
type preciseJSON string

func (p preciseJSON) MarshalJSON() ([]byte, error) { return []byte(p), nil }

// payloadLine returns a sealed line with a payload.
func payloadLine(t testing.TB, payload any, at time.Time) []byte {
	t.Helper()
	id, err := papyra.NewIdentityRun("eu-1", "k3f9x2ab7q04mzt1")
	if err != nil {
		t.Fatal(err)
	}
	var e papyra.Encoder
	if err := e.Event(id, "größe 東京", &papyra.Event{Actor: papyra.Address{Name: "till/3"}, Type: "X", Payload: payload, Time: at}, nil, at); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(e.AppendLine(nil, 17), []byte("\n"))
}

// harderPayloads are payloads, and whether a form of their rewritten line verifies.
var harderPayloads = []struct {
	payload  any
	verifies bool
}{
	{nil, true},
	{"quotes \" and \\ \\u00e9 \\, tab \t, NUL \x00, unit \x1f, del \x7f, \u0080 \u2028 \ufeff \uffff 🛑, < > &: , {} [] \\\"", true},
	{map[string]any{"größe": "東京 🛑🛑", "": nil, "a, b": "c: d"}, true},
	{[]any{1, -2.5, 0.1, 1e15, 123456.789}, true},
	{[]any{math.MaxInt64, math.MinInt64, uint64(math.MaxUint64)}, true},
	{[]float64{0.0001, 0.00001, 0.000012345, -0.0000999, 1e-6}, true}, // 1e-05 in Python, 0.00001 here
	{[]float64{1e-7, 1.5e-300, 1e21, -1.25e22, math.MaxFloat64}, true},
	{[]float64{1e16, 123456789012345678, 1e20}, true}, // integers to Python
	{[]float32{0.1, 1e-7}, true},
	{preciseJSON(`{"a": 5.0, "b": [1e-05]}`), true}, // as Python spells it
	{[]any{preciseJSON(`1e-05`), 0.00001}, false},   // both spellings
	{preciseJSON(`5.0`), true},
	{preciseJSON(`0.10`), false},
	{preciseJSON(`1E5`), false},
	{preciseJSON(`-0`), false},
	{preciseJSON(`"\u00e9"`), false},
	{preciseJSON(`"\/"`), true}, // this stand-in for Python keeps it
	{math.Copysign(0, -1), false},
}

func TestCanonicalForms(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(1_700_000_000, 0), time.Unix(1_700_000_000, 123_456_000), time.Unix(1_700_000_000, 1000)} {
		for _, c := range harderPayloads {
			line := payloadLine(t, c.payload, at)
			for _, ascii := range []bool{false, true} {
				rewritten := testrecord.Rewritten(line, ascii)
				rec, err := papyra.Parse(rewritten)
				if err != nil || !rec.HasIdentity() || rec.Seq != 17 || rec.Sealed != c.verifies || rec.Unverified() == c.verifies {
					t.Errorf("%s\n%v, sealed %v; want %v", rewritten, err, rec.Sealed, c.verifies)
					continue
				}
				want := line
				if !c.verifies {
					want = rewritten
				}
				if got := rec.Canonical(); !bytes.Equal(got, want) {
					t.Errorf("%s\ncanonical %s", rewritten, got)
				}
				var seal papyra.Record
				if papyra.SealedIdentity(&seal, rewritten) != c.verifies || c.verifies && (seal.Seq != 17 || string(seal.System) != "größe 東京") {
					t.Errorf("%s\nits identity is %+v", rewritten, seal)
				}
			}
		}
	}
}

// A line that is sealed, or has no seal, is its own canonical line.
func TestCanonicalOfOthers(t *testing.T) {
	plain := []byte(`{"kind": "event", "system_id": "a", "actor_address": null, "event_type": "x", "payload": {}, "timestamp": 1.5}`)
	for _, line := range [][]byte{plain, testrecord.New(1).Event()} {
		rec, err := papyra.Parse(line)
		if err != nil || !bytes.Equal(rec.Canonical(), line) || rec.Unverified() {
			t.Errorf("%v: canonical %s of %s", err, rec.Canonical(), line)
		}
	}
}

// What was flipped in a rewritten line is damage, or no checksum vouches for the
// identity. In no case the line passes for one that is as it was.
func TestNoFlipOfARewrittenLineGoesUnseen(t *testing.T) {
	payload := map[string]any{"é🛑": []any{0.00001, 1e-7, true, "x é 🛑 \n \\"}, "n": 7, "s": "a, b"}
	var parser papyra.Parser
	for _, ascii := range []bool{false, true} {
		line := testrecord.Rewritten(payloadLine(t, payload, time.Unix(1_700_000_000, 5000)), ascii)
		for range 10 { // the parser knows the line well
			var rec papyra.Record
			if err := parser.Parse(&rec, line); err != nil || !rec.Sealed {
				t.Fatalf("%v: %s", err, line)
			}
		}
		for i := range len(line) * 8 {
			b := bytes.Clone(line)
			b[i/8] ^= 1 << (i % 8)
			var rec papyra.Record
			if err := parser.Parse(&rec, b); err == nil && (rec.Sealed || !rec.Unverified()) {
				t.Fatalf("bit %d of\n%s\npassed as\n%s", i, line, b)
			}
			if papyra.SealedIdentity(&rec, b) || papyra.CheckSeal(b) || papyra.ParseSealed(&rec, b) {
				t.Fatalf("bit %d: the seal of %s verifies", i, b)
			}
		}
		for i := range line {
			if rec, err := papyra.Parse(line[:i]); err == nil {
				t.Fatalf("cut at %d: %+v", i, rec)
			}
		}
	}
}

// Escapes that a rewrite does not make do not make a line verify.
func TestEscapesOfOthers(t *testing.T) {
	line := string(testrecord.Rewritten(payloadLine(t, "é🛑x", time.Unix(1_700_000_000, 0)), true))
	for _, c := range [][2]string{
		{`\u00e9`, `\u00E9`}, {`\u00e9`, `é`}, {"x", `\u0078`}, {`\ud83d`, `\uD83D`}, {`"x`, `"\u0078`},
	} {
		changed := strings.Replace(line, c[0], c[1], 1)
		rec, err := papyra.Parse([]byte(changed))
		if err != nil {
			t.Fatal(err)
		}
		if want := c[1] == "é" || changed == line; rec.Sealed != want {
			t.Errorf("%s: sealed %v, want %v", changed, rec.Sealed, want)
		}
	}
}

// Garbage that ends as a rewritten line does harms nobody.
func FuzzRewritten(f *testing.F) {
	const tail = `, "node": "n", "run": "0000000000000001", "seq": 1, "crc": "00000000"}`
	for _, s := range []string{"", `\`, `"\u`, `"\ud83d`, `"\ud83d\ude`, `"\ud83d\u0041"`, `{"a":1e5,"b":1e-05}`, `{"a": -1e`, "\"\xff"} {
		f.Add(s)
	}
	f.Add(`{"kind": "event", "system_id": "a", "actor_address": null, "event_type": "x", "payload": {}, "timestamp": 1.5`)
	f.Fuzz(func(t *testing.T, s string) {
		line := []byte(s + tail)
		var rec papyra.Record
		papyra.SealedIdentity(&rec, line)
		err := papyra.ParseInto(&rec, line)
		if err == nil && json.Valid(line) && !rec.HasIdentity() {
			t.Errorf("%s has no identity", line)
		}
		var damage *papyra.LineError
		if err != nil && !errors.As(err, &damage) {
			t.Error(err)
		}
		rec.Canonical()
	})
}
