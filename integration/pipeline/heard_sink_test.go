package pipeline

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
)

const askedRun = "heard00000000000"

// asker sends messages as a publisher that waits for answers, one event in each, whose
// number is that of the message.
type asker struct {
	t     *testing.T
	nc    *nats.Conn
	heard *natstest.Heard
	id    *papyra.Identity
	enc   papyra.Encoder
	sent  []time.Time // when message n was sent first, at n-1
}

func newAsker(t *testing.T, url string) *asker {
	t.Helper()
	id, err := papyra.NewIdentityRun("asker", askedRun)
	if err != nil {
		t.Fatal(err)
	}
	nc := client(t, url)
	return &asker{t: t, nc: nc, heard: natstest.Listen(t, nc, "orders", askedRun), id: id}
}

// send sends the next n messages.
func (a *asker) send(n int) {
	a.t.Helper()
	for range n {
		a.sent = append(a.sent, time.Now())
		a.resend(uint64(len(a.sent)))
	}
}

// resend sends message n, perhaps again.
func (a *asker) resend(n uint64) {
	a.t.Helper()
	at := time.Unix(1_700_000_000, 0)
	if err := a.enc.Event(a.id, "orders", &papyra.Event{Type: papyra.ActorStarted, Payload: n, Time: at}, nil, at); err != nil {
		a.t.Fatal(err)
	}
	if err := a.nc.PublishRequest(papyra.RecordsSubject("orders", papyra.KindEvent), papyra.HeardSubject("orders", askedRun, n), a.enc.AppendLine(nil, n)); err != nil {
		a.t.Fatal(err)
	}
}

// unheard returns the messages that were not answered.
func (a *asker) unheard() (list []uint64) {
	for i := range a.sent {
		if _, ok := a.heard.At("default", uint64(i+1)); !ok {
			list = append(list, uint64(i+1))
		}
	}
	return list
}

// awaitAll waits until every message is answered.
func (a *asker) awaitAll() {
	a.t.Helper()
	testkit.Await(a.t, "every message is answered", func() bool { return len(a.unheard()) == 0 })
}

// early is when a sink may have answered a message that it had not stored.
const early = 250 * time.Millisecond

// A sink that is killed has stored everything that it has answered, but for what waited
// for the store too long; and what it has not answered can be sent again.
func TestKilledSinkHasStoredWhatItAnswered(t *testing.T) {
	t.Parallel()
	kills := times(5, 100)
	dir, url := testkit.FastDir(t), broker(t)
	path := filepath.Join(dir, "records.ndjson")
	args := []string{"--server", url, "--backend", "json:" + path}
	a := newAsker(t, url)
	certain := 0
	for range kills {
		w := startSink(t, dir, args...)
		for _, n := range a.unheard() {
			a.resend(n)
		}
		until := len(a.sent) + 2000
		for len(a.sent) < until { // some thousand a second
			a.send(20)
			time.Sleep(time.Millisecond)
		}
		w.kill()
		if err := a.nc.Flush(); err != nil { // what the broker had of the sink's answers
			t.Fatal(err)
		}
		stored := load(t, path).numbers(askedRun, papyra.KindEvent)
		for i, sent := range a.sent {
			n := uint64(i + 1)
			if at, ok := a.heard.At("default", n); ok && at.Sub(sent) < early {
				if certain++; stored[n] == 0 {
					t.Errorf("message %d is answered and not stored", n)
				}
			}
		}
	}
	w := startSink(t, dir, args...)
	for _, n := range a.unheard() {
		a.resend(n)
	}
	a.awaitAll()
	w.terminate()
	t.Logf("%d messages, %d kills; %d times an answered one was looked for", len(a.sent), kills, certain)
}

// Of two members of a group one is frozen: what the broker gives it is not answered,
// and the other one answers that when it is sent again.
func TestFrozenMemberDoesNotAnswer(t *testing.T) {
	t.Parallel()
	dir, url := testkit.FastDir(t), broker(t)
	paths := []string{filepath.Join(dir, "0.ndjson"), filepath.Join(dir, "1.ndjson")}
	frozen := startSink(t, dir, "--server", url, "--backend", "json:"+paths[0])
	living := startSink(t, dir, "--server", url, "--backend", "json:"+paths[1])
	a := newAsker(t, url)
	a.send(100)
	a.awaitAll()
	if err := frozen.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a.send(400)
	if err := a.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for round := 0; ; round++ {
		// The rest goes to either of the two, again and again.
		if round > 2000 {
			t.Fatalf("%d messages are not answered", len(a.unheard()))
		}
		before := len(a.unheard())
		if round == 0 && before == 0 {
			t.Fatal("every message is answered: none went to the frozen member")
		}
		if before == 0 {
			break
		}
		for _, n := range a.unheard() {
			a.resend(n)
		}
		if err := a.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	living.terminate()
	stored := load(t, paths...).numbers(askedRun, papyra.KindEvent)
	for n := uint64(1); n <= uint64(len(a.sent)); n++ {
		if stored[n] == 0 {
			t.Errorf("message %d is answered and not stored", n)
		}
	}
	// It comes back: what it was given is stored twice now, and answered again.
	if err := frozen.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	frozen.terminate()
}

// A store that does not answer: publishers are answered early, and the sink says how
// often. What it then loses because it is killed are such messages.
func TestSinkWithAFrozenStoreAnswersEarly(t *testing.T) {
	t.Parallel()
	dir, url, server := testkit.FastDir(t), broker(t), redistest.Start(t)
	w := startSink(t, dir, "--server", url, "--backend", "redis://"+server.Addr(), "--rejects", "none", "--stop-timeout", "20s")
	a := newAsker(t, url)
	a.send(10)
	a.awaitAll()
	server.Pause()
	a.send(50)
	a.awaitAll()
	for i, sent := range a.sent[10:] {
		if at, _ := a.heard.At("default", uint64(i+11)); at.Sub(sent) < early {
			t.Errorf("message %d is answered after %v, and Redis does not answer", i+11, at.Sub(sent))
		}
	}
	server.Resume()
	a.send(10)
	a.awaitAll()
	w.terminate()
	reports := reportsOf[papyra.SinkReport](t, "redis://"+server.Addr(), papyra.ReportSink)
	if len(reports) == 0 {
		t.Fatal("no report")
	}
	if report := reports[len(reports)-1]; report.AnsweredEarly < 50 || report.Answered < 70 || report.Stored < 70 {
		t.Errorf("the last report says: %d answered, %d early, %d stored", report.Answered, report.AnsweredEarly, report.Stored)
	}
}
