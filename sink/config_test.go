package sink

import (
	"slices"
	"strings"
	"testing"

	"github.com/papyra/papyra"
)

func TestSubjectsOfFiltersDoNotOverlap(t *testing.T) {
	c := Config{Systems: []string{"a", "b.c", "a"}, Kinds: []papyra.Kind{papyra.KindEvent, papyra.KindReport}}
	got := c.subjects()
	want := []string{"papyra.v1.records.a.events", "papyra.v1.records.b=2Ec.events", "papyra.v1.records.*.reports"}
	if !slices.Equal(got, want) {
		t.Errorf("subjects are %v, want %v", got, want)
	}
}

func TestCleanInstance(t *testing.T) {
	for in, want := range map[string]string{
		"web-1": "web-1", "web.example.org": "web_example_org", "": "unknown", "é": "__", strings.Repeat("x", 70): strings.Repeat("x", 64),
	} {
		if got := cleanInstance(in); got != want {
			t.Errorf("cleanInstance(%q) = %q, want %q", in, got, want)
		}
	}
}
