package main

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A service manager is told when the sink receives, and when it stops.
func TestNotifySocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	next := func() string {
		t.Helper()
		_ = socket.SetReadDeadline(time.Now().Add(patience))
		var b [100]byte
		n, err := socket.Read(b[:])
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	t.Setenv("NOTIFY_SOCKET", path)
	p := start(t, dir, "--listen", "127.0.0.1:0")
	if got := next(); got != "READY=1" {
		t.Errorf("at the start it says %q", got)
	}
	p.signal(syscall.SIGTERM)
	if got := next(); got != "STOPPING=1" {
		t.Errorf("at the stop it says %q", got)
	}
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// One that does not listen any more is in nobody's way.
func TestNotifySocketThatIsGone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "gone"))
	p := start(t, dir, "--listen", "127.0.0.1:0")
	await(t, "the log says so", func() bool { return len(p.messages("the service manager could not be told")) == 1 })
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
