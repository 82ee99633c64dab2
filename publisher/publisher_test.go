package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

// closeNow ends a publisher whose records nobody waits for.
func closeNow(p *Publisher) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-p.closing; cancel() }() // before Close a cancelled context would get a grace
	_ = p.Close(ctx)
}

// closeWithin closes p and fails the test on an error.
func closeWithin(t *testing.T, p *Publisher, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// The package may be built into any runtime: it brings nothing along. What it
// imports of the module's own machinery imports the standard library only.
func TestImportsOnlyPapyraNATSAndStandardLibrary(t *testing.T) {
	const throttle, wire = "github.com/papyra/papyra/internal/throttle", "github.com/papyra/papyra/internal/natswire"
	for dir, allowed := range map[string][]string{
		".":                    {"github.com/papyra/papyra", "github.com/nats-io/nats.go", throttle, wire},
		"../internal/throttle": nil,
		"../internal/natswire": {"github.com/nats-io/nats.go"},
	} {
		out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, dir).Output()
		if err != nil {
			t.Fatal(err)
		}
		imports := strings.Fields(string(out))
		if dir == "." && len(imports) < 5 {
			t.Fatalf("got imports %v, want a whole list", imports)
		}
		for _, path := range imports {
			domain, _, _ := strings.Cut(path, "/")
			standard := !strings.Contains(domain, ".")
			if !standard && !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", dir, path)
			}
		}
	}
}

func TestConnectRefusesWrongConfiguration(t *testing.T) {
	const canary = "hunter2"
	audit := func() papyra.Audit { return papyra.Audit{} }
	cases := []struct {
		name   string
		url    string
		config Config
	}{
		{"no system", "", Config{}},
		{"system too long", "", Config{System: strings.Repeat("x", 65)}},
		{"system with a control character", "", Config{System: "a\nb"}},
		{"reserved system", "", Config{System: papyra.SystemReserved}},
		{"negative buffer", "", Config{System: "s", Buffers: Buffers{Audits: -1}}},
		{"tiny buffer", "", Config{System: "s", Buffers: Buffers{Events: 1000}}},
		{"negative AuditEvery", "", Config{System: "s", AuditEvery: -1, AuditFunc: audit}},
		{"AuditEvery without AuditFunc", "", Config{System: "s", AuditEvery: time.Second}},
		{"negative ReportEvery", "", Config{System: "s", ReportEvery: -1}},
		{"negative CloseTimeout", "", Config{System: "s", CloseTimeout: -1}},
		{"URL with a broken password", "nats://user:" + canary + "/x@127.0.0.1:4222", Config{System: "s"}},
		{"URL with a broken port", "nats://user:" + canary + "@127.0.0.1:port", Config{System: "s"}},
		{"URL of another protocol", "http://127.0.0.1:4222", Config{System: "s"}},
		{"port that is none", "nats://user:" + canary + "@127.0.0.1:99999", Config{System: "s"}},
		{"port that is none, without a scheme", "nats://127.0.0.1:4222,127.0.0.1:0", Config{System: "s"}},
		{"another protocol in an option", "", Config{System: "s", NATS: []nats.Option{
			func(o *nats.Options) error { o.Servers = []string{"redis://" + canary + "@h"}; return nil }}}},
		{"another protocol in the option Url", "", Config{System: "s", NATS: []nats.Option{
			func(o *nats.Options) error { o.Url = "https://" + canary + "@h"; return nil }}}},
		{"websockets beside others", "ws://127.0.0.1:1,nats://127.0.0.1:1", Config{System: "s"}},
		{"option that fails", "", Config{System: "s", NATS: []nats.Option{nats.RootCAs("/does/not/exist")}}},
		{"options that contradict", "", Config{System: "s", NATS: []nats.Option{
			nats.UserJWT(func() (string, error) { return "", nil }, nil), nats.Nkey("U", nil)}}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p, err := Connect(tc.url, tc.config)
			if err == nil {
				closeNow(p)
			}
			if !errors.Is(err, papyra.ErrConfig) {
				t.Fatalf("got error %v, want one that wraps ErrConfig", err)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("error %q shows the password", err)
			}
		})
	}
}

