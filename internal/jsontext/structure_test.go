package jsontext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

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
	for range 700 {
		w := random(0)
		for _, v := range []any{w, &w, []any{w}, map[string]*wide{"w": &w}} {
			wantJSON(t, v)
			if _, err := writeValue(t, v); err != nil { // parses what comes out
				t.Fatal(err)
			}
		}
	}
}

type (
	namedString  string
	namedInt     int
	namedInt64   int64
	namedBool    bool
	namedFloat   float64
	namedStrings []string
	namedMap     map[string]any
)

// plainTypes are the types of fields that the encoder reads by itself, and
// their neighbours that it does not.
var plainTypes = []reflect.Type{
	reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](), reflect.TypeFor[bool](), reflect.TypeFor[float32](), reflect.TypeFor[float64](),
	reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](), reflect.TypeFor[[]string](), reflect.TypeFor[map[string]any](), reflect.TypeFor[any](), reflect.TypeFor[[]byte](), reflect.TypeFor[json.Number](),
	reflect.TypeFor[namedString](), reflect.TypeFor[namedInt](), reflect.TypeFor[namedInt64](), reflect.TypeFor[namedBool](), reflect.TypeFor[namedFloat](), reflect.TypeFor[namedStrings](), reflect.TypeFor[namedMap](),
	reflect.TypeFor[textual](), reflect.TypeFor[viaPointer](), reflect.TypeFor[struct{}](), reflect.TypeFor[[0]int](), reflect.TypeFor[map[string]string](), reflect.TypeFor[place](),
}

// drawType makes a type of structs, and of what holds them.
func drawType(t *rapid.T, depth int) reflect.Type {
	if depth == 0 {
		return rapid.SampledFrom(plainTypes).Draw(t, "type")
	}
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		return reflect.PointerTo(drawType(t, depth-1))
	case 1:
		return reflect.SliceOf(drawType(t, depth-1))
	case 2:
		return reflect.ArrayOf(rapid.IntRange(0, 2).Draw(t, "length"), drawType(t, depth-1))
	case 3:
		return reflect.MapOf(reflect.TypeFor[string](), drawType(t, depth-1))
	case 4, 5, 6:
		var fields []reflect.StructField
		for i := range rapid.IntRange(0, 4).Draw(t, "fields") {
			tag := rapid.SampledFrom([]string{"", "", "", "`json:\"%c\"`", "`json:\",omitempty\"`", "`json:\",omitzero\"`"}).Draw(t, "tag")
			if strings.Contains(tag, "%") {
				tag = fmt.Sprintf(tag, 'a'+i)
			}
			fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: drawType(t, depth-1), Tag: reflect.StructTag(strings.Trim(tag, "`"))})
		}
		return reflect.StructOf(fields)
	}
	return drawType(t, 0)
}

// drawInto gives v a value, in an any one of a type of its own.
func drawInto(t *rapid.T, v reflect.Value, depth int) {
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()))
		return
	case reflect.TypeFor[json.Number]():
		v.SetString("17")
		return
	}
	some := rapid.IntRange(0, 3).Draw(t, "some") // 0: nil
	switch v.Kind() {
	case reflect.String:
		v.SetString(rapid.StringOfN(rapid.SampledFrom([]rune("abcdef\"\\\nü<€𝄞")), 0, 20, -1).Draw(t, "string"))
	case reflect.Bool:
		v.SetBool(some > 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint"))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(rapid.Int32().Draw(t, "float")) / 64)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				drawInto(t, v.Field(i), depth)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			drawInto(t, v.Index(i), depth)
		}
	case reflect.Pointer:
		if some > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			drawInto(t, v.Elem(), depth)
		}
	case reflect.Slice:
		if some > 0 {
			v.Set(reflect.MakeSlice(v.Type(), some-1, some))
			for i := range some - 1 {
				drawInto(t, v.Index(i), depth)
			}
		}
	case reflect.Map:
		if some > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for i := range some - 1 {
				elem := reflect.New(v.Type().Elem()).Elem()
				drawInto(t, elem, depth)
				v.SetMapIndex(reflect.ValueOf(fmt.Sprint("k", i)), elem)
			}
		}
	case reflect.Interface:
		if some > 0 && depth > 0 {
			elem := reflect.New(drawType(t, depth-1)).Elem()
			drawInto(t, elem, depth-1)
			v.Set(elem)
		}
	}
}

// wantJSON wants of v the very bytes of encoding/json.
func wantJSON(t rapid.TB, v any) {
	t.Helper()
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	var w Writer
	w.Reset(1<<30, testDepth, 0)
	w.WriteValue(v)
	if w.err != nil {
		t.Fatalf("%T: %v", v, w.err)
	}
	if string(w.Buf)+"\n" != want.String() {
		t.Fatalf("%T\n got %s\nwant %s", v, w.Buf, want.String())
	}
}

// TestTypesAgreeWithEncodingJSON makes types and writes their values, with and
// without an address.
func TestTypesAgreeWithEncodingJSON(t *testing.T) {
	for range 30 { // rapid tries a hundred at a time
		rapid.Check(t, func(t *rapid.T) {
			v := reflect.New(drawType(t, rapid.IntRange(0, 4).Draw(t, "depth")))
			drawInto(t, v.Elem(), 2)
			wantJSON(t, v.Interface())
			wantJSON(t, v.Elem().Interface())
			wantJSON(t, []any{v.Elem().Interface()})
		})
	}
}

// TestStructsThatAreOnePointer: an interface holds such a value itself, not
// where it lies.
func TestStructsThatAreOnePointer(t *testing.T) {
	type one struct{ M map[string]any }
	type two struct{ One one }
	type pointer struct{ P *int }
	type padded struct {
		_ struct{}
		M map[string]any
		_ [0]int
	}
	n, m := 7, map[string]any{"a": 1}
	for _, v := range []any{
		one{m}, two{one{m}}, pointer{&n}, padded{M: m}, [1]one{{m}}, [1]two{{one{m}}}, []two{{one{m}}}, map[string]one{"k": {m}},
		struct{ A any }{two{one{m}}}, struct{ A [1]two }{[1]two{{one{m}}}}, &two{one{m}}, one{}, two{}, pointer{}, padded{}, [1]two{}, &two{},
	} {
		wantJSON(t, v)
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
			got, err := writeValue(t, v)
			if (err != nil) != (wrong != nil) || err == nil && got != string(want) {
				t.Errorf("%v: got %s, %v, want %s, %v", at, got, err, want, wrong)
			}
		}
	}
}
