package sink_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// asker publishes as a publisher that waits for answers, and keeps them.
type asker struct {
	t   *testing.T
	nc  *nats.Conn
	run *sink.Run
	n   uint64

	mu      sync.Mutex
	heard   map[uint64]int // how often a message was answered
	answers []papyra.HeardAnswer
}

func newAsker(t *testing.T, url string) *asker {
	t.Helper()
	return newAskerOn(t, dial(t, url))
}

// newAskerOn uses a connection; everything that comes below the subjects of answers is read.
func newAskerOn(t *testing.T, nc *nats.Conn) *asker {
	t.Helper()
	a := &asker{t: t, nc: nc, run: newRun(t, "orders", runA), heard: map[uint64]int{}}
	if _, err := a.nc.Subscribe(papyra.SubjectAllHeard, func(m *nats.Msg) {
		answer, err := papyra.ParseHeardAnswer(m.Data)
		_, _, n, subjectErr := papyra.ParseHeardSubject(m.Subject)
		a.mu.Lock()
		defer a.mu.Unlock()
		switch {
		case m.Header.Get("Status") == "503":
			return
		case err != nil || subjectErr != nil:
			t.Errorf("answer %q on %s: %v, %v", m.Data, m.Subject, err, subjectErr)
			return
		}
		named := map[uint64]bool{n: true}
		for _, r := range answer.Heard {
			for i := r[0]; i <= r[1]; i++ {
				named[i] = true
			}
		}
		for i := range named {
			a.heard[i]++
		}
		a.answers = append(a.answers, answer)
	}); err != nil {
		t.Fatal(err)
	}
	flush(t, a.nc)
	return a
}

// send sends a message of n events with the next number and returns that.
func (a *asker) send(n int) uint64 {
	a.t.Helper()
	a.n++
	a.sendData("orders", papyra.HeardSubject("orders", runA, a.n), a.run.Events(n))
	return a.n
}

func (a *asker) sendData(system, reply string, data []byte) {
	a.t.Helper()
	if err := a.nc.PublishRequest(papyra.RecordsSubject(system, papyra.KindEvent), reply, data); err != nil {
		a.t.Fatal(err)
	}
}

