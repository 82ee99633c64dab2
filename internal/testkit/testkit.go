// Package testkit is what the tests of many packages need: waiting for a
// condition, directories that are fast, a buffer for logs, and a proxy that
// harms connections. Only tests import it, and it imports nothing of Papyra, so
// that every package's own tests may.
package testkit

import (
	"bytes"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen: far beyond what the
// slowest machine needs.
const Patience = time.Minute

// Await returns when a condition holds, and ends the test if it does not within
// [Patience]. It is called on the test's own goroutine.
func Await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Wait(ok) {
		t.Fatalf("waited %v in vain for %s", Patience, what)
	}
}

// Wait returns when a condition holds, or false if it does not within
// [Patience]. It asks often at first, then every few milliseconds.
func Wait(ok func() bool) bool {
	deadline := time.Now().Add(Patience)
	for pause := 100 * time.Microsecond; !ok(); pause = min(2*pause, 5*time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
	return true
}

// Long reports whether the big numbers are wanted: PAPYRA_LONG is set.
func Long() bool { return os.Getenv("PAPYRA_LONG") != "" }

// FastDir returns a directory in memory where there is one, for tests that sync
// thousands of times and are not about what a disk does with it. It goes with the
// test.
func FastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "papyra-test-") //nolint:usetesting // not where other temporary files are
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// FreePort returns a port of the loopback address on which nobody listens now.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("listens on %v", l.Addr())
	}
	return addr.Port
}

// Buffer is a buffer that many goroutines may write to, as logs are. The zero
// Buffer is ready.
type Buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

// Write appends b.
func (l *Buffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.Write(b)
}

// String returns what was written.
func (l *Buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.String()
}
