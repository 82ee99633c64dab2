package main

import (
	"bufio"
	"bytes"
	"testing"
	"time"
)

// The line comes after a moment, not too often, and goes when the work is done.
func TestProgressLine(t *testing.T) {
	var b bytes.Buffer
	clock := testClock()
	p := &progressLine{s: &screen{w: bufio.NewWriter(&b)}, doing: "scanning", now: func() time.Time { return clock }, began: clock}
	step := func(after time.Duration, done, total int64, want string) {
		t.Helper()
		b.Reset()
		clock = clock.Add(after)
		p.report(done, total)
		if got := b.String(); got != want {
			t.Errorf("after %v: got %q, want %q", clock.Sub(p.began), got, want)
		}
	}
	step(100*time.Millisecond, 1e6, 4e6, "")
	step(900*time.Millisecond, 1e6, 4e6, "\r\x1b[Kscanning   25%  1.0 MB of 4.0 MB, 1.0 MB/s")
	step(50*time.Millisecond, 2e6, 4e6, "")
	step(950*time.Millisecond, 4e6, 4e6, "\r\x1b[Kscanning  100%  4.0 MB of 4.0 MB, 2.0 MB/s")
	step(2*time.Second, 8e6, 0, "\r\x1b[Kscanning  8.0 MB, 2.0 MB/s")
	for _, want := range []string{"\r\x1b[K", ""} {
		b.Reset()
		p.clear()
		if got := b.String(); got != want {
			t.Errorf("clear: got %q, want %q", got, want)
		}
	}
}
