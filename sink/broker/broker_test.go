package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, c broker.Config) *broker.Broker {
	t.Helper()
	b, err := broker.Start(c)
	if err != nil {
		t.Fatalf("Start(%+v): %v", c, err)
	}
	t.Cleanup(b.Close)
	return b
}

func connect(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestStartTakesMessages(t *testing.T) {
	b := start(t, broker.Config{Listen: "127.0.0.1:0"})
	if !b.Loopback() || !strings.HasPrefix(b.Addr(), "127.0.0.1:") {
		t.Errorf("listens on %s, want the loopback address", b.Addr())
	}
	nc := connect(t, b.URL())
	if got := nc.MaxPayload(); got != 1<<20 {
		t.Errorf("max payload is %d, want 1 MiB", got)
	}
	sub, err := nc.SubscribeSync("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish("x", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if m, err := sub.NextMsg(5 * time.Second); err != nil || string(m.Data) != "hello" {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestStartRefuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tt := range []struct {
		name string
		c    broker.Config
		want error
		part string
	}{
		{"port in use", broker.Config{Listen: busy.Addr().String()}, papyra.ErrUnavailable, "--listen"},
		{"port is a word", broker.Config{Listen: "127.0.0.1:nats"}, papyra.ErrConfig, "not a number"},
		{"port too high", broker.Config{Listen: "127.0.0.1:70000"}, papyra.ErrConfig, "from 0 to 65535"},
		{"two colons", broker.Config{Listen: "a:b:c"}, papyra.ErrConfig, "host:port"},
		{"open to others without a login", broker.Config{Listen: "0.0.0.0:0"}, papyra.ErrConfig, "--listen-user"},
		{"open to others on IPv6", broker.Config{Listen: "[::]:0"}, papyra.ErrConfig, "--listen-user"},
		{"negative connections", broker.Config{Listen: ":0", MaxConnections: -1}, papyra.ErrConfig, "negative"},
		{"more connections than descriptors", broker.Config{Listen: ":0", MaxConnections: 1 << 30}, papyra.ErrConfig, "ulimit -n"},
		{"negative payload", broker.Config{Listen: ":0", MaxPayload: -1}, papyra.ErrConfig, "max payload"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := broker.Start(tt.c)
			if b != nil {
				b.Close()
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.part) {
				t.Errorf("Start(%+v) = %v, want %v with %q", tt.c, err, tt.want, tt.part)
			}
		})
	}
}

// A host that is left out means this machine, never every interface.
func TestListenIsLoopbackUnlessNamed(t *testing.T) {
	for _, listen := range []string{":0", "localhost:0", "127.0.0.1:0"} {
		if b := start(t, broker.Config{Listen: listen}); !b.Loopback() {
			t.Errorf("listen %q opened %s", listen, b.Addr())
		}
	}
	if b := start(t, broker.Config{Listen: "0.0.0.0:0", Login: broker.Login{User: "u", Password: "p"}}); b.Loopback() {
		t.Errorf("listen on all interfaces says it is loopback: %s", b.Addr())
	}
}

func TestNewLetsOnlyTheProcessInUntilOpen(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	b, err := broker.New(broker.Config{Listen: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := nats.Connect("nats://" + addr); err == nil {
		t.Error("a client could connect before Open")
	}
	inside := connect(t, "", nats.InProcessServer(b))
	sub, err := inside.SubscribeSync("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := inside.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Open(); err != nil {
			t.Fatal(err)
		}
	}
	outside := connect(t, b.URL())
	if b.Addr() != addr {
		t.Errorf("listens on %s, want %s", b.Addr(), addr)
	}
	if err := outside.Publish("x", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(5 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestCloseAndQuiesceBeforeOpen(t *testing.T) {
	b, err := broker.New(broker.Config{Listen: ":0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Quiesce(t.Context()); err != nil {
		t.Error(err)
	}
	b.Close()
	if err := b.Open(); err == nil {
		t.Error("Open of a closed server did not fail")
	}
}

func TestQuiesceDisconnectsPublishersAndKeepsTheProcess(t *testing.T) {
	b := start(t, broker.Config{Listen: ":0"})
	inside := connect(t, b.URL(), nats.InProcessServer(b))
	got := make(chan string, 1000)
	if _, err := inside.Subscribe("x", func(m *nats.Msg) { got <- string(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := inside.Flush(); err != nil {
		t.Fatal(err)
	}
	outside := connect(t, b.URL(), nats.NoReconnect())
	for i := range 1000 {
		if err := outside.Publish("x", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := outside.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.Quiesce(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := nats.Connect(b.URL()); err == nil {
		t.Error("a client could still connect")
	}
	if !inside.IsConnected() {
		t.Fatal("the client in the process was disconnected")
	}
	// What the server had taken is delivered.
	if err := inside.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		select {
		case m := <-got:
			if m != strconv.Itoa(i) {
				t.Fatalf("message %d is %q", i, m)
			}
		case <-ctx.Done():
			t.Fatalf("message %d did not arrive", i)
		}
	}
	for !outside.IsClosed() {
		select {
		case <-ctx.Done():
			t.Fatal("the publisher is still connected")
		case <-time.After(time.Millisecond):
		}
	}
	inside.Close()
	b.Close()
	b.Close() // twice is fine
}
