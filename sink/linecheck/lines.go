package linecheck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/papyra/papyra"
)

// Verdict is what a sink would say of one line.
type Verdict struct {
	Line   int64               `json:"line"`   // from 1
	Offset int64               `json:"offset"` // of its first byte, from 0
	Length int64               `json:"length"` // bytes, without the newline
	Reason papyra.RejectReason `json:"reason"` // why it is rejected; "" if it is accepted
	Detail string              `json:"detail"` // as Explain says
	Sealed bool                `json:"sealed"` // accepted, with a seal
}

// Lines are the counts of a check of many lines.
type Lines struct {
	Lines    int64 `json:"lines"` // all of them
	Accepted int64 `json:"accepted"`
	Unsealed int64 `json:"unsealed"` // accepted without a seal: nobody will miss one that is lost
	Rejected int64 `json:"rejected"`
	Blank    int64 `json:"blank"` // empty, passed over
}

// CheckLines reads lines until their end and yields a verdict of each that is not
// empty. subject is that of the message in which they would come; "" takes for each
// line the one that it belongs to. An error of yield or of r ends it. Memory is bounded
// whatever the length of a line.
func CheckLines(ctx context.Context, r io.Reader, subject string, yield func(*Verdict) error) (Lines, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	c := lineReader{in: in, subject: subject}
	var counts Lines
	for {
		b, length, rerr := c.nextLine()
		if err := ctx.Err(); err != nil {
			return counts, err
		}
		atEnd := errors.Is(rerr, io.EOF)
		if rerr != nil && !atEnd {
			return counts, fmt.Errorf("read line %d: %w", counts.Lines+1, rerr)
		}
		if atEnd && length == 0 {
			return counts, nil
		}
		counts.Lines++
		v := &Verdict{Line: counts.Lines, Offset: c.offset, Length: length}
		c.offset += length + 1
		if length == 0 {
			counts.Blank++
		} else {
			c.judge(v, b)
			switch {
			case v.Reason != "":
				counts.Rejected++
			case !v.Sealed:
				counts.Unsealed++
				fallthrough
			default:
				counts.Accepted++
			}
			if err := yield(v); err != nil {
				return counts, err
			}
		}
		if atEnd {
			return counts, nil
		}
	}
}

type lineReader struct {
	in      *bufio.Reader
	subject string
	offset  int64
	line    []byte
	check   Checker
}

// nextLine returns the next line without its newline, and its length. Of a line that is
// longer than a sink takes the beginning and the last byte are returned.
func (c *lineReader) nextLine() ([]byte, int64, error) {
	c.line = c.line[:0]
	length := int64(0)
	for {
		part, err := c.in.ReadSlice('\n')
		if n := len(part); n > 0 && part[n-1] == '\n' {
			part = part[:n-1]
		}
		length += int64(len(part))
		if room := papyra.MaxLine - len(c.line); len(part) <= room {
			c.line = append(c.line, part...)
		} else {
			c.line = append(c.line, part[:room]...)
			c.line[len(c.line)-1] = part[len(part)-1]
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return c.line, length, err
		}
	}
}

// judge fills the verdict of a line.
func (c *lineReader) judge(v *Verdict, b []byte) {
	subject := c.subject
	if subject == "" {
		subject = ownSubject(b)
	}
	sub := ParseSubject(subject)
	if v.Reason = c.check.CheckLine(&sub, b); v.Reason == "" {
		v.Sealed = c.check.Record().Sealed
		return
	}
	switch {
	case v.Reason == papyra.ClassOversize:
		v.Detail = fmt.Sprintf("%s: the line has %d bytes, and may have %d with its newline", v.Reason, v.Length, papyra.MaxLine)
	case v.Reason == papyra.RejectKindMismatch && c.subject == "":
		v.Detail = fmt.Sprintf("%s: kind must be event, audit, dead_letter or report", v.Reason)
	default:
		v.Detail = Explain(subject, b, v.Reason)
	}
}

// ownSubject returns the subject that a line belongs to, and one of any kind and system
// where the line does not say it.
func ownSubject(b []byte) string {
	rec, err := papyra.Parse(b)
	kind, system := rec.Kind, string(rec.System)
	if err != nil || papyra.CheckSystem(system) != nil {
		system = "any"
	}
	if err != nil || kind == papyra.KindUnknown {
		kind = papyra.KindEvent
	}
	return papyra.RecordsSubject(system, kind)
}
