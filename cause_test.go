package papyra

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// constants returns the values of the string constants of a file that have one
// of these types, in order.
func constants(t *testing.T, file string, types ...string) (values []string) {
	t.Helper()
	parsed, err := goparser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && slices.Contains(types, typ.Name) {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	return values
}

// The lists name every constant, once.
func TestClosedListsAreComplete(t *testing.T) {
	var causes, reasons []string
	for _, c := range Causes() {
		causes = append(causes, string(c))
	}
	for _, r := range RejectReasons() {
		reasons = append(reasons, string(r))
	}
	classes := constants(t, "class.go", "Class", "RejectReason")
	notOfLines := []Class{
		ClassLeftover, ClassUnreadable, ClassUnexpectedFile,
		NoticeUnknownKind, NoticeConflict, NoticeClockSkew, NoticeBlankLine, NoticeUnsealed, NoticeUnverified, NoticeNotRead, NoticeInProgress,
	}
	classes = slices.DeleteFunc(classes, func(c string) bool { return slices.Contains(notOfLines, Class(c)) })
	for name, lists := range map[string][2][]string{
		"Causes": {causes, constants(t, "cause.go", "Cause")}, "RejectReasons": {reasons, classes},
	} {
		got, want := slices.Clone(lists[0]), slices.Clone(lists[1])
		slices.Sort(got)
		slices.Sort(want)
		if len(want) < 10 || !slices.Equal(got, want) {
			t.Errorf("%s() = %q, want every constant: %q", name, got, want)
		}
	}
}
