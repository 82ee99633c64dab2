package main

import (
	"slices"
	"strings"

	"github.com/papyra/papyra/internal/escape"
)

// textBackends returns args with each value of --backend as text: a path may hold
// bytes that are not UTF-8, and the library of flags takes a flag that may be given
// more than once through JSON, which would make another path of it. A backend's URL
// reads such a byte from text too.
func textBackends(args []string) []string {
	out := slices.Clone(args)
	for i, arg := range args {
		name, _, has := strings.Cut(arg, "=")
		ofFlag := has && isBackendFlag(name)
		if ofFlag || i > 0 && isBackendFlag(args[i-1]) {
			out[i] = escape.ValidName(arg)
		}
	}
	return out
}

func isBackendFlag(arg string) bool {
	name, dashed := strings.CutPrefix(arg, "-")
	name = strings.TrimPrefix(name, "-")
	return dashed && (name == "b" || name == "backend")
}
