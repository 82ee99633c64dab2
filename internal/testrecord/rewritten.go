package testrecord

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Rewritten returns a line as a rewrite by the Python implementation leaves it: with
// the spaces and the numbers of its json module, and with ascii also with its
// escapes of all other characters.
func Rewritten(line []byte, ascii bool) []byte {
	var out bytes.Buffer
	inString := false
	for i := 0; i < len(line); {
		c := line[i]
		switch {
		case inString && c == '\\':
			out.Write(line[i : i+2])
			i += 2
			continue
		case c == '"':
			inString = !inString
		case inString && ascii && c >= 0x7f:
			r, n := utf8.DecodeRune(line[i:])
			if high, low := utf16.EncodeRune(r); r > 0xffff {
				fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
			} else {
				fmt.Fprintf(&out, `\u%04x`, r)
			}
			i += n
			continue
		case !inString && (c == ':' || c == ','):
			out.WriteByte(c)
			c = ' '
		case !inString && (c == '-' || c-'0' <= 9):
			n := bytes.IndexAny(line[i:], ",]}")
			out.WriteString(pythonNumber(string(line[i : i+n])))
			i += n
			continue
		}
		out.WriteByte(c)
		i++
	}
	return out.Bytes()
}

// pythonNumber is a number as Python writes it after it has read it.
func pythonNumber(text string) string {
	if !strings.ContainsAny(text, ".eE") {
		if text == "-0" {
			return "0"
		}
		return text
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err)
	}
	short := strconv.FormatFloat(f, 'e', -1, 64)
	_, exponent, _ := strings.Cut(short, "e")
	if n, _ := strconv.Atoi(exponent); n < -4 || n >= 16 {
		return short
	}
	if short = strconv.FormatFloat(f, 'f', -1, 64); !strings.Contains(short, ".") {
		short += ".0"
	}
	return short
}
