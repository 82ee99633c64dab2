package papyra

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

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
