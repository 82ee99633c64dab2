package human

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// Bytes is a size that is easy to read: "12 MB".
func Bytes(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }

// Counts is "2 truncated, 1 nul_run", the most frequent first. What was not
// counted once is left out.
func Counts[K ~string](counts map[K]int64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b K) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names {
		if counts[name] > 0 {
			parts = append(parts, Count(counts[name])+" "+string(name))
		}
	}
	return strings.Join(parts, ", ")
}

// ShellQuote returns s as one word of a shell: of any POSIX shell, but for what holds
// bytes that are not UTF-8, or controls. That is a word $'…', which is in POSIX since
// 2024 and which bash, zsh and ksh know.
func ShellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:=,@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	if utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0 {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\\' || r == '\'':
			b.WriteString("\\" + s[i:i+1])
		case r == utf8.RuneError && n == 1, unicode.IsControl(r):
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, `\%03o`, c) // octal: a digit behind \xHH would be taken for a part of it
			}
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	b.WriteString("'")
	return b.String()
}
