package backend_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source is what the repository's tests consist of.
type source struct {
	funcs   map[string][]string // by name: the bodies of the functions of tests
	dirs    map[string][]string // by name: the folders that have such a function
	texts   map[string]string   // by folder: all of its Go code
	suite   string              // the code of backendtest
	scripts map[string]bool     // names of scripts of papyra-ctl
}

// readSource parses every Go file below root that is part of this module.
func readSource(t *testing.T, root string) *source {
	t.Helper()
	s := &source{funcs: map[string][]string{}, dirs: map[string][]string{}, texts: map[string]string{}, scripts: map[string]bool{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || isModule(path)):
			return fs.SkipDir
		case filepath.Ext(path) == ".txtar":
			s.scripts[d.Name()] = true
		case filepath.Ext(path) == ".go":
			return s.add(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func (s *source) add(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	s.texts[dir] += string(text)
	inSuite := filepath.Base(dir) == "backendtest"
	if inSuite {
		s.suite += string(text)
	}
	if !inSuite && !strings.HasSuffix(path, "_test.go") {
		return nil
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, text, 0)
	if err != nil {
		return err
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
			name := f.Name.Name
			s.funcs[name] = append(s.funcs[name], string(text[files.Position(f.Pos()).Offset:files.Position(f.End()).Offset]))
			s.dirs[name] = append(s.dirs[name], dir)
		}
	}
	return nil
}

// has reports whether there is a test of this name. That of a subtest must be a
// word of its package's code, or of the suite's.
func (s *source) has(name string) bool {
	if s.scripts[name] {
		return true
	}
	test, sub, isSub := strings.Cut(name, "/")
	if !strings.HasPrefix(test, "Test") || len(s.funcs[test]) == 0 {
		return false
	}
	if !isSub {
		return true
	}
	words := []string{`"` + sub + `"`, `"` + strings.ReplaceAll(sub, "_", " ") + `"`}
	return slices.ContainsFunc(s.dirs[test], func(dir string) bool {
		code := s.texts[dir]
		if strings.Contains(code, "backendtest.Exercise") {
			code += s.suite
			// A subtest for each mode of syncing.
			code = strings.ReplaceAll(code, `t.Run("sync "+sync`, `"sync none" "sync batch"`)
		}
		return strings.Contains(code, words[0]) || strings.Contains(code, words[1])
	})
}

var quoted = regexp.MustCompile("`([^`]+)`")

// tests returns the names of tests that a cell cites.
func tests(cell string) (names []string) {
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		if strings.HasPrefix(m[1], "Test") || strings.HasSuffix(m[1], ".txtar") {
			names = append(names, m[1])
		}
	}
	return names
}

// row is a row of a table, and the line where it stands.
type row struct {
	line  int
	cells []string
}

// readTables returns the rows of README.md's tables by their number of columns,
// without their heads.
func readTables(t *testing.T) map[int][]row {
	t.Helper()
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[int][]row{}
	head := true
	for i, line := range strings.Split(string(data), "\n") {
		line, isRow := strings.CutPrefix(line, "|")
		switch {
		case !isRow:
			head = true
		case strings.HasPrefix(line, "---"):
			head = false
		case !head:
			cells := strings.Split(strings.TrimSuffix(line, "|"), "|")
			for j := range cells {
				cells[j] = strings.TrimSpace(cells[j])
			}
			tables[len(cells)] = append(tables[len(cells)], row{i + 1, cells})
		}
	}
	return tables
}

// The table of faults says of every fault what happens on each backend, and
// names tests that exist.
func TestFaultsTable(t *testing.T) {
	src := readSource(t, filepath.Join("..", ".."))
	rows := readTables(t)[6]
	if len(rows) < 80 {
		t.Fatalf("README.md has %d faults; is it read rightly?", len(rows))
	}
	cited := 0
	for _, r := range rows {
		for i, backend := range []string{"", "", "json", "rotating", "redis", "memory"} {
			cell := r.cells[i]
			names := tests(cell)
			cited += len(names)
			for _, name := range names {
				if !src.has(name) {
					t.Errorf("README.md:%d: there is no test %s", r.line, name)
				}
			}
			if backend != "" && len(names) == 0 && !strings.HasPrefix(cell, "—") && !strings.Contains(cell, "not proven") {
				t.Errorf("README.md:%d: %s: %q names no test; say — and why it cannot happen, or that it is not proven", r.line, backend, cell)
			}
		}
		if !slices.ContainsFunc(r.cells[2:], func(cell string) bool { return len(tests(cell)) > 0 || strings.Contains(cell, "not proven") }) {
			t.Errorf("README.md:%d: no backend has this fault", r.line)
		}
	}
	if cited < 300 {
		t.Errorf("%d tests are cited; are they read rightly?", cited)
	}
	for _, name := range []string{"TestNone", "TestConformance/no_such_law", "TestOnASet/Nothing", "none.txtar", "corpus"} {
		if src.has(name) {
			t.Errorf("%s is taken for a test", name)
		}
	}
}

var number = regexp.MustCompile(`^(?:at most )?(\d+)$`)

// The table of numbers says what stands in the code.
func TestNumbersTable(t *testing.T) {
	src := readSource(t, filepath.Join("..", ".."))
	rows := readTables(t)[5]
	if len(rows) < 25 {
		t.Fatalf("README.md has %d rows of numbers; is it read rightly?", len(rows))
	}
	for _, r := range rows {
		in := quoted.FindStringSubmatch(r.cells[0])
		if in == nil || len(src.funcs[in[1]]) == 0 {
			t.Errorf("README.md:%d: there is no function %s", r.line, r.cells[0])
			continue
		}
		for _, name := range tests(r.cells[1]) {
			if !src.has(name) {
				t.Errorf("README.md:%d: there is no test %s", r.line, name)
			}
		}
		body := strings.ReplaceAll(strings.Join(src.funcs[in[1]], "\n"), "_", "")
		for _, cell := range r.cells[3:] {
			m := number.FindStringSubmatch(cell)
			if m == nil {
				if !slices.Contains([]string{"all", "every one", "every byte", "100 by rapid"}, cell) {
					t.Errorf("README.md:%d: %q is no number that can be looked up", r.line, cell)
				}
				continue
			}
			if !regexp.MustCompile(`\b` + m[1] + `\b`).MatchString(body) {
				t.Errorf("README.md:%d: %s has no %s", r.line, in[1], m[1])
			}
		}
	}
}
