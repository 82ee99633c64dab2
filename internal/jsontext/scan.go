package jsontext

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// Fault says what is wrong with a JSON text.
type Fault uint8

// The faults.
const (
	NoFault     Fault = iota
	Truncated         // the text ends before the value is complete
	Malformed         // the grammar does not allow it, or it nests too deeply
	InvalidUTF8       // a byte that is not UTF-8, or half of a surrogate pair
	NULByte           // a NUL byte
)

// Scanner checks JSON text: the grammar of RFC 8259, UTF-8, whole surrogate
// pairs, and how deep the text nests. It builds nothing and allocates only for
// the detail of a fault.
//
// Each Scan method is given the position where something begins and returns the
// position behind it, or -1 after a fault. The fields say which fault it was.
type Scanner struct {
	Text   []byte
	Fault  Fault
	Pos    int    // where the fault is
	Detail string // what is wrong there, for people
	Quiet  bool   // Detail is not wanted
}

// Fail notes a fault and returns -1.
func (s *Scanner) Fail(pos int, fault Fault, detail string) int {
	s.Pos, s.Fault, s.Detail = pos, fault, detail
	return -1
}

// Unexpected notes that the grammar wants something else at i, and returns -1.
func (s *Scanner) Unexpected(i int, want string) int {
	switch {
	case i >= len(s.Text) && s.Quiet:
		return s.Fail(len(s.Text), Truncated, "")
	case i >= len(s.Text):
		return s.Fail(len(s.Text), Truncated, "ends where "+want+" should follow")
	case s.Text[i] == 0:
		return s.Fail(i, NULByte, "a NUL byte")
	case s.Text[i] >= utf8.RuneSelf:
		if r, n := utf8.DecodeRune(s.Text[i:]); r == utf8.RuneError && n == 1 {
			return s.Fail(i, InvalidUTF8, "a byte that is not UTF-8")
		}
	}
	if s.Quiet {
		return s.Fail(i, Malformed, "")
	}
	return s.Fail(i, Malformed, strconv.QuoteToASCII(string(s.Text[i:i+1]))+" where "+want+" should stand")
}

// SkipSpace returns the first position at or behind i that is not white space.
func (s *Scanner) SkipSpace(i int) int {
	for i < len(s.Text) {
		switch s.Text[i] {
		case ' ', '\t', '\r', '\n':
			i++
		default:
			return i
		}
	}
	return i
}

// plainPrefix returns how many of the eight bytes of w, from the lowest, are
// ASCII that stands for itself in a string.
func plainPrefix(w uint64) int {
	return bits.TrailingZeros64(specialBytes(w)&highBits) >> 3
}

// ScanString checks the string whose opening quote is at i. escaped says
// whether it holds an escape.
func (s *Scanner) ScanString(i int) (end int, escaped bool) {
	b := s.Text
	i++
	for {
		for i+8 <= len(b) {
			n := plainPrefix(binary.LittleEndian.Uint64(b[i:]))
			i += n
			if n < 8 {
				break
			}
		}
		if i >= len(b) {
			return s.Fail(len(b), Truncated, "ends within a string"), escaped
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			escaped = true
			if i = s.scanEscape(i); i < 0 {
				return -1, escaped
			}
		case c < 0x20:
			if c == 0 {
				return s.Fail(i, NULByte, "a NUL byte within a string"), escaped
			}
			return s.Fail(i, Malformed, "a control character within a string"), escaped
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				if !utf8.FullRune(b[i:]) {
					return s.Fail(i, Truncated, "ends within a character"), escaped
				}
				return s.Fail(i, InvalidUTF8, "a byte that is not UTF-8"), escaped
			}
			i += n
		}
	}
}

// scanEscape checks the escape whose backslash is at i.
func (s *Scanner) scanEscape(i int) int {
	b := s.Text
	if i+1 >= len(b) {
		return s.Fail(len(b), Truncated, "ends within an escape")
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		r := s.scanHex(i + 2)
		switch {
		case r < 0:
			return -1
		case r >= 0xDC00 && r <= 0xDFFF:
			return s.Fail(i, InvalidUTF8, "the second half of a surrogate pair alone")
		case r < 0xD800 || r > 0xDBFF:
			return i + 6
		}
		if i+7 < len(b) && b[i+6] == '\\' && b[i+7] == 'u' {
			low := s.scanHex(i + 8)
			if low < 0 {
				return -1
			}
			if low >= 0xDC00 && low <= 0xDFFF {
				return i + 12
			}
		}
		return s.Fail(i, InvalidUTF8, "the first half of a surrogate pair alone")
	}
	return s.Unexpected(i+1, "an escape")
}

