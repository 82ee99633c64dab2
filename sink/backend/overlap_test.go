package backend_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/papyra/papyra/sink/backend"
)

func TestOverlap(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"s", "other", "a?b"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(".", "link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Link("s", "hard"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, a, b string
		want       bool
	}{
		{"the same", "json:s", "json:s", true},
		{"parameters", "json:s", "json:s?sync=none", true},
		{"a dot", "json:s", "json:./s", true},
		{"absolute", "json:s", "json:" + filepath.Join(dir, "s"), true},
		{"escaped", "json:a%3Fb", "json:" + filepath.Join(dir, "a%3Fb"), true},
		{"a linked directory", "json:s", "json:link/s", true},
		{"a linked directory, no file yet", "json:new", "json:link/new", true},
		{"a hard link", "json:s", "json:hard", true},
		{"another scheme", "json:s", "rotating:s?max_files=3", true},
		{"a file of the set", "json:s.12", "rotating:s", true},
		{"a file of the other set", "rotating:s", "json:s.1", true},
		{"two sets", "rotating:s", "rotating:s.1", true},
		{"no set", "json:s", "json:s.1", false},
		{"a name with more", "rotating:s", "json:s.1.bak", false},
		{"a name that ends in a dot", "rotating:s", "json:s.", false},
		{"another file", "json:s", "json:other", false},
		{"nothing there yet", "json:new", "json:newer", false},
		{"file and server", "json:s", "redis://h", false},
		{"one server", "redis://user:secret@h", "redis://h:6379/0?timeout=1s", true},
		{"another database", "redis://h", "redis://h/1", false},
		{"another prefix", "redis://h", "redis://h?prefix=p", false},
		{"another server", "redis://h", "redis://g", false},
		{"two memories", "memory:", "memory:", false},
		{"a wrong URL", "what", "what", false},
	} {
		for _, pair := range [][2]string{{tt.a, tt.b}, {tt.b, tt.a}} {
			if got := backend.Overlap(pair[0], pair[1]); got != tt.want {
				t.Errorf("%s: Overlap(%q, %q) is %v, want %v", tt.name, pair[0], pair[1], got, tt.want)
			}
		}
	}
}

func TestBound(t *testing.T) {
	for url, want := range map[string][2]int64{
		"json:s":                                {0, 0},
		"memory:":                               {0, 0},
		"redis://h":                             {0, 0},
		"rotating:s":                            {50_000_000, 5},
		"rotating:s?max_bytes=3kB&max_files=20": {3000, 20},
	} {
		b, err := backend.Open(url)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Traits(); [2]int64{got.MaxBytes, int64(got.MaxFiles)} != want {
			t.Errorf("%s: got %d bytes, %d files, want %v", url, got.MaxBytes, got.MaxFiles, want)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
