package pipeline

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/publisher"
)

// A group is away for longer than the buffer can hold its copies. The other group has
// everything, no record is refused, and what the first one misses is named.
func TestGroupThatIsAwayCostsTheOtherNothing(t *testing.T) {
	t.Parallel()
	b := natstest.Start(t, "")
	l := newLine(t, b.URL(), false, 5000, publisher.Config{Buffers: publisher.Buffers{Events: 2 << 20}, ReportEvery: time.Second})
	l.flows()
	atStart := confirmed(l.p)
	l.sinks["live"].kill()
	away := 6 * time.Second
	if testkit.Long() {
		away = 10 * time.Minute
	}
	time.Sleep(away)
	l.start("live")
	testkit.Await(t, "the group answers again", func() bool {
		for _, g := range l.p.Groups() {
			if g.Group == "live" && g.Silent > time.Second {
				return false
			}
		}
		return l.p.Stats().Events.Buffered < 5000
	})
	l.flows()
	events := l.end()
	l.complete(events, "archive")
	missing, unnamed := l.lost("live", events, "live")
	if missing == 0 || unnamed > 0 {
		t.Errorf("live lacks %d events, %d of them without a name: want some, all with one", missing, unnamed)
	}
	// 2 MiB hold about 7,000 of these events, if they lie close together.
	if before := int(atStart); int(events)-missing < before+5000 {
		t.Errorf("live has %d of %d events and had %d before: nearly nothing was kept for it", int(events)-missing, events, before)
	}
}

// Of two members of a group one is stopped, for good: what it had is sent to the other
// one.
func TestStoppedMemberOfAGroup(t *testing.T) {
	b := natstest.Start(t, "")
	l := newLine(t, b.URL(), false, 2000, publisher.Config{})
	l.sinks["second"] = startSink(t, l.dir, "--server", l.url, "--group", "live", "--instance", "second", "--backend", "json:"+l.file("second"))
	l.flows()
	l.flows()
	if err := l.sinks["second"].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l.flows()
	time.Sleep(2 * time.Second)
	l.sinks["second"].kill()
	delete(l.sinks, "second")
	events := l.end()
	l.complete(events, "archive")
	l.sinks["second"] = nil // for its file
	if missing, _ := l.lost("live", events, "live", "second"); missing > 0 {
		t.Errorf("live lacks %d of %d events", missing, events)
	}
}

// Sinks and the only broker are killed with -9 in turn.
func TestKillsOfSinksAndBroker(t *testing.T) {
	b := natstest.Start(t, "")
	l := newLine(t, b.URL(), true, 5000, publisher.Config{})
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range times(10, 100) {
		l.flows()
		time.Sleep(rand.N(200 * time.Millisecond))
		switch random.IntN(3) {
		case 0:
			b.Kill()
			if err := b.Start(); err != nil {
				t.Fatal(err)
			}
		case 1:
			l.sinks["archive"].kill()
			l.start("archive")
		case 2:
			l.sinks["live"].kill()
			l.start("live")
		}
	}
	l.flows()
	events := l.end()
	for _, g := range []string{"archive", "live"} {
		// What a sink answers after 250 ms in its buffer it may lose; it names it at its
		// next start only if it can. On a quiet machine there is none.
		if missing, unnamed := l.lost(g, events, g); unnamed > 0 {
			t.Errorf("%s lacks %d of %d events, %d without a name", g, missing, events, unnamed)
		}
	}
}

// Three nodes of a cluster are restarted one after the other.
func TestRollingNodes(t *testing.T) {
	nodes := cluster(t, 3)
	l := newLine(t, nodes[0].URL()+","+nodes[1].URL()+","+nodes[2].URL(), true, 2000, publisher.Config{})
	for i := range 6 {
		l.flows()
		n := nodes[i%3]
		n.Kill()
		time.Sleep(200 * time.Millisecond)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
	}
	l.flows()
	l.complete(l.end(), "archive", "live")
}

// cluster starts nodes that know each other.
func cluster(t *testing.T, n int) (nodes []*natstest.Server) {
	t.Helper()
	ports, routes := make([]int, n), make([]string, n)
	for i := range ports {
		ports[i] = testkit.FreePort(t)
		routes[i] = fmt.Sprintf("%q", fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	for _, port := range ports {
		nodes = append(nodes, natstest.Start(t, fmt.Sprintf("cluster { name: papyra, listen: \"127.0.0.1:%d\", routes: [%s] }", port, strings.Join(routes, ", "))))
	}
	return nodes
}
