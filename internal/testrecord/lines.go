package testrecord

import (
	"bytes"
	"math/rand/v2"

	"github.com/papyra/papyra"
)

// Span is what a reader of lines says of one line, without its bytes.
type Span struct {
	Off, Length      int64
	Ended, Held, NUL bool
}

// SplitLines returns what readers of lines must find in data, found in one go.
func SplitLines(data []byte) []Span {
	out := []Span{}
	for off := 0; off < len(data); {
		n := bytes.IndexByte(data[off:], '\n')
		ended := n >= 0
		if !ended {
			n = len(data) - off
		}
		s := Span{Off: int64(off), Length: int64(n), Ended: ended, Held: n+1 <= papyra.MaxStoredLine}
		s.NUL = !s.Held && len(bytes.Trim(data[off:off+n], "\x00")) == 0
		if hole := n - len(bytes.TrimLeft(data[off:off+n], "\x00")); !s.Held && !s.NUL && hole > 0 {
			out = append(out, Span{Off: int64(off), Length: int64(hole), NUL: true})
			off += hole
			continue
		}
		out = append(out, s)
		off += n
		if ended {
			off++
		}
	}
	return out
}

// LineFiles returns files for readers of lines: by name, with lines around the
// bounds of a reader that reads chunks, and of one that takes blocks.
func LineFiles(chunk, block int) map[string][]byte {
	long := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, []byte("\n")) }
	files := map[string][]byte{
		"empty":                          {},
		"one newline":                    []byte("\n"),
		"blank lines":                    []byte("\n\na\n\n"),
		"no newline at the end":          []byte("a\nb"),
		"longer than most":               join([]byte("a"), long(papyra.MaxLine-1), long(papyra.MaxLine), []byte("b"), long(papyra.MaxLine+1), long(2*papyra.MaxLine+17), []byte("c"), nil),
		"longest line":                   join([]byte("a"), long(papyra.MaxStoredLine-1), []byte("b"), nil),
		"longest line, not ended":        join([]byte("a"), long(papyra.MaxStoredLine-1)),
		"too long by one":                join([]byte("a"), long(papyra.MaxStoredLine), []byte("b"), nil),
		"too long, not ended":            join([]byte("a"), long(papyra.MaxStoredLine+5)),
		"only a line much too long":      long(papyra.MaxStoredLine + 3*chunk + 17),
		"NULs much too long":             join([]byte("a"), make([]byte, papyra.MaxStoredLine+3*chunk), []byte("b"), nil),
		"a hole, then a line":            join([]byte("a"), append(make([]byte, papyra.MaxStoredLine+3*chunk), "b"...), []byte("c"), nil),
		"a hole, then a line, not ended": join([]byte("a"), append(make([]byte, papyra.MaxStoredLine+chunk+1), "b"...)),
		"a hole first":                   append(make([]byte, block), "b\nc"...),
		"a hole over blocks":             join([]byte("a"), append(make([]byte, 2*block+7), "bb"...), []byte("c"), append(make([]byte, block), "d"...), nil),
		"a hole to the end of a block":   append(make([]byte, block), join([]byte("b"), []byte("c"), nil)...),
		"a little hole, too long by one": join([]byte("a"), append(make([]byte, 10), long(papyra.MaxStoredLine-10)...), []byte("b"), nil),
		"a little hole, the longest":     join([]byte("a"), append(make([]byte, 10), long(papyra.MaxStoredLine-11)...), []byte("b"), nil),
		"a hole, then the longest":       join([]byte("a"), append(make([]byte, 5), long(papyra.MaxStoredLine-1)...), []byte("b"), nil),
		"a hole, then too long":          join([]byte("a"), append(make([]byte, papyra.MaxStoredLine+2*chunk), long(papyra.MaxStoredLine+2*chunk)...), []byte("b"), nil),
		"a hole, a line, a hole":         join(append(append(make([]byte, papyra.MaxStoredLine+2*chunk), "b"...), make([]byte, papyra.MaxStoredLine+2*chunk)...), []byte("c"), nil),
		"holes one behind the other":     join(append(make([]byte, papyra.MaxStoredLine), "b"...), append(make([]byte, papyra.MaxStoredLine+1), "c"...), append(make([]byte, papyra.MaxStoredLine-1), "d"...), nil),
		"a chunk exactly":                append(long(chunk-1), '\n'),
		"over several blocks":            join(long(block-1), []byte("b"), long(2*block), []byte("c"), nil),
		"newline ends a block":           join(long(block-1), []byte("b"), nil),
		"newline begins a block":         join(long(block), []byte("b"), nil),
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 6 {
		var data []byte
		for len(data) < block+block/8 {
			n := rng.IntN(300)
			switch rng.IntN(40) {
			case 0:
				n = chunk - 150 + rng.IntN(300)
			case 1:
				n = papyra.MaxLine - 150 + rng.IntN(300)
			case 2:
				n = 0
			}
			data = append(append(data, long(n)...), '\n')
		}
		if i%2 == 0 {
			data = data[:len(data)-1]
		}
		files[string(rune('a'+i))+" random"] = data
	}
	return files
}
