package terminal

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "orders:42 {\"a\":1}", "orders:42 {\"a\":1}"},
		{"letters and symbols", "Zürich 東京 😀 – €", "Zürich 東京 😀 – €"},
		{"backslash stays", `a\nb`, `a\nb`},
		{"line ends and tab", "a\r\n\tb", `a\r\n\tb`},
		{"terminal sequence", "\x1b[31mred\x1b]0;title\x07", `\x1b[31mred\x1b]0;title\x07`},
		{"NUL and DEL", "\x00\x7f", `\x00\x7f`},
		{"C1", "\u009b31m\u0085", `\u009b31m\u0085`},
		{"bidi", "\u202eabc\u2066\u200f", `\u202eabc\u2066\u200f`},
		{"line and paragraph separator", "\u2028\u2029", `\u2028\u2029`},
		{"zero width and BOM", "a\u200bb\ufeff", `a\u200bb\ufeff`},
		{"soft hyphen", "a\u00adb", `a\u00adb`},
		{"tags", "\U000e0041", `\U000e0041`},
		{"fillers", "\u115f\u3164", `\u115f\u3164`},
		{"private use", "\ue000", `\ue000`},
		{"not UTF-8", "a\xff\xc3(b", `a\xff\xc3(b`},
		{"half a surrogate", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"replacement character", "\ufffd", "\ufffd"},
		{"spaces of other scripts", "a\u00a0b\u3000c", "a\u00a0b\u3000c"},
		{"all of it in a name", "a\x1b[31m\u202eé\n", `a\x1b[31m\u202eé\n`},
		{"empty", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Escape(tc.in); got != tc.want {
				t.Errorf("Escape(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

// assertHarmless fails if s could do anything to a terminal but show itself.
func assertHarmless(t *testing.T, in, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Fatalf("%q became %q, which is not UTF-8", in, s)
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) || !unicode.IsGraphic(r) {
			t.Fatalf("%q became %q, which holds %U", in, s, r)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"", "plain", "\x1b[2J", "a\r\nb", "\u202e", "\xff\xfe", "\u009b", "\U000e0001", "{\"a\":\"\u2028\"}"} {
		f.Add(seed, 10)
	}
	f.Fuzz(func(t *testing.T, in string, limit int) {
		out := Escape(in)
		assertHarmless(t, in, out)
		if again := Escape(out); again != out {
			t.Fatalf("Escape(%q) = %q, and again %q", in, out, again)
		}
		limit = max(0, min(limit, 1000))
		cut := EscapeCut(in, limit)
		assertHarmless(t, in, cut)
		if cut != out && !strings.HasPrefix(out, strings.TrimSuffix(cut, "…")) {
			t.Fatalf("EscapeCut(%q, %d) = %q is no beginning of %q", in, limit, cut, out)
		}
	})
}

func FuzzEscapeJSON(f *testing.F) {
	for _, seed := range []string{`{}`, "{\"a\":\"\u202e\"}", "[\"\u009b\", \"\U000e0041\"]", "\"\x7f\"", "\" \u2028\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) || !utf8.Valid(text) {
			t.Skip("not a text that a record can be")
		}
		out := AppendJSON(nil, text)
		var got, want any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q became %q: %v", text, out, err)
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Skip("a number that does not fit")
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q became %q, another value", text, out)
		}
		assertHarmless(t, string(text), strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(string(out)))
	})
}
