package papyra

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// scanner walks over JSON text and checks it: the grammar of RFC 8259, UTF-8,
// no half of a surrogate pair, at most MaxDepth levels. It builds nothing.
type scanner struct {
	b      []byte
	pos    int // where it failed
	detail string
	class  Class
}

// fail notes the first failure and returns -1, which every method passes on.
func (s *scanner) fail(pos int, class Class, detail string) int {
	s.pos, s.class, s.detail = pos, class, detail
	return -1
}

// unexpected fails at a byte that the grammar does not allow there.
func (s *scanner) unexpected(i int, want string) int {
	switch {
	case i >= len(s.b):
		return s.fail(len(s.b), ClassTruncated, "ends where "+want+" should follow")
	case s.b[i] == 0:
		return s.fail(i, ClassNULRun, "a NUL byte")
	case s.b[i] >= utf8.RuneSelf:
		if r, n := utf8.DecodeRune(s.b[i:]); r == utf8.RuneError && n == 1 {
			return s.fail(i, ClassInvalidUTF8, "a byte that is not UTF-8")
		}
		if i == 0 && len(s.b) >= 3 && s.b[0] == 0xEF && s.b[1] == 0xBB && s.b[2] == 0xBF {
			return s.fail(0, ClassCorrupted, "a byte order mark before the record")
		}
	}
	return s.fail(i, ClassCorrupted, strconv.QuoteToASCII(string(s.b[i:i+1]))+" where "+want+" should stand")
}

// space returns the first position at or behind i that is not white space.
func (s *scanner) space(i int) int {
	for i < len(s.b) {
		switch s.b[i] {
		case ' ', '\t', '\r', '\n':
			i++
		default:
			return i
		}
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain returns how many of the eight bytes of w, from the lowest, are ASCII
// that stands for itself in a string: not below 0x20, not '"', not '\'.
func plain(w uint64) int {
	// A byte's high bit is set where the byte is above 0x7f, below 0x20, or
	// becomes zero by the xor; borrows only disturb bytes behind the first hit.
	special := w | (w - ones*0x20) | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones)
	return bits.TrailingZeros64(special&highs) >> 3
}

// str checks a string whose opening quote is at i, and returns the position
// behind its closing quote. escaped says whether it holds an escape.
func (s *scanner) str(i int) (end int, escaped bool) {
	b := s.b
	i++
	for {
		for i+8 <= len(b) {
			n := plain(binary.LittleEndian.Uint64(b[i:]))
			i += n
			if n < 8 {
				break
			}
		}
		if i >= len(b) {
			return s.fail(len(b), ClassTruncated, "ends within a string"), escaped
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			escaped = true
			if i = s.escape(i); i < 0 {
				return -1, escaped
			}
		case c < 0x20:
			if c == 0 {
				return s.fail(i, ClassNULRun, "a NUL byte within a string"), escaped
			}
			return s.fail(i, ClassCorrupted, "a control character within a string"), escaped
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				if !utf8.FullRune(b[i:]) {
					return s.fail(i, ClassTruncated, "ends within a character"), escaped
				}
				return s.fail(i, ClassInvalidUTF8, "a byte that is not UTF-8"), escaped
			}
			i += n
		}
	}
}

// escape checks the escape at i and returns the position behind it.
func (s *scanner) escape(i int) int {
	b := s.b
	if i+1 >= len(b) {
		return s.fail(len(b), ClassTruncated, "ends within an escape")
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		r := s.hex4(i + 2)
		switch {
		case r < 0:
			return -1
		case r >= 0xDC00 && r <= 0xDFFF:
			return s.fail(i, ClassInvalidUTF8, "the second half of a surrogate pair alone")
		case r < 0xD800 || r > 0xDBFF:
			return i + 6
		}
		if i+7 < len(b) && b[i+6] == '\\' && b[i+7] == 'u' {
			low := s.hex4(i + 8)
			if low < 0 {
				return -1
			}
			if low >= 0xDC00 && low <= 0xDFFF {
				return i + 12
			}
		}
		return s.fail(i, ClassInvalidUTF8, "the first half of a surrogate pair alone")
	}
	return s.unexpected(i+1, "an escape")
}

