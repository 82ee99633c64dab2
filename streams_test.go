package papyra_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
)

// Streams stand by system, then category in the order of Kinds, unknown ones
// last; each is there once, with the extremes of both times.
func TestSumStreams(t *testing.T) {
	of := func(system, category string, n int64, oldest, newest float64) papyra.StreamSummary {
		return papyra.StreamSummary{System: system, Category: category, Records: n, Bytes: 10 * n, Oldest: oldest, Newest: newest}
	}
	a := []papyra.StreamSummary{of("b", "unknown", 1, 1, 1), of("b", "reports", 2, 3, 4), of("a", "dead_letters", 3, 5, 6), of("b", "novels", 1, 1, 1)}
	b := []papyra.StreamSummary{of("b", "reports", 4, 2, 3), of("b", "events", 5, 7, 8), of("b", "audits", 6, 9, 9)}
	before := slices.Clone(a)
	want := []papyra.StreamSummary{
		of("a", "dead_letters", 3, 5, 6),
		of("b", "events", 5, 7, 8), of("b", "audits", 6, 9, 9), of("b", "reports", 6, 2, 4),
		of("b", "novels", 1, 1, 1), of("b", "unknown", 1, 1, 1),
	}
	if diff := cmp.Diff(want, papyra.SumStreams(a, b)); diff != "" {
		t.Errorf("sum (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, a); diff != "" {
		t.Errorf("the list was changed (-before +after):\n%s", diff)
	}
	if got := papyra.SumStreams(); got == nil || len(got) != 0 {
		t.Errorf("of nothing: %v, want an empty list", got)
	}
}
