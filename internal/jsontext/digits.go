package jsontext

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
)

// Characters are read and checked eight at a time, in one word. Its lowest byte
// is the first of the eight.
const (
	eachByte = 0x0101010101010101 // 1 in each byte
	highBits = 0x8080808080808080 // the high bit of each byte
)

// maxDigits is how many digits every uint64 can hold, whatever they are.
const maxDigits = 19

// CountDigits returns how many decimal digits n has.
func CountDigits(n uint64) int {
	// 1233/4096 is a little more than log10(2), so d is exact or one too few.
	d := bits.Len64(n|1) * 1233 >> 12
	if n >= powersOf10[d] {
		d++
	}
	return d
}

var powersOf10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = 10 * p[i-1]
	}
	p[0] = 0 // zero has a digit too
	return p
}()

// AppendFloat appends a finite number of so many bits as the shortest text that
// reads back to it.
func AppendFloat(dst []byte, f float64, bits int) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	} else if bits == 64 && a < 1e9 {
		if short, ok := appendShortFloat(dst, f); ok {
			return short
		}
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}

// appendShortFloat appends a number below 1e9 that has at most six decimals, as
// prices, shares and seconds do. It reports whether f is one.
func appendShortFloat(dst []byte, f float64) ([]byte, bool) {
	const decimals = 1e6
	n := int64(math.Abs(f)*decimals + 0.5)
	// Two different numbers of at most 15 digits are never the same float64. So
	// if the division, which rounds correctly, makes f of n millionths, then no
	// shorter text is f, and no other text of the same length.
	if f == 0 || float64(n)/decimals != math.Abs(f) {
		return dst, false
	}
	if f < 0 {
		dst = append(dst, '-')
	}
	whole, fraction := n/decimals, uint32(n%decimals)
	dst = strconv.AppendInt(dst, whole, 10)
	if fraction == 0 {
		return dst, true
	}
	return TrimFraction(AppendFraction(dst, fraction)), true
}

// AppendFraction appends a dot and the six decimal digits of a number of
// millionths below a million. TrimFraction cuts zeros off its end. They are two
// functions because each is small enough for the compiler to inline it.
func AppendFraction(dst []byte, millionths uint32) []byte {
	hi, mid, lo := millionths/10_000, millionths/100%100, millionths%100
	return append(dst, '.',
		byte('0'+hi/10), byte('0'+hi%10), byte('0'+mid/10), byte('0'+mid%10), byte('0'+lo/10), byte('0'+lo%10))
}

// TrimFraction cuts the zeros off the end of a text that AppendFraction has
// made. At least one digit stays.
func TrimFraction(text []byte) []byte {
	for n := 0; n < 5 && text[len(text)-1] == '0'; n++ {
		text = text[:len(text)-1]
	}
	return text
}

// ReadDigitsBefore reads the number whose digits end before b[end]. It looks
// back to lo at most and takes 19 digits at most. start is where the digits
// begin; it is end where there are none.
func ReadDigitsBefore(b []byte, lo, end int) (n uint64, start int) {
	if end-lo >= 8 {
		word, count := LastDigits(b[end-8 : end])
		if count < 8 {
			return JoinDigits(word), end - count
		}
		if end-lo >= 16 {
			if more, count := LastDigits(b[end-16 : end-8]); count < 8 {
				return JoinDigits(more)*1e8 + JoinDigits(word), end - 8 - count
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

// LastDigits returns with how many digits the eight bytes of b end, and a word
// with the values of these digits, for [JoinDigits]. The bytes of the word that
// stand for other characters are 0.
func LastDigits(b []byte) (word uint64, n int) {
	word = binary.LittleEndian.Uint64(b) ^ eachByte*'0'
	// The high bit of a byte is set where the byte is above 9. No sum leaves its
	// byte.
	others := (word&^uint64(highBits) + eachByte*(0x80-10)) | word
	n = bits.LeadingZeros64(others&highBits) >> 3
	return keepLastBytes(word, n), n
}

// keepLastBytes clears all but the last n bytes of a word.
func keepLastBytes(word uint64, n int) uint64 {
	cut := uint(64 - 8*n)
	return word >> cut << cut
}

// JoinDigits returns the number that eight values of digits spell.
func JoinDigits(word uint64) uint64 {
	// The digits are joined to pairs, and the pairs to fours, within one word.
	const (
		pairs = 0x000000FF000000FF
		first = 100 + 1_000_000<<32
		other = 1 + 10_000<<32
	)
	word = word*10 + word>>8
	return ((word&pairs)*first + (word>>16&pairs)*other) >> 32
}
