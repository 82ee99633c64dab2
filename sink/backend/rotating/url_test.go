package rotating_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/backend/rotating"
)

func TestURL(t *testing.T) {
	for url, part := range map[string]string{
		"rotating:p?max_files=1":                 "use json:",
		"rotating:p?max_files=0":                 "2 or more",
		"rotating:p?max_files=-3":                "2 or more",
		"rotating:p?max_files=many":              "2 or more",
		"rotating:p?max_bytes=0":                 "positive size",
		"rotating:p?max_bytes=-1MB":              "negative",
		"rotating:p?max_bytes=50M":               "unknown unit",
		"rotating:p?max_bytes=1MB&max_bytes=2MB": "twice",
		"rotating:p?max_records=1":               "allowed are max_bytes, max_files, sync",
		"json:p?max_files=2":                     "not one of",
		"rotating:":                              "name the file",
	} {
		if _, err := backend.Open(url); !errors.Is(err, papyra.ErrConfig) || !strings.Contains(err.Error(), part) {
			t.Errorf("open %q: got %v, want papyra.ErrConfig with %q", url, err, part)
		}
	}
	for _, url := range []string{"rotating:p", "rotating:/a b/c?max_bytes=50MB&max_files=5&sync=batch", "rotating:p?max_bytes=64MiB", "rotating:p?max_files=2"} {
		b, err := backend.Open(url)
		if err != nil {
			t.Fatalf("open %q: %v", url, err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("close %q: %v", url, err)
		}
	}
}

func TestDefaultBound(t *testing.T) {
	for _, c := range []struct {
		config   rotating.Config
		maxBytes int64
		maxFiles int
	}{
		{rotating.Config{}, 50_000_000, 5},
		{rotating.Config{MaxBytes: 7, MaxFiles: 2}, 7, 2},
	} {
		s, err := rotating.Open("p", c.config)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Traits(); got.MaxBytes != c.maxBytes || got.MaxFiles != c.maxFiles {
			t.Errorf("%+v: bound of %d files of %d bytes, want %d of %d", c.config, got.MaxFiles, got.MaxBytes, c.maxFiles, c.maxBytes)
		}
	}
}

// Whoever sets keep_* on a rotating store is told what that means there.
func TestRetentionWarning(t *testing.T) {
	for url, want := range map[string]int{"rotating:p?max_files=3": 1, "json:p": 0, "memory:": 0} {
		b, err := backend.Open(url)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			r    papyra.Retention
			want int
		}{{papyra.Retention{}, 0}, {papyra.Retention{General: papyra.Limits{Records: 5}}, want}} {
			got, err := b.Warnings(context.Background(), c.r)
			if err != nil || len(got) != c.want || c.want > 0 && !strings.Contains(got[0], "never more than") {
				t.Errorf("%s with %+v: got %q, %v, want %d", url, c.r, got, err, c.want)
			}
		}
	}
}
