package papyra

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// element writes a value, or what a struct, slice, array or map holds. Most of it
// is plain, and does without the frame of reflect.
func (e *Encoder) element(v reflect.Value, p *plan) {
	if !e.room(0) { // a list without end must not grow without bound
		return
	}
	switch p.short {
	case shortString:
		e.str(v.String())
	case shortInt, shortInt64, shortSmallInt:
		e.int(v.Int())
	case shortBool:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case shortFloat:
		e.float(v.Float(), 64)
	case shortStruct:
		e.members(v, address(v), p)
	case shortStrings:
		e.stringsOrNull(*(*[]string)(address(v)))
	case shortMap:
		e.stringMap(v.Interface().(map[string]any)) // a map is a pointer: no copy
	case shortTime:
		e.timeOf(*(*time.Time)(address(v)))
	default:
		e.reflect(v, p)
	}
}

// timeOf writes a time.Time as its MarshalJSON would.
func (e *Encoder) timeOf(t time.Time) {
	_, offset := t.Zone()
	year := t.Year()
	if year >= 0 && year <= 9999 && offset > -24*60*60 && offset < 24*60*60 {
		e.time(t)
	} else {
		e.marshal(t) // knows what to say of it
	}
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
		e.members(v, address(v), p)
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