// answered returns the numbers that were answered.
func (a *asker) answered() (list []uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range a.heard {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

func (a *asker) await(want ...uint64) {
	a.t.Helper()
	eventually(a.t, fmt.Sprint("messages ", want, " are answered"), func() bool { return len(a.answered()) >= len(want) })
	if diff := cmp.Diff(want, a.answered()); diff != "" {
		a.t.Errorf("answered (-want +got):\n%s", diff)
	}
}

// gate is a store whose appends wait until the test lets them go.
type gate struct {
	fakeStore
	mu sync.Mutex
}

func newGate() *gate {
	g := &gate{}
	g.before = func(_ context.Context, b *papyra.Batch) (int, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return b.Len(), nil
	}
	return g
}

func TestAnswerComesWhenAMessageIsStored(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	store := &fakeStore{}
	w := runSink(t, sink.Config{URL: b.URL(), Group: "archive", Kinds: []papyra.Kind{papyra.KindEvent}}, store)
	a := newAsker(t, b.URL())
	var want []uint64
	for range 300 {
		want = append(want, a.send(2))
	}
	a.await(want...)
	if wire, _ := store.stored(); len(wire) != 600 {
		t.Errorf("%d lines are stored when all are answered, want 600", len(wire))
	}
	a.mu.Lock()
	for _, answer := range a.answers {
		if diff := cmp.Diff([]string{"events", "reports"}, answer.Categories); diff != "" || answer.Group != "archive" {
			t.Fatalf("answer %+v", answer)
		}
	}
	if len(a.answers) > 200 {
		t.Errorf("%d answers for 300 messages of one moment", len(a.answers))
	}
	a.mu.Unlock()
	eventually(t, "the answers are counted", func() bool { st := w.Stats(); return st.Answered == 300 && st.AnsweredEarly == 0 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	_, own := store.stored()
	reports := sinkReports(t, own)
	if last := reports[len(reports)-1]; last.Answered != 300 {
		t.Errorf("the last report says %d answers", last.Answered)
	}
}

// A message whose lines are all rejected is answered too: they are accounted for.
func TestRejectedMessageIsAnswered(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL()}, &fakeStore{})
	a := newAsker(t, b.URL())
	for i, data := range []string{"junk\n", "", "\n", plainEvent("orders", 1) + "\njunk"} {
		a.sendData("orders", papyra.HeardSubject("orders", runA, uint64(i+1)), []byte(data))
	}
	a.await(1, 2, 3, 4)
	if st := w.Stats(); st.RejectedTotal() != 2 || st.Stored != 1 {
		t.Errorf("%d rejected, %d stored", st.RejectedTotal(), st.Stored)
	}
}

// Nobody's reply subject is written to but that of a publisher of the same system.
func TestForeignReplySubjectsGetNoAnswer(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL()}, &fakeStore{})
	a := newAsker(t, b.URL())
	all := dial(t, b.URL())
	var mu sync.Mutex
	var got []string
	if _, err := all.Subscribe(">", func(m *nats.Msg) {
		if !strings.HasPrefix(m.Subject, "papyra.v1.records.") {
			mu.Lock()
			got = append(got, m.Subject)
			mu.Unlock()
		}
	}); err != nil {
		t.Fatal(err)
	}
	flush(t, all)
	for _, reply := range []string{
		"_INBOX.abc.1", "other.subject", "papyra.v1.heard.orders", "papyra.v1.heard.orders." + runA + ".0",
		"papyra.v1.heard.orders." + runA + ".01", "papyra.v1.heard.orders." + runA + ".1.2", "papyra.v1.heard.orders.SHORT.1",
		papyra.HeardSubject("orders2", runA, 1), papyra.HeardSubject("order", runA, 1), "papyra.v1.audit.shop",
		"papyra.v1.sink.default.x.compact",
	} {
		a.sendData("orders", reply, []byte(plainEvent("orders", 1)))
	}
	for _, subject := range []string{"papyra.v1.records.papyra.events", "papyra.v1.records.orders.novels"} {
		for _, system := range []string{"orders", papyra.SystemReserved} {
			if err := a.nc.PublishRequest(subject, papyra.HeardSubject(system, runA, 1), []byte(plainEvent("orders", 1))); err != nil {
				t.Fatal(err)
			}
		}
	}
	last := papyra.HeardSubject("orders", runA, 99)
	a.sendData("orders", last, []byte(plainEvent("orders", 1)))
	a.await(99)
	flush(t, all)
	mu.Lock()
	defer mu.Unlock()
	if got := slices.DeleteFunc(got, func(s string) bool { return s[0] == '$' || len(s) > 6 && s[:7] == "_INBOX_" }); len(got) != 1 || got[0] != last {
		t.Errorf("written to %q, want only %s", got, last)
	}
	if st := w.Stats(); st.Answered != 1 {
		t.Errorf("%d answered", st.Answered)
	}
}

func TestSlowStoreIsAnsweredEarly(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	store := newGate()
	w := runSink(t, sink.Config{URL: b.URL()}, store)
	a := newAsker(t, b.URL())
	a.send(1)
	a.await(1)
	store.mu.Lock()
	began := time.Now()
	for range 5 {
		a.send(3)
	}
	a.await(1, 2, 3, 4, 5, 6)
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("answered after %v, while the store has not taken them", took)
	}
	if st := w.Stats(); st.Stored != 1 || st.AnsweredEarly != 5 {
		t.Errorf("%d stored, %d answered early", st.Stored, st.AnsweredEarly)
	}
	store.mu.Unlock()
	eventually(t, "all is stored", func() bool { return w.Stats().Stored == 16 })
	a.send(1)
	a.await(1, 2, 3, 4, 5, 6, 7)
	if st := w.Stats(); st.Answered != 7 || st.AnsweredEarly != 5 {
		t.Errorf("%d answered, %d early", st.Answered, st.AnsweredEarly)
	}
}

