// Package judge judges lines and counts what a scan of a store finds, the same
// for every backend.
package judge

import (
	"bytes"
	"errors"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/checksum"
)

// Verdict is what a line is.
type Verdict uint8

// The verdicts.
const (
	Valid   Verdict = iota // a record
	Blank                  // nothing, or nothing but white space
	Damaged                // anything else
)

// Series judges lines that come one after the other: the next is judged faster
// where it looks like the last. The zero Series is ready; it is not safe for
// concurrent use.
type Series struct{ parser papyra.Parser }

// Line does what the function [Line] does.
func (s *Series) Line(rec *papyra.Record, line []byte, full bool) (Verdict, *papyra.LineError) {
	if !full && s.parser.Sealed(rec, line) {
		return Valid, nil
	}
	return verdict(line, s.parser.Parse(rec, line))
}

// Trusted counts the lines that block begins with, as far as Line without full
// would find them valid, of the last line's stream, and of a date not behind latest. It
// may count fewer.
func (s *Series) Trusted(block []byte, latest int64) papyra.Stretch {
	return s.parser.SealedLines(block, latest)
}

// Line judges a line, given without its newline, and fills rec if it is valid.
// Unless full is set, a line in the layout of [papyra.Encoder] whose seal
// verifies is trusted: rec then holds what [papyra.ParseSealed] fills. The
// error is nil unless the line is damaged.
func Line(rec *papyra.Record, line []byte, full bool) (Verdict, *papyra.LineError) {
	if !full && papyra.ParseSealed(rec, line) {
		return Valid, nil
	}
	return verdict(line, papyra.ParseInto(rec, line))
}

// verdict is what a line is of which a parser says err.
func verdict(line []byte, err error) (Verdict, *papyra.LineError) {
	if err == nil {
		return Valid, nil
	}
	if len(bytes.Trim(line, " \t\r")) == 0 {
		return Blank, nil
	}
	return Damaged, lineError(err)
}

func lineError(err error) *papyra.LineError {
	var le *papyra.LineError
	if errors.As(err, &le) {
		return le
	}
	return &papyra.LineError{Class: papyra.ClassCorrupted, Detail: err.Error()}
}

// Piece is a part of a damaged line: a record, or damage.
type Piece struct {
	Start, End int
	Damage     *papyra.LineError // nil for a record; its Offset counts from Start
}

// splitBudget bounds the bytes that Split sums up for one line. A line with so
// many false beginnings that it is not enough stays one damaged piece from
// there on.
const splitBudget = 64 << 20

// recordHead is how a record in our layout begins.
const recordHead = `{"kind":"`

// Split cuts a damaged line where a seal proves the cut: two records whose
// newline is missing, a torn record and the next one, NUL bytes before a
// record. The pieces are in order and cover the line. Whatever is neither
// proven by its seal nor a whole record between two proven places is damage of
// its own. A record inside another one's payload is not taken for a record of
// its own: what follows it there is JSON that goes on.
func Split(line []byte) []Piece {
	var (
		pieces []Piece
		rec    papyra.Record
		done   int // everything before it is in pieces
	)
	damage := func(end int) {
		if end == done {
			return
		}
		p := Piece{Start: done, End: end}
		if err := papyra.ParseInto(&rec, line[done:end]); err != nil {
			p.Damage = lineError(err)
		}
		pieces = append(pieces, p)
		done = end
	}
	budget := splitBudget
	lastTail := 0
	// Most damage has no beginning of a record, and that is found much faster than
	// the last of something.
	if first := bytes.Index(line, []byte(recordHead)); first >= 0 {
		lastTail = bytes.LastIndex(line[first:], []byte(checksum.TailStart)) + first
	}
	for start := 0; start < lastTail && budget > 0; {
		i := bytes.Index(line[start:], []byte(recordHead))
		if i < 0 {
			break
		}
		start += i
		end := provenEnd(line, start, &budget)
		if end < 0 || papyra.ParseInto(&rec, line[start:end]) != nil {
			start += len(recordHead)
			continue
		}
		damage(start)
		pieces = append(pieces, Piece{Start: start, End: end})
		start, done = end, end
	}
	damage(len(line))
	return pieces
}

// provenEnd returns where the sealed record that begins at start ends, or -1.
func provenEnd(line []byte, start int, budget *int) int {
	sum, at := uint32(0), start
	for *budget > 0 {
		i := bytes.Index(line[at:], []byte(checksum.TailStart))
		if i < 0 || at+i+checksum.TailLen > len(line) {
			*budget -= len(line) - at
			return -1
		}
		tail := at + i
		sum = checksum.Extend(sum, line[at:tail])
		*budget -= tail - at
		end := tail + checksum.TailLen
		if checksum.HasTail(line[tail:end]) && checksum.Spells(line[tail+len(checksum.TailStart):end-2], sum) && !goesOn(line, end) && papyra.CheckSeal(line[start:end]) {
			return end
		}
		// The tail's own bytes belong to what a later tail sums up.
		sum = checksum.Extend(sum, line[tail:tail+1])
		at = tail + 1
	}
	return -1
}

// goesOn reports whether what stands at i continues a JSON value that encloses
// the one before.
func goesOn(line []byte, i int) bool {
	rest := bytes.TrimLeft(line[i:], " \t\r")
	return len(rest) > 0 && bytes.IndexByte([]byte(",}]"), rest[0]) >= 0
}
