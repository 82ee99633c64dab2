package papyra

import (
	"cmp"
	"slices"
)

// CompareStreams orders streams as tools list them: by system, then by category
// in the order of [Kinds], unknown categories last and by name.
func CompareStreams(a, b StreamSummary) int {
	return cmp.Or(cmp.Compare(a.System, b.System), CompareCategories(a.Category, b.Category))
}

// CompareCategories orders categories as tools list them: in the order of
// [Kinds], unknown ones last and by name.
func CompareCategories(a, b string) int {
	rank := func(category string) int {
		if kind := ParseCategory(category); kind != KindUnknown {
			return int(kind)
		}
		return int(KindCount)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// SumStreams adds up what several lists say of each stream, in the order of
// [CompareStreams]. The lists are not changed.
func SumStreams(lists ...[]StreamSummary) []StreamSummary {
	sum := slices.Concat(lists...)
	slices.SortStableFunc(sum, CompareStreams)
	n := 0
	for _, s := range sum {
		if n == 0 || CompareStreams(sum[n-1], s) != 0 {
			sum[n] = s
			n++
			continue
		}
		total := &sum[n-1]
		total.Records += s.Records
		total.Bytes += s.Bytes
		total.Oldest, total.Newest = min(total.Oldest, s.Oldest), max(total.Newest, s.Newest)
	}
	if n == 0 {
		return []StreamSummary{} // in JSON [], not null
	}
	return sum[:n]
}
