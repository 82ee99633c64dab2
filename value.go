package papyra

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pair is a member of a map that is being written.
type pair[V any] struct {
	name  string
	value V
}

// sortPairs orders the members of a map by name, so that equal maps are equal
// bytes.
func sortPairs[V any](pairs []pair[V]) {
	if len(pairs) > 16 {
		slices.SortFunc(pairs, func(a, b pair[V]) int { return strings.Compare(a.name, b.name) })
		return
	}
	for i := 1; i < len(pairs); i++ { // few are sorted soonest by insertion
		p, at := pairs[i], i
		for ; at > 0 && pairs[at-1].name > p.name; at-- {
			pairs[at] = pairs[at-1]
		}
		pairs[at] = p
	}
}

// dropPairs forgets the members of a map, so that an idle encoder keeps nothing
// of the caller's alive.
func dropPairs[V any](pairs *[]pair[V], base int) {
	clear((*pairs)[base:])
	*pairs = (*pairs)[:base]
}

// value writes any value in one pass. What encoding/json would write is
// written the same way but for this: an error is its message, NaN and the
// infinities are strings, <, > and & are not escaped. A method of the value
// that panics or fails ends the record with ErrEncode; so do channels,
// functions, complex numbers and cycles.
func (e *Encoder) value(v any) {
	if e.err != nil || e.simple(v) {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			e.err = fmt.Errorf("%w: a method of %T panicked: %v", ErrEncode, v, r)
			dropPairs(&e.pairs, 0)
			dropPairs(&e.elems, 0)
		}
	}()
	e.compound(v)
}

// any is value within one.
func (e *Encoder) any(v any) {
	if e.err == nil && !e.simple(v) {
		e.compound(v)
	}
}

// simple writes the types that run no code of the caller's, and reports whether
// v was one.
func (e *Encoder) simple(v any) bool {
	switch v := v.(type) {
	case nil:
		e.raw("null")
	case string:
		e.str(v)
	case bool:
		e.buf = strconv.AppendBool(e.buf, v)
	case int:
		e.int(int64(v))
	case int64:
		e.int(v)
	case int32:
		e.int(int64(v))
	case uint64:
		e.buf = strconv.AppendUint(e.buf, v, 10)
	case uint32:
		e.int(int64(v))
	case float64:
		e.float(v, 64)
	case float32:
		e.float(float64(v), 32)
	case time.Duration:
		e.int(int64(v))
	case time.Time:
		e.time(v)
	case []byte:
		e.bytes(v)
	case []string:
		if v == nil {
			e.raw("null")
		} else {
			e.strings(v)
		}
	case json.RawMessage:
		e.jsonText(v)
	default:
		return false
	}
	return true
}

// compound writes what simple does not.
func (e *Encoder) compound(v any) {
	switch v := v.(type) {
	case map[string]any:
		e.stringMap(v)
	case []any:
		e.slice(v)
	case []slog.Attr:
		if e.push() {
			e.buf = append(e.buf, '{')
			e.attrs(v, true)
			e.buf = append(e.buf, '}')
			e.pop()
		}
	default:
		rv := reflect.ValueOf(v)
		e.reflect(rv, e.planOf(rv.Type()))
	}
}

// planOf looks a type up; it is often the one before.
func (e *Encoder) planOf(t reflect.Type) *plan {
	if t != e.typ {
		e.typ, e.plan = t, planOf(t)
	}
	return e.plan
}

func (e *Encoder) stringMap(m map[string]any) {
	if m == nil {
		e.raw("null")
		return
	}
	if !e.push() {
		return
	}
	base := len(e.pairs)
	for k, v := range m {
		e.pairs = append(e.pairs, pair[any]{k, v})
	}
	sortPairs(e.pairs[base:])
	e.buf = append(e.buf, '{')
	for i := base; i < base+len(m) && e.err == nil; i++ {
		e.name(e.pairs[i].name, i == base)
		e.any(e.pairs[i].value)
	}
	e.buf = append(e.buf, '}')
	dropPairs(&e.pairs, base)
	e.pop()
}

func (e *Encoder) slice(list []any) {
	if list == nil {
		e.raw("null")
		return
	}
	if !e.push() {
		return
	}
	e.buf = append(e.buf, '[')
	for i, v := range list {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		if e.any(v); !e.room(0) {
			return
		}
	}
	e.buf = append(e.buf, ']')
	e.pop()
}

func (e *Encoder) bytes(b []byte) {
	if b == nil {
		e.raw("null")
		return
	}
	if !e.room(base64.StdEncoding.EncodedLen(len(b))) {
		return
	}
	e.buf = append(e.buf, '"')
	e.buf = base64.StdEncoding.AppendEncode(e.buf, b)
	e.buf = append(e.buf, '"')
}

