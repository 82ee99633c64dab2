package sink

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

func intakeMessage(tb testing.TB) (*nats.Msg, int) {
	id, err := papyra.NewIdentityRun("node-1", "aaaaaaaaaaaaaaaa")
	if err != nil {
		tb.Fatal(err)
	}
	var data []byte
	lines := 0
	for ; len(data) < 16<<10; lines++ {
		var e papyra.Encoder
		ev := papyra.Event{Actor: papyra.Address{ID: 42}, Type: papyra.ActorStarted, Payload: map[string]any{"what": "something that an actor wants to remember", "n": lines}}
		if err := e.Event(id, "orders", &ev, nil, testTime); err != nil {
			tb.Fatal(err)
		}
		data = e.AppendLine(data, uint64(lines+1))
	}
	return &nats.Msg{Subject: papyra.RecordsSubject("orders", papyra.KindEvent), Data: data}, lines
}

// empty is what the writer does with a batch, without a store.
func (s *Sink) empty() {
	s.mu.Lock()
	for b := s.backlog.pop(); b != nil; b = s.backlog.pop() {
		b.dropFirst(b.batch.Len())
		s.backlog.recycle(b)
	}
	s.mu.Unlock()
}

// The path of a good line has no allocation of its own.
func TestIntakeAllocatesNothingForALine(t *testing.T) {
	for _, v := range []Validation{ValidateFull, ValidateSeal} {
		s := testSink(t, Config{Validate: v})
		in := newIntake(s)
		m, lines := intakeMessage(t)
		in.message(m)
		s.empty()
		if n := testing.AllocsPerRun(100, func() {
			in.message(m)
			s.empty()
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
			in := newIntake(s)
			m, lines := intakeMessage(b)
			b.SetBytes(int64(len(m.Data) / lines))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += lines {
				in.message(m)
				s.empty()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func TestSubjectsAreRememberedWithinABound(t *testing.T) {
	s := testSink(t, Config{})
	in := newIntake(s)
	for i := range 3 * maxSubjects {
		in.message(&nats.Msg{Subject: papyra.RecordsSubject(string(rune('a'+i%26))+papyra.EncodeToken(string(rune(0x4e00+i))), papyra.KindEvent)})
	}
	if len(in.subjects) > maxSubjects {
		t.Errorf("%d subjects are remembered, want at most %d", len(in.subjects), maxSubjects)
	}
}
