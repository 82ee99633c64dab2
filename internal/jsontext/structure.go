package jsontext

import (
	"reflect"
	"strconv"
	"time"
	"unsafe"
)

// Direct fields of plain types are read from memory at their offsets: package
// reflect would make a Value for each, which takes longer than to write it. What
// is read is of the type that reflect.Type says lies there.

// directOf returns where the field sf of the struct t lies.
func directOf(t reflect.Type, sf reflect.StructField, p *plan) direct {
	d := direct{index: sf.Index[0]}
	if !fitsInWord(t) {
		d.shortcut, d.offset = p.shortcut, sf.Offset
	}
	return d
}

// addressOf returns where the value that v holds lies. For a type that
// fitsInWord and a v without an address the result must not be used; the direct
// fields of such structs therefore have no shortcut.
func addressOf(v reflect.Value) unsafe.Pointer {
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

// fitsInWord reports whether an interface holds values of type t in its second
// word itself. It does so with types that are one pointer and no more. The zero
// value shows it: for these types alone the word is nil.
func fitsInWord(t reflect.Type) bool {
	return dataWord(reflect.Zero(t).Interface()) == nil
}

// writeStruct writes the struct v, which lies at base.
func (w *Writer) writeStruct(v reflect.Value, base unsafe.Pointer, p *plan) {
	if !w.enterLevel() {
		return
	}
	before := byte('{') // what stands before the next name: then a comma
	for i := range p.fields {
		f := &p.fields[i]
		if f.conditional != nil {
			if w.writeConditional(v, f, before) {
				before = ','
			}
			continue
		}
		b, at := f.name.appendTo(w.Buf, before), unsafe.Add(base, f.offset)
		before = ','
		switch f.shortcut {
		case kindString:
			w.Buf = b
			w.WriteString(*(*string)(at))
		case kindInt:
			w.Buf = strconv.AppendInt(b, int64(*(*int)(at)), 10)
		case kindInt64:
			w.Buf = strconv.AppendInt(b, *(*int64)(at), 10)
		case kindBool:
			w.Buf = strconv.AppendBool(b, *(*bool)(at))
		case kindFloat:
			w.Buf = b
			w.writeFloat(*(*float64)(at), 64)
		case kindStruct:
			w.Buf = b
			w.writeStruct(v.Field(f.index), at, f.plan)
		case typeStrings:
			w.Buf = b
			w.writeStringsOrNull(*(*[]string)(at))
		case typeMap:
			w.Buf = b
			w.writeStringMap(*(*map[string]any)(at))
		case typeTime:
			w.Buf = b
			w.writeAnyTime(*(*time.Time)(at))
		default:
			w.Buf = b
			w.writeElement(v.Field(f.index), f.plan)
		}
		if w.err != nil {
			return
		}
	}
	if before == '{' {
		w.Buf = append(w.Buf, '{')
	}
	w.Buf = append(w.Buf, '}')
	w.leaveLevel()
}

// writeConditional writes a conditional field of the struct v unless it is
// absent, and reports whether it did.
func (w *Writer) writeConditional(v reflect.Value, f *field, before byte) bool {
	fv, ok := f.conditional.findField(v)
	if !ok || f.conditional.isOmitted(fv) {
		return false
	}
	w.Buf = f.name.appendTo(w.Buf, before)
	if f.conditional.quoted {
		w.Buf = append(w.Buf, '"')
	}
	w.writeElement(fv, f.plan)
	if f.conditional.quoted {
		w.Buf = append(w.Buf, '"')
	}
	return true
}

// appendTo appends the name with before in the place of its comma.
func (n *memberName) appendTo(b []byte, before byte) []byte {
	at := len(b)
	if n.length > 0 && cap(b)-at >= paddedSize {
		// A fixed number of bytes is copied by a few loads and stores, even though
		// the bytes behind the name are not needed.
		*(*[paddedSize]byte)(b[at : at+paddedSize]) = n.padded
		b = b[:at+n.length]
	} else {
		b = append(b, n.text...)
	}
	b[at] = before
	return b
}
