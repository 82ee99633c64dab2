package account_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// constants returns the values of a file's constants of one type.
func constants(t *testing.T, path, typ string) (values []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != typ {
			return true
		}
		for _, v := range spec.Values {
			if lit, ok := v.(*ast.BasicLit); ok {
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, s)
			}
		}
		return true
	})
	return values
}

// The closed lists of the code are those that the operators' page explains, the
// causes in the same order.
func TestREADMEExplainsEveryWord(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	table := func(title string) (words []string) {
		_, rest, ok := strings.Cut(string(page), "\n| "+title+" |")
		if !ok {
			t.Fatalf("README.md has no table of %ss", title)
		}
		rest, _, _ = strings.Cut(rest, "\n\n")
		for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(rest, -1) {
			words = append(words, m[1])
		}
		return words
	}
	for _, tt := range []struct{ title, path, typ string }{
		{"cause", "result.go", "Cause"},
		{"state", "result.go", "RunState"},
		{"reason", "../../class.go", "DropReason"},
	} {
		want, got := constants(t, tt.path, tt.typ), table(tt.title)
		if len(want) < 4 || !slices.Equal(got, want) {
			t.Errorf("README.md explains the %ss %v, the code has %v", tt.title, got, want)
		}
	}
}
