package jsontext

import (
	"errors"
	"fmt"
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

// openArray writes the opening bracket of an array. False means that the text has
// failed.
func (w *Writer) openArray() bool {
	if !w.enterLevel() {
		return false
	}
	w.Buf = append(w.Buf, '[')
	return true
}

// closeArray writes the closing bracket of the array that was opened last.
func (w *Writer) closeArray() {
	w.Buf = append(w.Buf, ']')
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
