package broker_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra/sink/broker"
)

const patience = 30 * time.Second

// rawClient connects without a client library, sends lines, and reads nothing
// beyond the answer to its last PING. It returns the server's error, if one comes
// before.
func rawClient(t *testing.T, b *broker.Broker, lines string) (net.Conn, string) {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// The server may end the connection before it has read all.
	_, _ = io.WriteString(c, "CONNECT {\"verbose\":false}\r\n"+lines+"PING\r\n")
	for r := bufio.NewReaderSize(c, 4<<10); ; {
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			return c, err.Error()
		case strings.HasPrefix(line, "-ERR"):
			return c, strings.TrimSpace(line)
		case line == "PONG\r\n":
			return c, ""
		}
	}
}

// inside connects a client within the process that counts the messages on x.
func inside(t *testing.T, b *broker.Broker) *atomic.Int64 {
	t.Helper()
	nc := connect(t, "", nats.InProcessServer(b), nats.NoReconnect())
	var heard atomic.Int64
	if _, err := nc.Subscribe("x", func(*nats.Msg) { heard.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return &heard
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// Clients that do not read cannot take the process's memory, also not by coming again
// and again, and the client within the process hears everything all the same.
func TestStrangersThatDoNotRead(t *testing.T) {
	const rounds, strangers, size, messages, bound = 6, 8, 256 << 10, 120, 1000 << 20
	b := start(t, broker.Config{Listen: "127.0.0.1:0"})
	heard := inside(t, b)
	nc := connect(t, b.URL())
	runtime.GC()
	before, peak := heapBytes(), watchHeap(t)
	for range rounds {
		for range strangers {
			if _, refusal := rawClient(t, b, "SUB > 1\r\n"); refusal != "" {
				t.Fatal(refusal)
			}
		}
		for i := range messages {
			if err := nc.Publish("x", make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if i%10 == 9 {
				if err := nc.FlushTimeout(patience); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond) // on a busy machine the guard gets its turn
			}
		}
	}
	await(t, "the client in the process hears all", func() bool { return heard.Load() == rounds*messages })
	if grown := peak() - before; grown > bound {
		t.Errorf("%d clients that do not read made the heap grow by %d MiB, want less than %d", rounds*strangers, grown>>20, bound>>20)
	}
}

func heapBytes() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// watchHeap returns a function that returns the most that the heap held since.
func watchHeap(t *testing.T) func() uint64 {
	var peak uint64
	var ended sync.WaitGroup
	done := make(chan struct{})
	stop := sync.OnceFunc(func() { close(done); ended.Wait() })
	t.Cleanup(stop)
	ended.Go(func() {
		for {
			peak = max(peak, heapBytes())
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	return func() uint64 { stop(); return peak }
}

func TestSubscriptionsAreBounded(t *testing.T) {
	t.Parallel()
	subscribe := func(n int) string {
		var lines strings.Builder
		for i := range n {
			lines.WriteString("SUB y." + strconv.Itoa(i) + " " + strconv.Itoa(i+1) + "\r\n")
		}
		return lines.String()
	}
	b := start(t, broker.Config{Listen: "127.0.0.1:0"})
	heard := inside(t, b)
	if _, refusal := rawClient(t, b, subscribe(1025)); !strings.Contains(strings.ToLower(refusal), "maximum subscriptions exceeded") {
		t.Errorf("a client with 1025 subscriptions heard %q", refusal)
	}
	if _, refusal := rawClient(t, b, "SUB "+strings.Repeat("a.", 32)+"a 1\r\n"); !strings.Contains(refusal, "too many tokens") {
		t.Errorf("a subject with 33 tokens got %q", refusal)
	}
	var cut atomic.Int64
	for range 36 { // 36,864 subscriptions, of which 32,768 have room
		c, refusal := rawClient(t, b, subscribe(1024))
		if refusal != "" {
			cut.Add(1)
			continue
		}
		go func() {
			_, err := io.Copy(io.Discard, c)
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
				cut.Add(1)
			}
		}()
	}
	await(t, "some clients are disconnected", func() bool { return cut.Load() >= 3 })
	nc := connect(t, b.URL())
	if err := nc.Publish("x", nil); err != nil {
		t.Fatal(err)
	}
	await(t, "the client in the process hears", func() bool { return heard.Load() == 1 })
}

// However many clients of other processes come, this process finds a place.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	b := start(t, broker.Config{Listen: "127.0.0.1:0", MaxConnections: 5})
	heard := inside(t, b)
	refused := 0
	for range 20 {
		if _, refusal := rawClient(t, b, ""); strings.Contains(refusal, "maximum connections exceeded") {
			refused++
		} else if refusal != "" {
			t.Fatal(refusal)
		}
	}
	if refused != 8 { // 5 and the 8 of this process, which has one
		t.Errorf("%d of 20 clients were refused, want 8", refused)
	}
	var own []*nats.Conn
	for range 7 {
		own = append(own, connect(t, "", nats.InProcessServer(b), nats.NoReconnect()))
	}
	if err := own[6].Publish("x", nil); err != nil {
		t.Fatal(err)
	}
	await(t, "the client in the process hears", func() bool { return heard.Load() == 1 })
}

func TestDefaultOfConnectionsFollowsTheDescriptors(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1 << 20, 64 << 20} {
		b := start(t, broker.Config{Listen: "127.0.0.1:0", MaxPayload: size})
		clients := 0
		for ; clients < 100; clients++ {
			if _, refusal := rawClient(t, b, ""); refusal != "" {
				break
			}
		}
		if large := size == 64<<20; large != (clients < 100) {
			t.Errorf("with messages of %d bytes %d clients of 100 had room", size, clients)
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		b := start(t, broker.Config{Listen: listen, Login: broker.Login{User: "shop", Password: "s3cret"}})
		heard := inside(t, b)
		url := func(login string) string {
			_, port, _ := net.SplitHostPort(b.Addr())
			return "nats://" + login + "127.0.0.1:" + port
		}
		for _, login := range []string{"", "shop@", "shop:wrong@", "wrong:s3cret@", ":s3cret@", "s3cret@"} {
			if nc, err := nats.Connect(url(login)); !errors.Is(err, nats.ErrAuthorization) {
				nc.Close()
				t.Errorf("%s with login %q: %v, want an authorization violation", listen, login, err)
			}
		}
		nc := connect(t, url("shop:s3cret@"))
		if err := nc.Publish("x", nil); err != nil {
			t.Fatal(err)
		}
		await(t, "the client in the process hears", func() bool { return heard.Load() == 1 })
	}
}
