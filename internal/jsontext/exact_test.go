package jsontext

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// These tests hold the short cuts of a Writer to what they stand for, byte by
// byte.

// referenceFloat is encoding/json's way with numbers, but for the zero that it
// cuts out of some exponents.
func referenceFloat(f float64) string {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.FormatFloat(f, format, -1, 64)
}

func FuzzFloatIsShortest(f *testing.F) {
	for _, v := range []float64{0, math.Copysign(0, -1), 0.1, 0.25, -19.99, 1e-6, 1.5e-6, 9.999999e-7, 0.0000015, 123456.789012, 999999999, 999999999.999999, 1e9, math.Nextafter(1e9, 0),
		0.1 + 0.2, math.Nextafter(0.1, 1), math.Pi, 5e-324, math.MaxFloat64, 1 << 53, 16777217} {
		f.Add(math.Float64bits(v))
		f.Add(math.Float64bits(math.Nextafter(v, math.Inf(1))))
	}
	f.Fuzz(func(t *testing.T, bits uint64) {
		v := math.Float64frombits(bits)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
		if got, want := string(AppendFloat(nil, v, 64)), referenceFloat(v); got != want {
			t.Errorf("%b: got %s, want %s", v, got, want)
		}
	})
}

// TestShortFloats goes through numbers that people write, and their neighbours.
func TestShortFloats(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300_000 {
		v := float64(rnd.Int64N(1e15)>>rnd.IntN(50)) / math.Pow10(rnd.IntN(10))
		switch rnd.IntN(4) {
		case 0:
			v = math.Nextafter(v, 0)
		case 1:
			v = -v
		}
		if got, want := string(AppendFloat(nil, v, 64)), referenceFloat(v); got != want {
			t.Fatalf("%b: got %s, want %s", v, got, want)
		}
	}
}

// referenceString is the rule of the layout, one byte at a time.
func referenceString(s string) (text string, sanitized int) {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == '\uFFFD' && !strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteString("\uFFFD")
			sanitized++
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < 0x20:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String(), sanitized
}

// TestShortStrings puts every byte at every place of a string that is copied as
// words.
func TestShortStrings(t *testing.T) {
	var w Writer
	w.Reset(testBytes, testDepth, 0)
	for n := range 20 {
		for at := range n {
			for c := range 256 {
				text := bytes.Repeat([]byte("z"), n)
				text[at] = byte(c)
				w.Buf = append(w.Buf[:0], '[')
				w.WriteString(string(text))
				if want, _ := referenceString(string(text)); string(w.Buf) != "["+want {
					t.Fatalf("%q: got %s, want [%s", text, w.Buf, want)
				}
			}
		}
	}
}
