package jsontext

import (
	"encoding/binary"
	"unicode/utf8"
)

// WriteStrings writes an array of strings.
func (w *Writer) WriteStrings(list []string) {
	if !w.openArray() {
		return
	}
	for i, s := range list {
		if i > 0 {
			w.Buf = append(w.Buf, ',')
		}
		if w.WriteString(s); w.err != nil {
			return
		}
	}
	w.closeArray()
}

// writeStringsOrNull is WriteStrings, but null for a nil list.
func (w *Writer) writeStringsOrNull(list []string) {
	if list == nil {
		w.WriteRaw("null")
		return
	}
	w.WriteStrings(list)
}

// WriteString writes a string with its quotes.
func (w *Writer) WriteString(s string) {
	b, n := w.Buf, len(s)
	if at := len(b) + 1; n > 0 && n <= 16 && cap(b)-at > 16 {
		// The text is one word, or two that overlap. It is checked and copied as
		// words; spaces fill up a word that is not whole.
		var lo, hi, found uint64
		switch {
		case n >= 8:
			lo, hi = load64(s, 0), load64(s, n-8)
			found = specialBytes(lo) | specialBytes(hi)
		case n >= 4:
			lo = uint64(load32(s, 0)) | uint64(load32(s, n-4))<<(8*(n-4)&63)
			found = specialBytes(lo | eachByte*' '<<(8*n&63))
		default:
			lo = uint64(s[0]) | uint64(s[n/2])<<(8*(n/2)&63) | uint64(s[n-1])<<(8*(n-1)&63)
			found = specialBytes(lo | eachByte*' '<<(8*n&63))
		}
		if found&highBits == 0 {
			b = b[:at+n+1]
			b[at-1] = '"'
			binary.LittleEndian.PutUint64(b[at:at+8], lo)
			if n >= 8 {
				binary.LittleEndian.PutUint64(b[at+n-8:], hi)
			}
			b[at+n] = '"'
			w.Buf = b
			return
		}
	}
	if isPlain(s) && len(b)+n <= w.maxBytes {
		w.Buf = append(append(append(b, '"'), s...), '"')
		return
	}
	w.Buf = append(w.Buf, '"')
	w.WriteText(s)
	w.Buf = append(w.Buf, '"')
}

// isPlain reports whether every byte of s is ASCII that stands for itself.
func isPlain(s string) bool {
	n := len(s)
	switch {
	case n >= 8:
		found := specialBytes(load64(s, n-8))
		for i := 0; i+8 < n; i += 8 {
			if found |= specialBytes(load64(s, i)); found&highBits != 0 {
				return false
			}
		}
		return found&highBits == 0
	case n >= 4: // two loads that overlap
		return specialBytes(uint64(load32(s, 0))|uint64(load32(s, n-4))<<32)&highBits == 0
	}
	for i := range n {
		if c := s[i]; c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// specialBytes finds the bytes of a word that do not stand for themselves in a
// string: those below 0x20, '"', '\' and those above 0x7f. The high bit of the
// first such byte is set in the result. Of the bytes before it, and of all bytes
// where there is none, no high bit is set.
func specialBytes(w uint64) uint64 {
	// The high bit is set where the byte is above 0x7f, below 0x20, or becomes
	// zero by the xor. A borrow only disturbs bytes behind the first hit.
	return w | (w - eachByte*0x20) | ((w ^ eachByte*'"') - eachByte) | ((w ^ eachByte*'\\') - eachByte)
}

// WriteText writes the inside of a string: it escapes '"', '\' and bytes below
// 0x20, replaces what is not UTF-8 and copies all else.
func (w *Writer) WriteText(s string) {
	if !w.HasRoom(len(s)) {
		return
	}
	if isPlain(s) {
		w.WriteRaw(s)
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
			w.Buf = append(w.Buf, s[start:i]...)
			w.writeEscaped(c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			w.Buf = append(w.Buf, s[start:i]...)
			w.Buf = append(w.Buf, "\uFFFD"...)
			w.Sanitized++
			i++
			start = i
			continue
		}
		i += n
	}
	w.Buf = append(w.Buf, s[start:]...)
}

// load64 reads eight bytes of s. The compiler makes one load of it.
func load64(s string, i int) uint64 {
	_ = s[i+7]
	return uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
		uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
}

// load32 reads four bytes of s.
func load32(s string, i int) uint32 {
	_ = s[i+3]
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
}

// writeEscaped writes a character that must not stand in a string as it is.
func (w *Writer) writeEscaped(c byte) {
	switch c {
	case '"', '\\':
		w.Buf = append(w.Buf, '\\', c)
	case '\n':
		w.Buf = append(w.Buf, '\\', 'n')
	case '\r':
		w.Buf = append(w.Buf, '\\', 'r')
	case '\t':
		w.Buf = append(w.Buf, '\\', 't')
	case '\b':
		w.Buf = append(w.Buf, '\\', 'b')
	case '\f':
		w.Buf = append(w.Buf, '\\', 'f')
	default:
		w.Buf = append(w.Buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

const hexDigits = "0123456789abcdef"
