package main

import "testing"

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"json:/var/lib/x.ndjson": "json:/var/lib/x.ndjson",
		"":                       "''",
		"a b":                    "'a b'",
		"it's":                   `'it'\''s'`,
		"$(rm -rf /)":            "'$(rm -rf /)'",
		"a;b":                    "'a;b'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}
