package sink

import (
	"bytes"
	"errors"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

// maxSubjects bounds the parsed subjects that an intake remembers; when they
// are more, it begins anew.
const maxSubjects = 4096

// intake checks the messages of one subscription. The NATS client calls it from
// one goroutine. It does no I/O: all it can wait for is the sink's mutex, once
// for each message, whatever the store does.
type intake struct {
	sink     *Sink
	sealed   bool // ValidateSeal
	subjects map[string]*subject

	// Scratch, kept between messages so that a line costs no allocation.
	parser papyra.Parser
	rec    papyra.Record
	good   []line
	bad    []reject
}

// subject is what a subject says of its messages.
type subject struct {
	stream papyra.Stream
	reason papyra.RejectReason // why all its lines are rejected, or ""
}

// line is an accepted line and its identity, if it has one.
type line struct {
	bytes []byte
	run   []byte
	seq   uint64
}

// reject is a line that was not accepted.
type reject struct {
	bytes  []byte
	reason papyra.RejectReason
	// run, seq and kind are set where the seal vouches for them.
	run  []byte
	seq  uint64
	kind papyra.Kind
}

func newIntake(s *Sink) *intake {
	return &intake{sink: s, sealed: s.config.Validate == ValidateSeal, subjects: map[string]*subject{}}
}

// message takes one message: lines of one stream with newlines between.
func (in *intake) message(m *nats.Msg) {
	sub := in.subject(m.Subject)
	in.good, in.bad = in.good[:0], in.bad[:0]
	for rest := m.Data; len(rest) > 0; {
		b := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			b, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil // the last newline may be missing; the batch adds it
		}
		if len(b) > 0 {
			in.line(sub, b)
		}
	}
	in.sink.take(m.Subject, sub.stream, in.good, in.bad)
}

func (in *intake) line(sub *subject, b []byte) {
	reason := in.check(sub, b)
	if reason == "" {
		in.good = append(in.good, line{b, in.rec.Run, in.rec.Seq})
		return
	}
	r := reject{bytes: b, reason: reason}
	// A line that its publisher sealed has a number, and the number would be
	// missing without a reason. Only what the subject binds is believed.
	if in.parser.Sealed(&in.rec, b) && string(in.rec.System) == sub.stream.System {
		r.run, r.seq, r.kind = in.rec.Run, in.rec.Seq, in.rec.Kind
	}
	in.bad = append(in.bad, r)
}

// check returns why a line is not accepted, or "" with the record in in.rec.
func (in *intake) check(sub *subject, b []byte) papyra.RejectReason {
	switch {
	case sub.reason != "":
		return sub.reason
	case b[len(b)-1] == '\r':
		return papyra.RejectCarriageReturn
	}
	if !in.sealed || !in.parser.Sealed(&in.rec, b) {
		if err := in.parser.Parse(&in.rec, b); err != nil {
			var le *papyra.LineError
			if errors.As(err, &le) {
				return le.Class
			}
			return papyra.ClassCorrupted
		}
	}
	switch {
	case in.rec.Kind != sub.stream.Kind:
		return papyra.RejectKindMismatch
	case string(in.rec.System) != sub.stream.System:
		return papyra.RejectSystemMismatch
	}
	return ""
}

func (in *intake) subject(name string) *subject {
	if sub := in.subjects[name]; sub != nil {
		return sub
	}
	sub := &subject{}
	stream, err := papyra.ParseRecordsSubject(name)
	switch {
	case err != nil:
		sub.reason = papyra.RejectSubject
	case stream.System == papyra.SystemReserved:
		sub.reason = papyra.RejectReserved
	default:
		sub.stream = stream
	}
	if len(in.subjects) >= maxSubjects {
		clear(in.subjects)
	}
	in.subjects[name] = sub
	return sub
}