func TestConnectReturnsAtOnceWithoutBroker(t *testing.T) {
	// A listener that accepts and says nothing, as a stopped broker does.
	silent := newSilentListener(t)
	for _, url := range []string{"nats://127.0.0.1:1", "nats://" + silent, "nats://no-such-host.invalid:4222"} {
		begin := time.Now()
		p, err := Connect(url, Config{System: "orders"})
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		p.Started(someActor)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%s: took %v", url, took)
		}
		if s := p.Stats(); s.Events.Buffered != 1 || s.Connected {
			t.Errorf("%s: got %+v, want one buffered record and no connection", url, s)
		}
		begin = time.Now()
		closeNow(p)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%s: Close took %v after its time was up", url, took)
		}
	}
}

func TestRecordsArriveAsTheyWereMade(t *testing.T) {
	at := time.Unix(1700000000, 123456000)
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{System: "a b", Node: "eu 1", Now: func() time.Time { return at }})
	cases := []struct {
		name   string
		kind   papyra.Kind
		record func()
		want   string // up to the seal
	}{
		{"started", papyra.KindEvent, func() { p.Started(someActor) },
			`"actor_address":{"system":"a b","actor_id":42},"event_type":"ActorStarted","payload":{},"timestamp":1700000000.123456`},
		{"stopped", papyra.KindEvent, func() { p.Stopped(papyra.Address{Name: "till"}, slog.Int("n", 1)) },
			`"actor_address":"a b:till","event_type":"ActorStopped","payload":{"n":1},"timestamp":1700000000.123456`},
		{"restarted", papyra.KindEvent, func() { p.Restarted(someActor) },
			`"event_type":"ActorRestarted","payload":{}`},
		{"crashed", papyra.KindEvent, func() { p.Crashed(someActor, errors.New(`bad "input"`), slog.Bool("again", true)) },
			`"event_type":"ActorCrashed","payload":{"error":"bad \"input\"","again":true}`},
		{"crashed without an error", papyra.KindEvent, func() { p.Crashed(someActor, nil) },
			`"event_type":"ActorCrashed","payload":{"error":null}`},
		{"event of another time", papyra.KindEvent, func() {
			p.Event(papyra.Event{Actor: someActor, Type: "Paid", Payload: []int{1}, Time: time.Unix(5, 0)})
		}, `"event_type":"Paid","payload":[1],"timestamp":5.0`},
		{"dead letter", papyra.KindDeadLetter, func() {
			p.DeadLetter(papyra.DeadLetter{MessageType: "Pay"}, slog.Int("amount", 3))
		}, `"target":null,"message_type":"Pay","payload":{"amount":3},"timestamp":1700000000.123456`},
		{"audit", papyra.KindAudit, func() { p.Audit(papyra.Audit{TotalActors: 10, AliveActors: 9}) },
			`"timestamp":1700000000.123456,"total_actors":10,"alive_actors":9,`},
	}
	seq := map[papyra.Kind]int{}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			n := r.got(tc.kind)
			tc.record()
			seq[tc.kind]++
			await(t, "record arrives", func() bool { return r.got(tc.kind) > n })
			line := r.lines(tc.kind)[n]
			for _, want := range []string{
				tc.want, `"system_id":"a b"`, fmt.Sprintf(`,"node":"eu_1","run":"%s","seq":%d,"crc":"`, p.Run(), seq[tc.kind]),
			} {
				if !strings.Contains(line, want) {
					t.Errorf("got %s\nwant it to contain %s", line, want)
				}
			}
		})
	}
}

