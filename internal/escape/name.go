package escape

import (
	"strings"
	"unicode/utf8"
)

const lowerHex = "0123456789abcdef"

// EncodeName returns the name of a file, or a path, as text: a byte that is not
// UTF-8 becomes \xHH, with lower-case digits, and a backslash in front of what would
// read as one becomes \x5c. All else stays, so that a name of UTF-8 is nearly always
// its own text. The encoding is reversible, and no two names share one.
func EncodeName(name string) string { return encodeName(name, true) }

// ValidName is [EncodeName] of what may be text already: \xHH stays as it is.
func ValidName(text string) string { return encodeName(text, false) }

// DecodeName is the reverse of [EncodeName]. It takes any text, and a byte that is not UTF-8
// as itself.
func DecodeName(text string) string {
	if !strings.Contains(text, `\x`) {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		b, ok := spelledByte(text[i:])
		if ok {
			i += len(`\xff`) - 1
		} else {
			b = text[i]
		}
		out = append(out, b)
	}
	return string(out)
}

func encodeName(s string, backslash bool) string {
	if utf8.ValidString(s) && (!backslash || !strings.Contains(s, `\x`)) {
		return s
	}
	out := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		escaped := r == utf8.RuneError && n == 1
		if r == '\\' && backslash {
			_, escaped = spelledByte(s[i:])
		}
		if escaped {
			out = append(out, '\\', 'x', lowerHex[s[i]>>4], lowerHex[s[i]&15])
		} else {
			out = append(out, s[i:i+n]...)
		}
		i += n
	}
	return string(out)
}

// spelledByte returns the byte that s begins with as EncodeName spells it.
func spelledByte(s string) (b byte, ok bool) {
	if len(s) < len(`\xff`) || s[:2] != `\x` {
		return 0, false
	}
	high, low := strings.IndexByte(lowerHex, s[2]), strings.IndexByte(lowerHex, s[3])
	if high < 0 || low < 0 {
		return 0, false
	}
	b = byte(high<<4 | low)
	return b, b >= utf8.RuneSelf || b == '\\'
}
