package admin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/papyra/papyra"
)

// Records travel as pairs of lines: the length of the record, its offset, its id and
// its file, then the record itself.
//
//	213 4096 - "records.ndjson"
//	{"kind":"event",...}

// appendRecord appends a record to b.
func appendRecord(b []byte, rec *papyra.Record, place papyra.Place) []byte {
	b = strconv.AppendInt(b, int64(len(rec.Line)), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, place.Offset, 10)
	b = append(b, ' ')
	if place.ID == "" {
		b = append(b, '-')
	}
	b = append(b, place.ID...)
	b = append(b, ' ')
	b = strconv.AppendQuote(b, place.File)
	b = append(b, '\n')
	b = append(b, rec.Line...)
	return append(b, '\n')
}

// recordReader reads what appendRecord wrote.
type recordReader struct {
	r    *bufio.Reader
	buf  []byte
	rec  papyra.Record
	file []byte // the last one, quoted, and as it is
	name string
}

func newRecordReader(r io.Reader) *recordReader {
	return &recordReader{r: bufio.NewReaderSize(r, maxFrame)}
}

// next returns the next record, which is valid until the call after, or io.EOF.
func (r *recordReader) next() (*papyra.Record, papyra.Place, error) {
	var place papyra.Place
	head, err := r.r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, place, err
	}
	length, rest, _ := bytes.Cut(head[:len(head)-1], []byte(" "))
	offset, rest, _ := bytes.Cut(rest, []byte(" "))
	id, file, ok := bytes.Cut(rest, []byte(" "))
	n, err := strconv.Atoi(string(length))
	if err != nil || n < 0 || n > papyra.MaxStoredLine || !ok {
		return nil, place, fmt.Errorf("read a record: its head %q is wrong", head)
	}
	if place.Offset, err = strconv.ParseInt(string(offset), 10, 64); err != nil {
		return nil, place, fmt.Errorf("read a record: its head %q is wrong", head)
	}
	if !bytes.Equal(file, r.file) {
		if r.name, err = strconv.Unquote(string(file)); err != nil {
			return nil, place, fmt.Errorf("read a record: its head %q is wrong", head)
		}
		r.file = bytes.Clone(file)
	}
	place.File = r.name
	if string(id) != "-" {
		place.ID = string(id)
	}
	if cap(r.buf) < n+1 {
		r.buf = make([]byte, n+1)
	}
	line := r.buf[:n+1]
	if _, err := io.ReadFull(r.r, line); err != nil {
		return nil, place, fmt.Errorf("read a record: %w", io.ErrUnexpectedEOF)
	}
	if err := papyra.ParseInto(&r.rec, line[:n]); err != nil {
		return nil, place, fmt.Errorf("read a record: %w", err)
	}
	return &r.rec, place, nil
}
