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
		e.stringsOrNull(v)
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
		e.element(rv, e.planOf(rv.Type()))
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
