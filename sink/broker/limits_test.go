package broker

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestMaxPendingFollowsMaxPayload(t *testing.T) {
	const mib = 1 << 20
	for payload, want := range map[int]int64{1: 64 * mib, mib: 64 * mib, 2 * mib: 128 * mib, 8 * mib: 256 * mib, 64 * mib: 256 * mib} {
		if got := maxPending(payload); got != want {
			t.Errorf("maxPending(%d) = %d, want %d", payload, got, want)
		}
	}
}

// A burst of large messages does not cut off a receiver that does not read for a
// moment.
func TestBurstOfLargeMessages(t *testing.T) {
	const size, messages = 16 << 20, 7 // in all more than the server allows by default
	b, err := Start(Config{Listen: "127.0.0.1:0", MaxPayload: size})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	receiver, err := b.InProcessConn()
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	if err := receiver.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(receiver)
	expect := func(prefix string) {
		t.Helper()
		line, err := lines.ReadString('\n')
		for line == "PING\r\n" { // the server asks by itself
			line, err = lines.ReadString('\n')
		}
		if err != nil || !strings.HasPrefix(line, prefix) {
			t.Fatalf("the server said %.60q, %v, want %s", line, err, prefix)
		}
	}
	expect("INFO")
	if _, err := io.WriteString(receiver, "CONNECT {\"verbose\":false}\r\nSUB x 1\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	expect("PONG")
	sender, err := nats.Connect(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	for range messages {
		if err := sender.Publish("x", make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := sender.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		expect("MSG x 1 16777216")
		if _, err := io.CopyN(io.Discard, lines, size+2); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}
