// Package jsonobject writes one JSON object to a stream, member by member, so
// that an array of any length needs no memory:
//
//	o := jsonobject.New(w, nil)
//	o.Members(header)   {"v":1,"verb":"inspect"
//	o.BeginRows("rows") ,"rows":[
//	o.Row(line)         a row on a line of its own
//	o.Row(line)
//	o.EndRows()         ]
//	o.Members(result)   ,"exit":0
//	o.End()             }
package jsonobject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Writer writes one object. The first error is kept: after it nothing is
// written, and every method returns it. A Writer is not safe for concurrent use.
type Writer struct {
	w    io.Writer
	show func(text []byte) []byte

	begun  bool // "{" is written
	member bool // a member is written: a comma comes before the next
	inRows bool
	row    bool // likewise, of the array
	err    error
}

// New returns a Writer of one object to w. show changes each JSON text before it
// is written, as for a terminal; nil leaves it as it is.
func New(w io.Writer, show func(text []byte) []byte) *Writer {
	if show == nil {
		show = func(text []byte) []byte { return text }
	}
	return &Writer{w: w, show: show}
}

// Member writes one member.
func (o *Writer) Member(name string, value any) error {
	o.name(name)
	o.write(o.encode(value))
	return o.err
}

// Members writes every member of v, a struct or map that encodes as an object.
func (o *Writer) Members(v any) error {
	text := o.encode(v)
	if o.err == nil && (len(text) < 2 || text[0] != '{') {
		o.err = fmt.Errorf("%T is not a JSON object", v)
	}
	if o.err != nil {
		return o.err
	}
	if members := text[1 : len(text)-1]; len(members) > 0 {
		o.comma()
		o.write(members)
	}
	return o.err
}

// BeginRows begins a member that is an array. Rows follow, then EndRows.
func (o *Writer) BeginRows(name string) error {
	o.name(name)
	o.mark("[")
	o.inRows = true
	return o.err
}

// Row writes one element of the array, a JSON text, on a line of its own.
func (o *Writer) Row(text []byte) error {
	if o.row {
		o.mark(",")
	}
	o.row = true
	o.mark("\n")
	o.write(o.show(text))
	return o.err
}

// RowOf is Row of a value.
func (o *Writer) RowOf(v any) error {
	if text := o.encode(v); text != nil {
		return o.Row(text)
	}
	return o.err
}

// EndRows ends the array, if there is one that has not ended.
func (o *Writer) EndRows() error {
	if o.inRows {
		o.inRows, o.row = false, false
		o.mark("\n]")
	}
	return o.err
}

// End ends the object, and its array, and the line.
func (o *Writer) End() error {
	_ = o.EndRows() // kept
	o.begin()
	o.mark("}\n")
	return o.err
}

func (o *Writer) name(name string) {
	text := o.encode(name)
	o.comma()
	o.write(text)
	o.mark(":")
}

// comma begins the object or separates the next member from the one before.
func (o *Writer) comma() {
	o.begin()
	if o.member {
		o.mark(",")
	}
	o.member = true
}

func (o *Writer) begin() {
	if !o.begun {
		o.begun = true
		o.mark("{")
	}
}

// encode returns v as JSON, or nil after an error.
func (o *Writer) encode(v any) []byte {
	if o.err != nil {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		o.err = fmt.Errorf("encode %T: %w", v, err)
		return nil
	}
	return o.show(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func (o *Writer) write(text []byte) {
	if o.err == nil {
		_, o.err = o.w.Write(text)
	}
}

// mark writes what stands between texts.
func (o *Writer) mark(s string) {
	if o.err == nil {
		_, o.err = io.WriteString(o.w, s)
	}
}
