// Package escape writes as text what may be any bytes.
//
// Ids as parts of subjects and keys ([Encode]): each byte of a set becomes =HH, with
// upper-case digits. The set must hold "=". Then the encoding is reversible, and no
// two ids share one.
//
// Names of files ([EncodeName]): a byte that is not UTF-8 becomes \xHH.
package escape

import "strings"

const upperHex = "0123456789ABCDEF"

// Encode returns id with every byte of the set escaped.
func Encode(id string, inSet func(byte) bool) string {
	n := 0
	for i := range len(id) {
		if inSet(id[i]) {
			n++
		}
	}
	if n == 0 {
		return id
	}
	out := make([]byte, 0, len(id)+2*n)
	for i := range len(id) {
		if b := id[i]; inSet(b) {
			out = append(out, '=', upperHex[b>>4], upperHex[b&15])
		} else {
			out = append(out, b)
		}
	}
	return string(out)
}

// Decode is the reverse of [Encode]. Where text is not what Encode makes of any
// id, bad is the place of the first byte that is wrong; otherwise it is -1.
func Decode(text string, inSet func(byte) bool) (id string, bad int) {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		b := text[i]
		if !inSet(b) {
			out = append(out, b)
			continue
		}
		if b != '=' || i+2 >= len(text) {
			return "", i
		}
		high, low := strings.IndexByte(upperHex, text[i+1]), strings.IndexByte(upperHex, text[i+2])
		if high < 0 || low < 0 || !inSet(byte(high<<4|low)) {
			return "", i
		}
		out = append(out, byte(high<<4|low))
		i += 2
	}
	return string(out), -1
}
