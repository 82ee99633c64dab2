package sink

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

// BenchmarkRefusedLines is what a line costs that is refused, on the goroutine that
// serves everybody. An operation is a line; a message has 64 KiB.
func BenchmarkRefusedLines(b *testing.B) {
	r := NewRun(b, "orders", RunA)
	for name, line := range map[string][]byte{
		"junk":             []byte("x\n"),
		"json":             []byte(`{"kind":"event","system_id":"orders","payload":{"a":[1,2,3]}}` + "\n"),
		"sealed elsewhere": r.Event(),
	} {
		subject := papyra.RecordsSubject("orders", papyra.KindEvent)
		if name == "sealed elsewhere" {
			subject = papyra.RecordsSubject("orders", papyra.KindAudit)
		}
		b.Run(name, func(b *testing.B) {
			s := testSink(b, Config{RejectFile: filepath.Join(b.TempDir(), "rejects")})
			in := newIntake(&s.config, s.buffer, s.rejects, s.answers, s.runs)
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				s.rejects.run(stop)
			}()
			data := bytes.Repeat(line, 64<<10/len(line))
			m := &nats.Msg{Subject: subject, Data: data}
			lines := len(data) / len(line)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += lines {
				in.takeMessage(m)
			}
			b.StopTimer()
			close(stop)
			<-done
		})
	}
}

// A flood of refused lines costs no allocation and keeps only its first lines, and
// each line is counted.
func TestFloodOfRefusedLinesIsCheap(t *testing.T) {
	now := testTime
	s := testSink(t, Config{RejectFile: filepath.Join(t.TempDir(), "rejects"), Now: func() time.Time { return now }})
	in := testIntake(s)
	events := papyra.RecordsSubject("evil", papyra.KindEvent)
	junk := &nats.Msg{Subject: events, Data: bytes.Repeat([]byte("x\n"), 32<<10)}
	const messages = 200
	for range messages {
		in.takeMessage(junk)
	}
	if n := testing.AllocsPerRun(10, func() { in.takeMessage(junk) }); n > 0 {
		t.Errorf("%v allocations for a message, want none", n)
	}
	if size := cap(in.bad) + cap(in.keep); size > maxJoined+maxKept+64 {
		t.Errorf("the intake remembers %d lines", size)
	}
	const lines = (messages + 11) * 32 << 10
	st := s.Stats()
	balanced := st.Received == lines && st.Rejected[papyra.ClassCorrupted] == lines && st.Bytes == lines && st.Messages == messages+11
	if !balanced {
		t.Errorf("%+v, want %d lines in %d messages", st, lines, messages+11)
	}
	kept := uint64(bytes.Count(s.rejects.buf, []byte("\n")))
	if kept < maxKept || kept > maxKeptRate/2 || st.RejectsNotKept != lines-kept {
		t.Errorf("%d lines are kept and %d are not, of %d", kept, st.RejectsNotKept, lines)
	}
	// Another system's first lines are kept all the same, and so are more of the first
	// one's a second later.
	count := func(system string) int {
		return strings.Count(string(s.rejects.buf), fmt.Sprintf("%q", papyra.RecordsSubject(system, papyra.KindEvent)))
	}
	in.takeMessage(&nats.Msg{Subject: papyra.RecordsSubject("good", papyra.KindEvent), Data: []byte("y\nz")})
	before := count("evil")
	in.takeMessage(junk)
	if n := count("good"); n != 2 || count("evil") != before {
		t.Errorf("kept %d lines of the other system, and %d more of the first", n, count("evil")-before)
	}
	now = now.Add(time.Second)
	in.takeMessage(junk)
	if n := count("evil") - before; n != maxKept {
		t.Errorf("a second later %d lines of a message are kept, want %d", n, maxKept)
	}
}

// Refused lines whose seals verify are named by their numbers however many they are,
// between others and in their order.
func TestRefusedLinesAreNamedByRanges(t *testing.T) {
	const lines = 4 * maxJoined
	for name, between := range map[string]string{"alone": "", "others between": "x\n"} {
		s := testSink(t, Config{})
		in := testIntake(s)
		r := NewRun(t, "orders", RunA)
		var data []byte
		for range lines {
			data = append(append(data, r.Event()...), between...)
		}
		in.takeMessage(&nats.Msg{Subject: papyra.RecordsSubject("orders", papyra.KindAudit), Data: data})
		_, drops := s.buffer.takeAccount()
		want := papyra.SinkDrops{
			Reason: papyra.DropSinkRejected, System: "orders", Category: "events", Run: RunA, N: lines, Ranges: []papyra.Range{{1, lines}},
		}
		if len(drops) != 1 || fmt.Sprint(drops[0]) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, want %+v", name, drops, want)
		}
		st := s.Stats()
		if junk := uint64(lines * len(between) / 2); st.Rejected[papyra.RejectKindMismatch] != lines || st.Rejected[papyra.ClassCorrupted] != junk || st.Received != lines+junk {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

// One system's refused lines of many runs leave room for what others lose.
func TestLedgerIsSharedBetweenSystems(t *testing.T) {
	var l dropLedger
	for i := range 4 * maxDropKeys {
		l.addDrop(papyra.DropSinkRejected, papyra.Stream{System: "evil", Kind: papyra.KindEvent}, fmt.Appendf(nil, "%016d", i), 1)
	}
	good := papyra.Stream{System: "good", Kind: papyra.KindEvent}
	l.addDrop(papyra.DropSinkFull, good, []byte(RunB), 7)
	if !slices.ContainsFunc(l.takeDrops(), func(d papyra.SinkDrops) bool { return d.System == "good" && d.Run == RunB && len(d.Ranges) == 1 }) {
		t.Error("what the other system lost is not named")
	}
}
