package numset

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// Patterns of numbers over several blocks, each in several orders, are what a
// plain map says: ranges, counts, holes, neighbours, and what came twice.
func TestBlocks(t *testing.T) {
	const span = 2*blockSize + 700
	patterns := map[string]func(n uint64) bool{
		"every other":      func(n uint64) bool { return n%2 == 0 },
		"two of three":     func(n uint64) bool { return n%3 != 0 },
		"one of 80":        func(n uint64) bool { return n%80 == 1 },
		"long and short":   func(n uint64) bool { return n%9000 < 4000 || n%7 == 0 },
		"holes at borders": func(n uint64) bool { return n%blockSize > 2 && n%blockSize < blockSize-2 || n%2 == 0 },
		"a full block":     func(n uint64) bool { return n/blockSize == 1 || n%16 == 1 },
		"one of 3000":      func(n uint64) bool { return n%3000 == 5 },
	}
	for name, in := range patterns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(7, uint64(len(name))))
			var numbers []uint64
			for n := uint64(1); n < span; n++ {
				if in(n) {
					numbers = append(numbers, n)
				}
			}
			want := ranges(numbers)
			orders := map[string]func([]uint64){
				"rising":   func([]uint64) {},
				"falling":  slices.Reverse[[]uint64],
				"shuffled": func(list []uint64) { random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] }) },
			}
			for _, order := range slices.Sorted(maps.Keys(orders)) {
				if order == "falling" && name != "every other" {
					continue // as the others
				}
				mixed := slices.Clone(numbers)
				orders[order](mixed)
				var c, half Counted
				again := map[uint64]int{}
				for i, n := range mixed {
					c.Add(n)
					if i%5 == 0 {
						c.Add(n)
						again[n]++
					}
					if i%3 == 0 {
						half.Add(n)
						again[n]++
					}
				}
				c.Absorb(&half)
				if got, ok := c.Set().Ranges(len(want)); !ok || !slices.Equal(got, want) {
					t.Fatalf("%s: got %d ranges, %v, want %d", order, len(got), ok, len(want))
				}
				twice, _ := c.Repeated().Ranges(span)
				if wantTwice := ranges(slices.Sorted(maps.Keys(again))); !slices.Equal(twice, wantTwice) {
					t.Fatalf("%s: %d ranges came twice, want %d", order, len(twice), len(wantTwice))
				}
				assertLooks(t, c.Set(), numbers, span, random)
				odd := c.Set().Clone()
				odd.Subtract(c.Repeated())
				if got, want := odd.Count(), uint64(len(numbers)-len(again)); got != want {
					t.Fatalf("%s: %d are left of a subtraction, want %d", order, got, want)
				}
				for n := range again {
					if n%7 == 0 && odd.Contains(n) {
						t.Fatalf("%s: %d was taken out and is there", order, n)
					}
				}
				odd.Union(c.Repeated())
				if got, _ := odd.Ranges(len(want)); !slices.Equal(got, want) {
					t.Fatalf("%s: what was taken out and added is not the same", order)
				}
			}
		})
	}
}

