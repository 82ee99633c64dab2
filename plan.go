package papyra

import (
	"encoding"
	"encoding/json"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// method says how a type writes itself.
type method uint8

const (
	noMethod      method = iota
	valueMethod          // the value has MarshalJSON, Error, MarshalText or LogValue
	pointerMethod        // only its address has
)

// plan is how the values of one type are written, found out once.
type plan struct {
	method method
	short  short
	number bool // json.Number
	bytes  bool // a slice of bytes
	fields []field
	elem   *plan // of what a pointer, slice, array or map holds
}

// short says that a type is written without looking at its kind and methods.
type short uint8

const (
	shortNone     short = iota
	shortString         // of kind String, without a method
	shortInt            // of kind Int, without one
	shortInt64          // of kind Int64, without one
	shortSmallInt       // of another signed kind, without one
	shortBool           // of kind Bool, without one
	shortFloat          // of kind Float64, without one
	shortStruct         // of kind Struct, without one
	shortStrings        // []string itself
	shortMap            // map[string]any itself
	shortTime           // time.Time itself
)

// nameSize is the length of a name, with its quotes, comma and colon, up to
// which it is copied as a whole.
const nameSize = 24

// field is one member of a struct, its own or one of an embedded struct's.
type field struct {
	special bool    // what specialField is for
	short   short   // of plan, if the field can be read at its offset
	at      int     // the field's index in its struct; unless special
	offset  uintptr // from the start of its struct; unless special
	length  int     // of name if padded holds it, otherwise 0
	padded  [nameSize]byte
	plan    *plan
	name    string // `,"name":`

	key       string
	index     []int
	tagged    bool
	omitEmpty bool
	omitZero  bool
	quoted    bool
	zero      bool // has a method IsZero
}

// plans holds a finished *plan for each reflect.Type that was ever written; a
// program has a fixed number of types.
var plans sync.Map

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	b := planner{}
	p := b.plan(t)
	// Only now is every plan of the circle complete, so only now may other
	// goroutines see one. Two that build the same plan at once both have a good
	// one.
	for t, p := range b {
		plans.LoadOrStore(t, p)
	}
	return p
}

// planner builds the plans of a type and of all that it holds. The map breaks
// the circle of a type that holds itself.
type planner map[reflect.Type]*plan

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	errorType     = reflect.TypeFor[error]()
	logValuer     = reflect.TypeFor[slog.LogValuer]()
	zeroer        = reflect.TypeFor[interface{ IsZero() bool }]()
)

func hasMethod(t reflect.Type) bool {
	return t.Implements(jsonMarshaler) || t.Implements(textMarshaler) || t.Implements(errorType) || t.Implements(logValuer)
}

func (b planner) plan(t reflect.Type) *plan {
	if p, ok := b[t]; ok {
		return p
	}
	p := &plan{number: t == reflect.TypeFor[json.Number]()}
	b[t] = p
	switch {
	case t.Kind() == reflect.Interface:
		// the dynamic type decides
	case hasMethod(t):
		p.method = valueMethod
	case t.Kind() != reflect.Pointer && hasMethod(reflect.PointerTo(t)):
		p.method = pointerMethod
	}
	p.short = shortOf(t, p)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		p.elem = b.plan(t.Elem())
		p.bytes = t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && p.elem.method == noMethod
	case reflect.Struct:
		p.fields = b.fields(t)
	}
	return p
}

func shortOf(t reflect.Type, p *plan) short {
	switch t {
	case reflect.TypeFor[time.Time]():
		return shortTime
	case reflect.TypeFor[[]string]():
		return shortStrings
	case reflect.TypeFor[map[string]any]():
		return shortMap
	}
	if p.method != noMethod || p.number {
		return shortNone
	}
	switch t.Kind() {
	case reflect.String:
		return shortString
	case reflect.Int:
		return shortInt
	case reflect.Int64:
		return shortInt64
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return shortSmallInt
	case reflect.Bool:
		return shortBool
	case reflect.Float64:
		return shortFloat
	case reflect.Struct:
		return shortStruct
	}
	return shortNone
}

// fields lists the members of a struct by the rules of encoding/json: tags
// name and omit them, embedded structs are flattened, of two with one name the
// shallower wins, at one depth the tagged one, and otherwise neither.
func (b planner) fields(t reflect.Type) []field {
	var found []field
	b.collect(&found, t, nil, map[reflect.Type]bool{})
	var out []field
	for i, f := range found {
		wins := true
		for j, other := range found {
			if i == j || f.key != other.key {
				continue
			}
			if len(other.index) < len(f.index) ||
				len(other.index) == len(f.index) && (other.tagged || !f.tagged) {
				wins = false
			}
		}
		if wins {
			out = append(out, f)
		}
	}
	return out
}

func (b planner) collect(found *[]field, t reflect.Type, index []int, above map[reflect.Type]bool) {
	if above[t] {
		return // a type that embeds itself by a pointer: the shallower one wins
	}
	above[t] = true
	defer delete(above, t)
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("json")
		if tag == "-" {
			continue
		}
		key, options, _ := strings.Cut(tag, ",")
		at := append(slices.Clone(index), i)
		if sf.Anonymous && key == "" {
			inner := sf.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				b.collect(found, inner, at, above)
				continue
			}
		}
		if !sf.IsExported() {
			continue
		}
		f := field{key: key, index: at, at: i, tagged: key != "", plan: b.plan(sf.Type), zero: sf.Type.Implements(zeroer)}
		if key == "" {
			f.key = sf.Name
		}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "omitempty":
				f.omitEmpty = true
			case "omitzero":
				f.omitZero = true
			case "string":
				k := sf.Type.Kind()
				f.quoted = k == reflect.Bool || k >= reflect.Int && k <= reflect.Float64
			}
		}
		var e Encoder
		e.name(f.key, false)
		f.name = string(e.buf)
		if len(f.name) <= nameSize {
			f.length = copy(f.padded[:], f.name)
		}
		if !inWord(t) {
			f.short, f.offset = f.plan.short, sf.Offset
		}
		f.special = len(at) > 1 || f.omitEmpty || f.omitZero || f.quoted
		*found = append(*found, f)
	}
}

// of returns the field of a struct; false if an embedded pointer on the way is
// nil.
func (f *field) of(v reflect.Value) (reflect.Value, bool) {
	for _, i := range f.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v, true
}

func (f *field) isZero(v reflect.Value) bool {
	if f.zero && v.CanInterface() {
		if v.Kind() == reflect.Pointer && v.IsNil() {
			return true
		}
		return v.Interface().(interface{ IsZero() bool }).IsZero()
	}
	return v.IsZero()
}

// isEmpty is the omitempty of encoding/json.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Interface, reflect.Pointer:
		return v.IsZero()
	}
	return false
}
