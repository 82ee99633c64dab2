// Package linecheck decides which lines a sink accepts, and says of the others what
// is wrong with them. It knows nothing but a line and its subject: it needs no sink,
// takes no lock and does no I/O.
package linecheck

import (
	"errors"
	"fmt"

	"github.com/papyra/papyra"
)

// Subject is what a subject says of the lines in its messages.
type Subject struct {
	Stream papyra.Stream
	Reason papyra.RejectReason // why all lines are rejected, or ""
}

// ParseSubject reads the subject of a message. It rejects a subject that is none
// of records, and the pipeline's own system, for which only a sink itself writes.
func ParseSubject(name string) Subject {
	stream, err := papyra.ParseRecordsSubject(name)
	switch {
	case err != nil:
		return Subject{Reason: papyra.RejectSubject}
	case stream.System == papyra.SystemReserved:
		return Subject{Reason: papyra.RejectReserved}
	}
	return Subject{Stream: stream}
}

// Checker checks lines one after the other. It keeps what it parses into, so that a
// line costs no allocation; it is not safe for concurrent use. The zero Checker is
// ready.
type Checker struct {
	// TrustSeals accepts a line in the publisher's own layout whose seal verifies
	// without a look at the rest.
	TrustSeals bool

	parser papyra.Parser
	rec    papyra.Record // of the line that was checked last, if parsed; it refers to the line's bytes
	parsed bool
}

// CheckLine checks a line, which is not empty and has no newline. It returns why
// the line is rejected, or "" if it is accepted. The reasons, in the order in which
// they are looked for:
//
//	bad_subject, reserved_system        the subject is wrong for all its lines
//	carriage_return                     the line ends with \r
//	oversize                            the line is longer than one from the wire may be
//	a papyra.Class, such as truncated   the line is no record, or its seal is wrong
//	kind_mismatch, system_mismatch      the record does not belong to its subject
func (c *Checker) CheckLine(sub *Subject, b []byte) papyra.RejectReason {
	c.parsed = false
	switch {
	case sub.Reason != "":
		return sub.Reason
	case b[len(b)-1] == '\r':
		return papyra.RejectCarriageReturn
	case len(b)+1 > papyra.MaxLine:
		return papyra.ClassOversize
	}
	if !c.TrustSeals || !c.parser.Sealed(&c.rec, b) {
		if class := c.parser.Check(&c.rec, b); class != "" {
			return class
		}
	}
	c.parsed = true
	switch {
	case c.rec.Unverified():
		return papyra.ClassChecksumMismatch
	case c.rec.Kind != sub.Stream.Kind:
		return papyra.RejectKindMismatch
	case string(c.rec.System) != sub.Stream.System:
		return papyra.RejectSystemMismatch
	}
	return ""
}

// Record returns the record of the line that CheckLine accepted last. It refers to
// the line's bytes, and is valid until the next call.
func (c *Checker) Record() *papyra.Record { return &c.rec }

// Vouched returns the record of b, the line that CheckLine rejected last, if its seal
// vouches for run and number; only these, the system and the kind are to be believed.
func (c *Checker) Vouched(b []byte) (*papyra.Record, bool) {
	known := c.rec.Sealed
	if !c.parsed {
		known = papyra.SealedIdentity(&c.rec, b)
	}
	return &c.rec, known
}

// maxExplained bounds the text of Explain, in bytes.
const maxExplained = 512

// Explain says for the author of a line why CheckLine rejects it for reason under a
// subject, naming the member that is to blame:
//
//	missing_field system_id
//	reserved_member seq: the name is the seal's, and the line has no seal
//
// It parses the line anew, and may hold names from it: escape it before you show it on
// a terminal.
func Explain(subject string, b []byte, reason papyra.RejectReason) string {
	text := explain(subject, b, reason)
	if len(text) > maxExplained {
		text = text[:maxExplained] + "…"
	}
	return text
}

func explain(subject string, b []byte, reason papyra.RejectReason) string {
	because := func(format string, args ...any) string { return string(reason) + ": " + fmt.Sprintf(format, args...) }
	switch reason {
	case papyra.RejectSubject:
		_, err := papyra.ParseRecordsSubject(subject)
		return because("want papyra.v1.records.<system>.<category>: %v", err)
	case papyra.RejectReserved:
		return because("only a sink itself writes records of the system %s", papyra.SystemReserved)
	case papyra.RejectCarriageReturn:
		return because("end each line with a newline alone")
	case papyra.ClassOversize:
		return because("the line has %d bytes, and may have %d with its newline", len(b), papyra.MaxLine)
	}
	rec, err := papyra.Parse(b)
	var bad *papyra.LineError
	if errors.As(err, &bad) {
		return bad.Explain()
	}
	stream, _ := papyra.ParseRecordsSubject(subject)
	switch reason {
	case papyra.RejectKindMismatch:
		return because("kind is %s, and the subject is of %s", kindOf(&rec), stream.Kind.Category())
	case papyra.RejectSystemMismatch:
		return because("system_id is %q, and the subject is of %q", rec.System, stream.System)
	case papyra.ClassChecksumMismatch:
		return because("the line was written anew, and no form of it has the checksum")
	}
	return string(reason)
}

// kindOf returns the name of a kind, also of one that is not ours.
func kindOf(rec *papyra.Record) string {
	if rec.Kind == papyra.KindUnknown {
		return "none of event, audit, dead_letter and report"
	}
	return rec.Kind.String()
}
