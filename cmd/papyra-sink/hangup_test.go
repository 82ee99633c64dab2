package main

import (
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A terminal that is closed, or a session that ends, stops a sink as SIGTERM does:
// what the broker had given it is stored.
func TestSIGHUPInAFloodLosesNothing(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "--listen", "127.0.0.1:0", "--backend", "json:r.ndjson")
	nc := dial(t, p.url())
	const messages, each = 2000, 10
	n := 0
	for range messages {
		var data strings.Builder
		for range each {
			n++
			data.WriteString(event(n) + "\n")
		}
		send(t, nc, data.String())
	}
	flush(t, nc)
	p.signal(syscall.SIGHUP)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d after SIGHUP", code)
	}
	if got := len(records(t, filepath.Join(dir, "r.ndjson"))); got != n {
		t.Errorf("%d records are stored, want %d", got, n)
	}
}

// Whoever starts a sink with nohup wants it to outlive the terminal.
func TestSIGHUPThatIsIgnoredAtTheStartStaysIgnored(t *testing.T) {
	dir := t.TempDir()
	signal.Ignore(syscall.SIGHUP) // the sink's process inherits that
	p := start(t, dir, "--listen", "127.0.0.1:0", "--backend", "json:r.ndjson")
	signal.Reset(syscall.SIGHUP)
	nc := dial(t, p.url())
	p.signal(syscall.SIGHUP)
	send(t, nc, event(1))
	flush(t, nc)
	time.Sleep(100 * time.Millisecond)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	if strings.Contains(p.text(), "hangup") {
		t.Errorf("the sink heard SIGHUP:\n%s", p.text())
	}
	if got := len(records(t, filepath.Join(dir, "r.ndjson"))); got != 1 {
		t.Errorf("%d records are stored, want 1", got)
	}
}
