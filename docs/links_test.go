package docs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^) ]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,4} (.*)$`)
	word    = regexp.MustCompile(`^[a-z-]+`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Every link of a document, and every one of a comment to the specification,
// leads to a file, and to a heading of it.
func TestLinks(t *testing.T) {
	const root = ".."
	links := 0
	known := headings{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		targets, err := linksOf(root, path)
		for _, target := range targets {
			links++
			if err := known.follow(target); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if links < 100 {
		t.Errorf("%d links; are they read rightly?", links)
	}
}

// linksOf returns the paths, with fragments, that a document links, or that a
// source file names of the specification.
func linksOf(root, path string) (targets []string, err error) {
	ext := filepath.Ext(path)
	if ext != ".md" && ext != ".go" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if ext == ".go" {
		const page = "docs/format.md#"
		for {
			_, after, ok := bytes.Cut(data, []byte(page))
			if !ok {
				return targets, nil
			}
			targets = append(targets, filepath.Join(root, page+string(word.Find(after))))
			data = after
		}
	}
	for _, m := range link.FindAllStringSubmatch(string(data), -1) {
		switch target := m[1]; {
		case strings.Contains(target, "://"):
		case strings.HasPrefix(target, "#"):
			targets = append(targets, path+target)
		default:
			targets = append(targets, filepath.Join(filepath.Dir(path), target))
		}
	}
	return targets, nil
}

// headings are the fragments that may follow a document's path.
type headings map[string]map[string]bool

// follow returns an error for a file, or a heading of a document, that is not
// there.
func (h headings) follow(target string) error {
	path, fragment, _ := strings.Cut(target, "#")
	if fragment == "" {
		_, err := os.Stat(path)
		return err
	}
	if h[path] == nil {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		h[path] = map[string]bool{}
		for _, m := range heading.FindAllStringSubmatch(string(data), -1) {
			h[path][slug(m[1])] = true
		}
	}
	if !h[path][fragment] {
		return fmt.Errorf("%s has no heading for #%s", path, fragment)
	}
	return nil
}

// slug is what GitHub makes of a heading.
func slug(text string) string {
	return strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
}
