package papyra

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
)

// These tests hold the encoder's short cuts to what they stand for, byte by
// byte.

// TestNumberAndChecksum holds the tail of a line for every length of number.
func TestNumberAndChecksum(t *testing.T) {
	var e Encoder
	if err := e.Audit(testIdentity(t), "orders", &Audit{}, testNow); err != nil {
		t.Fatal(err)
	}
	check := func(seq uint64) {
		line := string(e.AppendLine(nil, seq))
		body, crc, _ := strings.Cut(line, `,"crc":"`)
		if want := fmt.Sprintf("%08x\"}\n", e32(body)); crc != want || !strings.HasSuffix(body, fmt.Sprintf(`,"seq":%d`, seq)) {
			t.Errorf("number %d: got %s, want the checksum %s", seq, line, want)
		}
		if len(line) != e.Len(seq) {
			t.Errorf("number %d: Len is %d, the line has %d bytes", seq, e.Len(seq), len(line))
		}
	}
	for power := uint64(1); ; power *= 10 {
		for _, seq := range []uint64{power - 1, power, power + 1, 2*power - 1} {
			check(seq)
		}
		if power == 1e19 {
			break
		}
	}
	for shift := range 64 {
		check(1 << shift)
		check(1<<shift - 1)
	}
	check(math.MaxUint64)
}

// e32 is CRC-32C, bit by bit.
func e32(s string) uint32 {
	crc := ^uint32(0)
	for i := range len(s) {
		crc ^= uint32(s[i])
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78&-(crc&1)
		}
	}
	return ^crc
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

// FuzzStringLayout writes a string in every place that has a short cut of its
// own: a name, a type, a field's name and value, a member of a map, a system.
func FuzzStringLayout(f *testing.F) {
	for _, s := range []string{"", "a", "abc", "abcd", "abcdefg", "abcdefgh", "abcdefghi", "0123456789abcdef", "0123456789abcdefg", strings.Repeat("x", 100),
		"a\"b", "\\", "\x00\x1f\b\f\n\r\t", "abcdefg\"", "\"bcdefgh", "é", "abcdefgé", "\xff", "abcdefg\xff", "\xed\xa0\x80", "\uFFFD", "\u2028<&>", "abcdefgh\x7f", strings.Repeat("y", 31) + "\n"} {
		f.Add(s, s)
	}
	id := testIdentity(f)
	var used Encoder // by all, one after the other
	f.Fuzz(func(t *testing.T, s, system string) {
		if len(s)+len(system) > 1000 {
			return
		}
		text, bad := referenceString(s)
		sys, sysBad := referenceString(system)
		inner := text[1 : len(text)-1]
		for _, c := range []struct {
			address string
			actor   Address
			bad     int
		}{
			{sys[:len(sys)-1] + ":" + inner + `"`, Address{Name: s}, sysBad + bad},
			{sys[:len(sys)-1] + ":" + inner + `"`, Address{System: system, Name: s}, sysBad + bad},
			{`{"system":` + sys + `,"actor_id":-7}`, Address{ID: -7}, sysBad},
			{text[:len(text)-1] + `:n"`, Address{System: s, Name: "n"}, bad},
			{`{"system":` + text + `,"actor_id":12345}`, Address{System: s, ID: 12345}, bad},
		} {
			if c.actor.Name == "" && (c.actor.System == s && s == "" || s == "" && c.actor.ID == 0) ||
				c.actor.System == "" && c.actor.Name == "n" || c.actor.Name == s && s == "" {
				continue // an address of another form
			}
			ev := Event{Actor: c.actor, Type: s, Payload: map[string]any{s: []string{s}}}
			fields := []slog.Attr{slog.String(s, s), slog.Any(s, s)}
			want := `{"kind":"event","system_id":` + sys + `,"actor_address":` + c.address + `,"event_type":` + text +
				`,"payload":{` + text + `:` + text + `,` + text + `:` + text + `,"value":{` + text + `:[` + text + `]}},"timestamp":1700000000.123456`
			var fresh Encoder
			for range 2 { // without a head and with one
				for _, e := range []*Encoder{&fresh, &used} {
					if err := e.Event(id, system, &ev, fields, testNow); err != nil {
						t.Fatal(err)
					}
					line := e.AppendLine(nil, 3)
					if got, _, _ := bytes.Cut(line, []byte(`,"node":"eu-1"`)); string(got) != want {
						t.Fatalf("got  %s\nwant %s", got, want)
					}
					if got, want := e.Sanitized(), sysBad+c.bad+7*bad; got != want {
						t.Fatalf("%s: %d bytes replaced, want %d", line, got, want)
					}
					if !CheckSeal(bytes.TrimSuffix(line, []byte("\n"))) {
						t.Fatalf("%s: the seal is wrong", line)
					}
				}
			}
		}
	})
}

type deepest struct {
	V any      `json:"v"`
	L []string `json:"l"`
}

// TestDepthIsExact: a record that the encoder writes is one that a sink takes,
// whatever lies at the bottom.
func TestDepthIsExact(t *testing.T) {
	for _, bottom := range []any{1, []string{"x"}, []any{}, map[string]any{}, map[string]int{}, struct{}{}, []slog.Attr{}, [0]int{}, deepest{L: []string{"x"}}, &deepest{V: []string{}}} {
		deep := bottom
		fits := 0
		for n := range MaxDepth + 2 {
			_, err := encodePayload(t, deep) // parses what comes out
			switch {
			case err == nil:
				fits = n
			case !errors.Is(err, ErrEncode):
				t.Errorf("%T below %d lists: %v", bottom, n, err)
			}
			deep = []any{deep}
		}
		if fits < MaxDepth-4 || fits > MaxDepth-1 {
			t.Errorf("%T is written below up to %d lists", bottom, fits)
		}
	}
}
