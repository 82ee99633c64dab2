package jsontext

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

// sortPairs orders the members of a map by name, so that equal maps become equal
// text.
func sortPairs[V any](pairs []pair[V]) {
	if len(pairs) > 16 {
		slices.SortFunc(pairs, func(a, b pair[V]) int { return strings.Compare(a.name, b.name) })
		return
	}
	for i := 1; i < len(pairs); i++ { // insertion is the fastest way for few
		p, at := pairs[i], i
		for ; at > 0 && pairs[at-1].name > p.name; at-- {
			pairs[at] = pairs[at-1]
		}
		pairs[at] = p
	}
}

// dropPairs forgets the members from base on, so that an idle writer keeps
// nothing of the caller's alive.
func dropPairs[V any](pairs *[]pair[V], base int) {
	clear((*pairs)[base:])
	*pairs = (*pairs)[:base]
}

// WriteValue writes any value in one pass, as encoding/json would, with three
// exceptions: an error is written as its message, NaN and the infinities as
// strings, and <, > and & are not escaped. The text fails if a method of the
// value panics or returns an error, and for channels, functions, complex numbers
// and cycles.
func (w *Writer) WriteValue(v any) {
	if w.err != nil || w.writeSimple(v) {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			w.err = fmt.Errorf("a method of %T panicked%s", v, panicText(r))
			dropPairs(&w.pairs, 0)
			dropPairs(&w.elems, 0)
		}
	}()
	w.writeCompound(v)
}

// panicText returns what a panic said, if it can be said safely: fmt does not
// survive a value that holds itself, and a method may panic again.
func panicText(r any) (text string) {
	defer func() {
		if text == "" {
			_ = recover()
			text = fmt.Sprintf(" with a value of type %T", r)
		}
	}()
	switch r := r.(type) {
	case string:
		return ": " + r
	case error:
		return ": " + r.Error()
	case fmt.Stringer:
		return ": " + r.String()
	}
	return ""
}

// writeAny is WriteValue for a value within another.
func (w *Writer) writeAny(v any) {
	if w.err == nil && !w.writeSimple(v) {
		w.writeCompound(v)
	}
}

// writeSimple writes v if it is of one of the types that are written without
// reflection, and reports whether it was. No code of the caller's runs.
func (w *Writer) writeSimple(v any) bool {
	switch v := v.(type) {
	case nil:
		w.WriteRaw("null")
	case string:
		w.WriteString(v)
	case bool:
		w.Buf = strconv.AppendBool(w.Buf, v)
	case int:
		w.WriteInt(int64(v))
	case int64:
		w.WriteInt(v)
	case int32:
		w.WriteInt(int64(v))
	case uint64:
		w.Buf = strconv.AppendUint(w.Buf, v, 10)
	case uint32:
		w.WriteInt(int64(v))
	case float64:
		w.writeFloat(v, 64)
	case float32:
		w.writeFloat(float64(v), 32)
	case time.Duration:
		w.WriteInt(int64(v))
	case time.Time:
		w.writeTime(v)
	case []byte:
		w.writeBytes(v)
	case []string:
		w.writeStringsOrNull(v)
	case json.RawMessage:
		w.writeJSON(v)
	default:
		return false
	}
	return true
}

// writeCompound writes what writeSimple does not.
func (w *Writer) writeCompound(v any) {
	switch v := v.(type) {
	case map[string]any:
		w.writeStringMap(v)
	case []any:
		w.writeAnySlice(v)
	case []slog.Attr:
		w.writeAttrObject(v)
	default:
		rv := reflect.ValueOf(v)
		w.writeElement(rv, w.planOf(rv.Type()))
	}
}

// planOf looks up the plan of a type, which is often the type before.
func (w *Writer) planOf(t reflect.Type) *plan {
	if t != w.typ {
		w.typ, w.plan = t, planOf(t)
	}
	return w.plan
}

// writeStringMap writes a map as an object, its members ordered by name.
func (w *Writer) writeStringMap(m map[string]any) {
	if m == nil {
		w.WriteRaw("null")
		return
	}
	if !w.OpenObject() {
		return
	}
	base := len(w.pairs)
	for k, v := range m {
		w.pairs = append(w.pairs, pair[any]{k, v})
	}
	sortPairs(w.pairs[base:])
	for i := base; i < base+len(m) && w.err == nil; i++ {
		w.WriteName(w.pairs[i].name, i == base)
		w.writeAny(w.pairs[i].value)
	}
	dropPairs(&w.pairs, base)
	w.CloseObject()
}

// writeAnySlice writes a list of any values.
func (w *Writer) writeAnySlice(list []any) {
	if list == nil {
		w.WriteRaw("null")
		return
	}
	if !w.openArray() {
		return
	}
	for i, v := range list {
		if i > 0 {
			w.Buf = append(w.Buf, ',')
		}
		if w.writeAny(v); !w.HasRoom(0) {
			return
		}
	}
	w.closeArray()
}

// writeBytes writes bytes as a string in base64.
func (w *Writer) writeBytes(b []byte) {
	if b == nil {
		w.WriteRaw("null")
		return
	}
	if !w.HasRoom(base64.StdEncoding.EncodedLen(len(b))) {
		return
	}
	w.Buf = append(w.Buf, '"')
	w.Buf = base64.StdEncoding.AppendEncode(w.Buf, b)
	w.Buf = append(w.Buf, '"')
}

// writeJSON checks JSON text that the caller made and writes it without the
// white space between its parts.
func (w *Writer) writeJSON(text []byte) {
	if text == nil {
		w.WriteRaw("null")
		return
	}
	if !w.HasRoom(0) || len(text) > 4*w.maxBytes {
		w.failWith(ErrTooLarge)
		return
	}
	s := Scanner{Text: text}
	end := s.ScanValue(s.SkipSpace(0), w.maxDepth-w.depth)
	if end >= 0 {
		if rest := s.SkipSpace(end); rest < len(text) {
			end = s.Unexpected(rest, "the end of the value")
		}
	}
	if end < 0 {
		w.failWith(fmt.Errorf("JSON text of the caller's is wrong at byte %d: %s", s.Pos, s.Detail))
		return
	}
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inString && c == '\\':
			w.Buf = append(w.Buf, c)
			i++
			c = text[i]
		case c == '"':
			inString = !inString
		case !inString && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			continue
		}
		w.Buf = append(w.Buf, c)
	}
	w.HasRoom(0)
}

// writeMarshaled writes what a method of the value says: the first that it has of
// MarshalJSON, Error, MarshalText and LogValue.
func (w *Writer) writeMarshaled(v any) {
	switch v := v.(type) {
	case json.Marshaler:
		text, err := v.MarshalJSON()
		if err != nil {
			w.failWith(fmt.Errorf("%T.MarshalJSON: %w", v, err))
			return
		}
		w.writeJSON(text)
	case error:
		w.WriteString(v.Error())
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			w.failWith(fmt.Errorf("%T.MarshalText: %w", v, err))
			return
		}
		w.WriteString(string(text))
	case slog.LogValuer:
		resolved := slog.AnyValue(v).Resolve()
		w.writeSlogValue(resolved, resolved.Kind())
	}
}