// scanHex returns the value of four hexadecimal digits at i, or -1.
func (s *Scanner) scanHex(i int) int {
	v := 0
	for k := i; k < i+4; k++ {
		if k >= len(s.Text) {
			return s.Fail(len(s.Text), Truncated, "ends within an escape")
		}
		d := hexDigit(s.Text[k])
		if d < 0 {
			return s.Unexpected(k, "a hexadecimal digit")
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

// ScanNumber checks the number that begins at i.
func (s *Scanner) ScanNumber(i int) int {
	if i < len(s.Text) && s.Text[i] == '-' {
		i++
	}
	switch {
	case i < len(s.Text) && s.Text[i] == '0':
		i++
	default:
		if i = s.scanDigits(i); i < 0 {
			return -1
		}
	}
	if i < len(s.Text) && s.Text[i] == '.' {
		if i = s.scanDigits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(s.Text) && (s.Text[i] == 'e' || s.Text[i] == 'E') {
		i++
		if i < len(s.Text) && (s.Text[i] == '+' || s.Text[i] == '-') {
			i++
		}
		return s.scanDigits(i)
	}
	return i
}

// scanDigits wants at least one digit at i.
func (s *Scanner) scanDigits(i int) int {
	start := i
	for i < len(s.Text) && s.Text[i] >= '0' && s.Text[i] <= '9' {
		i++
	}
	if i == start {
		return s.Unexpected(i, "a digit")
	}
	return i
}

// scanWord wants true, false or null at i.
func (s *Scanner) scanWord(i int, word string) int {
	for k := range len(word) {
		if i+k >= len(s.Text) || s.Text[i+k] != word[k] {
			return s.Unexpected(i+k, word)
		}
	}
	return i + len(word)
}

// ScanValue checks the value that begins at i, where no white space stands. The
// value may open at most so many levels of objects and arrays.
func (s *Scanner) ScanValue(i, levels int) int {
	if i >= len(s.Text) {
		return s.Unexpected(i, "a value")
	}
	switch c := s.Text[i]; c {
	case '"':
		i, _ = s.ScanString(i)
		return i
	case '{':
		return s.scanObject(i, levels)
	case '[':
		return s.scanArray(i, levels)
	case 't':
		return s.scanWord(i, "true")
	case 'f':
		return s.scanWord(i, "false")
	case 'n':
		return s.scanWord(i, "null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return s.ScanNumber(i)
		}
		return s.Unexpected(i, "a value")
	}
}

func (s *Scanner) scanObject(i, levels int) int {
	if levels <= 0 {
		return s.Fail(i, Malformed, "nested too deeply")
	}
	i, more := s.FirstMember(i)
	for more {
		if i, _ = s.ScanString(i); i < 0 {
			return -1
		}
		if i = s.ScanColon(i); i < 0 {
			return -1
		}
		if i = s.ScanValue(i, levels-1); i < 0 {
			return -1
		}
		i, more = s.NextMember(i)
	}
	return i
}

// FirstMember enters the object whose opening brace is at i. With more it
// returns where the first member's name begins. Without, it returns the position
// behind the closing brace of an empty object, or -1 after a fault.
//
// The members are read with ScanString, ScanColon and ScanValue, and NextMember
// goes on behind the value.
func (s *Scanner) FirstMember(i int) (next int, more bool) {
	i = s.SkipSpace(i + 1)
	if i < len(s.Text) && s.Text[i] == '}' {
		return i + 1, false
	}
	return s.wantName(i)
}

// NextMember goes on behind a member's value, which ends at i. It returns what
// FirstMember returns.
func (s *Scanner) NextMember(i int) (next int, more bool) {
	i = s.SkipSpace(i)
	if i < len(s.Text) {
		switch s.Text[i] {
		case ',':
			return s.wantName(s.SkipSpace(i + 1))
		case '}':
			return i + 1, false
		}
	}
	return s.Unexpected(i, "a comma or a closing brace"), false
}

// wantName wants a member's name at i.
func (s *Scanner) wantName(i int) (int, bool) {
	if i < len(s.Text) && s.Text[i] == '"' {
		return i, true
	}
	return s.Unexpected(i, "a member's name"), false
}

// ScanColon wants a colon behind a member's name and returns where the value
// begins.
func (s *Scanner) ScanColon(i int) int {
	i = s.SkipSpace(i)
	if i >= len(s.Text) || s.Text[i] != ':' {
		return s.Unexpected(i, "a colon")
	}
	return s.SkipSpace(i + 1)
}

func (s *Scanner) scanArray(i, levels int) int {
	if levels <= 0 {
		return s.Fail(i, Malformed, "nested too deeply")
	}
	i = s.SkipSpace(i + 1)
	if i < len(s.Text) && s.Text[i] == ']' {
		return i + 1
	}
	for {
		if i = s.ScanValue(i, levels-1); i < 0 {
			return -1
		}
		i = s.SkipSpace(i)
		switch {
		case i < len(s.Text) && s.Text[i] == ',':
			i = s.SkipSpace(i + 1)
		case i < len(s.Text) && s.Text[i] == ']':
			return i + 1
		default:
			return s.Unexpected(i, "a comma or a closing bracket")
		}
	}
}

// Unquote returns the text of a string that was checked; raw is the string with
// its quotes. Without an escape the text aliases raw.
func Unquote(raw []byte, escaped bool) []byte {
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

// hexRune returns the value of four hexadecimal digits that were checked.
func hexRune(digits []byte) rune {
	r := rune(0)
	for _, d := range digits[:4] {
		r = r<<4 | rune(hexDigit(d))
	}
	return r
}
