package sink

import (
	"bytes"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// connectSink connects a sink that does not run and subscribes.
func connectSink(t *testing.T, s *Sink) *conn {
	t.Helper()
	c, err := connect(t.Context(), &s.config, s.log, s.buffer, s.health, s.answers)
	if err != nil {
		t.Fatal(err)
	}
	s.conn.Store(c)
	t.Cleanup(func() { c.closeConn() })
	if err := c.subscribe(s.newIntake); err != nil {
		t.Fatal(err)
	}
	return c
}

// When the intake cannot run at all, messages that do not fit into the inbox are
// thrown away and counted; a flood that it can take is held back instead.
func TestMessagesBeyondTheLimitAreCountedAsLost(t *testing.T) {
	b := StartBroker(t)
	s := testSink(t, Config{URL: b.URL()})
	c := connectSink(t, s)
	for _, q := range c.inboxList() {
		q.mu.Lock()
		q.limit = 10 * (messageCost + 40)
		q.mu.Unlock()
	}
	s.buffer.mu.Lock() // the intake stands still
	nc := Dial(t, b.URL())
	for range 100 {
		if err := nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	Eventually(t, "at least 90 messages are counted as lost", func() bool { return c.lostMessages() >= 90 })
	s.buffer.mu.Unlock()
	if left := c.drain(20 * time.Second); left != 0 {
		t.Errorf("%d messages were not read", left)
	}
	st := s.Stats()
	if st.LostMessages+st.Messages != 100 {
		t.Errorf("%d messages read and %d lost, want 100 together", st.Messages, st.LostMessages)
	}
	if lost := s.Stats().LostMessages; lost != st.LostMessages {
		t.Errorf("after the end %d are lost, before %d", lost, st.LostMessages)
	}
}

// A flood faster than the intake is held back in the socket, not lost.
func TestFloodIsHeldBackAndNotLost(t *testing.T) {
	b := StartBroker(t)
	s := testSink(t, Config{URL: b.URL()})
	c := connectSink(t, s)
	nc := Dial(t, b.URL())
	// An intake of 10 ms for a message of 1 MB takes a tenth of what the client
	// can read; the client's limit is 64 messages of that size.
	const messages = 100
	line := bytes.Repeat([]byte("x"), 1_000_000)
	release := make(chan struct{})
	go func() {
		defer close(release)
		for s.Stats().Messages < messages {
			s.buffer.mu.Lock()
			time.Sleep(10 * time.Millisecond)
			s.buffer.mu.Unlock()
		}
	}()
	for range messages {
		if err := nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), line); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.FlushTimeout(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	<-release
	c.drain(20 * time.Second)
	if st := s.Stats(); st.Messages != messages || st.LostMessages != 0 {
		t.Errorf("%d messages read and %d lost, want all %d", st.Messages, st.LostMessages, messages)
	}
}
