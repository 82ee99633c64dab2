package sink

import (
	"bytes"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/linecheck"
)

// messageSubject is what a subject says of the lines in its messages, and the wildcard
// for the answers to the system.
type messageSubject struct {
	linecheck.Subject
	heard string
}

// parseSubject reads the subject of a message.
func parseSubject(name string) messageSubject {
	sub := messageSubject{Subject: linecheck.ParseSubject(name)}
	if sub.Reason == "" {
		sub.heard = papyra.HeardBySystem(sub.Stream.System)
	}
	return sub
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

// describeRejected returns a line that c has just not accepted, with its
// identity where that can be believed. A line that its publisher sealed has a
// number, and the number would be missing without a reason: whatever is wrong with
// the line, and behind it. Of what the line claims only the system is bound by the
// subject. A line of a kind that is not ours counts for the subject's.
func describeRejected(c *linecheck.Checker, sub *linecheck.Subject, b []byte, reason papyra.RejectReason) rejectedLines {
	r := rejectedLines{n: 1, size: len(b), reason: reason}
	if sub.Reason != "" {
		return r // the subject binds nothing
	}
	if reason == papyra.RejectCarriageReturn {
		b = bytes.TrimRight(b, "\r")
	}
	if rec, known := c.Vouched(b); known && string(rec.System) == sub.Stream.System {
		r.run, r.seqs, r.kind = rec.Run, papyra.Range{rec.Seq, rec.Seq}, rec.Kind
		if r.kind == papyra.KindUnknown {
			r.kind = sub.Stream.Kind
		}
	}
	return r
}
