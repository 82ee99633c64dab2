package checksum_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/papyra/papyra/internal/checksum"
)

// A line is summed, sealed and checked.
func Example() {
	line := []byte(`{"kind":"event","seq":17`)
	line = checksum.AppendTail(line, checksum.Of(line))
	fmt.Printf("%s\n", line)

	body, tail := line[:len(line)-checksum.TailLen], line[len(line)-checksum.TailLen:]
	fmt.Println(checksum.HasTail(tail) && checksum.Spells(tail[len(checksum.TailStart):], checksum.Of(body)))
	// Output:
	// {"kind":"event","seq":17,"crc":"2b046948"}
	// true
}

// TestTail compares the digits with those of package fmt, and wants that no
// other character is taken for one of them.
func TestTail(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	sums := []uint32{0, 9, 10, 0xf, 0x10, 0x99999999, 0xaaaaaaaa, 0xffffffff, 0x80000000, 0xe3069283}
	for range 10_000 {
		sums = append(sums, rnd.Uint32())
	}
	for _, sum := range sums {
		tail := checksum.AppendTail(nil, sum)
		if want := fmt.Sprintf(`,"crc":"%08x"}`, sum); string(tail) != want || len(tail) != checksum.TailLen || !checksum.HasTail(tail) {
			t.Fatalf("got %s, want %s", tail, want)
		}
		digits := tail[len(checksum.TailStart):]
		if !checksum.Spells(digits, sum) {
			t.Fatalf("%s does not spell %x", digits, sum)
		}
		at := rnd.IntN(8)
		digits[at] ^= 1 << rnd.IntN(8)
		if checksum.Spells(digits, sum) {
			t.Fatalf("%q spells %x", digits, sum)
		}
	}
}

// TestOf has the check value that is published for CRC-32C.
func TestOf(t *testing.T) {
	text := []byte("123456789")
	if got := checksum.Of(text); got != 0xe3069283 {
		t.Errorf("Of = %x", got)
	}
	for i := range text {
		if got := checksum.Extend(checksum.Of(text[:i]), text[i:]); got != 0xe3069283 {
			t.Errorf("in two parts at %d: %x", i, got)
		}
	}
}
