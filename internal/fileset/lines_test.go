package fileset

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
)

// span is what a reader says of a line, without its bytes.
type span struct {
	Off, Length      int64
	Ended, Held, NUL bool
}

// splitLines is what the readers must find, found in one go.
func splitLines(data []byte) []span {
	out := []span{}
	for off := 0; off < len(data); {
		n := bytes.IndexByte(data[off:], '\n')
		ended := n >= 0
		if !ended {
			n = len(data) - off
		}
		s := span{Off: int64(off), Length: int64(n), Ended: ended, Held: n+1 <= papyra.MaxLine}
		s.NUL = !s.Held && len(bytes.Trim(data[off:off+n], "\x00")) == 0
		out = append(out, s)
		off += n
		if ended {
			off++
		}
	}
	return out
}

func drain(t *testing.T, data []byte, next func() (line, error)) []span {
	t.Helper()
	out := []span{}
	for {
		l, err := next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		held := l.bytes != nil || l.length == 0
		if held && !bytes.Equal(l.bytes, data[l.off:l.off+l.length]) {
			t.Fatalf("line at %d has other bytes than the file", l.off)
		}
		out = append(out, span{l.off, l.length, l.ended, held, l.nul})
	}
}

func openBytes(t *testing.T, data []byte) *os.File {
	t.Helper()
	path := filepath.Join(testkit.FastDir(t), "f")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func lineFiles() map[string][]byte {
	long := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, []byte("\n")) }
	files := map[string][]byte{
		"empty":                     {},
		"one newline":               []byte("\n"),
		"blank lines":               []byte("\n\na\n\n"),
		"no newline at the end":     []byte("a\nb"),
		"longest line":              join([]byte("a"), long(papyra.MaxLine-1), []byte("b"), nil),
		"longest line, not ended":   join([]byte("a"), long(papyra.MaxLine-1)),
		"too long by one":           join([]byte("a"), long(papyra.MaxLine), []byte("b"), nil),
		"too long, not ended":       join([]byte("a"), long(papyra.MaxLine+5)),
		"only a line much too long": long(3*papyra.MaxLine + 17),
		"NULs much too long":        join([]byte("a"), make([]byte, 3*papyra.MaxLine), []byte("b"), nil),
		"a chunk exactly":           append(long(chunk-1), '\n'),
		"over several blocks":       join(long(blockSize-1), []byte("b"), long(2*blockSize), []byte("c"), nil),
		"newline ends a block":      join(long(blockSize-1), []byte("b"), nil),
		"newline begins a block":    join(long(blockSize), []byte("b"), nil),
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 6 {
		var data []byte
		for len(data) < blockSize+blockSize/8 {
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

func TestReadersFindEveryLine(t *testing.T) {
	for name, data := range lineFiles() {
		t.Run(name, func(t *testing.T) {
			f, want := openBytes(t, data), splitLines(data)
			forward := newForward(OS{}, f, int64(len(data)))
			if diff := cmp.Diff(want, drain(t, data, forward.next)); diff != "" {
				t.Errorf("forward (-want +got):\n%s", diff)
			}
			backward := newBackward(OS{}, f, int64(len(data)))
			got := drain(t, data, backward.next)
			slices.Reverse(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("backward (-want +got):\n%s", diff)
			}
		})
	}
}

// The blocks of a parallel scan together judge every line once, with its number.
func TestScanNumbersLinesAcrossBlocks(t *testing.T) {
	for name, data := range lineFiles() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(testkit.FastDir(t), "f")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			r, err := s.Scan(context.Background(), papyra.ScanOptions{MaxListed: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			want := splitLines(data)
			if r.Lines != int64(len(want)) || r.Bytes != int64(len(data)) {
				t.Errorf("%d lines of %d bytes, want %d of %d", r.Lines, r.Bytes, len(want), len(data))
			}
			places := r.Anomalies
			for i, w := range want {
				if w.Length == 0 {
					continue
				}
				if len(places) == 0 || places[0].Line != int64(i+1) || places[0].Offset != w.Off || places[0].Length != w.Length {
					t.Fatalf("line %d at %d of %d bytes: next anomaly is %+v", i+1, w.Off, w.Length, places[:min(len(places), 1)])
				}
				places = places[1:]
			}
			if len(places) > 0 {
				t.Errorf("%d anomalies too many", len(places))
			}
		})
	}
}
