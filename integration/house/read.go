package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// readHouse reads the Go files of the module in dir. It compiles nothing.
func readHouse(dir string) (*house, error) {
	module, err := modulePath(dir)
	if err != nil {
		return nil, err
	}
	h := &house{}
	byName := map[string]*room{}
	enter := func(name string) *room {
		r := byName[name]
		if r == nil {
			r = &room{name: name, uses: map[*room]map[string]bool{}}
			byName[name] = r
			h.rooms = append(h.rooms, r)
		}
		return r
	}
	root := &rootPackage{files: token.NewFileSet()}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "dist") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		inFolder := strings.Contains(name, "/")
		if inFolder {
			name = folderOf(name)
		}
		r := enter(name)
		r.lines += bytes.Count(text, []byte("\n"))
		if !inFolder {
			return root.addFile(path, text)
		}
		return addImports(r, module, path, text, enter)
	})
	if err != nil {
		return nil, err
	}
	root.addUses(byName)
	if err := addRootUses(dir, module, byName, root); err != nil {
		return nil, err
	}
	for _, r := range h.rooms {
		h.lines += r.lines
	}
	h.arrange()
	return h, nil
}

// folderOf returns the folder that is the room of what lies at a path.
func folderOf(path string) string {
	first, rest, _ := strings.Cut(path, "/")
	if second, _, ok := strings.Cut(rest, "/"); first == "internal" && ok {
		return first + "/" + second + "/"
	}
	return first + "/"
}

func modulePath(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s names no module", dir)
}

// addImports notes which folders a file imports. What it uses of the root is
// found later, by name.
func addImports(r *room, module, path string, text []byte, enter func(string) *room) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly)
	if err != nil {
		return err
	}
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		rest, ok := strings.CutPrefix(imported, module+"/")
		if !ok {
			continue
		}
		if to := enter(folderOf(rest + "/")); to != r {
			r.use(to, rest)
		}
	}
	return nil
}

func (r *room) use(to *room, name string) {
	if r.uses[to] == nil {
		r.uses[to] = map[string]bool{}
	}
	r.uses[to][name] = true
}

// rootPackage is the files of the root, which use each other's names without an
// import.
type rootPackage struct {
	files  *token.FileSet
	syntax []*ast.File
	names  map[string]string // exported name to file
}

func (p *rootPackage) addFile(path string, text []byte) error {
	if ok, err := build.Default.MatchFile(filepath.Split(path)); err != nil || !ok {
		return err
	}
	file, err := parser.ParseFile(p.files, path, text, 0)
	p.syntax = append(p.syntax, file)
	return err
}

// noPackages lets the type checker go on without what is imported.
type noPackages struct{}

func (noPackages) Import(path string) (*types.Package, error) {
	pkg := types.NewPackage(path, filepath.Base(path))
	pkg.MarkComplete()
	return pkg, nil
}

// addUses finds which file of the root uses what another one declares.
func (p *rootPackage) addUses(byName map[string]*room) {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: noPackages{}, Error: func(error) {}}
	pkg, _ := config.Check("root", p.files, p.syntax, info) // what is imported is not known
	fileOf := func(pos token.Pos) string { return filepath.Base(p.files.Position(pos).Filename) }
	for ident, object := range info.Uses {
		if object.Pkg() != pkg || !object.Pos().IsValid() {
			continue
		}
		_, isMethod := object.(*types.Func)
		if object.Parent() != pkg.Scope() && !isMethod {
			continue // a local name, or a field
		}
		from, to := byName[fileOf(ident.Pos())], byName[fileOf(object.Pos())]
		if from != to && from != nil && to != nil {
			from.use(to, object.Name())
		}
	}
	p.names = map[string]string{}
	for _, name := range pkg.Scope().Names() {
		if ast.IsExported(name) {
			p.names[name] = fileOf(pkg.Scope().Lookup(name).Pos())
		}
	}
	for _, file := range p.syntax {
		from := byName[fileOf(file.Pos())]
		for _, spec := range file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if _, rest, ok := strings.Cut(imported, "/papyra/"); ok && strings.HasPrefix(imported, "github.com/papyra/") {
				rest = strings.TrimPrefix(rest, "papyra/")
				if to := byName[folderOf(rest+"/")]; to != nil {
					from.use(to, rest)
				}
			}
		}
	}
}

// addRootUses finds which files of the root each folder uses, by the names that
// stand behind the package's own.
func addRootUses(dir, module string, byName map[string]*room, root *rootPackage) error {
	for name, r := range byName {
		if !strings.HasSuffix(name, "/") {
			continue
		}
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(file.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == strconv.Quote(module) }) {
				return nil
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == filepath.Base(module) {
						if to := byName[root.names[sel.Sel.Name]]; to != nil {
							r.use(to, sel.Sel.Name)
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// arrange puts the rooms in order and finds the arrows that run back up. It takes
// away rooms that nobody left uses, then ones that use nobody left, and where
// there is neither the one whose arrows lead most out: a known rule of thumb for
// few arrows in the wrong direction.
func (h *house) arrange() {
	left := slices.Clone(h.rooms)
	slices.SortFunc(left, func(a, b *room) int { return strings.Compare(a.name, b.name) })
	var top, bottom []*room
	degree := func(r *room) (out, in int) {
		for _, o := range left {
			if len(r.uses[o]) > 0 {
				out++
			}
			if len(o.uses[r]) > 0 {
				in++
			}
		}
		return out, in
	}
	for len(left) > 0 {
		best, bestAt, place := -1<<31, 0, 0
		for i, r := range left {
			out, in := degree(r)
			score, at := out-in, 1
			switch {
			case out == 0:
				score, at = 1<<30, 2
			case in == 0:
				score = 1 << 29
			}
			if score > best {
				best, bestAt, place = score, i, at
			}
		}
		if place == 2 {
			bottom = append(bottom, left[bestAt])
		} else {
			top = append(top, left[bestAt])
		}
		left = slices.Delete(left, bestAt, bestAt+1)
	}
	slices.Reverse(bottom)
	h.rooms = slices.Concat(top, bottom)
	at := map[*room]int{}
	for i, r := range h.rooms {
		at[r] = i
	}
	for _, r := range h.rooms {
		for to, names := range r.uses {
			if at[to] < at[r] {
				h.up = append(h.up, arrow{r, to, slices.Sorted(maps.Keys(names))})
			}
		}
	}
	slices.SortFunc(h.up, func(a, b arrow) int {
		return cmp.Or(strings.Compare(a.from.name, b.from.name), strings.Compare(a.to.name, b.to.name))
	})
}
