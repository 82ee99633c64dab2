package jsontext

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// writeElement writes a value of the plan's type. Most values are of a plain type
// and are written here; writeReflected, which costs more, takes the others.
func (w *Writer) writeElement(v reflect.Value, p *plan) {
	if !w.HasRoom(0) { // so that a list with a cycle ends
		return
	}
	switch p.shortcut {
	case kindString:
		w.WriteString(v.String())
	case kindInt, kindInt64, kindSmallInt:
		w.WriteInt(v.Int())
	case kindBool:
		w.Buf = strconv.AppendBool(w.Buf, v.Bool())
	case kindFloat:
		w.writeFloat(v.Float(), 64)
	case kindStruct:
		w.writeStruct(v, addressOf(v), p)
	case typeStrings:
		w.writeStringsOrNull(*(*[]string)(addressOf(v)))
	case typeMap:
		w.writeStringMap(v.Interface().(map[string]any)) // a map is a pointer: no copy
	case typeTime:
		w.writeAnyTime(*(*time.Time)(addressOf(v)))
	default:
		w.writeReflected(v, p)
	}
}

// writeAnyTime writes a time as its MarshalJSON would.
func (w *Writer) writeAnyTime(t time.Time) {
	_, offset := t.Zone()
	year := t.Year()
	if year >= 0 && year <= 9999 && offset > -24*60*60 && offset < 24*60*60 {
		w.writeTime(t)
	} else {
		w.writeMarshaled(t) // which returns an error that says what is wrong with it
	}
}

// writeReflected writes a value of the plan's type, whatever it is.
func (w *Writer) writeReflected(v reflect.Value, p *plan) {
	if !w.HasRoom(0) {
		return
	}
	if p.method != noMethod {
		switch {
		case (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil():
			w.WriteRaw("null")
			return
		case p.method == valueMethod && v.CanInterface():
			w.writeMarshaled(v.Interface())
			return
		case p.method == pointerMethod && v.CanAddr() && v.Addr().CanInterface():
			w.writeMarshaled(v.Addr().Interface())
			return
		}
	}
	switch v.Kind() {
	case reflect.String:
		if p.number {
			w.writeNumber(v.String())
		} else {
			w.WriteString(v.String())
		}
	case reflect.Bool:
		w.Buf = strconv.AppendBool(w.Buf, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.WriteInt(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		w.Buf = strconv.AppendUint(w.Buf, v.Uint(), 10)
	case reflect.Float32:
		w.writeFloat(v.Float(), 32)
	case reflect.Float64:
		w.writeFloat(v.Float(), 64)
	case reflect.Pointer:
		w.writePointer(v, p)
	case reflect.Interface:
		if v.IsNil() {
			w.WriteRaw("null")
			return
		}
		if v.CanInterface() {
			switch x := v.Interface().(type) {
			case map[string]any:
				w.writeStringMap(x)
				return
			case []any:
				w.writeAnySlice(x)
				return
			default:
				if w.writeSimple(x) {
					return
				}
			}
		}
		elem := v.Elem()
		w.writeReflected(elem, planOf(elem.Type()))
	case reflect.Struct:
		w.writeStruct(v, addressOf(v), p)
	case reflect.Map:
		w.writeMap(v, p)
	case reflect.Slice:
		switch {
		case v.IsNil():
			w.WriteRaw("null")
		case p.bytes:
			w.writeBytes(v.Bytes())
		default:
			w.writeList(v, p)
		}
	case reflect.Array:
		w.writeList(v, p)
	default:
		w.failWith(fmt.Errorf("JSON has no %s", v.Type()))
	}
}

// writeNumber writes a json.Number.
func (w *Writer) writeNumber(s string) {
	if s == "" {
		s = "0"
	}
	n := Scanner{Text: []byte(s)}
	if n.ScanNumber(0) != len(s) {
		w.failWith(fmt.Errorf("%q is not a number", s))
		return
	}
	if w.HasRoom(len(s)) {
		w.WriteRaw(s)
	}
}

// writePointer writes what v points to.
func (w *Writer) writePointer(v reflect.Value, p *plan) {
	if v.IsNil() {
		w.WriteRaw("null")
		return
	}
	// Pointers to pointers open no level, so they are counted by themselves.
	if w.hops++; w.hops > w.maxDepth {
		w.failWith(fmt.Errorf("a chain of more than %d pointers, or a cycle", w.maxDepth))
		return
	}
	w.writeElement(v.Elem(), p.elem)
}

// writeList writes a slice or array.
func (w *Writer) writeList(v reflect.Value, p *plan) {
	if !w.openArray() {
		return
	}
	for i := range v.Len() {
		if i > 0 {
			w.Buf = append(w.Buf, ',')
		}
		if w.writeElement(v.Index(i), p.elem); w.err != nil {
			return
		}
	}
	w.closeArray()
}

// writeMap writes a map that is not a map[string]any.
func (w *Writer) writeMap(v reflect.Value, p *plan) {
	if v.IsNil() {
		w.WriteRaw("null")
		return
	}
	if !w.OpenObject() {
		return
	}
	base := len(w.elems)
	for it := v.MapRange(); it.Next(); {
		name, err := mapKeyName(it.Key())
		if err != nil {
			w.failWith(err)
			dropPairs(&w.elems, base)
			return
		}
		w.elems = append(w.elems, pair[reflect.Value]{name, it.Value()})
	}
	end := len(w.elems)
	sortPairs(w.elems[base:end])
	for i := base; i < end && w.err == nil; i++ {
		w.WriteName(w.elems[i].name, i == base)
		w.writeElement(w.elems[i].value, p.elem)
	}
	dropPairs(&w.elems, base)
	w.CloseObject()
}

// mapKeyName returns a map's key as encoding/json would write it.
func mapKeyName(k reflect.Value) (string, error) {
	if k.Kind() == reflect.String {
		return k.String(), nil
	}
	if tm, ok := k.Interface().(encoding.TextMarshaler); ok {
		if k.Kind() == reflect.Pointer && k.IsNil() {
			return "", nil
		}
		text, err := tm.MarshalText()
		if err != nil {
			return "", fmt.Errorf("%s.MarshalText: %w", k.Type(), err)
		}
		return string(text), nil
	}
	switch {
	case k.CanInt():
		return strconv.FormatInt(k.Int(), 10), nil
	case k.CanUint():
		return strconv.FormatUint(k.Uint(), 10), nil
	}
	return "", fmt.Errorf("a map's key cannot be %s", k.Type())
}