// hex4 returns the value of four hexadecimal digits at i.
func (s *scanner) hex4(i int) int {
	v := 0
	for k := i; k < i+4; k++ {
		if k >= len(s.b) {
			return s.fail(len(s.b), ClassTruncated, "ends within an escape")
		}
		d := hexDigit(s.b[k])
		if d < 0 {
			return s.unexpected(k, "a hexadecimal digit")
		}
		v = v<<4 | d
	}
	return v
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// number checks the number at i and returns the position behind it.
func (s *scanner) number(i int) int {
	if i < len(s.b) && s.b[i] == '-' {
		i++
	}
	switch {
	case i < len(s.b) && s.b[i] == '0':
		i++
	default:
		if i = s.digits(i); i < 0 {
			return -1
		}
	}
	if i < len(s.b) && s.b[i] == '.' {
		if i = s.digits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(s.b) && (s.b[i] == 'e' || s.b[i] == 'E') {
		i++
		if i < len(s.b) && (s.b[i] == '+' || s.b[i] == '-') {
			i++
		}
		return s.digits(i)
	}
	return i
}

// digits wants at least one.
func (s *scanner) digits(i int) int {
	start := i
	for i < len(s.b) && s.b[i] >= '0' && s.b[i] <= '9' {
		i++
	}
	if i == start {
		return s.unexpected(i, "a digit")
	}
	return i
}

func (s *scanner) word(i int, word string) int {
	for k := range len(word) {
		if i+k >= len(s.b) || s.b[i+k] != word[k] {
			return s.unexpected(i+k, word)
		}
	}
	return i + len(word)
}

// value checks the value that begins at i, which is no white space, and
// returns the position behind it. depth is how many levels are open.
func (s *scanner) value(i, depth int) int {
	if i >= len(s.b) {
		return s.unexpected(i, "a value")
	}
	switch c := s.b[i]; c {
	case '"':
		i, _ = s.str(i)
		return i
	case '{':
		return s.object(i, depth+1)
	case '[':
		return s.array(i, depth+1)
	case 't':
		return s.word(i, "true")
	case 'f':
		return s.word(i, "false")
	case 'n':
		return s.word(i, "null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return s.number(i)
		}
		return s.unexpected(i, "a value")
	}
}

func (s *scanner) object(i, depth int) int {
	if depth > MaxDepth {
		return s.fail(i, ClassCorrupted, "nested too deeply")
	}
	i = s.space(i + 1)
	if i < len(s.b) && s.b[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(s.b) || s.b[i] != '"' {
			return s.unexpected(i, "a member's name")
		}
		if i, _ = s.str(i); i < 0 {
			return -1
		}
		if i = s.colon(i); i < 0 {
			return -1
		}
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		i = s.space(i)
		switch {
		case i < len(s.b) && s.b[i] == ',':
			i = s.space(i + 1)
		case i < len(s.b) && s.b[i] == '}':
			return i + 1
		default:
			return s.unexpected(i, "a comma or a closing brace")
		}
	}
}

// colon expects one behind a member's name and returns where the value begins.
func (s *scanner) colon(i int) int {
	i = s.space(i)
	if i >= len(s.b) || s.b[i] != ':' {
		return s.unexpected(i, "a colon")
	}
	return s.space(i + 1)
}

func (s *scanner) array(i, depth int) int {
	if depth > MaxDepth {
		return s.fail(i, ClassCorrupted, "nested too deeply")
	}
	i = s.space(i + 1)
	if i < len(s.b) && s.b[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		i = s.space(i)
		switch {
		case i < len(s.b) && s.b[i] == ',':
			i = s.space(i + 1)
		case i < len(s.b) && s.b[i] == ']':
			return i + 1
		default:
			return s.unexpected(i, "a comma or a closing bracket")
		}
	}
}

// unquote returns the text of a checked string, quotes included in raw. It
// aliases raw where there is no escape.
func unquote(raw []byte, escaped bool) []byte {
	text := raw[1 : len(raw)-1]
	if !escaped {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out = append(out, text[i])
			continue
		}
		i++
		switch c := text[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hexRune(text[i+1:])
			i += 4
			if r >= 0xD800 && r <= 0xDBFF {
				r = (r-0xD800)<<10 + hexRune(text[i+3:]) - 0xDC00 + 0x10000
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return out
}

func hexRune(digits []byte) rune {
	r := rune(0)
	for _, d := range digits[:4] {
		r = r<<4 | rune(hexDigit(d))
	}
	return r
}