// jsonText writes JSON text that somebody else made, after a check, without the
// white space between its parts.
func (e *Encoder) jsonText(text []byte) {
	if text == nil {
		e.raw("null")
		return
	}
	if !e.room(0) || len(text) > 4*MaxPublishedLine {
		e.fail(ErrTooLarge)
		return
	}
	s := scanner{b: text}
	end := s.value(s.space(0), e.depth)
	if end >= 0 {
		if rest := s.space(end); rest < len(text) {
			end = s.unexpected(rest, "the end of the value")
		}
	}
	if end < 0 {
		e.fail(fmt.Errorf("%w: JSON text of the caller's is wrong at byte %d: %s", ErrEncode, s.pos, s.detail))
		return
	}
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inString && c == '\\':
			e.buf = append(e.buf, c)
			i++
			c = text[i]
		case c == '"':
			inString = !inString
		case !inString && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			continue
		}
		e.buf = append(e.buf, c)
	}
	e.room(0)
}

// marshal writes the result of a method of the caller's.
func (e *Encoder) marshal(v any) {
	switch v := v.(type) {
	case json.Marshaler:
		text, err := v.MarshalJSON()
		if err != nil {
			e.fail(fmt.Errorf("%w: %T.MarshalJSON: %w", ErrEncode, v, err))
			return
		}
		e.jsonText(text)
	case error:
		e.str(v.Error())
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			e.fail(fmt.Errorf("%w: %T.MarshalText: %w", ErrEncode, v, err))
			return
		}
		e.str(string(text))
	case slog.LogValuer:
		resolved := slog.AnyValue(v).Resolve()
		e.slogValue(resolved, resolved.Kind())
	}
}

// element writes what a struct, slice, array or map holds. Most of it is plain,
// and does without the frame of reflect.
func (e *Encoder) element(v reflect.Value, p *plan) {
	if !e.room(0) { // a list without end must not grow without bound
		return
	}
	switch p.short {
	case shortString:
		e.str(v.String())
	case shortInt:
		e.int(v.Int())
	case shortBool:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case shortFloat:
		e.float(v.Float(), 64)
	case shortStruct:
		e.structure(v, p)
	case shortStrings:
		if v.CanAddr() && v.Len() < 8 {
			e.reflect(v, p) // sooner done than asked for its address
		} else if list, ok := direct[[]string](v); !ok {
			e.reflect(v, p)
		} else if list == nil {
			e.raw("null")
		} else {
			e.strings(list)
		}
	case shortMap:
		if v.CanInterface() {
			e.stringMap(v.Interface().(map[string]any)) // a map is a pointer: no copy
		} else {
			e.reflect(v, p)
		}
	case shortTime:
		if t, ok := direct[time.Time](v); ok && ordinary(t) {
			e.time(t)
		} else {
			e.reflect(v, p)
		}
	default:
		e.reflect(v, p)
	}
}

// direct returns v, which is of type T, without a copy on the heap; false for
// what package reflect does not give away. A value that has an address is read
// by it, because Interface would copy it.
func direct[T any](v reflect.Value) (t T, ok bool) {
	switch {
	case !v.CanInterface():
		return t, false
	case v.CanAddr():
		return *v.Addr().Interface().(*T), true
	default:
		return v.Interface().(T), true
	}
}

// ordinary reports whether MarshalJSON is sure to take t as it is.
func ordinary(t time.Time) bool {
	_, offset := t.Zone()
	year := t.Year()
	return year >= 0 && year <= 9999 && offset > -24*60*60 && offset < 24*60*60
}

