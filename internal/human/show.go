package human

import (
	"cmp"
	"maps"
	"slices"
	"strings"

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

// ShellQuote returns s as one word of a POSIX shell.
func ShellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:=,@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