// Eight goroutines record at once. Afterwards every number is exact, and each
// record is where the numbers say.
func TestStatsAreExact(t *testing.T) {
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{})
	const goroutines, each = 8, 5000
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Add(1)
	go func() { // the sum holds at every moment
		defer wg.Done()
		for {
			balanced(t, p.Stats())
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	var recorders sync.WaitGroup
	for g := range goroutines {
		recorders.Go(func() {
			for i := range each {
				p.Event(papyra.Event{Actor: papyra.Address{ID: int64(g)}, Type: "T"}, slog.Int("i", i))
				if i%10 == 0 {
					p.DeadLetter(papyra.DeadLetter{MessageType: "M", Payload: map[string]any{"i": i}})
				}
				if i%50 == 0 {
					p.Event(papyra.Event{Type: "bad", Payload: func() {}})
				}
			}
		})
	}
	recorders.Wait()
	close(stop)
	wg.Wait()
	const events, bad, letters = goroutines * each, goroutines * each / 50, goroutines * each / 10
	await(t, "everything is confirmed", func() bool {
		s := p.Stats()
		return s.Events.Confirmed == events+bad && s.DeadLetters.Confirmed == letters
	})
	got := p.Stats()
	want := CategoryStats{Accepted: events + bad, Confirmed: events + bad, PayloadReplaced: bad, BufferBytes: got.Events.BufferBytes}
	if got.Events != want {
		t.Errorf("events: got %+v, want %+v", got.Events, want)
	}
	want = CategoryStats{Accepted: letters, Confirmed: letters, BufferBytes: got.DeadLetters.BufferBytes}
	if got.DeadLetters != want {
		t.Errorf("dead letters: got %+v, want %+v", got.DeadLetters, want)
	}
	await(t, "everything arrives", func() bool {
		return r.got(papyra.KindEvent) == events+bad && r.got(papyra.KindDeadLetter) == letters
	})
	if n := r.duplicates(papyra.KindEvent) + r.duplicates(papyra.KindDeadLetter); n != 0 {
		t.Errorf("got %d duplicates on a healthy broker, want none", n)
	}
}

// Under load messages are full. After a while without records the background
// sleeps, and then a record wakes it and leaves at once.
func TestMessagesAreFullUnderLoadAndPromptWhenIdle(t *testing.T) {
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{})
	const n = 30000
	for i := range n {
		p.Started(someActor, slog.Int("i", i))
	}
	await(t, "records arrive", func() bool { return r.got(papyra.KindEvent) == n })
	r.mu.Lock()
	messages, largest := len(r.sizes), 0
	for _, size := range r.sizes {
		largest = max(largest, size)
	}
	r.mu.Unlock()
	if messages > n/10 || largest > chunkSize {
		t.Errorf("got %d messages of at most %d bytes for %d records, want far fewer than records and none above %d",
			messages, largest, n, chunkSize)
	}
	for i := range 5 {
		await(t, "the background is idle", p.idle.Load)
		begin := time.Now()
		p.Started(someActor)
		await(t, "one record arrives", func() bool { return r.got(papyra.KindEvent) == n+i+1 })
		if took := time.Since(begin); took > time.Second {
			t.Errorf("a record of an idle publisher took %v", took)
		}
	}
}

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no") }

type panickingError struct{}

func (panickingError) Error() string { panic("no") }

// unkeepable has a payload that cannot be encoded, and no room for the reason.
var unkeepable = papyra.Event{Type: strings.Repeat("t", papyra.MaxPublishedLine-150), Payload: make(chan int)}

type linkedNode struct{ Next *linkedNode }

func TestHostileValuesAreCountedAndHarmless(t *testing.T) {
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{})
	cycle := &linkedNode{}
	cycle.Next = cycle
	var deep any
	for range 100_000 {
		deep = []any{deep}
	}
	megabyte := strings.Repeat("k", 1<<20)
	event := func(v any) func() {
		return func() { p.Event(papyra.Event{Actor: someActor, Type: "T", Payload: v}) }
	}
	cases := []struct {
		name   string
		record func()
		want   CategoryStats // what it adds
	}{
		{"panicking marshaller", event(panics{}), CategoryStats{Confirmed: 1, PayloadReplaced: 1}},
		{"panicking error", func() { p.Crashed(someActor, panickingError{}) }, CategoryStats{Confirmed: 1, PayloadReplaced: 1}},
		{"cycle", event(cycle), CategoryStats{Confirmed: 1, PayloadReplaced: 1}},
		{"channel", event(make(chan int)), CategoryStats{Confirmed: 1, PayloadReplaced: 1}},
		{"depth", event(deep), CategoryStats{Confirmed: 1, PayloadReplaced: 1}},
		{"channel in a record that is full without it", func() { p.Event(unkeepable) }, CategoryStats{DroppedEncode: 1}},
		{"a megabyte of key", event(map[string]int{megabyte: 1}), CategoryStats{DroppedTooLarge: 1}},
		{"a megabyte of text", event(megabyte), CategoryStats{DroppedTooLarge: 1}},
		{"a megabyte of type", func() { p.Event(papyra.Event{Type: megabyte}) }, CategoryStats{DroppedTooLarge: 1}},
		{"NaN", event(math.NaN()), CategoryStats{Confirmed: 1}},
		{"invalid UTF-8", event("a\xff\xfeb"), CategoryStats{Confirmed: 1, Sanitized: 2}},
		{"newline in a string", event("a\nb\x00"), CategoryStats{Confirmed: 1}},
		{"a quarter megabyte", event(megabyte[:255<<10]), CategoryStats{Confirmed: 1}},
	}
	var want CategoryStats
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tc.record()
			want.Accepted++
			want.Confirmed += tc.want.Confirmed
			want.DroppedEncode += tc.want.DroppedEncode
			want.DroppedTooLarge += tc.want.DroppedTooLarge
			want.Sanitized += tc.want.Sanitized
			want.PayloadReplaced += tc.want.PayloadReplaced
			await(t, "record is settled", func() bool { return p.Stats().Events.Buffered == 0 })
			got := p.Stats().Events
			got.BufferBytes = 0
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	await(t, "the good ones arrive", func() bool { return r.got(papyra.KindEvent) == int(want.Confirmed) })
}

