package papyra

import (
	"encoding/binary"
	"math/bits"
)

// digitsBefore returns the number that the digits before b[end] spell and where
// they begin, as far as lo and as they are no more than 19; start is end where
// there are none.
func digitsBefore(b []byte, lo, end int) (n uint64, start int) {
	if end-lo >= 8 {
		word, count := lastDigits(b[end-8 : end])
		if count < 8 {
			return value8(word), end - count
		}
		if end-lo >= 16 {
			if more, count := lastDigits(b[end-16 : end-8]); count < 8 {
				return value8(more)*1e8 + value8(word), end - 8 - count
			}
		}
	}
	start = end
	for start > lo && b[start-1]-'0' <= 9 && end-start < maxDigits {
		start--
	}
	for _, d := range b[start:end] {
		n = n*10 + uint64(d-'0')
	}
	return n, start
}

// maxDigits are what a uint64 holds of any value.
const maxDigits = 19

// lastDigits returns how many of the eight bytes of b are digits, counted
// backwards from the last, and their values in a word whose lowest byte is the
// first of the eight; what stands before them is 0.
func lastDigits(b []byte) (word uint64, n int) {
	word = binary.LittleEndian.Uint64(b) ^ ones*'0'
	// A byte's high bit is set where the byte is above 9. No sum leaves its byte.
	others := (word&^uint64(highs) + ones*(0x80-10)) | word
	n = bits.LeadingZeros64(others&highs) >> 3
	return lastBytes(word, n), n
}

// lastBytes clears all but the last n bytes of a word.
func lastBytes(word uint64, n int) uint64 {
	cut := uint(64 - 8*n)
	return word >> cut << cut
}

// value8 returns the number that eight values of digits spell: pairs of them,
// then pairs of pairs, in one word.
func value8(word uint64) uint64 {
	const (
		pairs = 0x000000FF000000FF
		first = 100 + 1_000_000<<32
		other = 1 + 10_000<<32
	)
	word = word*10 + word>>8
	return ((word&pairs)*first + (word>>16&pairs)*other) >> 32
}
