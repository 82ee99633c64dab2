package fileset

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/papyra/papyra/internal/testkit"
)

// TestKeptBytes keeps, cuts and forgets at random and wants exactly the bytes
// that a plain slice would hold, at their place in a file.
func TestKeptBytes(t *testing.T) {
	path := filepath.Join(testkit.FastDir(t), "f")
	rapid.Check(t, func(t *rapid.T) {
		var k kept
		var want []byte
		at, next := int64(0), byte(0)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			end := at + int64(len(want))
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				k.reset()
				at, want = end, want[:0]
			case 1:
				end = at + int64(rapid.IntRange(0, len(want)).Draw(t, "end"))
				k.cut(end)
				want = want[:end-at]
			default:
				b := make([]byte, rapid.IntRange(0, 2*keptBlock+10).Draw(t, "n"))
				for i := range b {
					b[i] = next
					next++
				}
				k.add(end, b)
				want = append(want, b...)
			}
		}
		if k.size != len(want) {
			t.Fatalf("%d bytes are kept, want %d", k.size, len(want))
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := k.writeTo(OS{}, f); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if n, err := f.ReadAt(got, at); n != len(want) {
			t.Fatal(n, err)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("other bytes are kept")
		}
	})
}

// TestKeptMemoryGoes: what a flood needed is given back when it is over.
func TestKeptMemoryGoes(t *testing.T) {
	var k kept
	k.add(0, make([]byte, 10*keptBlock))
	k.reset()
	if len(k.blocks) != 10 {
		t.Errorf("%d blocks after the flood, want 10 for the next one", len(k.blocks))
	}
	for range 2 {
		k.add(0, make([]byte, 1))
		k.reset()
	}
	if len(k.blocks) > 1 {
		t.Errorf("%d blocks are held for one byte", len(k.blocks))
	}
}
