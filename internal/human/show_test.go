package human

import (
	"math"
	"testing"
)

func TestShownNumbers(t *testing.T) {
	for _, tc := range []struct{ name, got, want string }{
		{"bytes", Bytes(12_345_678), "12 MB"},
		{"few bytes", Bytes(9), "9 B"},
		{"no negative bytes", Bytes(-1), "0 B"},
		{"count", Count(int64(45678)), "45,678"},
		{"unsigned", Count(uint64(math.MaxUint64)), "18,446,744,073,709,551,615"},
		{"one", Plural(1, "record", "records"), "1 record"},
		{"none", Plural(0, "record", "records"), "0 records"},
		{"many", Plural(45678, "record", "records"), "45,678 records"},
		{"counts", Counts(map[string]int64{"b": 1, "a": 1, "c": 2000, "never": 0}), "2,000 c, 1 a, 1 b"},
		{"no counts", Counts[string](nil), ""},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"json:/var/lib/x.ndjson": "json:/var/lib/x.ndjson",
		"":                       "''",
		"a b":                    "'a b'",
		"it's":                   `'it'\''s'`,
		"$(rm -rf /)":            "'$(rm -rf /)'",
		"a;b":                    "'a;b'",
		"caf\u00e9":              "'caf\u00e9'",
		"r\xff0'\\":              `$'r\3770\'\\'`,
		"a\nb":                   `$'a\012b'`,
	} {
		if got := ShellQuote(in); got != want {
			t.Errorf("ShellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}
