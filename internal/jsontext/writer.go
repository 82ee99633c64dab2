package jsontext

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strconv"
	"time"
)

// ErrTooLarge is the error of a [Writer] whose text would exceed its limit.
var ErrTooLarge = errors.New("JSON text is larger than the limit")

// Writer writes JSON text without spaces. Invalid UTF-8 is written as U+FFFD and
// counted, NaN and the infinities are written as strings.
//
// A Writer is reused for text after text and keeps its memory; Reset begins the
// next text. It is not safe for concurrent use.
type Writer struct {
	// Buf is the text so far.
	Buf []byte
	// Sanitized is how many invalid bytes of the text were replaced.
	Sanitized int

	err      error
	maxBytes int
	maxDepth int
	depth    int // how many objects and arrays are open
	hops     int // pointers followed since the last object or array was opened

	// Members of the maps that are being written.
	pairs []pair[any]
	elems []pair[reflect.Value]

	// The type that was looked up last, which is most likely the next one too.
	typ  reflect.Type
	plan *plan
}

// Reset begins the next text with what is in Buf. Of that text depth objects and
// arrays are open. It may have maxBytes bytes and nest maxDepth levels deep: what
// is longer or deeper becomes the error that Err returns.
func (w *Writer) Reset(maxBytes, maxDepth, depth int) {
	w.maxBytes, w.maxDepth, w.depth = maxBytes, maxDepth, depth
	w.hops, w.err = 0, nil
}

// Err returns the first error of the text: ErrTooLarge, or why a value cannot be
// written. What is in Buf after an error has no meaning.
func (w *Writer) Err() error { return w.err }

// failWith notes the first error.
func (w *Writer) failWith(err error) {
	if w.err == nil {
		w.err = err
	}
}

// HasRoom reports whether n more bytes may still fit; if not, the text has failed
// with ErrTooLarge. Whoever asks before it writes keeps a giant value from being
// copied.
func (w *Writer) HasRoom(n int) bool {
	if w.err == nil && len(w.Buf)+n > w.maxBytes {
		w.err = ErrTooLarge
	}
	return w.err == nil
}

// enterLevel counts an object or array that is about to be opened, and reports
// whether it may be.
func (w *Writer) enterLevel() bool {
	w.depth++
	w.hops = 0
	if w.depth > w.maxDepth {
		w.failWith(fmt.Errorf("nested deeper than %d levels, or a cycle", w.maxDepth))
	}
	return w.err == nil
}

func (w *Writer) leaveLevel() { w.depth-- }

// OpenObject writes the opening brace of an object. False means that the text
// has failed.
func (w *Writer) OpenObject() bool {
	if !w.enterLevel() {
		return false
	}
	w.Buf = append(w.Buf, '{')
	return true
}

// CloseObject writes the closing brace of the object that was opened last.
func (w *Writer) CloseObject() {
	w.Buf = append(w.Buf, '}')
	w.leaveLevel()
}

// WriteRaw writes text as it is.
func (w *Writer) WriteRaw(text string) { w.Buf = append(w.Buf, text...) }

// WriteInt writes a whole number.
func (w *Writer) WriteInt(n int64) { w.Buf = strconv.AppendInt(w.Buf, n, 10) }

// writeFloat writes a number of so many bits as the shortest text that reads
// back to it.
func (w *Writer) writeFloat(f float64, bits int) {
	switch {
	case math.IsNaN(f):
		w.WriteRaw(`"NaN"`)
	case math.IsInf(f, 1):
		w.WriteRaw(`"Infinity"`)
	case math.IsInf(f, -1):
		w.WriteRaw(`"-Infinity"`)
	default:
		w.Buf = AppendFloat(w.Buf, f, bits)
	}
}

// writeTime writes RFC 3339 with nanoseconds, as encoding/json does.
func (w *Writer) writeTime(t time.Time) {
	w.Buf = append(w.Buf, '"')
	w.Buf = t.AppendFormat(w.Buf, time.RFC3339Nano)
	w.Buf = append(w.Buf, '"')
}

// WriteName writes a member's name and its colon, with a comma before it unless
// it is the first of its object.
func (w *Writer) WriteName(name string, first bool) {
	b := w.Buf
	if !first {
		b = append(b, ',')
	}
	if isPlain(name) && len(b)+len(name) <= w.maxBytes {
		w.Buf = append(append(append(b, '"'), name...), '"', ':')
		return
	}
	w.Buf = b
	w.WriteString(name)
	w.Buf = append(w.Buf, ':')
}

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
