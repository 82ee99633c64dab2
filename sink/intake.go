package sink

import (
	"bytes"
	"time"

	"github.com/nats-io/nats.go"
)

// maxSubjects bounds the parsed subjects that an intake remembers; when they
// are more, it begins anew.
const maxSubjects = 4096

// intake takes the messages of one subscription: it checks their lines and gives
// them to the buffer and to the reject file. The NATS client calls it from one
// goroutine. It does no I/O. All that it can wait for are the locks of the buffer
// and of the reject file, once for each message and each rejected line, whatever
// the store does.
type intake struct {
	buffer   *buffer
	rejects  *rejectFile
	now      func() time.Time
	check    lineCheck
	subjects map[string]*messageSubject

	// Scratch, kept between messages so that a line costs no allocation.
	good []acceptedLine
	bad  []rejectedLine
}

func newIntake(c *Config, b *buffer, r *rejectFile) *intake {
	return &intake{
		buffer: b, rejects: r, now: c.Now,
		check:    lineCheck{trustSeals: c.Validate == ValidateSeal},
		subjects: map[string]*messageSubject{},
	}
}

// takeMessage takes one message: lines of one stream with newlines between.
func (in *intake) takeMessage(m *nats.Msg) {
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
			in.takeLine(sub, b)
		}
	}
	in.buffer.takeMessage(sub.stream, in.good, in.bad)
	for i := range in.bad {
		in.rejects.addReject(in.now(), m.Subject, in.bad[i].reason, in.bad[i].bytes)
	}
}

func (in *intake) takeLine(sub *messageSubject, b []byte) {
	reason := in.check.checkLine(sub, b)
	if reason == "" {
		in.good = append(in.good, acceptedLine{b, in.check.rec.Run, in.check.rec.Seq})
		return
	}
	in.bad = append(in.bad, in.check.describeRejected(sub, b, reason))
}

func (in *intake) subject(name string) *messageSubject {
	if sub := in.subjects[name]; sub != nil {
		return sub
	}
	sub := parseSubject(name)
	if len(in.subjects) >= maxSubjects {
		clear(in.subjects)
	}
	in.subjects[name] = &sub
	return &sub
}
