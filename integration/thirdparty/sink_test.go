package shelf_test

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/broker"

	"example.com/shelf"
)

// patience is how long a test waits for what must happen. It is far beyond what
// the slowest machine needs.
const patience = time.Minute

// TestSink builds the sink and lets it receive from a publisher through a NATS
// server. In the middle it is told to end and started again.
func TestSink(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "shelf-sink")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/shelf-sink").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Run("with a server of its own", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "shelf")
		p := start(t, bin, "-dir", dir, "-listen", "127.0.0.1:0")
		pub := connect(t, p.server)
		publish(pub, 2000)
		closePublisher(t, pub)
		p.terminate(t)
		balanced(t, open(t, dir), 2000, 0)
	})
	t.Run("at a server that others run", func(t *testing.T) {
		nats, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nats.Close)
		dir := filepath.Join(t.TempDir(), "shelf")
		pub := connect(t, nats.URL())
		first := start(t, bin, "-dir", dir, "-server", nats.URL())
		publish(pub, 3000)
		await(t, "the first records", func() bool { return pub.Stats().Events.Confirmed > 0 })
		first.terminate(t)
		publish(pub, 3000)
		second := start(t, bin, "-dir", dir, "-server", nats.URL())
		publish(pub, 3000)
		closePublisher(t, pub)
		second.terminate(t)

		s := open(t, dir)
		balanced(t, s, 9000, 0)
		r, err := s.Compact(context.Background(), papyra.CompactOptions{
			Retention: papyra.Retention{General: papyra.Limits{Records: 1000}}, Dedupe: true, At: time.Now(),
		})
		if err != nil || r.RecordsBefore-r.RecordsAfter < 7000 {
			t.Fatalf("compact: %+v, %v", r, err)
		}
		balanced(t, s, 9000, 7000)
	})
}

// process is a running sink.
type process struct {
	cmd    *exec.Cmd
	server string
	log    chan string // all of it, when the process has ended
}

func start(t *testing.T, bin string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(bin, args...), log: make(chan string, 1)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // does nothing to one that has ended
	ready := make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			if _, rest, ok := strings.Cut(lines.Text(), "msg=receiving server="); ok {
				url, _, _ := strings.Cut(rest, " ")
				ready <- url
			}
		}
		close(ready)
		p.log <- all.String()
	}()
	select {
	case url, ok := <-ready:
		if !ok {
			t.Fatalf("the sink ended: %v\n%s", p.cmd.Wait(), <-p.log)
		}
		p.server = url
	case <-time.After(patience):
		t.Fatal("the sink does not receive")
	}
	return p
}

func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	log := <-p.log
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("the sink ended with %v\n%s", err, log)
	}
}

func connect(t *testing.T, url string) *publisher.Publisher {
	t.Helper()
	pub, err := publisher.Connect(url, publisher.Config{System: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func publish(pub *publisher.Publisher, n int) {
	for i := range n {
		if i%10 == 0 {
			pub.DeadLetter(papyra.DeadLetter{MessageType: "Pay"}, slog.Int("amount", i))
		} else {
			pub.Event(papyra.Event{Actor: papyra.Address{ID: int64(i)}, Type: papyra.ActorStarted})
		}
	}
}

func closePublisher(t *testing.T, pub *publisher.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := pub.Close(ctx); err != nil {
		t.Fatalf("close the publisher: %v", err)
	}
}

// balanced checks that so many events and dead letters of the one publisher are
// accounted for, at least so many of them as removed and the others as stored.
func balanced(t *testing.T, s *shelf.Shelf, want, removed uint64) {
	t.Helper()
	ctx := context.Background()
	scan, err := s.Scan(ctx, papyra.ScanOptions{Full: true, Now: time.Now()})
	if err != nil || !scan.Clean() || scan.Incomplete {
		t.Fatalf("scan: %+v, %v", scan, err)
	}
	r := accountOf(t, s)
	if r.Verdict != account.Balanced || r.Total.Missing > 0 {
		t.Errorf("account: %+v\ngaps %+v", r, r.Gaps)
	}
	var got account.Counts
	gone := uint64(0)
	for _, run := range r.Runs {
		if run.System != "orders" {
			continue
		}
		for _, c := range run.Categories {
			if c.Category == "events" || c.Category == "dead_letters" {
				got.Accepted += c.Accepted
				got.Stored += c.Stored
				gone += c.Removed[papyra.ActCompact]
			}
		}
	}
	if got.Accepted != want || got.Stored+gone != want || gone < removed {
		t.Errorf("%d accepted, %d stored, %d removed; want %d, of them at least %d removed\n%+v", got.Accepted, got.Stored, gone, want, removed, r)
	}
	if rejected, err := os.ReadFile(s.RejectFile()); err == nil && len(rejected) > 0 {
		t.Errorf("rejected: %s", rejected)
	}
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
