package lines

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestLastNewline(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, random.IntN(1<<random.IntN(14)))
		for range random.IntN(4) {
			if len(b) > 0 {
				b[random.IntN(len(b))] = '\n'
			}
		}
		if got, want := lastNewline(b), bytes.LastIndexByte(b, '\n'); got != want {
			t.Fatalf("%d in %d bytes, want %d", got, len(b), want)
		}
	}
}
