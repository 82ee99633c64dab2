package numset

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/papyra/papyra"
)

// drawRuns draws numbers as stores meet them: runs that rise or fall, from
// places that may overlap.
func drawRuns(t *rapid.T) (numbers []uint64) {
	for range rapid.IntRange(0, 12).Draw(t, "runs") {
		n := rapid.Uint64Range(1, 300).Draw(t, "from")
		step := uint64(1)
		if rapid.Bool().Draw(t, "falling") {
			step = math.MaxUint64
		}
		for range rapid.IntRange(1, 60).Draw(t, "length") {
			if n > 0 {
				numbers = append(numbers, n)
			}
			n += step
		}
	}
	return numbers
}

// model is a set in the plainest form.
type model map[uint64]int

func (m model) sorted() []uint64 {
	out := []uint64{}
	for n := range m {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func ranges(numbers []uint64) (out []papyra.Range) {
	for _, n := range numbers {
		if last := len(out) - 1; last >= 0 && out[last][1]+1 == n {
			out[last][1] = n
			continue
		}
		out = append(out, papyra.Range{n, n})
	}
	return out
}

func assertSet(t *rapid.T, s *Set, m model) {
	t.Helper()
	all := m.sorted()
	if s.IsEmpty() != (len(all) == 0) {
		t.Fatalf("IsEmpty is %v of %d numbers", s.IsEmpty(), len(all))
	}
	lowest, highest := uint64(0), uint64(0)
	if len(all) > 0 {
		lowest, highest = all[0], all[len(all)-1]
	}
	if s.Min() != lowest || s.Max() != highest {
		t.Fatalf("got %d to %d, want %d to %d", s.Min(), s.Max(), lowest, highest)
	}
	for n := range uint64(370) {
		if _, want := m[n]; s.Contains(n) != want {
			t.Fatalf("Contains(%d) = %v", n, !want)
		}
	}
	want := ranges(all)
	if got, ok := s.Ranges(len(want)); !ok || cmp.Diff(want, got) != "" {
		t.Fatalf("got ranges %v, %v, want %v", got, ok, want)
	}
	if got, ok := s.Ranges(len(want) - 1); len(want) > 0 && ok {
		t.Fatalf("got %v, want too many for %d", got, len(want)-1)
	}
	if s.Count() != uint64(len(all)) {
		t.Fatalf("Count = %d, want %d", s.Count(), len(all))
	}
	low, high := rapid.Uint64Range(0, 370).Draw(t, "low"), rapid.Uint64Range(0, 370).Draw(t, "high")
	var between, below uint64
	var holes []uint64
	for n := range uint64(371) {
		_, in := m[n]
		if n > low && n <= high {
			if in {
				between++
			} else {
				holes = append(holes, n)
			}
		}
		if in && n < low {
			below++
		}
	}
	if got := s.CountBetween(low, high); got != between {
		t.Fatalf("CountBetween(%d, %d) = %d, want %d", low, high, got, between)
	}
	if got := s.Position(low); got != below {
		t.Fatalf("Position(%d) = %d, want %d", low, got, below)
	}
	var got []papyra.Range
	s.Holes(low, high, func(first, last uint64) bool {
		got = append(got, papyra.Range{first, last})
		return true
	})
	if diff := cmp.Diff(ranges(holes), got); diff != "" {
		t.Fatalf("holes between %d and %d (-want +got):\n%s", low, high, diff)
	}
	if _, in := m[low]; !in {
		wantBelow, wantAbove := uint64(0), uint64(0)
		for _, n := range all {
			if n < low {
				wantBelow = n
			} else if wantAbove == 0 {
				wantAbove = n
			}
		}
		if b, a := s.Neighbours(low); b != wantBelow || a != wantAbove {
			t.Fatalf("Neighbours(%d) = %d, %d, want %d, %d", low, b, a, wantBelow, wantAbove)
		}
	}
}

func TestSetIsWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Set
		m := model{}
		for _, n := range drawRuns(t) {
			if m[n]++; rapid.IntRange(0, 40).Draw(t, "look") == 0 {
				s.Count()
			}
			s.Add(n)
		}
		if first := rapid.Uint64Range(0, 300).Draw(t, "first"); first > 0 {
			last := rapid.Uint64Range(0, 350).Draw(t, "last")
			s.AddRange(first, last)
			for n := first; n <= last; n++ {
				m[n]++
			}
		}
		assertSet(t, &s, m)
		clone := s.Clone()
		var other Set
		for _, n := range drawRuns(t) {
			other.Add(n)
			m[n]++
		}
		before := s.Count()
		clone.Union(&other)
		if s.Count() != before {
			t.Fatal("a union with a clone changed the set")
		}
		assertSet(t, clone, m)
		clone.Compact()
		assertSet(t, clone, m)
	})
}

func TestCountedKnowsWhatCameTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := make([]Counted, 3)
		m, again, added := model{}, model{}, uint64(0)
		for i := range parts {
			for _, n := range drawRuns(t) {
				parts[i].Add(n)
				added++
				if m[n]++; m[n] > 1 {
					again[n]++
				}
				if rapid.IntRange(0, 40).Draw(t, "look") == 0 {
					parts[i].Set().Count()
				}
			}
		}
		all := &parts[0]
		all.Absorb(&parts[1])
		all.Absorb(&parts[2])
		assertSet(t, all.Set(), m)
		assertSet(t, all.Repeated(), again)
		if all.Added() != added {
			t.Fatalf("Added = %d, want %d", all.Added(), added)
		}
		all.Compact()
		assertSet(t, all.Set(), m)
	})
}

func TestRangesAreMerged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Ranges
		m := model{}
		for range rapid.IntRange(0, 30).Draw(t, "ranges") {
			g := papyra.Range{rapid.Uint64Range(0, 100).Draw(t, "first"), rapid.Uint64Range(0, 110).Draw(t, "last")}
			r.Add(g)
			for n := g[0]; n <= g[1] && g[0] > 0; n++ {
				m[n]++
			}
			if rapid.IntRange(0, 10).Draw(t, "look") == 0 {
				r.List()
			}
		}
		want := ranges(m.sorted())
		if got := slices.Clone(r.List()); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if n := CountRanges(r.List()); n != uint64(len(m)) {
			t.Fatalf("they hold %d numbers, want %d", n, len(m))
		}
		if len(want) == 0 {
			return
		}
		if _, _, folded := r.Fold(len(want)); folded {
			t.Fatalf("%d ranges are too many for %d", len(want), len(want))
		}
		n, bounds, folded := r.Fold(len(want) - 1)
		if !folded || n != uint64(len(m)) || bounds != (papyra.Range{want[0][0], want[len(want)-1][1]}) || r.Len() != 0 || len(r.List()) != 0 {
			t.Fatalf("folded into %d in %v, %v", n, bounds, folded)
		}
	})
}

// A report may name anything. Nothing of it costs memory, loops or wraps.
func TestHostileRanges(t *testing.T) {
	const highest = math.MaxUint64
	var r Ranges
	r.Add(papyra.Range{0, 0}, papyra.Range{5, 3}, papyra.Range{0, highest})
	if r.Len() != 0 || r.List() != nil {
		t.Errorf("got %v of ranges that name nothing", r.List())
	}
	r.Add(papyra.Range{highest, highest}, papyra.Range{1, highest}, papyra.Range{7, 9}, papyra.Range{1, highest - 1})
	if got, want := fmt.Sprint(r.List()), fmt.Sprint([]papyra.Range{{1, highest}}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	many := []papyra.Range{{1, highest}, {1, highest}, {0, 0}, {5, 3}}
	if n := CountRanges(many); n != highest {
		t.Errorf("%d numbers, want as many as fit", n)
	}
	var s Set
	s.Add(0)
	s.AddRange(0, 0)
	s.AddRange(5, 3)
	if !s.IsEmpty() {
		t.Errorf("got %d numbers", s.Count())
	}
	s.Add(1)
	s.Add(0)
	s.Add(highest)
	s.Add(highest - 1)
	s.AddRange(highest-2, highest)
	got, _ := s.Ranges(10)
	if want := []papyra.Range{{1, 1}, {highest - 2, highest}}; !slices.Equal(got, want) || s.Count() != 4 || s.Max() != highest {
		t.Errorf("got %v, want %v", got, want)
	}
	var c Counted
	for _, n := range []uint64{0, highest - 1, highest, highest, 0, 1, highest} {
		c.Add(n)
	}
	if c.Added() != 5 || c.Set().Count() != 3 || c.Repeated().Count() != 1 || !c.Repeated().Contains(highest) {
		t.Errorf("got %d in all, %d different, %d repeated", c.Added(), c.Set().Count(), c.Repeated().Count())
	}
}

func BenchmarkAdd(b *testing.B) {
	shuffled := make([]uint64, 1<<20)
	for i := range shuffled {
		shuffled[i] = uint64(i) + 1
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	b.Run("rising", func(b *testing.B) {
		var s Set
		for i := range b.N {
			s.Add(uint64(i) + 1)
		}
	})
	b.Run("falling", func(b *testing.B) {
		var s Set
		for i := range b.N {
			s.Add(uint64(b.N - i))
		}
	})
	b.Run("shuffled", func(b *testing.B) {
		var s Set
		for i := range b.N {
			s.Add(shuffled[i&(1<<20-1)])
		}
	})
	b.Run("counted", func(b *testing.B) {
		var c Counted
		for i := range b.N {
			c.Add(shuffled[i&(1<<20-1)])
		}
	})
}
