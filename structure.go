package papyra

import (
	"reflect"
	"strconv"
	"time"
	"unsafe"
)

// A struct is read at the addresses of its fields where their types are plain
// ones: package reflect makes a Value for each, which takes longer than to
// write it. What is read is what reflect.Type says is there.

// address returns where the value lies that v holds. Of a type that is inWord
// that is nothing to read from unless v has an address, so the fields of such
// structs have no offset.
func address(v reflect.Value) unsafe.Pointer {
	if v.CanAddr() {
		return unsafe.Pointer(v.UnsafeAddr())
	}
	return dataWord(v.Interface())
}

// dataWord returns the second of the two words of an interface: where its value
// lies.
func dataWord(v any) unsafe.Pointer {
	return (*[2]unsafe.Pointer)(unsafe.Pointer(&v))[1]
}

// inWord reports whether an interface holds values of type t in its second word
// itself, as it does with what is one pointer and no more. The zero value shows
// it: only there that word is nil.
func inWord(t reflect.Type) bool {
	return dataWord(reflect.Zero(t).Interface()) == nil
}

// members writes the struct v, which lies at base.
func (e *Encoder) members(v reflect.Value, base unsafe.Pointer, p *plan) {
	if !e.push() {
		return
	}
	open := byte('{') // stands where the first name's comma would
	for i := range p.fields {
		f := &p.fields[i]
		if f.special {
			if e.specialField(v, f, open) {
				open = ','
			}
			continue
		}
		b, at := f.member(e.buf, open), unsafe.Add(base, f.offset)
		open = ','
		switch f.short {
		case shortString:
			e.buf = b
			e.str(*(*string)(at))
		case shortInt:
			e.buf = strconv.AppendInt(b, int64(*(*int)(at)), 10)
		case shortInt64:
			e.buf = strconv.AppendInt(b, *(*int64)(at), 10)
		case shortBool:
			e.buf = strconv.AppendBool(b, *(*bool)(at))
		case shortFloat:
			e.buf = b
			e.float(*(*float64)(at), 64)
		case shortStruct:
			e.buf = b
			e.members(v.Field(f.at), at, f.plan)
		case shortStrings:
			e.buf = b
			e.stringsOrNull(*(*[]string)(at))
		case shortMap:
			e.buf = b
			e.stringMap(*(*map[string]any)(at))
		case shortTime:
			e.buf = b
			e.timeOf(*(*time.Time)(at))
		default:
			e.buf = b
			e.element(v.Field(f.at), f.plan)
		}
		if e.err != nil {
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
	e.buf = f.member(e.buf, open)
	if f.quoted {
		e.buf = append(e.buf, '"')
	}
	e.element(fv, f.plan)
	if f.quoted {
		e.buf = append(e.buf, '"')
	}
	return true
}

// member appends the field's name, with open before it.
func (f *field) member(b []byte, open byte) []byte {
	n := len(b)
	if f.length > 0 && cap(b)-n >= nameSize {
		// A fixed number of bytes, some of them for nothing, is a few loads and
		// stores.
		*(*[nameSize]byte)(b[n : n+nameSize]) = f.padded
		b = b[:n+f.length]
	} else {
		b = append(b, f.name...)
	}
	b[n] = open
	return b
}
