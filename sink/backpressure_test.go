package sink

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// Reading slows down only while the buffer is nearly full and the store has done
// something lately, and it waits for no lock.
func TestStoreOvertaken(t *testing.T) {
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
		{"nearly full, a slow store works", 3<<20 + 4096, maxPatience / 2, maxPatience * 3 / 4, true},
		{"nearly full, a slow store has stopped", 3<<20 + 4096, time.Hour, maxPatience, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testSink(t, Config{BufferBytes: 4 << 20})
			s.health.storeAsked(c.before)
			s.health.workedAt = time.Now().Add(-c.ago)
			q := &s.buffer.waiting
			for q.size < c.filled {
				line := bytes.Repeat([]byte("x"), min(4096, c.filled-q.size)-1)
				b := q.blockFor(len(line) + 1)
				q.addLine(b, b.batch.StreamIndex(papyra.Stream{System: "orders", Kind: papyra.KindEvent}), line)
			}
			conn := &conn{buffer: s.buffer, health: s.health}
			if got := conn.storeOvertaken(); got != c.want {
				t.Errorf("overtaken with %d bytes = %v, want %v", q.size, got, c.want)
			}
			for part, mu := range map[string]*sync.Mutex{"buffer": &s.buffer.mu, "health": &s.health.mu} {
				mu.Lock()
				if conn.storeOvertaken() {
					t.Errorf("overtaken while somebody holds the lock of the %s", part)
				}
				mu.Unlock()
			}
		})
	}
}
