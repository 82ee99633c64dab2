package sink

import (
	"bytes"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// TestOvertaken: reading slows down only while the buffer is nearly full and the
// store has done something lately, and it never waits for the sink's mutex.
func TestOvertaken(t *testing.T) {
	for _, c := range []struct {
		name   string
		filled int           // of 4 MiB
		before time.Duration // what the store took for the batch before
		ago    time.Duration // when it took that
		want   bool
	}{
		{"empty", 0, 0, 0, false},
		{"three quarters full", 3 << 20, 0, 0, false},
		{"nearly full, the store works", 3<<20 + 4096, 0, 0, true},
		{"nearly full, a fast store has stopped", 3<<20 + 4096, time.Millisecond, maxHold, false},
		{"nearly full, a slow store works", 3<<20 + 4096, maxSteady / 2, maxSteady * 3 / 4, true},
		{"nearly full, a slow store has stopped", 3<<20 + 4096, time.Hour, maxSteady, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testSink(t, Config{BufferBytes: 4 << 20})
			s.asks(c.before)
			s.workedAt = time.Now().Add(-c.ago)
			for s.backlog.size < c.filled {
				line := bytes.Repeat([]byte("x"), min(4096, c.filled-s.backlog.size)-1)
				b := s.backlog.filling(len(line) + 1)
				s.backlog.add(b, b.batch.StreamIndex(papyra.Stream{System: "orders", Kind: papyra.KindEvent}), line)
			}
			if got := s.overtaken(); got != c.want {
				t.Errorf("overtaken with %d bytes = %v, want %v", s.backlog.size, got, c.want)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.overtaken() {
				t.Error("overtaken while somebody holds the mutex")
			}
		})
	}
}

// TestBacklogKeepsOrderAndCounts fills several blocks and wants every line back
// in order, the sums right at each step, and the blocks used again.
func TestBacklogKeepsOrderAndCounts(t *testing.T) {
	var q backlog
	stream := papyra.Stream{System: "orders", Kind: papyra.KindEvent}
	line := bytes.Repeat([]byte("x"), 1<<20-1)
	for round := range 2 {
		for i := range 10 {
			line[0] = byte('0' + i)
			b := q.filling(len(line) + 1)
			q.add(b, b.batch.StreamIndex(stream), line)
		}
		q.addOwn([]byte("own"))
		if q.lines != 10 || q.own != 1 || q.size != 10<<20+4 || len(q.blocks) != 3 {
			t.Fatalf("round %d: %d lines, %d own, %d bytes in %d blocks", round, q.lines, q.own, q.size, len(q.blocks))
		}
		next := 0
		for b := q.pop(); b != nil; b = q.pop() {
			for i := range b.lines() {
				if l, s := b.batch.Line(i); l[0] != byte('0'+next) || s != stream {
					t.Fatalf("round %d: line %d begins with %q, stream %v", round, next, l[0], s)
				}
				next++
			}
			b.dropFirst(b.batch.Len())
			q.recycle(b)
		}
		if next != 10 || q.lines != 0 || q.own != 0 || q.size != 0 || len(q.free) != 3 {
			t.Fatalf("round %d: %d lines came back; left %d lines, %d own, %d bytes; %d blocks free", round, next, q.lines, q.own, q.size, len(q.free))
		}
	}
}
