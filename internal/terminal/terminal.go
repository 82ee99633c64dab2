// Package terminal makes text of strangers harmless for a terminal and a line of
// a log: what comes from records, files, flags or other processes may hold
// anything.
package terminal

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape returns s fit to be shown to people. It may hold terminal
// sequences, line ends that forge a row, marks that reverse the reading order. Everything that is
// not a visible character or a space is written as an escape: \n, \x1b, \u202e,
// \U000e0001; a byte that is not UTF-8 as \xff. A backslash stays as it is, so
// that JSON remains readable; the result is for eyes, not for parsing.
func Escape(s string) string {
	i := 0
	for i < len(s) && s[i] >= 0x20 && s[i] < 0x7f {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	b.WriteString(s[:i])
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			writeHex(&b, `\x`, uint32(s[i]), 2)
		case visible(r):
			b.WriteString(s[i : i+n])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			writeHex(&b, `\x`, uint32(r), 2)
		case r < 0x10000:
			writeHex(&b, `\u`, uint32(r), 4)
		default:
			writeHex(&b, `\U`, uint32(r), 8)
		}
		i += n
	}
	return b.String()
}

// EscapeCut is [Escape] of the beginning of s, at most about limit bytes of it
// and at least enough to fill that many columns or to be cut to them: a payload
// of a megabyte is not escaped for eighty columns.
func EscapeCut(s string, limit int) string {
	// A column takes at most four bytes of input, but for marks that combine.
	if most := 16 * limit; limit > 0 && len(s) > most {
		cut := most
		for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return Escape(s[:cut]) + "…"
	}
	return Escape(s)
}

// visible reports whether a terminal shows r as itself: a letter, mark, number,
// punctuation, symbol or space, and none of the characters that are made to be
// ignored in display or show nothing: with one of them "papyra" and another name
// would look the same.
func visible(r rune) bool {
	switch r {
	case 0x2800, 0x16fe4, 0x1d159: // a blank of Braille, a filler of Khitan, a null note head
		return false
	}
	return unicode.IsGraphic(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// AppendJSON appends a valid JSON text in which the characters that Escape would
// not show are \u escapes: the same JSON value, safe on a terminal.
func AppendJSON(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		if c := text[i]; c < 0x7f {
			dst = append(dst, c) // JSON has controls only between its tokens: harmless
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case visible(r):
			dst = append(dst, text[i:i+n]...)
		case r < 0x10000:
			dst = appendHex(append(dst, `\u`...), uint32(r), 4)
		default:
			r -= 0x10000
			dst = appendHex(append(dst, `\u`...), 0xd800+uint32(r>>10), 4)
			dst = appendHex(append(dst, `\u`...), 0xdc00+uint32(r&0x3ff), 4)
		}
		i += n
	}
	return dst
}

func writeHex(b *strings.Builder, prefix string, v uint32, digits int) {
	b.WriteString(prefix)
	b.Write(appendHex(nil, v, digits))
}

func appendHex(dst []byte, v uint32, digits int) []byte {
	s := strconv.FormatUint(uint64(v), 16)
	for range digits - len(s) {
		dst = append(dst, '0')
	}
	return append(dst, s...)
}
