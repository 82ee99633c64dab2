// Package testrecord makes records for tests of stores.
package testrecord

import (
	"bytes"
	"fmt"
	"time"

	"github.com/papyra/papyra"
)

// Start is the time of a source's first record.
var Start = time.Unix(1_700_000_000, 0).UTC()

// Source is one run of a publisher that records things, one second apart. It is
// not safe for concurrent use.
type Source struct {
	id   *papyra.Identity
	enc  papyra.Encoder
	seqs [papyra.KindCount]uint64
	now  time.Time
}

// New returns a source with a fixed run made of a number.
func New(n int) *Source {
	id, err := papyra.NewIdentityRun("sample", fmt.Sprintf("%016d", n))
	if err != nil {
		panic(err)
	}
	return &Source{id: id, now: Start}
}

// Run returns the source's run.
func (s *Source) Run() string { return s.id.Run() }

// Rewind makes the next record of a kind the one after number n, as a publisher
// does whose last records were lost with it.
func (s *Source) Rewind(kind papyra.Kind, n uint64) { s.seqs[kind] = n }

// Line returns the next record of a kind, without its newline. The payload of an
// event or dead letter is text.
func (s *Source) Line(system string, kind papyra.Kind, text string) []byte {
	s.seqs[kind]++
	n := s.seqs[kind]
	s.now = s.now.Add(time.Second)
	var err error
	switch kind {
	case papyra.KindEvent:
		err = s.enc.Event(s.id, system, &papyra.Event{
			Actor: papyra.Address{ID: int64(n)}, Type: papyra.ActorStarted, Payload: text, Time: s.now,
		}, nil, s.now)
	case papyra.KindDeadLetter:
		err = s.enc.DeadLetter(s.id, system, &papyra.DeadLetter{
			Target: papyra.Address{Name: "worker"}, MessageType: "Job", Payload: text, Time: s.now,
		}, nil, s.now)
	case papyra.KindAudit:
		err = s.enc.Audit(s.id, system, &papyra.Audit{TotalActors: int64(n), Time: s.now}, s.now)
	case papyra.KindReport:
		err = s.enc.Report(s.id, system, &papyra.Report{Name: papyra.ReportPublisher, Payload: &papyra.PublisherReport{Uptime: float64(n)}, Time: s.now}, s.now)
	default:
		panic("no such kind")
	}
	if err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(s.enc.AppendLine(nil, n), []byte("\n"))
}

// Event returns the next event of system "orders".
func (s *Source) Event() []byte {
	return s.Line("orders", papyra.KindEvent, fmt.Sprintf("text %d", s.seqs[papyra.KindEvent]+1))
}

// Events returns the next n events of system "orders".
func (s *Source) Events(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = s.Event()
	}
	return out
}

// EventsAt returns the next n events of system "orders", the first a second after at.
func (s *Source) EventsAt(at time.Time, n int) [][]byte {
	s.now = at
	return s.Events(n)
}

// Batch returns lines as a batch. Each must be a record.
func Batch(lines ...[]byte) *papyra.Batch {
	b := &papyra.Batch{}
	for _, line := range lines {
		rec, err := papyra.Parse(line)
		if err != nil {
			panic(fmt.Sprintf("%v: %s", err, line))
		}
		b.Append(b.StreamIndex(rec.Stream()), line)
	}
	return b
}

// Join returns lines as they lie in a file.
func Join(lines ...[]byte) []byte {
	var out []byte
	for _, line := range lines {
		out = append(append(out, line...), '\n')
	}
	return out
}
