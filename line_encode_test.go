package papyra

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func testIdentity(t testing.TB) *Identity {
	t.Helper()
	id, err := NewIdentityRun("eu-1", "k3f9x2ab7q04mzt1")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

var testNow = time.UnixMicro(1700000000123456)

// encodePayload returns the payload that an event with this value has.
func encodePayload(t testing.TB, v any) (string, error) {
	t.Helper()
	var e Encoder
	if err := e.Event(testIdentity(t), "orders", &Event{Type: "T", Payload: v}, nil, testNow); err != nil {
		return "", err
	}
	line := e.AppendLine(nil, 1)
	if len(line) != e.Len(1) {
		t.Errorf("Len = %d, the line has %d bytes", e.Len(1), len(line))
	}
	rec, err := Parse(bytes.TrimSuffix(line, []byte("\n")))
	if err != nil {
		t.Fatalf("own line does not parse: %v\n%s", err, line)
	}
	if !rec.Sealed {
		t.Errorf("own line is not sealed: %s", line)
	}
	return string(rec.Payload), nil
}

// TestLayout holds the exact bytes of version 1.
func TestLayout(t *testing.T) {
	want := []string{
		`{"kind":"event","system_id":"orders","actor_address":{"system":"orders","actor_id":42},"event_type":"ActorCrashed","payload":{"error":"ValueError: bad input"},"timestamp":1700000000.123456,"node":"eu-1","run":"k3f9x2ab7q04mzt1","seq":17,"crc":"`,
		`{"kind":"audit","system_id":"orders","timestamp":1700000000.123456,"total_actors":10,"alive_actors":9,"stopping_actors":1,"restarting_actors":0,"registry_size":3,"registry_orphans":["a"],"registry_dead":[],"dead_letters_count":2,"node":"eu-1","run":"k3f9x2ab7q04mzt1","seq":1,"crc":"`,
		`{"kind":"dead_letter","system_id":"orders","target":null,"message_type":"PaymentRequest","payload":{"amount":3},"timestamp":1700000000.123456,"node":"eu-1","run":"k3f9x2ab7q04mzt1","seq":2,"crc":"`,
		`{"kind":"report","system_id":"orders","report":"PublisherReport","payload":{"final":true,"uptime":0,"categories":null},"timestamp":1700000000.123456,"node":"eu-1","run":"k3f9x2ab7q04mzt1","seq":3,"crc":"`,
	}
	for i, line := range sealedLines(t) {
		if got := line[:len(line)-10]; got != want[i] {
			t.Errorf("line %d\n got %s\nwant %s", i, got, want[i])
		}
		if !CheckSeal([]byte(line)) {
			t.Errorf("line %d: the seal does not verify", i)
		}
	}
}

func TestTimestamps(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Unix(1700000000, 0), "1700000000.0"},
		{time.Unix(1700000000, 500_000_000), "1700000000.5"},
		{time.UnixMicro(1700000000000001), "1700000000.000001"},
		{time.UnixMicro(1700000000100000), "1700000000.1"},
		{time.UnixMicro(1700000000123450), "1700000000.12345"},
		{time.Unix(-5, 0), "0.0"},
		{time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC), "253402300799.999999"},
	} {
		var e Encoder
		if err := e.Event(testIdentity(t), "orders", &Event{Type: "T", Time: c.at}, nil, testNow); err != nil {
			t.Fatal(err)
		}
		line := string(e.AppendLine(nil, 1))
		if !strings.Contains(line, `,"timestamp":`+c.want+`,"node"`) {
			t.Errorf("%v: want %s in %s", c.at, c.want, line)
		}
		rec, err := Parse([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil {
			t.Errorf("%v: %v", c.at, err)
		}
		if us := c.at.UnixMicro(); us > 0 && us < maxTime && rec.Time != us {
			t.Errorf("%v: read back as %d", c.at, rec.Time)
		}
	}
}

type lazy struct{}

func (lazy) LogValue() slog.Value { return slog.GroupValue(slog.Int("lazy", 1)) }

func TestFields(t *testing.T) {
	var e Encoder
	ev := Event{Actor: Address{System: "o", Name: "a\"b"}, Type: "T", Payload: 7}
	fields := []slog.Attr{
		slog.String("s", "x\ny"), slog.Int("i", -1), slog.Uint64("u", 1), slog.Float64("f", math.NaN()), slog.Bool("b", true),
		slog.Duration("d", time.Second), slog.Time("t", time.Unix(0, 0).UTC()), slog.Any("l", lazy{}), {}, slog.Any("nil", nil),
	}
	if err := e.Event(testIdentity(t), "orders", &ev, fields, testNow); err != nil {
		t.Fatal(err)
	}
	line := string(e.AppendLine(nil, 1))
	want := `"actor_address":"o:a\"b","event_type":"T","payload":{"s":"x\ny","i":-1,"u":1,"f":"NaN","b":true,"d":1000000000,"t":"1970-01-01T00:00:00Z","l":{"lazy":1},"nil":null,"value":7},"timestamp"`
	if !strings.Contains(line, want) {
		t.Errorf("got %s\nwant %s", line, want)
	}
}

type bomb struct{}

func (bomb) MarshalJSON() ([]byte, error) { panic("boom") }

type garbage string

func (g garbage) MarshalJSON() ([]byte, error) { return []byte(g), nil }

type endless struct{ Next *endless }

type chain *chain

func TestHostileValues(t *testing.T) {
	cycle := map[string]any{}
	cycle["self"] = cycle
	list := &endless{}
	list.Next = list
	var c chain
	c = &c
	deep := any(1)
	for range 70 {
		deep = []any{deep}
	}
	for _, h := range []struct {
		name string
		v    any
		want error
	}{
		{"panicking marshaller", bomb{}, ErrEncode},
		{"panic within a map", map[string]any{"a": map[string]any{"b": bomb{}}}, ErrEncode},
		{"nil pointer method", []any{(*time.Time)(nil), struct{ E fmt.Stringer }{}}, nil},
		{"channel", make(chan int), ErrEncode},
		{"function", func() {}, ErrEncode},
		{"complex", complex(1, 2), ErrEncode},
		{"cycle of maps", cycle, ErrEncode},
		{"cycle of pointers", list, ErrEncode},
		{"chain of pointers", c, ErrEncode},
		{"deep", deep, ErrEncode},
		{"marshaller that writes no JSON", garbage("{"), ErrEncode},
		{"marshaller that writes two values", garbage("1 2"), ErrEncode},
		{"marshaller that writes a newline", garbage("[1,\n2]"), nil},
		{"marshaller that writes bad UTF-8", garbage("\"\xff\""), ErrEncode},
		{"marshaller that nests too deeply", garbage(strings.Repeat("[", 64) + strings.Repeat("]", 64)), ErrEncode},
		{"wrong json.Number", json.Number("1x"), ErrEncode},
		{"a megabyte of key", map[string]any{strings.Repeat("k", 1<<20): 1}, ErrTooLarge},
		{"a megabyte of bytes", make([]byte, 1<<20), ErrTooLarge},
		{"a long list", make([]int, 200_000), ErrTooLarge},
		{"many control characters", strings.Repeat("\x01", MaxPublishedLine/3), ErrTooLarge},
		{"key of a wrong type", map[bool]int{true: 1}, ErrEncode},
		{"key of a wrong type in a struct", map[[2]int]int{{}: 1}, ErrEncode},
	} {
		_, err := encodePayload(t, h.v)
		if !errors.Is(err, h.want) {
			t.Errorf("%s: got %v, want %v", h.name, err, h.want)
		}
	}
	// An encoder that failed is ready for the next record.
	var e Encoder
	ev := Event{Payload: map[string]any{"a": map[string]any{"b": bomb{}}}}
	if err := e.Event(testIdentity(t), "orders", &ev, nil, testNow); !errors.Is(err, ErrEncode) {
		t.Fatal(err)
	}
	if err := e.Event(testIdentity(t), "orders", &Event{Type: "T"}, nil, testNow); err != nil {
		t.Error(err)
	}
}

func TestSanitizedIsCounted(t *testing.T) {
	var e Encoder
	if err := e.Event(testIdentity(t), "orders", &Event{Type: "a\xff\xfe"}, []slog.Attr{slog.String("k\xc0", "\xed\xa0\x80")}, testNow); err != nil {
		t.Fatal(err)
	}
	if got := e.Sanitized(); got != 6 {
		t.Errorf("Sanitized = %d, want 6", got)
	}
}

// TestLimitIsExact: the longest line that fits is taken, one byte more is not.
func TestLimitIsExact(t *testing.T) {
	var e Encoder
	id := testIdentity(t)
	longest := 0
	for n := MaxPublishedLine - 400; n < MaxPublishedLine; n++ {
		if err := e.Event(id, "orders", &Event{Type: strings.Repeat("x", n)}, nil, testNow); err != nil {
			break
		}
		longest = n
	}
	if err := e.Event(id, "orders", &Event{Type: strings.Repeat("x", longest)}, nil, testNow); err != nil {
		t.Fatal(err)
	}
	if n := len(e.AppendLine(nil, math.MaxUint64)); n != MaxPublishedLine {
		t.Errorf("the longest line has %d bytes, want %d", n, MaxPublishedLine)
	}
}

func TestEncodeAllocatesNothing(t *testing.T) {
	id := testIdentity(t)
	var e Encoder
	dst := make([]byte, 0, 4096)
	n := testing.AllocsPerRun(100, func() {
		ev := Event{Actor: Address{ID: 42}, Type: ActorCrashed}
		fields := []slog.Attr{slog.String("error", "boom"), slog.Int("n", 3)}
		if err := e.Event(id, "orders", &ev, fields, testNow); err != nil {
			t.Fatal(err)
		}
		dst = e.AppendLine(dst[:0], 17)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestRandomValues: whatever goes in, what comes out parses, is sealed and means
// the same to encoding/json.
func TestRandomValues(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var value func(depth int) any
	value = func(depth int) any {
		n := 8
		if depth > 4 {
			n = 6
		}
		switch rnd.IntN(n) {
		case 0:
			return nil
		case 1:
			return rnd.Int64() - math.MaxInt64/2
		case 2:
			return math.Float64frombits(rnd.Uint64())
		case 3, 4:
			b := make([]byte, rnd.IntN(12))
			for i := range b {
				b[i] = byte(rnd.IntN(256))
			}
			return string(b)
		case 5:
			return rnd.IntN(2) == 0
		case 6:
			list := make([]any, rnd.IntN(4))
			for i := range list {
				list[i] = value(depth + 1)
			}
			return list
		default:
			m := map[string]any{}
			for range rnd.IntN(4) {
				m[string(rune(rnd.IntN(0x300)))] = value(depth + 1)
			}
			return m
		}
	}
	for range 20_000 {
		v := map[string]any{"v": value(0)}
		got, err := encodePayload(t, v)
		if err != nil {
			t.Fatalf("%#v: %v", v, err)
		}
		var back any
		if err := json.Unmarshal([]byte(got), &back); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if want := plainValue(v); !reflect.DeepEqual(back, want) {
			t.Fatalf("got %#v, want %#v", back, want)
		}
	}
}

// plainValue is what a reader of JSON sees of v.
func plainValue(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		switch {
		case math.IsNaN(v):
			return "NaN"
		case math.IsInf(v, 1):
			return "Infinity"
		case math.IsInf(v, -1):
			return "-Infinity"
		}
		return v
	case string:
		var b strings.Builder
		for i := 0; i < len(v); {
			r, n := utf8.DecodeRuneInString(v[i:])
			b.WriteRune(r)
			i += n
		}
		return b.String()
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plainValue(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = plainValue(v[k])
		}
		return out
	}
	return v
}

func TestIdentity(t *testing.T) {
	id := NewIdentity("a b/ü" + strings.Repeat("x", 100))
	if !legalNode([]byte(id.Node())) || !strings.HasPrefix(id.Node(), "a_b___x") || len(id.Node()) != MaxNameBytes {
		t.Errorf("node %q", id.Node())
	}
	if other := NewIdentity(""); other.Run() == id.Run() || !legalRun([]byte(id.Run())) || other.Node() == "" {
		t.Errorf("runs %q %q, node %q", id.Run(), other.Run(), other.Node())
	}
	for _, bad := range [][2]string{{"", "k3f9x2ab7q04mzt1"}, {"a b", "k3f9x2ab7q04mzt1"}, {"a", "short"}, {"a", "K3f9x2ab7q04mzt1"}} {
		if _, err := NewIdentityRun(bad[0], bad[1]); err == nil {
			t.Errorf("NewIdentityRun(%q, %q): no error", bad[0], bad[1])
		}
	}
}

func BenchmarkEncodeEvent(b *testing.B) {
	id := testIdentity(b)
	var e Encoder
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for seq := uint64(1); b.Loop(); seq++ {
		ev := Event{Actor: Address{ID: 42}, Type: ActorCrashed}
		_ = e.Event(id, "orders", &ev, []slog.Attr{slog.String("error", "ValueError: bad input"), slog.Int("attempt", 3)}, time.Now())
		dst = e.AppendLine(dst[:0], seq)
	}
}

var benchMap = map[string]any{"amount": 3, "currency": "EUR", "customer": map[string]any{"id": 12345, "name": "Ada"}, "tags": []any{"a", "b"}}

type customer struct {
	A int    `json:"a"`
	B string `json:"b,omitempty"`
}

var benchStruct = struct {
	Amount   int      `json:"amount"`
	Currency string   `json:"currency"`
	Customer customer `json:"customer"`
	Tags     []string `json:"tags"`
}{3, "EUR", customer{12345, "Ada"}, []string{"a", "b"}}

func BenchmarkEncodeAny(b *testing.B) {
	for name, v := range map[string]any{"map": benchMap, "struct": &benchStruct} {
		b.Run(name+"/papyra", func(b *testing.B) {
			b.ReportAllocs()
			var e Encoder
			for b.Loop() {
				e.beginLine(KindEvent, headSystem, "orders")
				e.out.WriteValue(v)
			}
		})
		b.Run(name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = json.Marshal(v)
			}
		})
	}
}
