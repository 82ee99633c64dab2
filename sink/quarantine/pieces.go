package quarantine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
)

// counts is how often lines occur, by what their checksum begins with.
type counts map[lineKey]int32

type lineKey struct {
	sum  [16]byte
	size int64 // with the newline
}

func keyOf(line []byte) lineKey {
	sum := sha256.Sum256(line)
	return lineKey{[16]byte(sum[:]), int64(len(line)) + 1}
}

// add adds a line to those that are counted. Below zero, and of a line that was never
// added, nothing is taken away.
func (c counts) add(line []byte, n int32) {
	key := keyOf(line)
	if have, ok := c[key]; ok || n > 0 {
		c[key] = max(have+n, 0)
	}
}

// take takes one of the lines that are left.
func (c counts) take(line []byte) bool {
	key := keyOf(line)
	if c[key] <= 0 {
		return false
	}
	c[key]--
	return true
}

func (c counts) total() (lines, bytes int64) {
	for key, n := range c {
		lines += int64(n)
		bytes += int64(n) * key.size
	}
	return lines, bytes
}

func (c counts) clone() counts { return maps.Clone(c) }

// eachRecord calls visit with each whole record of the act. It counts the pieces and
// what is no record.
func (r *restoring) eachRecord(ctx context.Context, visit func(*papyra.Record) error) error {
	r.report.Pieces, r.report.DamagedBytes = 0, 0
	f := finder{lines: bufio.NewReaderSize(nil, papyra.MaxLine+1), visit: visit}
	err := r.store.QuarantinePieces(ctx, r.o.Dir, r.o.Act, func(p *papyra.QuarantinePiece) error {
		r.report.Pieces++
		if p.Foreign {
			f.damaged += p.Length
			return nil
		}
		f.lines.Reset(p.Content)
		return f.find()
	})
	r.report.DamagedBytes = f.damaged
	return err
}

// finder finds whole records in pieces.
type finder struct {
	lines   *bufio.Reader // holds the longest line that may be a record
	visit   func(*papyra.Record) error
	damaged int64
	rec     papyra.Record
}

// find looks through the lines of one piece.
func (f *finder) find() error {
	for {
		if err := f.skipHole(); err != nil {
			return orEnd(err)
		}
		line, readErr := f.lines.ReadSlice('\n')
		switch {
		case errors.Is(readErr, bufio.ErrBufferFull):
			if err := f.skipLine(int64(len(line))); err != nil {
				return orEnd(err)
			}
			continue
		case readErr != nil && !errors.Is(readErr, io.EOF):
			return orEnd(readErr)
		}
		if err := f.line(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return err
		}
		if readErr != nil {
			return orEnd(readErr)
		}
	}
}

func orEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read quarantine: %w", err)
}

// skipHole skips NUL bytes before a line.
func (f *finder) skipHole() error {
	for {
		b, err := f.lines.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return f.lines.UnreadByte()
		}
		f.damaged++
	}
}

// skipLine skips the rest of a line that is too long to be a record.
func (f *finder) skipLine(n int64) error {
	for {
		f.damaged += n
		rest, err := f.lines.ReadSlice('\n')
		n = int64(len(rest))
		if !errors.Is(err, bufio.ErrBufferFull) {
			f.damaged += n
			return err
		}
	}
}

// line looks for records in one line.
func (f *finder) line(line []byte) error {
	verdict, _ := judge.Line(&f.rec, line, true)
	switch verdict {
	case judge.Blank:
		return nil
	case judge.Valid:
		return f.visit(&f.rec)
	}
	for _, p := range judge.Split(line) {
		if p.Damage != nil {
			f.damaged += int64(p.End - p.Start)
			continue
		}
		if err := papyra.ParseInto(&f.rec, line[p.Start:p.End]); err != nil {
			return err
		}
		if err := f.visit(&f.rec); err != nil {
			return err
		}
	}
	return nil
}
