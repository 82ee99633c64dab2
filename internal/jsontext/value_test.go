package jsontext

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The limits of a published line, and the record that is open around a value.
const (
	testBytes = 256 << 10
	testDepth = 64
	testOpen  = 1
)

// writeValue returns the text of v, which the Scanner must take.
func writeValue(t testing.TB, v any) (string, error) {
	t.Helper()
	var w Writer
	w.Reset(testBytes, testDepth, testOpen)
	w.WriteValue(v)
	if w.Err() != nil {
		return "", w.Err()
	}
	s := Scanner{Text: w.Buf}
	if end := s.ScanValue(0, testDepth-testOpen); end != len(w.Buf) {
		t.Fatalf("own text does not scan: %s at %d: %s", s.Detail, s.Pos, w.Buf)
	}
	return string(w.Buf), nil
}

type inner struct {
	A int    `json:"a"`
	B string `json:"b,omitempty"`
}

type outer struct {
	inner
	*embedded
	Name   string         `json:"name"`
	Skip   string         `json:"-"`
	Num    int64          `json:"num,string"`
	When   time.Time      `json:"when"`
	Map    map[string]int `json:"map,omitempty"`
	Any    any
	Ptr    *inner
	List   []inner
	Arr    [2]bool
	Zero   time.Time `json:"zero,omitzero"`
	Raw    json.RawMessage
	Number json.Number
	ByInt  map[int]string
	Bytes  []byte
	F32    float32
}

type embedded struct {
	A     int `json:"a"` // hidden by inner's? both at one depth and tagged: neither
	Extra uint8
}

type textual struct{ s string }

func (t textual) MarshalText() ([]byte, error) { return []byte("<" + t.s + ">"), nil }

type viaPointer struct{ n int }

func (v *viaPointer) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, ` { "n" : %d } `, v.n), nil
}

// TestValueAgreesWithEncodingJSON wants the same data where both can write it.
func TestValueAgreesWithEncodingJSON(t *testing.T) {
	vp := &viaPointer{7}
	for _, v := range []any{
		nil, true, "x", "\x00\x1f\"\\/é\u2028 <&>", 1, int8(-1), uint8(200), int64(math.MinInt64), uint64(math.MaxUint64), 1.5, 1e300, 1e-9, float32(0.1), 1e21, 123456789.0,
		[]byte("abc"), []byte(nil), []string{"a", "b"}, []string(nil), []any{1, "x", nil, []any{}}, []any(nil),
		map[string]any{"b": 1, "a": map[string]any{"x": []int{1, 2}}}, map[string]any(nil), map[string]string{"k": "v"}, map[int]bool{3: true, -1: false},
		map[textual]int{{"k"}: 1}, textual{"v"}, vp, struct{ V *viaPointer }{vp}, &struct{ V viaPointer }{viaPointer{8}}, (*viaPointer)(nil),
		time.Unix(1700000000, 5).UTC(), 3 * time.Second, json.RawMessage(` {"a": [1, "x y"]} `), json.Number("12.50"),
		outer{inner: inner{A: 1}, embedded: &embedded{A: 2, Extra: 9}, Name: "n", Skip: "s", Num: 5, When: time.Unix(1, 0).UTC(),
			Any: inner{A: 4}, Ptr: &inner{A: 3, B: "b"}, List: []inner{{}, {A: 1}}, Raw: json.RawMessage(`[1]`), Number: "3", ByInt: map[int]string{2: "x", 10: "y"}, Bytes: []byte{1}, F32: 0.25},
		&outer{Raw: json.RawMessage(`null`), Number: "0"},
		[3]int{1, 2, 3}, [][]string{{"a"}, {}}, struct{}{}, &struct{ X any }{X: &inner{A: 1}},
	} {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%T: encoding/json: %v", v, err)
		}
		got, err := writeValue(t, v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		var g, w any
		if err := json.Unmarshal([]byte(got), &g); err != nil {
			t.Fatalf("%T: %v in %s", v, err, got)
		}
		if err := json.Unmarshal(want, &w); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w, g); diff != "" {
			t.Errorf("%T (-encoding/json +jsontext):\n%s", v, diff)
		}
	}
}

func TestValuesOfOurOwn(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{math.NaN(), `"NaN"`},
		{math.Inf(1), `"Infinity"`},
		{[]float64{math.Inf(-1), 1}, `["-Infinity",1]`},
		{errors.New("boom"), `"boom"`},
		{map[string]any{"e": errors.New("x"), "a": 1}, `{"a":1,"e":"x"}`},
		{struct{ Err error }{errors.New("y")}, `{"Err":"y"}`},
		{"a\xffb", "\"a\uFFFDb\""},
		{"<&>\u2028", "\"<&>\u2028\""},
		{[]slog.Attr{slog.Int("n", 1), slog.Group("g", slog.Bool("b", true)), slog.Group("", slog.Int("i", 2)), slog.Group("empty")}, `{"n":1,"g":{"b":true},"i":2}`},
		{slog.StringValue("v"), `"v"`},
	} {
		if v, ok := c.v.(slog.Value); ok {
			c.v = []slog.Attr{slog.Any("k", v)}
			c.want = `{"k":` + c.want + `}`
		}
		got, err := writeValue(t, c.v)
		if err != nil || got != c.want {
			t.Errorf("%#v: got %s, %v; want %s", c.v, got, err, c.want)
		}
	}
}

type bomb struct{}

func (bomb) MarshalJSON() ([]byte, error) { panic("boom") }

type bombOf struct{ value any }

func (b bombOf) MarshalJSON() ([]byte, error) { panic(b.value) }

type bombError struct{}

func (bombError) Error() string { panic("again") }

// TestPanicIsSaid: whatever a method panics with, the error says what it can.
func TestPanicIsSaid(t *testing.T) {
	itself := map[string]any{}
	itself["itself"] = itself
	for want, value := range map[string]any{
		"panicked: out of luck":                       "out of luck",
		"panicked: wrapped":                           errors.New("wrapped"),
		"panicked: 3s":                                3 * time.Second,
		"panicked with a value of type int":           7,
		"of type map[string]interface {}":             itself,
		"with a value of type jsontext.bombError":     bombError{},
		"panicked: runtime error: invalid memory":     runtimeError(),
		"panicked with a value of type func() string": func() string { return "" },
	} {
		if _, err := writeValue(t, bombOf{value}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// runtimeError returns what a nil pointer panics with.
func runtimeError() (r any) {
	defer func() { r = recover() }()
	var p *bombOf
	return p.value
}

// TestFailedWriterKeepsNothing: a value that fails leaves no reference to the
// members of the maps around it.
func TestFailedWriterKeepsNothing(t *testing.T) {
	for name, v := range map[string]any{
		"panic":        map[string]any{"a": map[string]any{"b": bomb{}}},
		"wrong key":    map[any]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, true: 8},
		"wrong member": map[string][]chan int{"a": nil, "b": {nil}},
	} {
		var w Writer
		for range 20 { // the members of a map come in any order
			w.Reset(testBytes, testDepth, testOpen)
			w.WriteValue(v)
			if w.Err() == nil {
				t.Fatalf("%s: no error", name)
			}
			if n := len(w.pairs) + len(w.elems); n != 0 {
				t.Fatalf("%s: %d members are kept", name, n)
			}
		}
	}
}
