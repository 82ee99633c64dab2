package papyra

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/papyra/papyra/internal/checksum"
	"github.com/papyra/papyra/internal/jsontext"
)

// A rewrite by the Python implementation parses a line and dumps it anew. Members
// and their order stay, spaces and some spellings do not:
//
//	sealed     …"s":"é","n":0.00001,"timestamp":1700000000.0,…,"crc":"fa2aaeff"}
//	rewritten  …"s": "\u00e9", "n": 1e-05, "timestamp": 1700000000.0, …, "crc": "fa2aaeff"}
//
// The canonical forms take that back. The checksum is then right if nothing else
// has changed.

// canonicalLine returns the sealed line that was rewritten as line, or nil if no
// canonical form of line verifies. The line need not be a record.
func canonicalLine(line []byte) []byte {
	form, ok := appendCanonical(make([]byte, 0, len(line)), line)
	if !ok {
		return nil
	}
	if CheckSeal(form) {
		return form
	}
	if form = appendOwnNumbers(make([]byte, 0, len(form)+16), form); CheckSeal(form) {
		return form
	}
	return nil
}

// appendCanonical appends the first canonical form of a line: no spaces outside of
// strings, and raw UTF-8 where the line has an escape of a character from U+007F
// up. False means that the line has an escape that a rewrite does not make.
func appendCanonical(dst, line []byte) ([]byte, bool) {
	inString := false
	for i := 0; i < len(line); {
		switch c := line[i]; {
		case inString && c == '\\':
			more, n, ok := appendUnescaped(dst, line[i:])
			if !ok {
				return dst, false
			}
			dst, i = more, i+n
			continue
		case c == '"':
			inString = !inString
			dst = append(dst, c)
		case inString || c != ' ':
			dst = append(dst, c)
		}
		i++
	}
	return dst, true
}

// appendUnescaped appends what the escape at the beginning of text stands for, if
// that is a character from U+007F up, and otherwise the escape as it is. n is how
// long the escape is. False means that it is none of those that a rewrite makes.
func appendUnescaped(dst, text []byte) (out []byte, n int, ok bool) {
	if len(text) < 2 {
		return dst, 0, false
	}
	if text[1] != 'u' {
		return append(dst, text[:2]...), 2, true
	}
	r, ok := readEscape(text)
	switch {
	case !ok:
		return dst, 0, false
	case r < 0x7f:
		return append(dst, text[:6]...), 6, true
	case !utf16.IsSurrogate(r):
		return utf8.AppendRune(dst, r), 6, true
	}
	low, _ := readEscape(text[6:])
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return dst, 0, false
	}
	return utf8.AppendRune(dst, r), 12, true
}

// readEscape reads an escape of the form \uXXXX with lower-case digits, as a
// rewrite writes them: of another spelling some bit was flipped.
func readEscape(text []byte) (r rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, c := range text[2:6] {
		switch {
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// appendOwnNumbers appends the second canonical form of a line that has the first:
// numbers with an exponent are spelled as the Encoder spells them.
func appendOwnNumbers(dst, line []byte) []byte {
	inString := false
	for i := 0; i < len(line); {
		c := line[i]
		switch {
		case inString && c == '\\':
			dst = append(dst, c)
			i++ // what is escaped is no quote
			if i == len(line) {
				return dst
			}
			c = line[i]
		case c == '"':
			inString = !inString
		case !inString && (c == '-' || c-'0' <= 9):
			end := i + 1
			for end < len(line) && numberByte(line[end]) {
				end++
			}
			dst = appendOwnNumber(dst, line[i:end])
			i = end
			continue
		}
		dst = append(dst, c)
		i++
	}
	return dst
}

func numberByte(c byte) bool { return c-'0' <= 9 || c == '.' || c == 'e' || c == '-' || c == '+' }

// appendOwnNumber appends a number as the Encoder spells it. A rewrite spells
// others only where it takes an exponent and the Encoder does not; a number whose
// spelling is none of a rewrite stays as it is.
func appendOwnNumber(dst, number []byte) []byte {
	if bytes.IndexByte(number, 'e') < 0 {
		return append(dst, number...)
	}
	f, err := strconv.ParseFloat(string(number), 64)
	if err != nil || string(strconv.AppendFloat(nil, f, 'e', -1, 64)) != string(number) {
		return append(dst, number...)
	}
	return jsontext.AppendFloat(dst, f, 64)
}

// Unverified reports whether the record has an identity that no checksum vouches
// for: a rewrite by the Python implementation has changed more of its line than
// its canonical forms take back, or the line is damaged.
func (r *Record) Unverified() bool { return r.HasIdentity() && !r.Sealed }

// Canonical returns the line of the record as its publisher sealed it. That is the
// line itself, but for one that the Python implementation has rewritten. Two
// records are copies of one if their canonical lines are equal.
func (r *Record) Canonical() []byte {
	if !r.Sealed || hasSealTail(r.Line) {
		return r.Line
	}
	if line := canonicalLine(r.Line); line != nil {
		return line
	}
	return r.Line
}

// hasSealTail reports whether a sealed line has the spelling of a seal, and not
// that of a rewrite.
func hasSealTail(line []byte) bool {
	at := len(line) - checksum.TailLen
	return at >= 0 && checksum.HasTail(line[at:])
}