// A flood in one category costs no other category a record, and the bound holds.
func TestFloodStaysInItsCategory(t *testing.T) {
	p := connect(t, "nats://127.0.0.1:1", Config{Buffers: Buffers{Events: 1 << 20, DeadLetters: 64 << 10}})
	for i := range 50_000 {
		p.Started(someActor, slog.Int("i", i))
		if i%1000 == 0 {
			p.DeadLetter(papyra.DeadLetter{MessageType: "M"})
			p.Audit(papyra.Audit{})
		}
	}
	s := p.Stats()
	balanced(t, s)
	if s.Events.Accepted != 50_000 || s.Events.DroppedQueueFull == 0 || s.Events.Buffered == 0 {
		t.Errorf("events: got %+v, want 50000 accepted, some buffered and the rest dropped", s.Events)
	}
	if s.Events.BufferBytes > 1<<20 || s.DeadLetters.BufferBytes > 64<<10 {
		t.Errorf("got %d and %d bytes held, want at most the bounds", s.Events.BufferBytes, s.DeadLetters.BufferBytes)
	}
	// The lines are about 200 bytes: nearly all of the bound must be usable.
	if used := s.Events.Buffered * 200; used < 1<<20*8/10 {
		t.Errorf("got %d records in a buffer of 1 MiB", s.Events.Buffered)
	}
	if s.DeadLetters.Buffered != 50 || s.Audits.Buffered != 50 {
		t.Errorf("got %d dead letters and %d audits buffered, want 50 of each", s.DeadLetters.Buffered, s.Audits.Buffered)
	}
}

func TestCallbacksAndLoggerThatHangOrPanicAreHarmless(t *testing.T) {
	release := make(chan struct{})
	var once sync.Once
	var called atomic.Int32
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{
		NATS: []nats.Option{
			nats.ConnectHandler(func(*nats.Conn) { called.Add(1); panic("no") }),
			nats.DisconnectErrHandler(func(*nats.Conn, error) { called.Add(1); <-release }),
		},
		Logger: slog.New(hangingHandler{release}),
	})
	t.Cleanup(func() { once.Do(func() { close(release) }) })
	for range 100 {
		p.Started(someActor)
	}
	await(t, "records are confirmed", func() bool { return p.Stats().Events.Confirmed == 100 })
	if r.got(papyra.KindEvent) != 100 {
		await(t, "records arrive", func() bool { return r.got(papyra.KindEvent) == 100 })
	}
	begin := time.Now()
	closeWithin(t, p, time.Second)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("Close took %v with a logger that hangs", took)
	}
	once.Do(func() { close(release) })
	<-p.notices.done
	if called.Load() == 0 {
		t.Error("got no call of the user's callbacks")
	}
}

type hangingHandler struct{ release chan struct{} }

func (hangingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h hangingHandler) Handle(context.Context, slog.Record) error {
	<-h.release
	return nil
}
func (h hangingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h hangingHandler) WithGroup(string) slog.Handler      { return h }
