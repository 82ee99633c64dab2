package jsontext

import (
	"log/slog"
	"strconv"
)

// WriteAttrs writes fields as members of the open object, as log/slog does: an
// empty field is left out, a group without a name is written in place. first
// says whether the object has no member yet; the result says the same of the
// object afterwards.
func (w *Writer) WriteAttrs(fields []slog.Attr, first bool) bool {
	for i := range fields {
		if w.err != nil {
			return first
		}
		a := &fields[i]
		v, kind := a.Value, a.Value.Kind()
		switch kind {
		case slog.KindString: // the two most frequent kinds come first
			w.WriteName(a.Key, first)
			w.WriteString(v.String())
			first = false
			continue
		case slog.KindInt64:
			w.WriteName(a.Key, first)
			w.WriteInt(v.Int64())
			first = false
			continue
		case slog.KindAny:
			if a.Key == "" && v.Any() == nil {
				continue
			}
		case slog.KindLogValuer:
			v = v.Resolve() // recovers panics and ends cycles by itself
			kind = v.Kind()
		}
		if kind == slog.KindGroup {
			if group := v.Group(); a.Key == "" {
				first = w.WriteAttrs(group, first)
				continue
			} else if len(group) == 0 {
				continue
			}
		}
		w.WriteName(a.Key, first)
		first = false
		w.writeSlogValue(v, kind)
	}
	return first
}

func (w *Writer) writeSlogValue(v slog.Value, kind slog.Kind) {
	switch kind {
	case slog.KindString:
		w.WriteString(v.String())
	case slog.KindInt64:
		w.WriteInt(v.Int64())
	case slog.KindUint64:
		w.Buf = strconv.AppendUint(w.Buf, v.Uint64(), 10)
	case slog.KindFloat64:
		w.writeFloat(v.Float64(), 64)
	case slog.KindBool:
		w.Buf = strconv.AppendBool(w.Buf, v.Bool())
	case slog.KindDuration:
		w.WriteInt(int64(v.Duration()))
	case slog.KindTime:
		w.writeTime(v.Time())
	case slog.KindGroup:
		w.writeAttrObject(v.Group())
	default:
		w.WriteValue(v.Any())
	}
}

// writeAttrObject writes fields as an object of their own.
func (w *Writer) writeAttrObject(fields []slog.Attr) {
	if w.OpenObject() {
		w.WriteAttrs(fields, true)
		w.CloseObject()
	}
}
