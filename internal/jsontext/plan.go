package jsontext

import (
	"encoding"
	"encoding/json"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// plan is how the values of one type are written. It is worked out once.
type plan struct {
	method   method
	shortcut shortcut
	number   bool // the type is json.Number
	bytes    bool // the type is a slice of bytes
	fields   []field
	elem     *plan // of what a pointer, slice, array or map holds
}

// method says how a type writes itself.
type method uint8

const (
	noMethod      method = iota
	valueMethod          // the value has MarshalJSON, Error, MarshalText or LogValue
	pointerMethod        // only its address has one
)

// shortcut names a type that is written without looking at its kind and methods.
// Those that are named after a kind are of that kind and have no method.
type shortcut uint8

const (
	noShortcut   shortcut = iota
	kindString            // reflect.String
	kindInt               // reflect.Int
	kindInt64             // reflect.Int64
	kindSmallInt          // reflect.Int8, Int16 or Int32
	kindBool              // reflect.Bool
	kindFloat             // reflect.Float64
	kindStruct            // reflect.Struct
	typeStrings           // []string itself
	typeMap               // map[string]any itself
	typeTime              // time.Time itself
)

// field is a member of a struct. There are two kinds. A direct field is always
// written and belongs to the struct itself, so it is read in place. A
// conditional field may be absent, stands in quotes, or belongs to an embedded
// struct.
type field struct {
	name memberName
	plan *plan
	direct
	conditional *conditional // nil for a direct field
}

// direct is where a direct field lies.
type direct struct {
	index    int      // of the field in its struct
	shortcut shortcut // of the field's plan; noShortcut where offset must not be used
	offset   uintptr  // from the beginning of the struct
}

// conditional is how a conditional field is found and what decides whether it is
// written.
type conditional struct {
	path    []int // the indexes that lead to it, through embedded structs
	omitted []func(reflect.Value) bool
	quoted  bool // the "string" option: the value stands in quotes
}

// memberName is the name of a field as it is written: `,"name":`.
type memberName struct {
	text   string
	padded [paddedSize]byte // the text if it fits
	length int              // of the text in padded; 0 where it does not fit
}

// paddedSize is up to which length a name is copied as a block of fixed size.
const paddedSize = 24

func newMemberName(key string) memberName {
	w := Writer{maxBytes: math.MaxInt}
	w.WriteName(key, false)
	n := memberName{text: string(w.Buf)}
	if len(n.text) <= paddedSize {
		n.length = copy(n.padded[:], n.text)
	}
	return n
}

// plans holds the finished *plan of each reflect.Type that was ever written. A
// program has a fixed number of types.
var plans sync.Map

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	b := planner{}
	p := b.planType(t)
	// Types may hold each other in a circle. Only now is every plan of the circle
	// complete, so only now may other goroutines see one. If two goroutines build
	// the same plan at once, both have a good one.
	for t, p := range b {
		plans.LoadOrStore(t, p)
	}
	return p
}

// planner builds the plans of a type and of all that it holds. It ends at a type
// that holds itself because the map has the plan already.
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

func (b planner) planType(t reflect.Type) *plan {
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
	p.shortcut = shortcutOf(t, p)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		p.elem = b.planType(t.Elem())
		p.bytes = t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && p.elem.method == noMethod
	case reflect.Struct:
		p.fields = b.planFields(t)
	}
	return p
}

func shortcutOf(t reflect.Type, p *plan) shortcut {
	switch t {
	case reflect.TypeFor[time.Time]():
		return typeTime
	case reflect.TypeFor[[]string]():
		return typeStrings
	case reflect.TypeFor[map[string]any]():
		return typeMap
	}
	if p.method != noMethod || p.number {
		return noShortcut
	}
	switch t.Kind() {
	case reflect.String:
		return kindString
	case reflect.Int:
		return kindInt
	case reflect.Int64:
		return kindInt64
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return kindSmallInt
	case reflect.Bool:
		return kindBool
	case reflect.Float64:
		return kindFloat
	case reflect.Struct:
		return kindStruct
	}
	return noShortcut
}

// candidate is a field that becomes a member unless another one of its name
// wins.
type candidate struct {
	field
	key    string
	depth  int  // of embedded structs, from 1
	tagged bool // the name stands in the tag
}

// planFields lists the members of a struct by the rules of encoding/json: tags
// name fields and leave them out, and embedded structs are flattened. Of several
// fields of one name the shallowest wins, of several at its depth the one with a
// tagged name; if that leaves more than one, all are left out.
func (b planner) planFields(t reflect.Type) []field {
	var found []candidate
	b.collectFields(&found, t, nil, map[reflect.Type]bool{})
	var out []field
	for i, f := range found {
		wins := true
		for j, other := range found {
			if i == j || f.key != other.key {
				continue
			}
			if other.depth < f.depth || other.depth == f.depth && (other.tagged || !f.tagged) {
				wins = false
			}
		}
		if wins {
			out = append(out, f.field)
		}
	}
	return out
}

// collectFields appends the fields of t, which lies at path in the outermost
// struct. above are the structs that t is embedded in.
func (b planner) collectFields(found *[]candidate, t reflect.Type, path []int, above map[reflect.Type]bool) {
	if above[t] {
		return // a type that embeds itself by a pointer: the shallower fields win
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
		at := append(slices.Clone(path), i)
		if sf.Anonymous && key == "" {
			inner := sf.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				b.collectFields(found, inner, at, above)
				continue
			}
		}
		if !sf.IsExported() {
			continue
		}
		c := candidate{key: key, depth: len(at), tagged: key != ""}
		if key == "" {
			c.key = sf.Name
		}
		c.name, c.plan = newMemberName(c.key), b.planType(sf.Type)
		if cond := conditionalOf(sf.Type, at, options); cond != nil {
			c.conditional = cond
		} else {
			c.direct = directOf(t, sf, c.plan)
		}
		*found = append(*found, c)
	}
}

// conditionalOf returns nil for a field that needs no condition.
func conditionalOf(t reflect.Type, path []int, options string) *conditional {
	c := conditional{path: path}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "omitempty":
			c.omitted = append(c.omitted, isEmpty)
		case "omitzero":
			if t.Implements(zeroer) {
				c.omitted = append(c.omitted, saysZero)
			} else {
				c.omitted = append(c.omitted, reflect.Value.IsZero)
			}
		case "string":
			c.quoted = t.Kind() == reflect.Bool || t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64
		}
	}
	if len(path) == 1 && len(c.omitted) == 0 && !c.quoted {
		return nil
	}
	return &c
}

// findField returns the field of the struct v; false if an embedded pointer on the
// way is nil.
func (c *conditional) findField(v reflect.Value) (reflect.Value, bool) {
	for _, i := range c.path {
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

// isOmitted reports whether a field with this value is left out.
func (c *conditional) isOmitted(v reflect.Value) bool {
	for _, omitted := range c.omitted {
		if omitted(v) {
			return true
		}
	}
	return false
}

// saysZero is the omitzero of encoding/json for a type with a method IsZero.
func saysZero(v reflect.Value) bool {
	if !v.CanInterface() {
		return v.IsZero()
	}
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return true
	}
	return v.Interface().(interface{ IsZero() bool }).IsZero()
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