// A message that does not fit gets no answer, also if it fits in part.
func TestFullBufferGivesNoAnswer(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	store := newGate()
	store.mu.Lock()
	w := runSink(t, sink.Config{URL: b.URL(), BufferBytes: 4 << 20}, store)
	a := newAsker(t, b.URL())
	var fits []uint64
	for w.Stats().Dropped[papyra.DropSinkFull] == 0 {
		before := w.Stats()
		n := a.send(3000)
		eventually(t, "the message is seen", func() bool { return w.Stats().Messages > before.Messages })
		if w.Stats().Dropped[papyra.DropSinkFull] == 0 {
			fits = append(fits, n)
		}
	}
	before := w.Stats()
	a.send(3000)
	eventually(t, "the last message is seen", func() bool { return w.Stats().Messages > before.Messages })
	a.await(fits...)
	store.mu.Unlock()
	eventually(t, "what fits is stored", func() bool { return w.Stats().Pending == 0 })
	a.send(1)
	a.await(append(fits, a.n)...)
	balance(t, w.Stats())
}

// What is stored while the sink stops is answered too; nothing is answered early then.
func TestStoppingSinkAnswersWhatItStores(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	store := newGate()
	w := runSink(t, sink.Config{URL: b.URL()}, store)
	w.AnswerWithin(time.Hour)
	a := newAsker(t, b.URL())
	a.send(1)
	a.await(1)
	store.mu.Lock()
	a.send(3)
	a.send(3)
	eventually(t, "they are in the buffer", func() bool { return w.Stats().Pending == 6 })
	w.cancel()
	eventually(t, "it stops", func() bool { return w.Stats().State == "stopping" })
	w.AnswerWithin(0)
	time.Sleep(100 * time.Millisecond) // it must not use this time
	a.await(1)
	store.mu.Unlock()
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	a.await(1, 2, 3)
	if st := w.Stats(); st.Answered != 3 || st.AnsweredEarly != 0 {
		t.Errorf("%d answered, %d early", st.Answered, st.AnsweredEarly)
	}
}

// A server with an older configuration does not let a sink answer: it stores as before,
// says so once, and tries again on its next connection.
func TestSinkThatMayNotAnswer(t *testing.T) {
	t.Parallel()
	mayNotAnswer := strings.ReplaceAll(maySubscribe, `publish: { allow: [">"] }`, `publish: { deny: ["papyra.v1.heard.>", "_R_.>"] }`)
	srv := newLimitedServer(t, mayNotAnswer)
	var log syncBuffer
	store := &fakeStore{}
	c := srv.sinkConfig()
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w := runSink(t, c, store)
	a := newAskerOn(t, srv.publisher())
	for i := range 20 {
		a.send(1)
		eventually(t, "it is stored", func() bool { return w.Stats().Stored == uint64(i+1) })
		eventually(t, "the first answer is refused", func() bool { return w.Stats().AnswersRefused > 0 })
	}
	refused := w.Stats().AnswersRefused
	if refused > 1 {
		t.Errorf("it has tried %d times on one connection", refused)
	}
	if notes := w.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "papyra.v1.heard.>") {
		t.Errorf("it notes %q", notes)
	}
	if err := w.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	// A server that loads its configuration again says nothing of it.
	srv.reload(maySubscribe)
	w.AgeRefusal(time.Hour)
	a.await(a.send(1))
	restart := func(config string) {
		t.Helper()
		before := w.Stats().Disconnects
		srv.restart(config)
		eventually(t, "the sink is back", func() bool { return w.Stats().Disconnects > before && w.Ready() == nil })
		a = newAskerOn(t, srv.publisher())
	}
	restart(mayNotAnswer)
	a.send(1)
	eventually(t, "it tries once more", func() bool { return w.Stats().AnswersRefused == refused+1 })
	restart(maySubscribe)
	if notes := w.Notes(); notes != nil {
		t.Errorf("it notes %q", notes)
	}
	a.await(a.send(1))
	if n := strings.Count(log.String(), "answer publishers"); n != 1 {
		t.Errorf("it has said so %d times:\n%s", n, log.String())
	}
}

// smallDialer makes connections that hold little of what is written.
type smallDialer struct{}

func (smallDialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return c, err
}

