package fileset

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/testkit"
)

// TestKeptBytes keeps, cuts and forgets at random and wants exactly the bytes
// that a plain slice would hold, at their place in a file.
func TestKeptBytes(t *testing.T) {
	path := filepath.Join(testkit.FastDir(t), "f")
	rapid.Check(t, func(t *rapid.T) {
		var u unsynced
		var want []byte
		at, next := int64(0), byte(0)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			end := at + int64(len(want))
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				u.forget()
				at, want = end, want[:0]
			case 1:
				end = at + int64(rapid.IntRange(0, len(want)).Draw(t, "end"))
				u.cutAt(end)
				want = want[:end-at]
			default:
				b := make([]byte, rapid.IntRange(0, 2*unsyncedBlock+10).Draw(t, "n"))
				for i := range b {
					b[i] = next
					next++
				}
				u.addBytes(end, b)
				want = append(want, b...)
			}
		}
		if u.size != len(want) {
			t.Fatalf("%d bytes are kept, want %d", u.size, len(want))
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := u.writeTo(disk.OS{}, f); err != nil {
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
	var u unsynced
	u.addBytes(0, make([]byte, 10*unsyncedBlock))
	u.forget()
	if len(u.blocks) != 10 {
		t.Errorf("%d blocks after the flood, want 10 for the next one", len(u.blocks))
	}
	for range 2 {
		u.addBytes(0, make([]byte, 1))
		u.forget()
	}
	if len(u.blocks) > 1 {
		t.Errorf("%d blocks are held for one byte", len(u.blocks))
	}
}