// reflect writes a value of a type with this plan.
func (e *Encoder) reflect(v reflect.Value, p *plan) {
	if !e.room(0) {
		return
	}
	if p.method != noMethod {
		switch {
		case (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil():
			e.raw("null")
			return
		case p.method == valueMethod && v.CanInterface():
			e.marshal(v.Interface())
			return
		case p.method == pointerMethod && v.CanAddr() && v.Addr().CanInterface():
			e.marshal(v.Addr().Interface())
			return
		}
	}
	switch v.Kind() {
	case reflect.String:
		if p.number {
			e.number(v.String())
		} else {
			e.str(v.String())
		}
	case reflect.Bool:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.int(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.buf = strconv.AppendUint(e.buf, v.Uint(), 10)
	case reflect.Float32:
		e.float(v.Float(), 32)
	case reflect.Float64:
		e.float(v.Float(), 64)
	case reflect.Pointer:
		e.pointer(v, p)
	case reflect.Interface:
		if v.IsNil() {
			e.raw("null")
			return
		}
		if v.CanInterface() {
			switch x := v.Interface().(type) {
			case map[string]any:
				e.stringMap(x)
				return
			case []any:
				e.slice(x)
				return
			default:
				if e.simple(x) {
					return
				}
			}
		}
		elem := v.Elem()
		e.reflect(elem, planOf(elem.Type()))
	case reflect.Struct:
		e.structure(v, p)
	case reflect.Map:
		e.mapping(v, p)
	case reflect.Slice:
		switch {
		case v.IsNil():
			e.raw("null")
		case p.bytes:
			e.bytes(v.Bytes())
		default:
			e.list(v, p)
		}
	case reflect.Array:
		e.list(v, p)
	default:
		e.fail(fmt.Errorf("%w: JSON has no %s", ErrEncode, v.Type()))
	}
}

func (e *Encoder) number(s string) {
	if s == "" {
		s = "0"
	}
	n := scanner{b: []byte(s)}
	if n.number(0) != len(s) {
		e.fail(fmt.Errorf("%w: %q is not a number", ErrEncode, s))
		return
	}
	if e.room(len(s)) {
		e.raw(s)
	}
}

func (e *Encoder) pointer(v reflect.Value, p *plan) {
	if v.IsNil() {
		e.raw("null")
		return
	}
	if e.hops++; e.hops > MaxDepth {
		e.fail(fmt.Errorf("%w: a chain of more than %d pointers, or a cycle", ErrEncode, MaxDepth))
		return
	}
	e.element(v.Elem(), p.elem)
}

func (e *Encoder) list(v reflect.Value, p *plan) {
	if !e.push() {
		return
	}
	e.buf = append(e.buf, '[')
	for i := range v.Len() {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		if e.element(v.Index(i), p.elem); e.err != nil {
			return
		}
	}
	e.buf = append(e.buf, ']')
	e.pop()
}

func (e *Encoder) structure(v reflect.Value, p *plan) {
	if !e.push() {
		return
	}
	open := byte('{') // stands where the first name's comma would
	for i := range p.fields {
		f := &p.fields[i]
		if f.special {
			if !e.specialField(v, f, open) {
				continue
			}
		} else {
			e.member(f, open)
			switch fv := v.Field(f.at); f.short {
			case shortString:
				e.str(fv.String())
			case shortInt:
				e.int(fv.Int())
			default:
				e.element(fv, f.plan)
			}
		}
		open = ','
		if !e.room(0) {
			return
		}
	}
	if open == '{' {
		e.buf = append(e.buf, '{')
	}
	e.buf = append(e.buf, '}')
	e.pop()
}

// specialField writes a field that may be absent or that stands in quotes; it
// reports whether it wrote one.
func (e *Encoder) specialField(v reflect.Value, f *field, open byte) bool {
	fv, ok := f.of(v)
	if !ok || f.omitEmpty && isEmpty(fv) || f.omitZero && f.isZero(fv) {
		return false
	}
	e.member(f, open)
	if f.quoted {
		e.buf = append(e.buf, '"')
	}
	e.element(fv, f.plan)
	if f.quoted {
		e.buf = append(e.buf, '"')
	}
	return true
}

// member writes the name of a field, with open before it.
func (e *Encoder) member(f *field, open byte) {
	b, n := e.buf, len(e.buf)
	if f.length > 0 && cap(b)-n >= nameSize {
		// A fixed number of bytes, some of them for nothing, is a few loads and
		// stores.
		*(*[nameSize]byte)(b[n : n+nameSize]) = f.padded
		b = b[:n+f.length]
	} else {
		b = append(b, f.name...)
	}
	b[n] = open
	e.buf = b
}

func (e *Encoder) mapping(v reflect.Value, p *plan) {
	if v.IsNil() {
		e.raw("null")
		return
	}
	if !e.push() {
		return
	}
	base := len(e.elems)
	for it := v.MapRange(); it.Next(); {
		name, err := keyName(it.Key())
		if err != nil {
			e.fail(err)
			return
		}
		e.elems = append(e.elems, pair[reflect.Value]{name, it.Value()})
	}
	end := len(e.elems)
	sortPairs(e.elems[base:end])
	e.buf = append(e.buf, '{')
	for i := base; i < end && e.err == nil; i++ {
		e.name(e.elems[i].name, i == base)
		e.element(e.elems[i].value, p.elem)
	}
	e.buf = append(e.buf, '}')
	dropPairs(&e.elems, base)
	e.pop()
}

// keyName returns a map's key as encoding/json would write it.
func keyName(k reflect.Value) (string, error) {
	if k.Kind() == reflect.String {
		return k.String(), nil
	}
	if tm, ok := k.Interface().(encoding.TextMarshaler); ok {
		if k.Kind() == reflect.Pointer && k.IsNil() {
			return "", nil
		}
		text, err := tm.MarshalText()
		if err != nil {
			return "", fmt.Errorf("%w: %s.MarshalText: %w", ErrEncode, k.Type(), err)
		}
		return string(text), nil
	}
	switch {
	case k.CanInt():
		return strconv.FormatInt(k.Int(), 10), nil
	case k.CanUint():
		return strconv.FormatUint(k.Uint(), 10), nil
	}
	return "", fmt.Errorf("%w: a map's key cannot be %s", ErrEncode, k.Type())
}