// A server that does not read holds up no record, until the client gives it up.
func TestServerThatDoesNotReadHoldsUpNothing(t *testing.T) {
	t.Parallel()
	for try := 0; !takesAllFromDeafServer(t); try++ {
		if try == 5 { // a machine that is busy may take longer than the client waits
			t.Fatal("the connection was cut each time before everything was stored, or the server held up nobody")
		}
	}
}

// takesAllFromDeafServer sends messages to a sink whose server reads no answer. It
// returns false if the client has given that server up before all were stored, or if the
// server held up nobody.
func takesAllFromDeafServer(t *testing.T) bool {
	t.Helper()
	b := startBroker(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	deaf := make(chan struct{})
	go func() { // it passes on what the server says, and from a moment on nothing to it
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", strings.TrimPrefix(b.URL(), "nats://"))
			if err != nil {
				c.Close()
				return
			}
			_ = c.(*net.TCPConn).SetReadBuffer(4096)
			go func() { _, _ = io.Copy(c, to); c.Close() }()
			go func() {
				defer to.Close()
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if _, err := to.Write(buf[:n]); err != nil {
						return
					}
					select {
					case <-deaf:
						<-t.Context().Done()
						return
					default:
					}
				}
			}()
		}
	}()
	w := runSink(t, sink.Config{URL: l.Addr().String(), NATS: []nats.Option{nats.SetCustomDialer(smallDialer{})}}, &fakeStore{})
	a := newAsker(t, b.URL())
	close(deaf)
	const messages = 15000
	for range messages {
		a.n += 2 // so that the answers do not join
		a.sendData("orders", papyra.HeardSubject("orders", runA, a.n), []byte(plainEvent("orders", 1)))
	}
	flush(t, a.nc)
	eventually(t, "everything is stored", func() bool { st := w.Stats(); return st.Stored == messages || st.Disconnects > 0 })
	st := w.Stats()
	// Where all answers fit between the two, the server held up nobody.
	return st.Stored == messages && st.Answered < messages
}

// What a sink that stops cannot store it does not answer.
func TestStoppedSinkDoesNotAnswerWhatItDrops(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	store := &fakeStore{before: refuse}
	w := runSink(t, sink.Config{URL: b.URL(), StopTimeout: 100 * time.Millisecond}, store)
	w.AnswerWithin(time.Hour)
	a := newAsker(t, b.URL())
	a.send(3)
	eventually(t, "it is in the buffer", func() bool { return w.Stats().Pending == 3 })
	if err := w.stop(); err == nil {
		t.Error("no error")
	}
	flush(t, a.nc)
	a.await()
	if st := w.Stats(); st.Dropped[papyra.DropSinkStopped] != 3 || st.Answered != 0 {
		t.Errorf("dropped %v, answered %d", st.Dropped, st.Answered)
	}
}

// A flood of reply subjects that nobody hears costs a publisher nothing: each message is
// answered for itself, and what waits in the sink stays small.
func TestFloodOfReplySubjects(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL()}, &fakeStore{})
	junk := dial(t, b.URL())
	const messages = 20_000
	line := []byte(plainEvent("orders", 1))
	for i := range messages {
		reply := papyra.HeardSubject("orders", fmt.Sprintf("%016d", i), uint64(i+1))
		switch i % 4 {
		case 1:
			reply = "_INBOX." + strings.Repeat("x", 3000)
		case 2:
			reply = papyra.HeardSubject("orders", fmt.Sprintf("%017d", i), 1)
		case 3:
			reply = papyra.HeardSubject("evil", runB, uint64(i+1))
		}
		if err := junk.PublishRequest(papyra.RecordsSubject("orders", papyra.KindEvent), reply, line); err != nil {
			t.Fatal(err)
		}
	}
	a := newAsker(t, b.URL())
	flush(t, junk)
	a.sendData("orders", papyra.HeardSubject("orders", runA, 1), line)
	eventually(t, "the publisher is answered", func() bool { return slices.Contains(a.answered(), 1) })
	eventually(t, "all that can be answered is", func() bool { return w.Stats().Answered == messages/4+1 })
	if st := w.Stats(); st.Stored != messages+1 || st.LostMessages != 0 {
		t.Errorf("stored %d, lost %d", st.Stored, st.LostMessages)
	}
}
