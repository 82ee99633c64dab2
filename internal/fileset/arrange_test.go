package fileset

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestArrange(t *testing.T) {
	for _, c := range []struct {
		name     string
		numbers  []int
		taken    []int
		maxFiles int
		want     arrangement
	}{
		{"the first rotation", nil, nil, 3, arrangement{place: 1}},
		{"place behind", []int{1}, nil, 3, arrangement{shifts: []shift{{1, 2}}, place: 1}},
		{"full", []int{1, 2}, nil, 3, arrangement{drop: []int{2}, shifts: []shift{{1, 2}}, place: 1}},
		{"the smallest set", []int{1}, nil, 2, arrangement{drop: []int{1}, place: 1}},
		{"a hole at the front", []int{2, 3}, nil, 4, arrangement{place: 1}},
		{"a hole in the middle", []int{1, 2, 4}, nil, 5, arrangement{shifts: []shift{{2, 3}, {1, 2}}, place: 1}},
		{"lowered", []int{1, 2, 3, 4}, nil, 3, arrangement{drop: []int{4, 3, 2}, shifts: []shift{{1, 2}}, place: 1}},
		{"a high number that fits comes down", []int{1, 9}, nil, 4, arrangement{shifts: []shift{{9, 3}, {1, 2}}, place: 1}},
		{"several come down, none overtakes", []int{7, 8, 9}, nil, 5, arrangement{shifts: []shift{{7, 2}, {8, 3}, {9, 4}}, place: 1}},
		{"something else has a number", []int{1, 3}, []int{2}, 4, arrangement{drop: []int{3}, shifts: []shift{{1, 3}}, place: 1}},
		{"something else has the first number", []int{2}, []int{1}, 3, arrangement{drop: []int{2}, place: 2}},
		{"something else has every number", nil, []int{1, 2}, 3, arrangement{}},
		{"something else beyond the bound", []int{1}, []int{7}, 3, arrangement{shifts: []shift{{1, 2}}, place: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			taken := map[int]bool{}
			for _, n := range c.taken {
				taken[n] = true
			}
			got := arrange(c.numbers, taken, c.maxFiles)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(arrangement{}, shift{})); diff != "" {
				t.Errorf("arrange %v, taken %v, max_files %d (-want +got):\n%s", c.numbers, c.taken, c.maxFiles, diff)
			}
		})
	}
}

// Whatever the numbers: nothing is overwritten, files never overtake each other,
// nothing goes that has a place, and after every single step the set is in
// order.
func TestArrangeAnySet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxFiles := rapid.IntRange(2, 9).Draw(t, "max_files")
		numbers := rapid.SliceOfNDistinct(rapid.IntRange(1, 14), 0, 12, rapid.ID[int]).Draw(t, "numbers")
		slices.Sort(numbers)
		taken := map[int]bool{}
		for _, n := range rapid.SliceOfN(rapid.IntRange(1, 10), 0, 3).Draw(t, "taken") {
			taken[n] = !slices.Contains(numbers, n)
		}
		maps.DeleteFunc(taken, func(_ int, yes bool) bool { return !yes })
		places := 0
		for n := 1; n < maxFiles; n++ {
			if !taken[n] {
				places++
			}
		}
		a := arrange(numbers, taken, maxFiles)
		if places == 0 {
			if a.place != 0 {
				t.Fatalf("got %+v without any place", a)
			}
			return
		}
		at := map[int]int{} // number -> file, files named by their first number
		for _, n := range numbers {
			at[n] = n
		}
		for _, n := range a.drop {
			if n != slices.Max(slices.Collect(maps.Keys(at))) {
				t.Fatalf("%+v drops %d, which is not the oldest of %v", a, n, at)
			}
			delete(at, n)
		}
		if want := min(len(numbers), places-1); len(at) != want {
			t.Fatalf("%+v keeps %d of %d files, want %d", a, len(at), len(numbers), want)
		}
		for _, s := range a.shifts {
			if _, there := at[s.to]; there || taken[s.to] {
				t.Fatalf("%+v: %v meets an existing file", a, s)
			}
			at[s.to] = at[s.from]
			delete(at, s.from)
			inOrder := slices.Sorted(maps.Keys(at))
			if !slices.IsSortedFunc(inOrder, func(x, y int) int { return at[x] - at[y] }) {
				t.Fatalf("%+v: after %v files have overtaken each other: %v", a, s, at)
			}
		}
		if _, there := at[a.place]; there || taken[a.place] {
			t.Fatalf("%+v: the place of the active file is not free", a)
		}
		for n := range at {
			if n <= a.place || n >= maxFiles {
				t.Fatalf("%+v leaves a file at %d", a, n)
			}
		}
	})
}
