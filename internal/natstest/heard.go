package natstest

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

// Heard collects the answers of sinks to the messages of one run.
type Heard struct {
	mu     sync.Mutex
	groups map[string]map[uint64]time.Time // by group and number of the message, when it was answered first
}

// Listen begins to collect on nc. Whatever comes that is no answer fails the test, but
// for the server's word that nobody listens.
func Listen(t testing.TB, nc *nats.Conn, system, run string) *Heard {
	t.Helper()
	h := &Heard{groups: map[string]map[uint64]time.Time{}}
	if _, err := nc.Subscribe(papyra.HeardByRun(system, run), func(m *nats.Msg) {
		now := time.Now()
		if m.Header.Get("Status") == "503" {
			return
		}
		_, _, n, err := papyra.ParseHeardSubject(m.Subject)
		a, answerErr := papyra.ParseHeardAnswer(m.Data)
		if err != nil || answerErr != nil {
			t.Errorf("answer %q on %s: %v, %v", m.Data, m.Subject, err, answerErr)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.groups[a.Group] == nil {
			h.groups[a.Group] = map[uint64]time.Time{}
		}
		for _, r := range append(a.Heard, papyra.Range{n, n}) {
			for i := r[0]; i <= r[1]; i++ {
				if _, known := h.groups[a.Group][i]; !known {
					h.groups[a.Group][i] = now
				}
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return h
}

// Count returns how many messages each group has answered.
func (h *Heard) Count() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	count := map[string]int{}
	for group, numbers := range h.groups {
		count[group] = len(numbers)
	}
	return count
}

// At returns when a group first answered a message; ok is false while it has not.
func (h *Heard) At(group string, n uint64) (at time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok = h.groups[group][n]
	return at, ok
}
