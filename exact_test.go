package papyra

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// These tests hold the encoder's short cuts to what they stand for, byte by
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
		if got, want := string(appendFloat(nil, v, 64)), referenceFloat(v); got != want {
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
		if got, want := string(appendFloat(nil, v, 64)), referenceFloat(v); got != want {
			t.Fatalf("%b: got %s, want %s", v, got, want)
		}
	}
}

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

type place struct {
	City string    `json:"city"`
	Zip  int32     `json:"zip"`
	Open bool      `json:"open"`
	At   time.Time `json:"at"`
}

type wide struct {
	place
	*embedded
	A                                  string `json:"a"`
	ANameThatIsLongerThanAnyWordCopied string
	Unicode                            string         `json:"größe"`
	Escaped                            int            `json:"<&>"`
	Nested                             place          `json:"nested"`
	Pointer                            *place         `json:"pointer"`
	Tags                               []string       `json:"tags"`
	Long                               []string       `json:"long"`
	Map                                map[string]any `json:"map"`
	Texts                              map[string]string
	Any                                any       `json:"any,omitempty"`
	Fee                                float64   `json:"fee,string"`
	Zero                               time.Time `json:"zero,omitzero"`
	Places                             []place   `json:"places"`
	ByName                             map[string]*wide
	hidden                             int
}

// TestStructsAgreeWithEncodingJSON wants of random structs, by value, by pointer
// and within other values, the very bytes of encoding/json.
func TestStructsAgreeWithEncodingJSON(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	text := func() string { return strings.Repeat("aü\"x\n", rnd.IntN(4)) + strings.Repeat("z", rnd.IntN(20)) }
	at := func() time.Time {
		zone := time.FixedZone("", 60*rnd.IntN(1440)-720*60)
		return time.Unix(rnd.Int64N(4e9), rnd.Int64N(1e9)).In(zone)
	}
	some := func() place { return place{text(), rnd.Int32(), rnd.IntN(2) == 0, at()} }
	list := func(n int) (l []string) {
		for range rnd.IntN(n) {
			l = append(l, text())
		}
		return l
	}
	var random func(depth int) wide
	random = func(depth int) wide {
		w := wide{place: some(), A: text(), ANameThatIsLongerThanAnyWordCopied: text(), Unicode: text(), Escaped: rnd.Int(), Nested: some(),
			Tags: list(4), Long: list(20), Texts: map[string]string{text(): text(), "k": text()}, Fee: float64(rnd.IntN(1e6)) / 100, hidden: 1}
		if rnd.IntN(2) == 0 {
			w.embedded = &embedded{Extra: 3}
			w.Pointer = &w.Nested
			w.Map = map[string]any{text(): 1, "x": list(3), "y": some(), "z": nil}
			w.Zero = at()
		}
		w.Any = []any{nil, 1, some(), map[string]any{"k": []any{2}}, []any{text()}, at(), list(3), time.Second}[rnd.IntN(8)]
		for range rnd.IntN(3) {
			w.Places = append(w.Places, some())
		}
		if depth < 2 {
			inner := random(depth + 1)
			w.ByName = map[string]*wide{"in": &inner, "no": nil}
		}
		return w
	}
	for range 2000 {
		w := random(0)
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(w); err != nil {
			t.Fatal(err)
		}
		text := strings.TrimSuffix(want.String(), "\n")
		for _, v := range []any{w, &w, []any{w}, map[string]*wide{"w": &w}} {
			want := text
			switch v.(type) {
			case []any:
				want = "[" + text + "]"
			case map[string]*wide:
				want = `{"w":` + text + "}"
			}
			got, err := encodePayload(t, v)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Fatalf("%T\n got %s\nwant %s", v, got, want)
			}
		}
	}
}

// TestOddTimesInStructs: what MarshalJSON refuses is refused.
func TestOddTimesInStructs(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Unix(0, 0).In(time.FixedZone("", 24*3600)), time.Unix(0, 0).In(time.FixedZone("", -24*3600)), time.Unix(0, 0).In(time.FixedZone("", 24*3600-1)), time.Unix(0, 0).In(time.FixedZone("", 90)), {},
	} {
		v := place{At: at}
		want, wrong := json.Marshal(v)
		for _, v := range []any{v, &v} {
			got, err := encodePayload(t, v)
			if (err != nil) != (wrong != nil) || err == nil && got != string(want) {
				t.Errorf("%v: got %s, %v, want %s, %v", at, got, err, want, wrong)
			}
		}
	}
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