// assertLooks asks a set at random places.
func assertLooks(t *testing.T, s *Set, numbers []uint64, span int, random *rand.Rand) {
	t.Helper()
	if m := s.all(nil); m.blocks != countBlocks(m.list) {
		t.Fatalf("%d blocks are counted, there are %d", m.blocks, countBlocks(m.list))
	}
	if s.Count() != uint64(len(numbers)) {
		t.Fatalf("got %d numbers, want %d", s.Count(), len(numbers))
	}
	for range 300 {
		n := uint64(random.IntN(span) + 1)
		if random.IntN(3) == 0 {
			n = n/blockSize*blockSize + uint64(random.IntN(3))
		}
		i, in := slices.BinarySearch(numbers, n)
		if s.Contains(n) != in || s.Position(n) != uint64(i) {
			t.Fatalf("%d: got %v at %d, want %v at %d", n, s.Contains(n), s.Position(n), in, i)
		}
		if !in {
			var wantBelow, wantAbove uint64
			if i > 0 {
				wantBelow = numbers[i-1]
			}
			if i < len(numbers) {
				wantAbove = numbers[i]
			}
			if below, above := s.Neighbours(n); below != wantBelow || above != wantAbove {
				t.Fatalf("neighbours of %d: got %d, %d, want %d, %d", n, below, above, wantBelow, wantAbove)
			}
		}
		var holes, wantHoles []papyra.Range
		high := n + uint64(random.IntN(500))
		s.Holes(n, high, func(first, last uint64) bool { holes = append(holes, papyra.Range{first, last}); return true })
		var absent []uint64
		for k := n + 1; k <= high; k++ {
			if _, in := slices.BinarySearch(numbers, k); !in {
				absent = append(absent, k)
			}
		}
		if wantHoles = ranges(absent); !slices.Equal(holes, wantHoles) {
			t.Fatalf("holes between %d and %d: got %v, want %v", n, high, holes, wantHoles)
		}
	}
}

// A block becomes bits when a range is added that goes on behind it.
func TestRangeBehindABlockThatBecomesBits(t *testing.T) {
	for singles := range uint64(foldAt + 5) {
		var s Set
		for i := range singles {
			s.Add(10 + 2*i)
		}
		s.AddRange(60_000, 200_000)
		s.Add(200_002)
		if got, want := s.Count(), singles+140_001+1; got != want {
			t.Fatalf("%d single numbers: got %d in all, want %d", singles, got, want)
		}
		if list, _ := s.Ranges(1000); len(list) != int(singles)+2 {
			t.Fatalf("%d single numbers: got %d ranges", singles, len(list))
		}
	}
}

// Ranges of any width cost what their text costs, in time and in memory.
func TestWideRangesCostNothing(t *testing.T) {
	begin := time.Now()
	var s Set
	const wide = 100_000_000_000
	for i := range uint64(20_000) {
		s.AddRange(1+i*wide, (i+1)*wide-1)
	}
	if got, want := s.Count(), uint64(20_000*(wide-1)); got != want {
		t.Errorf("got %d numbers, want %d", got, want)
	}
	holes := 0
	s.Holes(0, 20_000*wide, func(first, last uint64) bool {
		if holes++; first != last || first%wide != 0 {
			t.Errorf("a hole from %d to %d", first, last)
		}
		return true
	})
	if list, ok := s.Ranges(20_000); !ok || len(list) != 20_000 || holes != 20_000 {
		t.Errorf("got %d ranges, %d holes", len(list), holes)
	}
	if n := s.Compact(); n > 2<<20 {
		t.Errorf("they take %d bytes", n)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

// However many sparse numbers there are, one of many questions costs little.
func TestQuestionsToManySparseNumbers(t *testing.T) {
	const numbers, apart = 100_000, 1 << 20
	begin := time.Now()
	var s Set
	for i := range uint64(numbers) {
		s.Add(1 + i*apart)
	}
	for i := range uint64(numbers) {
		if n := s.CountBetween(i*apart, numbers*apart); n != numbers-i {
			t.Fatalf("%d are above %d, want %d", n, i*apart, numbers-i)
		}
		if below, _ := s.Neighbours(2 + i*apart); below != 1+i*apart {
			t.Fatalf("below %d is %d", 2+i*apart, below)
		}
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

func BenchmarkHoles(b *testing.B) {
	for _, every := range []uint64{2, 100} {
		b.Run(fmt.Sprintf("one of %d", every), func(b *testing.B) {
			var s Set
			for n := uint64(1); n < 10_000_000; n++ {
				if n%every != 0 {
					s.Add(n)
				}
			}
			for b.Loop() {
				s.Holes(0, 10_000_000, func(uint64, uint64) bool { return true })
			}
		})
	}
}
