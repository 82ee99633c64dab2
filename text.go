package papyra

import (
	"encoding/binary"
	"unicode/utf8"
)

func (e *Encoder) strings(list []string) {
	if !e.push() {
		return
	}
	e.buf = append(e.buf, '[')
	for i, s := range list {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		if e.str(s); e.err != nil {
			return
		}
	}
	e.buf = append(e.buf, ']')
	e.pop()
}

func (e *Encoder) stringsOrNull(list []string) {
	if list == nil {
		e.raw("null")
		return
	}
	e.strings(list)
}

// str writes a string with its quotes.
func (e *Encoder) str(s string) {
	b, n := e.buf, len(s)
	if at := len(b) + 1; n > 0 && n <= 16 && cap(b)-at > 16 {
		// One word, or two that overlap, checked and copied at once.
		var lo, hi, found uint64
		switch {
		case n >= 8:
			lo, hi = load64(s, 0), load64(s, n-8)
			found = special(lo) | special(hi)
		case n >= 4:
			lo = uint64(load32(s, 0)) | uint64(load32(s, n-4))<<(8*(n-4)&63)
			found = special(lo | ones*' '<<(8*n&63))
		default:
			lo = uint64(s[0]) | uint64(s[n/2])<<(8*(n/2)&63) | uint64(s[n-1])<<(8*(n-1)&63)
			found = special(lo | ones*' '<<(8*n&63))
		}
		if found&highs == 0 {
			b = b[:at+n+1]
			b[at-1] = '"'
			binary.LittleEndian.PutUint64(b[at:at+8], lo)
			if n >= 8 {
				binary.LittleEndian.PutUint64(b[at+n-8:], hi)
			}
			b[at+n] = '"'
			e.buf = b
			return
		}
	}
	if allPlain(s) && len(b)+n <= MaxPublishedLine {
		e.buf = append(append(append(b, '"'), s...), '"')
		return
	}
	e.buf = append(e.buf, '"')
	e.text(s)
	e.buf = append(e.buf, '"')
}

// allPlain reports whether every byte of s is ASCII that stands for itself.
func allPlain(s string) bool {
	n := len(s)
	switch {
	case n >= 8:
		found := special(load64(s, n-8))
		for i := 0; i+8 < n; i += 8 {
			if found |= special(load64(s, i)); found&highs != 0 {
				return false
			}
		}
		return found&highs == 0
	case n >= 4: // two loads that overlap
		return special(uint64(load32(s, 0))|uint64(load32(s, n-4))<<32)&highs == 0
	}
	for i := range n {
		if c := s[i]; c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// special returns a word in which the high bit of a byte is set if one of the
// eight bytes of w does not stand for itself, and of none otherwise.
func special(w uint64) uint64 {
	// The high bit is set where the byte is above 0x7f, below 0x20, or becomes
	// zero by the xor.
	return w | (w - ones*0x20) | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones)
}

// text writes the inside of a string: it escapes '"', '\' and bytes below
// 0x20, replaces what is not UTF-8 and copies all else.
func (e *Encoder) text(s string) {
	if !e.room(len(s)) {
		return
	}
	if allPlain(s) {
		e.raw(s)
		return
	}
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			e.buf = append(e.buf, s[start:i]...)
			e.escape(c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			e.buf = append(e.buf, s[start:i]...)
			e.buf = append(e.buf, "\uFFFD"...)
			e.sanitized++
			i++
			start = i
			continue
		}
		i += n
	}
	e.buf = append(e.buf, s[start:]...)
}

// load64 reads eight bytes of s; the compiler makes one load of it.
func load64(s string, i int) uint64 {
	_ = s[i+7]
	return uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
		uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
}

func load32(s string, i int) uint32 {
	_ = s[i+3]
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
}

func (e *Encoder) escape(c byte) {
	switch c {
	case '"', '\\':
		e.buf = append(e.buf, '\\', c)
	case '\n':
		e.buf = append(e.buf, '\\', 'n')
	case '\r':
		e.buf = append(e.buf, '\\', 'r')
	case '\t':
		e.buf = append(e.buf, '\\', 't')
	case '\b':
		e.buf = append(e.buf, '\\', 'b')
	case '\f':
		e.buf = append(e.buf, '\\', 'f')
	default:
		e.buf = append(e.buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}
