package disk_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/papyra/papyra/internal/fileset/disk"
)

// However it is cut into writes, the file holds the bytes, and long runs of NUL bytes
// take no room.
func TestSparseWriter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	for name, parts := range map[string][]int{ // bytes of text and of NUL in turn
		"nothing":             {},
		"text":                {10},
		"a short run":         {10, 4095, 1},
		"one page":            {10, 4096, 1},
		"at the beginning":    {0, 1 << 20, 5},
		"at the end":          {5, 1 << 20},
		"at the end, short":   {5, 100},
		"only NUL":            {0, 3 << 20},
		"one behind another":  {1, 9000, 1, 9000, 1, 100, 1, 1 << 20, 7},
		"between large texts": {70000, 300000, 70000, 12000, 70000},
	} {
		var want []byte
		nuls := 0
		for i, n := range parts {
			if i%2 == 0 {
				want = append(want, x(n)...)
			} else {
				want = append(want, make([]byte, n)...)
				nuls += n
			}
		}
		for try := range 6 {
			f, err := disk.MakeFile(disk.OS{}, filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_APPEND, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			w := &disk.SparseWriter{Disk: disk.OS{}, File: f}
			for rest := want; len(rest) > 0; {
				n := len(rest)
				if try > 0 {
					n = min(n, 1+rng.IntN(1<<(4*try)))
				}
				if m, err := w.Write(rest[:n]); m != n || err != nil {
					t.Fatalf("%s: wrote %d of %d: %v", name, m, n, err)
				}
				rest = rest[n:]
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(f.Name())
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: the file has %d bytes, want %d (%v), or others", name, len(got), len(want), err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if used := info.Sys().(*syscall.Stat_t).Blocks * 512; nuls >= 1<<20 && used > int64(len(want)-nuls+256<<10) {
				t.Errorf("%s: %d bytes are used for %d, of which %d are NUL", name, used, len(want), nuls)
			}
			f.Close()
		}
	}
}
