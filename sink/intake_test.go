package sink

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

// testIntake returns an intake of s.
func testIntake(s *Sink) *intake { return newIntake(&s.config, s.buffer, s.rejects, s.answers, s.runs) }

// intakeMessage returns a message of about 16 KiB and its number of lines.
func intakeMessage(tb testing.TB) (*nats.Msg, int) {
	tb.Helper()
	data, lines := LargeMessage(tb, 16<<10)
	return &nats.Msg{Subject: papyra.RecordsSubject("orders", papyra.KindEvent), Data: data}, lines
}

// emptyBuffer is what the writer does with a block, without a store.
func (s *Sink) emptyBuffer() {
	s.buffer.mu.Lock()
	defer s.buffer.mu.Unlock()
	q := &s.buffer.waiting
	for b := q.takeOldest(); b != nil; b = q.takeOldest() {
		b.dropFirst(b.batch.Len())
		q.reuseBlock(b)
	}
}

// The path of a good line has no allocation of its own.
func TestIntakeAllocatesNothingForALine(t *testing.T) {
	for _, v := range []Validation{ValidateFull, ValidateSeal} {
		s := testSink(t, Config{Validate: v})
		in := testIntake(s)
		m, lines := intakeMessage(t)
		in.takeMessage(m)
		s.emptyBuffer()
		if n := testing.AllocsPerRun(100, func() {
			in.takeMessage(m)
			s.emptyBuffer()
		}); n > 0 {
			t.Errorf("%s: %v allocations for a message of %d lines, want none", v, n, lines)
		}
		if st := s.Stats(); st.Received == 0 || st.RejectedTotal() > 0 || st.DroppedTotal() > 0 {
			t.Errorf("%s: the lines were not taken: %+v", v, st)
		}
	}
}

// BenchmarkIntake checks and buffers messages of about 16 KiB. An operation is a
// record.
func BenchmarkIntake(b *testing.B) {
	for _, v := range []Validation{ValidateFull, ValidateSeal} {
		b.Run(string(v), func(b *testing.B) {
			s := testSink(b, Config{Validate: v})
			in := testIntake(s)
			m, lines := intakeMessage(b)
			b.SetBytes(int64(len(m.Data) / lines))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += lines {
				in.takeMessage(m)
				s.emptyBuffer()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func TestSubjectsAreRememberedWithinABound(t *testing.T) {
	s := testSink(t, Config{})
	in := testIntake(s)
	for i := range 3 * maxSubjects {
		in.takeMessage(&nats.Msg{Subject: papyra.RecordsSubject(string(rune('a'+i%26))+papyra.EncodeToken(string(rune(0x4e00+i))), papyra.KindEvent)})
	}
	if len(in.subjects) > maxSubjects {
		t.Errorf("%d subjects are remembered, want at most %d", len(in.subjects), maxSubjects)
	}
}
