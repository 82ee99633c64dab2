package sink

import (
	"bytes"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/linecheck"
)

// intake takes the messages of one subscription: it checks their lines and gives
// them to the buffer and to the reject file. Its inbox calls it from one goroutine.
// It does no I/O. All that it can wait for are the locks of the buffer and of the
// reject file, once for each message, whatever the store does.
type intake struct {
	buffer   *buffer
	rejects  *rejectFile
	answers  *answers
	runs     *runList
	now      func() time.Time
	check    linecheck.Checker
	subjects subjectCache

	// Scratch, kept between messages so that a line costs no allocation.
	good []acceptedLine
	bad  []rejectedLines
	keep []reject // the first rejected lines of a message
}

// maxJoined bounds what is remembered of the rejected lines of a message before the
// buffer is told of it.
const maxJoined = 256

func newIntake(c *Config, b *buffer, r *rejectFile, a *answers, runs *runList) *intake {
	return &intake{
		buffer: b, rejects: r, answers: a, runs: runs, now: c.Now,
		check: linecheck.Checker{TrustSeals: c.Validate == ValidateSeal},
	}
}

// takeMessage takes one message: lines of one stream with newlines between.
func (in *intake) takeMessage(m *nats.Msg) {
	sub := in.subjects.find(m.Subject)
	in.good, in.bad, in.keep = in.good[:0], in.bad[:0], in.keep[:0]
	refused := 0
	for rest := m.Data; len(rest) > 0; {
		b := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			b, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil // the last newline may be missing; the batch adds it
		}
		if len(b) == 0 {
			continue
		}
		reason := in.check.CheckLine(&sub.Subject, b)
		if reason == "" {
			rec := in.check.Record()
			in.good = append(in.good, acceptedLine{b, rec.Run, rec.Seq})
			if sub.Stream.Kind == papyra.KindReport {
				in.runs.note(sub.Stream.System, rec, b, in.now())
			}
			continue
		}
		in.rejectLine(&sub.Subject, b, reason)
		refused++
	}
	in.buffer.takeMessage(sub.Stream, in.good, in.bad, in.answers.wanted(sub, m.Reply))
	if refused > 0 {
		in.keepRejects(m.Subject, sub.Stream.System, refused)
	}
}

// keepRejects gives the first of n rejected lines of a message to the reject file.
// What is wrong with a line is worked out only where it is kept.
func (in *intake) keepRejects(subject, system string, n int) {
	now := in.now()
	kept := in.rejects.reserveRoom(now, system, len(in.keep))
	for i := range in.keep[:kept] {
		r := &in.keep[i]
		r.detail = linecheck.Explain(subject, r.raw, r.reason)
	}
	in.rejects.addRejects(now, subject, in.keep, kept, n)
}

// rejectLine notes a rejected line. A sender can send many of them, and others wait
// meanwhile: beyond the first ones of a message it is only counted.
func (in *intake) rejectLine(sub *linecheck.Subject, b []byte, reason papyra.RejectReason) {
	if len(in.keep) < maxKept {
		in.keep = append(in.keep, reject{reason: reason, raw: b})
	}
	r := describeRejected(&in.check, sub, b, reason)
	if last := len(in.bad) - 1; last >= 0 && in.bad[last].join(&r) {
		return
	}
	if len(in.bad) >= maxJoined {
		in.buffer.takeRejected(sub.Stream, in.bad)
		in.bad = in.bad[:0]
	}
	in.bad = append(in.bad, r)
}

// maxSubjects bounds the parsed subjects that are remembered; when they are more, it
// begins anew.
const maxSubjects = 4096

// subjectCache remembers parsed subjects. It is not safe for concurrent use.
type subjectCache map[string]*messageSubject

func (c *subjectCache) find(name string) *messageSubject {
	if sub := (*c)[name]; sub != nil {
		return sub
	}
	sub := parseSubject(name)
	if *c == nil || len(*c) >= maxSubjects {
		*c = subjectCache{}
	}
	(*c)[name] = &sub
	return &sub
}
