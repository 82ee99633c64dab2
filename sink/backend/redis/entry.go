package redis

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
)

// entryID is the id of an entry: a time of the server's in milliseconds and a
// number. Within a stream ids only ever grow.
type entryID struct{ ms, seq uint64 }

func parseID(text string) (entryID, bool) {
	ms, seq, ok := strings.Cut(text, "-")
	a, err1 := strconv.ParseUint(ms, 10, 64)
	b, err2 := strconv.ParseUint(seq, 10, 64)
	return entryID{a, b}, ok && err1 == nil && err2 == nil
}

func (id entryID) String() string {
	var buf [41]byte
	b := strconv.AppendUint(buf[:0], id.ms, 10)
	b = append(b, '-')
	return string(strconv.AppendUint(b, id.seq, 10))
}

func (id entryID) compare(o entryID) int {
	return cmp.Or(cmp.Compare(id.ms, o.ms), cmp.Compare(id.seq, o.seq))
}

// next is the smallest id above id, prev the largest below. Neither is called
// at the end of the range.
func (id entryID) next() entryID {
	if id.seq == math.MaxUint64 {
		return entryID{id.ms + 1, 0}
	}
	return entryID{id.ms, id.seq + 1}
}

func (id entryID) prev() entryID {
	if id.seq == 0 {
		return entryID{id.ms - 1, math.MaxUint64}
	}
	return entryID{id.ms, id.seq - 1}
}

// entry is one entry of a stream as the server returned it: names and values in
// turn, bytes as they are, doubles and order kept.
type entry struct {
	id     entryID
	fields []any // strings
}

// dataField is the one field of a record's entry.
const dataField = "data"

// decodePage reads the answer to XRANGE or XREVRANGE. The entries go to page.
func decodePage(reply any, page []entry) ([]entry, error) {
	list, ok := reply.([]any)
	if !ok {
		return page, fmt.Errorf("the server's list of entries is a %T", reply)
	}
	for _, item := range list {
		pair, ok := item.([]any)
		if !ok || len(pair) != 2 {
			return page, fmt.Errorf("the server's entry is a %T of %d parts", item, len(pair))
		}
		text, _ := pair[0].(string)
		id, ok := parseID(text)
		if !ok {
			return page, fmt.Errorf("the server's entry has the id %q", text)
		}
		fields, ok := pair[1].([]any)
		if !ok || len(fields)%2 != 0 {
			return page, fmt.Errorf("entry %s has %d names and values", text, len(fields))
		}
		page = append(page, entry{id, fields})
	}
	return page, nil
}

func (e *entry) field(i int) string {
	s, _ := e.fields[i].(string)
	return s
}

// plain reports whether the entry has the field "data" and nothing else.
func (e *entry) plain() bool { return len(e.fields) == 2 && e.field(0) == dataField }

// data is the value of the first field "data", or "".
func (e *entry) data() string {
	for i := 0; i < len(e.fields); i += 2 {
		if e.field(i) == dataField {
			return e.field(i + 1)
		}
	}
	return ""
}

// size is the length of the line with the newline that a file would have; of an
// entry with other fields it is the length of all names and values.
func (e *entry) size() int64 {
	if e.plain() {
		return int64(len(e.field(1))) + 1
	}
	n := 0
	for i := range e.fields {
		n += len(e.field(i))
	}
	return int64(n) + 1
}

// encoded is the whole entry, byte for byte: a JSON array of [name, value], each
// in base64.
func (e *entry) encoded() (string, error) {
	pairs := make([][2]string, 0, len(e.fields)/2)
	for i := 0; i < len(e.fields); i += 2 {
		pairs = append(pairs, [2]string{
			base64.StdEncoding.EncodeToString([]byte(e.field(i))),
			base64.StdEncoding.EncodeToString([]byte(e.field(i + 1))),
		})
	}
	text, err := json.Marshal(pairs)
	return string(text), err
}

// entryJudge judges entries. The record it fills is valid until its next call.
type entryJudge struct{ line []byte }

// entry says what an entry under a key is, and fills rec if it is a record. full
// is as in judge.Line.
func (j *entryJudge) entry(rec *papyra.Record, key *streamKey, e *entry, full bool) (judge.Verdict, *papyra.LineError) {
	damaged := func(class papyra.Class, format string, args ...any) (judge.Verdict, *papyra.LineError) {
		return judge.Damaged, &papyra.LineError{Class: class, Detail: fmt.Sprintf(format, args...)}
	}
	if !e.plain() {
		for i := 0; i < len(e.fields); i += 2 {
			if e.field(i) == dataField {
				return damaged(papyra.ClassCorrupted, "the entry has %d fields instead of the one field data", len(e.fields)/2)
			}
		}
		return damaged(papyra.ClassMissingField, "the entry has no field data")
	}
	data := e.field(1)
	if len(data)+1 > papyra.MaxStoredLine {
		if strings.Trim(data, "\x00") == "" {
			return damaged(papyra.ClassNULRun, "nothing but NUL bytes")
		}
		return damaged(papyra.ClassOversize, "longer than %d bytes", papyra.MaxStoredLine)
	}
	if i := strings.IndexByte(data, '\n'); i >= 0 {
		return damaged(papyra.ClassCorrupted, "a newline stands in the line, at byte %d", i)
	}
	if cap(j.line) > 2*papyra.MaxPublishedLine && len(data) <= papyra.MaxPublishedLine {
		j.line = nil
	}
	j.line = append(j.line[:0], data...)
	verdict, err := judge.Line(rec, j.line, full)
	if verdict == judge.Valid && !key.holds(rec) {
		return damaged(papyra.ClassCorrupted, "a record of %s", rec.Stream())
	}
	return verdict, err
}

// detail is what an anomaly says of damage in a line.
func detail(e *papyra.LineError) string {
	if e.Offset == 0 {
		return e.Detail
	}
	return fmt.Sprintf("%s, at byte %d", e.Detail, e.Offset)
}
