package jsontext

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// TestReadDigitsBefore compares it with the slow and obvious way, for every
// number of digits and every start of the text.
func TestReadDigitsBefore(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		text := []byte("x,\x00\xff/:9\"")[rnd.IntN(8):]
		text = bytes.Clone(text)
		for range rnd.IntN(24) {
			text = append(text, byte('0'+rnd.IntN(10)))
		}
		lo := rnd.IntN(len(text) + 1)
		start := len(text)
		for start > lo && text[start-1] >= '0' && text[start-1] <= '9' && len(text)-start < maxDigits {
			start--
		}
		want, _ := strconv.ParseUint(string(text[start:]), 10, 64)
		if n, at := ReadDigitsBefore(text, lo, len(text)); n != want || at != start {
			t.Fatalf("%q from %d: got %d at %d, want %d at %d", text, lo, n, at, want, start)
		}
	}
}

// TestLastDigits puts every byte at every place.
func TestLastDigits(t *testing.T) {
	for at := range 8 {
		for c := range 256 {
			text := []byte("98765432")
			text[at] = byte(c)
			want := 8
			if c < '0' || c > '9' {
				want = 7 - at
			}
			number, _ := strconv.ParseUint("0"+string(text[8-want:]), 10, 64)
			if word, n := LastDigits(text); n != want || JoinDigits(word) != number {
				t.Fatalf("%q: %d digits, %d; want %d, %d", text, n, JoinDigits(word), want, number)
			}
		}
	}
}

func TestAppendFraction(t *testing.T) {
	for n := range uint32(1_000_000) {
		want := strings.TrimRight(fmt.Sprintf(".%06d", n), "0")
		if want == "." {
			want = ".0"
		}
		if got := string(TrimFraction(AppendFraction(nil, n))); got != want {
			t.Fatalf("%d: got %s, want %s", n, got, want)
		}
		if got := CountDigits(uint64(n)); got != len(strconv.Itoa(int(n))) {
			t.Fatalf("%d has %d digits", n, got)
		}
	}
}
