package numset

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// Numbers that are asked for and added in turn cost about the same each, however many
// there are and in whatever order they come.
func TestAskAndAddInTurn(t *testing.T) {
	const count = 10_000
	for name, number := range map[string]func(i uint64) uint64{
		"rising":      func(i uint64) uint64 { return 3 * (i + 1) },
		"falling":     func(i uint64) uint64 { return 3 * (count - i) },
		"in no order": func(i uint64) uint64 { return 3 * (i*7919%count + 1) },
		"far apart":   func(i uint64) uint64 { return (i*7919%count + 1) << 20 },
	} {
		var s Set
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range uint64(count) {
			n := number(i)
			if s.Contains(n) {
				t.Fatalf("%s: %d is there before it was added", name, n)
			}
			s.Add(n)
			if !s.Contains(n) || s.Contains(n+1) || s.Contains(n-1) {
				t.Fatalf("%s: after %d was added: %v, and beside it %v, %v", name, n, s.Contains(n), s.Contains(n-1), s.Contains(n+1))
			}
			// What a question has to look through one by one stays few.
			if s.more != nil && len(s.more.pending)-s.more.index.known > 400 {
				t.Fatalf("%s: a question looks at %d ranges of %d", name, len(s.more.pending)-s.more.index.known, s.more.runs)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / count; each > 6000 {
			t.Errorf("%s: %d bytes were allocated for each number", name, each)
		}
	}
}

// What Contains says does not depend on when it is asked.
func TestAskAnyTime(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		var s Set
		in := map[uint64]bool{}
		span := uint64(1) << (4 + random.IntN(18))
		for range 1500 {
			first := random.Uint64N(span)
			last := first + random.Uint64N(4)
			if random.IntN(50) == 0 {
				last += random.Uint64N(300)
			}
			s.AddRange(first, last)
			for n := first; n <= last && first > 0; n++ {
				in[n] = true
			}
			for range random.IntN(4) {
				if n := random.Uint64N(span + 10); s.Contains(n) != in[n] {
					t.Fatalf("%d: got %v, want %v", n, s.Contains(n), in[n])
				}
			}
			if random.IntN(300) == 0 && s.Count() != uint64(len(in)) {
				t.Fatalf("got %d numbers, want %d", s.Count(), len(in))
			}
		}
	}
}
