package sink

import (
	"bytes"

	"github.com/papyra/papyra"
)

// messageSubject is what a subject says of the lines in its messages.
type messageSubject struct {
	stream papyra.Stream
	reason papyra.RejectReason // why all lines are rejected, or ""
	heard  string              // the wildcard for the answers to the system
}

// parseSubject reads the subject of a message. It rejects a subject that is none
// of records, and the pipeline's own system, for which only a sink itself writes.
func parseSubject(name string) messageSubject {
	stream, err := papyra.ParseRecordsSubject(name)
	switch {
	case err != nil:
		return messageSubject{reason: papyra.RejectSubject}
	case stream.System == papyra.SystemReserved:
		return messageSubject{reason: papyra.RejectReserved}
	}
	return messageSubject{stream: stream, heard: papyra.HeardBySystem(stream.System)}
}

// acceptedLine is a line that passed the check. run and seq are its identity, if
// it has one.
type acceptedLine struct {
	bytes []byte
	run   []byte
	seq   uint64
}

// rejectedLines are lines that did not pass the check, one after the other, for one
// reason. run, seqs and kind are set only where the lines' seals vouch for them; then
// the lines have the numbers in seqs.
type rejectedLines struct {
	n, size int // lines, and their bytes
	reason  papyra.RejectReason
	run     []byte
	seqs    papyra.Range
	kind    papyra.Kind
}

// join takes the lines of next in if they continue these ones.
func (r *rejectedLines) join(next *rejectedLines) bool {
	switch {
	case r.reason != next.reason:
		return false
	case len(r.run) == 0 && len(next.run) == 0:
	case r.kind != next.kind || r.seqs[1]+1 != next.seqs[0] || !bytes.Equal(r.run, next.run):
		return false
	default:
		r.seqs[1] = next.seqs[1]
	}
	r.n += next.n
	r.size += next.size
	return true
}

// lineCheck decides which lines a sink accepts. It knows nothing but the line and
// its subject: it needs no sink, takes no lock and does no I/O. It keeps what it
// parses into, so that a line costs no allocation; it is not safe for concurrent
// use. The reasons, in the order in which they are looked for:
//
//	bad_subject, reserved_system        the subject is wrong for all its lines
//	carriage_return                     the line ends with \r
//	oversize                            the line is longer than one from the wire may be
//	a papyra.Class, such as truncated   the line is no record, or its seal is wrong
//	kind_mismatch, system_mismatch      the record does not belong to its subject
type lineCheck struct {
	// trustSeals accepts a line in the publisher's own layout whose seal verifies
	// without a look at the rest, as ValidateSeal says.
	trustSeals bool

	parser papyra.Parser
	rec    papyra.Record // of the line that was checked last, if parsed; it refers to the line's bytes
	parsed bool
}

// checkLine checks a line, which is not empty and has no newline. It returns why
// the line is rejected, or "" if it is accepted; then its record is in rec.
func (c *lineCheck) checkLine(sub *messageSubject, b []byte) papyra.RejectReason {
	c.parsed = false
	switch {
	case sub.reason != "":
		return sub.reason
	case b[len(b)-1] == '\r':
		return papyra.RejectCarriageReturn
	case len(b)+1 > papyra.MaxLine:
		return papyra.ClassOversize
	}
	if !c.trustSeals || !c.parser.Sealed(&c.rec, b) {
		if class := c.parser.Check(&c.rec, b); class != "" {
			return class
		}
	}
	c.parsed = true
	switch {
	case c.rec.Unverified():
		return papyra.ClassChecksumMismatch
	case c.rec.Kind != sub.stream.Kind:
		return papyra.RejectKindMismatch
	case string(c.rec.System) != sub.stream.System:
		return papyra.RejectSystemMismatch
	}
	return ""
}

// describeRejected returns a line that checkLine did not accept, with its
// identity where that can be believed. A line that its publisher sealed has a
// number, and the number would be missing without a reason: whatever is wrong with
// the line, and behind it. Of what the line claims only the system is bound by the
// subject. A line of a kind that is not ours counts for the subject's.
func (c *lineCheck) describeRejected(sub *messageSubject, b []byte, reason papyra.RejectReason) rejectedLines {
	r := rejectedLines{n: 1, size: len(b), reason: reason}
	if sub.reason != "" {
		return r // the subject binds nothing
	}
	if reason == papyra.RejectCarriageReturn {
		b = bytes.TrimRight(b, "\r")
	}
	known := c.rec.Sealed
	if !c.parsed {
		known = papyra.SealedIdentity(&c.rec, b)
	}
	if known && string(c.rec.System) == sub.stream.System {
		r.run, r.seqs, r.kind = c.rec.Run, papyra.Range{c.rec.Seq, c.rec.Seq}, c.rec.Kind
		if r.kind == papyra.KindUnknown {
			r.kind = sub.stream.Kind
		}
	}
	return r
}
