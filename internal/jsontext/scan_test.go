package jsontext

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	goodEvent   = `{"kind":"event","system_id":"orders","actor_address":{"system":"orders","actor_id":42},"event_type":"ActorCrashed","payload":{"error":"ValueError: bad input"},"timestamp":1700000000.123456}`
	goodAudit   = `{"kind":"audit","system_id":"orders","timestamp":1700000001.0,"total_actors":10,"alive_actors":9,"stopping_actors":1,"restarting_actors":0,"registry_size":3,"registry_orphans":["a"],"registry_dead":[],"dead_letters_count":2}`
	goodDead    = `{"kind":"dead_letter","system_id":"orders","target":null,"message_type":"PaymentRequest","payload":{"amount":3},"timestamp":1700000002.5}`
	sealedEvent = `{"kind":"event","system_id":"orders","actor_address":{"system":"orders","actor_id":42},"event_type":"ActorCrashed","payload":{"error":"ValueError: bad input"},"timestamp":1700000000.123456,"node":"eu-1","run":"k3f9x2ab7q04mzt1","seq":17,"crc":"fa2aaeff"}`
)

// jsonAgrees compares the scanner with encoding/json on any text.
func jsonAgrees(t *testing.T, text []byte) {
	t.Helper()
	s := Scanner{Text: text}
	end := s.ScanValue(s.SkipSpace(0), testDepth)
	ok := end >= 0 && s.SkipSpace(end) == len(text)
	want := json.Valid(text) && utf8.Valid(text) && depthOf(text) <= testDepth && !loneSurrogate(text)
	if ok != want {
		t.Fatalf("scanner says %v, encoding/json %v for %.200q (fault %d at %d: %s)", ok, want, text, s.Fault, s.Pos, s.Detail)
	}
}

// depthOf and loneSurrogate look at text that encoding/json calls valid.
func depthOf(text []byte) (deepest int) {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == '{' || c == '['):
			depth++
			deepest = max(deepest, depth)
		case !inString && (c == '}' || c == ']'):
			depth--
		}
	}
	return deepest
}

func loneSurrogate(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if i >= len(text) || text[i] != 'u' || i+4 >= len(text) {
			continue
		}
		unit := func(at int) int {
			if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
				return 0
			}
			var s string
			v := 0
			s = strings.ToLower(string(text[at+2 : at+6]))
			for _, c := range s {
				v = v<<4 | strings.IndexRune("0123456789abcdef", c)
			}
			return v
		}
		u := unit(i - 1)
		if u >= 0xDC00 && u <= 0xDFFF {
			return true
		}
		if u >= 0xD800 && u <= 0xDBFF {
			if low := unit(i + 5); low < 0xDC00 || low > 0xDFFF {
				return true
			}
			i += 6
		}
	}
	return false
}

var jsonSeeds = []string{
	"", "0", "-0", "1e5", "1E+5", "0.5", "01", "1.", ".5", "-", "+1", "tru", "true", "null", "nul", `"`, `""`, `"\u12"`, `"\ud83d\ude00"`, `"\ud83d"`,
	"[]", "[1,]", "[,1]", `{"a":1,"b":[{}]}`, `{"a"}`, `{a:1}`, "\"\x1f\"", "\"\x7f\"", "\"é\"", "\"\xc3\"", "[\n\t\r 1 ]", "[[[[[[[[]]]]]]]]", "\ufeff1", "\"1234567\\\"\"", "\"12345678\xff\"",
}

func FuzzScannerAgreesWithEncodingJSON(f *testing.F) {
	for _, s := range append(jsonSeeds, goodEvent, goodAudit, strings.Repeat("[", 65)+strings.Repeat("]", 65)) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) { jsonAgrees(t, text) })
}

// TestScannerAgreesOnRandomText mutates seeds, so that a plain test run tries
// many texts near the border between right and wrong.
func TestScannerAgreesOnRandomText(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	alphabet := []byte("{}[]\",:\\u0019aeE+-. \n\t\x00\x1f\xc3\xa9\xff truefalsnd8")
	seeds := append([]string{sealedEvent}, append(jsonSeeds, goodEvent, goodDead)...)
	for range 200_000 {
		b := []byte(seeds[rnd.IntN(len(seeds))])
		for range rnd.IntN(4) {
			at := rnd.IntN(len(b) + 1)
			c := alphabet[rnd.IntN(len(alphabet))]
			switch rnd.IntN(3) {
			case 0:
				b = append(b[:at:at], append([]byte{c}, b[at:]...)...)
			case 1:
				if at < len(b) {
					b = append(b[:at:at], b[at+1:]...)
				}
			default:
				if at < len(b) {
					b = bytes.Clone(b)
					b[at] = c
				}
			}
		}
		jsonAgrees(t, b)
	}
}
