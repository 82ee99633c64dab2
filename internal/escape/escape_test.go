package escape

import (
	"strings"
	"testing"
)

func inSet(b byte) bool { return b == '=' || b == ':' || b < 0x20 }

func TestEncodeAndDecode(t *testing.T) {
	for id, text := range map[string]string{
		"": "", "orders": "orders", "a:b": "a=3Ab", "a=b": "a=3Db", "\x00é": "=00é", "::": "=3A=3A",
	} {
		if got := Encode(id, inSet); got != text {
			t.Errorf("Encode(%q) = %q, want %q", id, got, text)
		}
		if got, bad := Decode(text, inSet); got != id || bad >= 0 {
			t.Errorf("Decode(%q) = %q, %d, want %q", text, got, bad, id)
		}
	}
	for text, want := range map[string]int{
		"a:b": 1, "a=": 1, "a=3": 1, "a=3a": 1, "ab=61": 2, "=zz": 0, "=3A\x01": 3, "=3=3A": 0,
	} {
		if got, bad := Decode(text, inSet); bad != want {
			t.Errorf("Decode(%q) = %q, %d, want that byte %d is wrong", text, got, bad, want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"", "a:b", "=3A", "=3a", "=", "a=", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded := Encode(text, inSet)
		if back, bad := Decode(encoded, inSet); back != text || bad >= 0 {
			t.Fatalf("%q becomes %q, and that %q, %d", text, encoded, back, bad)
		}
		if strings.ContainsFunc(encoded, func(r rune) bool { return r < 0x20 || r == ':' }) {
			t.Fatalf("%q becomes %q, which holds a byte of the set", text, encoded)
		}
		if id, bad := Decode(text, inSet); bad < 0 && Encode(id, inSet) != text {
			t.Fatalf("%q is read as %q, which is written %q", text, id, Encode(id, inSet))
		}
	})
}
