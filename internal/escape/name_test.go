package escape

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"records.ndjson":   "records.ndjson",
		"":                 "",
		"caf\u00e9 \ufffd": "caf\u00e9 \ufffd",
		"r\xff":            `r\xff`,
		"\xc3":             `\xc3`,
		"\xed\xa0\x80":     `\xed\xa0\x80`,
		`a\b\n\x41\xg0`:    `a\b\n\x41\xg0`,
		`r\xff`:            `r\x5cxff`,
		`\x5c`:             `\x5cx5c`,
		"\\\xff":           `\\xff`,
		`\xFF`:             `\xFF`,
		"date=2024%FF":     "date=2024%FF",
	} {
		if got := EncodeName(name); got != want {
			t.Errorf("EncodeName(%q) = %s, want %s", name, got, want)
		}
	}
	if got := ValidName("a\xff" + `\xfe`); got != `a\xff\xfe` {
		t.Errorf("ValidName: got %s", got)
	}
}

func TestNamesAreReversible(t *testing.T) {
	piece := rapid.SampledFrom([]string{"\\", "x", "5", "c", "f", "\xff", "\xc3", "\xa9", "\u00e9", "/", "A", "0"})
	rapid.Check(t, func(t *rapid.T) {
		name := strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), "")
		text := EncodeName(name)
		if !utf8.ValidString(text) || DecodeName(text) != name {
			t.Fatalf("name %q, text %q, back %q", name, text, DecodeName(text))
		}
		if mixed := ValidName(name); !utf8.ValidString(mixed) || DecodeName(mixed) != DecodeName(name) {
			t.Fatalf("text %q, valid %q", name, mixed)
		}
	})
}
