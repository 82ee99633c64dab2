package sink

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

// standingIntake returns an inbox whose intake does not come on until release is
// called.
func standingIntake(t *testing.T, s *Sink, limit int) (q *inbox, release func()) {
	t.Helper()
	s.buffer.mu.Lock()
	q = newInbox(testIntake(s), limit)
	q.put(&nats.Msg{Subject: papyra.RecordsSubject("first", papyra.KindEvent), Data: []byte("x")})
	Eventually(t, "the intake has the first message", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.taken == 1
	})
	return q, s.buffer.mu.Unlock
}

func linesOf(system string, kind papyra.Kind, size int) *nats.Msg {
	return &nats.Msg{Subject: papyra.RecordsSubject(system, kind), Data: make([]byte, size)}
}

// A flood that waits for the intake leaves room for the reports of others, whatever
// it is made of, and stays bounded; what did not fit is counted.
func TestReportsHaveRoomInAFullInbox(t *testing.T) {
	const limit = 1 << 20
	for name, floods := range map[string][]papyra.Kind{
		"events":  {papyra.KindEvent},
		"reports": {papyra.KindReport},
		"both":    {papyra.KindEvent, papyra.KindReport},
	} {
		t.Run(name, func(t *testing.T) {
			s := testSink(t, Config{})
			q, release := standingIntake(t, s, limit)
			sent := uint64(1)
			for _, kind := range floods {
				for range 2 * limit / 1000 {
					q.put(linesOf("evil", kind, 1000))
					sent++
				}
			}
			lost := q.thrownAway()
			if lost == 0 {
				t.Fatal("the inbox is not full")
			}
			for i := range 5 {
				q.put(linesOf(fmt.Sprint("good", i), papyra.KindReport, 2000))
				sent++
			}
			if n := q.thrownAway() - lost; n > 0 {
				t.Errorf("%d of 5 reports of others were thrown away", n)
			}
			if _, size := q.pending(); size > limit+limit/reserveShare {
				t.Errorf("%d bytes wait, want at most %d", size, limit+limit/reserveShare)
			}
			release()
			q.finish()
			<-q.done
			if n := s.buffer.messages(); n != sent-q.thrownAway() {
				t.Errorf("%d messages were seen and %d lost, of %d", n, q.thrownAway(), sent)
			}
			if n, size := q.pending(); n != 0 || size != 0 {
				t.Errorf("%d messages of %d bytes are left", n, size)
			}
		})
	}
}

// The messages of a stream keep their order, and reports are looked at before what
// waited in front of them.
func TestInboxKeepsTheOrderOfAStream(t *testing.T) {
	s := testSink(t, Config{})
	q, release := standingIntake(t, s, 64<<20)
	runs := map[papyra.Kind]*Run{papyra.KindEvent: NewRun(t, "orders", RunA), papyra.KindDeadLetter: NewRun(t, "shop", RunB)}
	const each = 1000
	for range each {
		for kind, r := range runs {
			q.put(&nats.Msg{Subject: papyra.RecordsSubject(r.system, kind), Data: r.Event()})
		}
	}
	report := linesOf("late", papyra.KindReport, 8)
	q.put(report)
	release()
	q.finish()
	<-q.done
	at := 0
	s.buffer.mu.Lock()
	defer s.buffer.mu.Unlock()
	before := uint64(0)
	for b := s.buffer.waiting.takeOldest(); b != nil; b = s.buffer.waiting.takeOldest() {
		b.eachLine(func(l []byte, _ papyra.Stream, _ bool) {
			rec, err := papyra.Parse(l)
			if err != nil || rec.Seq != before+1 {
				t.Fatalf("record %d stands behind %d: %v", rec.Seq, before, err)
			}
			before, at = rec.Seq, at+1
		})
	}
	if at != each { // the others are of another kind than their subject
		t.Errorf("%d records are in the buffer, want %d", at, each)
	}
}

// What waits when the time is over is counted and not looked at.
func TestInboxIsGivenUp(t *testing.T) {
	s := testSink(t, Config{})
	q, release := standingIntake(t, s, 1<<20)
	for range 100 {
		q.put(linesOf("orders", papyra.KindEvent, 10))
	}
	time.AfterFunc(10*time.Millisecond, release)
	left := q.giveUp()
	if seen := s.buffer.messages(); uint64(left)+seen != 101 || seen > takenAtOnce+1 {
		t.Errorf("%d messages are left and %d were seen, of 101", left, seen)
	}
	if n := q.giveUp(); n != 0 {
		t.Errorf("given up twice: %d are left", n)
	}
}
