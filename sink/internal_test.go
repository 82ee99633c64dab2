package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/broker"
)

var testTime = time.Unix(1_700_000_000, 123_456_000)

func testSink(tb testing.TB, c Config) *Sink {
	tb.Helper()
	c.Instance = "test"
	s, err := New(c, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestLedgerJoinsNumbersAndIsBounded(t *testing.T) {
	var l ledger
	stream := papyra.Stream{System: "orders", Kind: papyra.KindEvent}
	for _, seq := range []uint64{1, 2, 3, 7, 8, 5} {
		l.add(papyra.DropSinkFull, stream, []byte("r1"), seq)
	}
	l.add(papyra.DropSinkStopped, stream, []byte("r1"), 9)
	l.add(papyra.DropSinkFull, stream, nil, 0)
	l.add(papyra.DropSinkFull, stream, nil, 0)
	got := l.take()
	want := []papyra.SinkDrops{
		{Reason: papyra.DropSinkFull, System: "orders", Category: "events", N: 2},
		{Reason: papyra.DropSinkFull, System: "orders", Category: "events", Run: "r1", N: 6, Ranges: []papyra.Range{{1, 3}, {7, 8}, {5, 5}}},
		{Reason: papyra.DropSinkStopped, System: "orders", Category: "events", Run: "r1", N: 1, Ranges: []papyra.Range{{9, 9}}},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("take() = %v, want %v", got, want)
	}
	if again := l.take(); len(again) != 0 {
		t.Errorf("a second take() = %v, want nothing", again)
	}

	// Beyond the bounds only the numbers tell, and they stay exact.
	var total uint64
	for i := range 3 * maxDropKeys {
		l.add(papyra.DropSinkFull, papyra.Stream{System: strconv.Itoa(i), Kind: papyra.KindEvent}, []byte("r"), 1)
		total++
	}
	for i := range 3 * maxDropRanges {
		l.add(papyra.DropSinkFull, papyra.Stream{System: "0", Kind: papyra.KindEvent}, []byte("r"), uint64(2*i+10))
		total++
	}
	list := l.take()
	if len(list) > maxDropKeys+1 {
		t.Errorf("%d entries, want at most %d", len(list), maxDropKeys+1)
	}
	var sum uint64
	for _, d := range list {
		sum += d.N
		if len(d.Ranges) > maxDropRanges {
			t.Errorf("%d ranges, want at most %d", len(d.Ranges), maxDropRanges)
		}
		if d.Run == "" && len(d.Ranges) > 0 {
			t.Errorf("ranges of no run: %+v", d)
		}
	}
	if sum != total {
		t.Errorf("the entries add up to %d, want %d", sum, total)
	}
}

// However much was dropped, each report fits in a line that publishers' limits
// allow.
func TestLargeLedgerIsSpreadOverReports(t *testing.T) {
	s := testSink(t, Config{})
	const runs = 300
	for i := range runs {
		system := strings.Repeat("\"", 60) + fmt.Sprintf("%04d", i)
		for n := range uint64(maxDropRanges) {
			s.drop(papyra.DropSinkFull, papyra.Stream{System: system, Kind: papyra.KindDeadLetter}, fmt.Appendf(nil, "%016d", i), 1<<62+2*n)
		}
	}
	s.report("running")
	var dropped uint64
	waiting := s.backlog.pop()
	reports := waiting.batch.Len()
	for i := range reports {
		l, _ := waiting.batch.Line(i)
		rec, err := papyra.Parse(l)
		if err != nil || len(l)+1 > papyra.MaxPublishedLine {
			t.Fatalf("report of %d bytes: %v", len(l), err)
		}
		var r papyra.SinkReport
		if err := json.Unmarshal(rec.Payload, &r); err != nil {
			t.Fatal(err)
		}
		for _, d := range r.Dropped {
			dropped += d.N
		}
		if r.DroppedLines != runs*maxDropRanges {
			t.Errorf("dropped_lines is %d, want %d", r.DroppedLines, runs*maxDropRanges)
		}
	}
	if reports < 5 || dropped != runs*maxDropRanges {
		t.Errorf("%d reports tell of %d drops, want several of %d", reports, dropped, runs*maxDropRanges)
	}
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRejectFileIsReplacedWhenFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".r.rejected")
	r := newRejectFile(path, testSink(t, Config{}).log)
	r.limit = 1000
	for i := range 30 {
		r.add(testTime, "s", papyra.ClassCorrupted, fmt.Appendf(nil, "line %02d", i))
		r.flush()
	}
	r.close()
	now, before := readAll(t, path), readAll(t, path+".1")
	if len(now) > 1000 || len(before) > 1000 || len(before) < 800 {
		t.Errorf("the files have %d and %d bytes, want at most 1000", len(now), len(before))
	}
	if _, replaced := r.counts(); replaced == 0 {
		t.Error("no older file was counted as replaced")
	}
	want := `{"time":1700000000.123456,"subject":"s","reason":"corrupted","length":7,"raw":"bGluZSAyOQ=="}` + "\n"
	if !strings.HasSuffix(now, want) {
		t.Errorf("the file ends in %q, want %q", now[max(0, len(now)-len(want)):], want)
	}
}

func TestRejectFileSurvives(t *testing.T) {
	log := testSink(t, Config{}).log
	t.Run("fragment of a crash", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "r")
		if err := os.WriteFile(path, []byte(`{"time":1`), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRejectFile(path, log)
		r.add(testTime, "s", "corrupted", []byte("x"))
		r.flush()
		r.close()
		if got := readAll(t, path); !strings.HasPrefix(got, "{\"time\":1\n{\"time\":17") || strings.Count(got, "\n") != 2 {
			t.Errorf("the file is %q: the fragment merged with the next line", got)
		}
	})
	t.Run("removed by somebody", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "r")
		r := newRejectFile(path, log)
		for range 2 {
			r.add(testTime, "s", "corrupted", []byte("x"))
			r.flush()
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
		}
		r.add(testTime, "s", "corrupted", []byte("x"))
		r.flush()
		r.close()
		if n := strings.Count(readAll(t, path), "\n"); n != 1 {
			t.Errorf("%d lines in the new file, want 1", n)
		}
	})
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
	}{
		{"symlink", func(t *testing.T, path string) {
			victim := path + ".victim"
			if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if b, err := os.ReadFile(victim); err == nil && string(b) != "precious" {
					t.Errorf("the symlink's target is now %q", b)
				}
			})
			if err := os.Symlink(victim, path); err != nil {
				t.Fatal(err)
			}
		}},
		{"FIFO", func(t *testing.T, path string) {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "r")
			tt.make(t, path)
			r := newRejectFile(path, log)
			for range 3 {
				r.add(testTime, "s", "corrupted", []byte("x"))
			}
			r.flush()
			if n, _ := r.counts(); n != 3 {
				t.Errorf("%d rejects counted as not kept, want 3", n)
			}
			// It recovers alone when the way is free.
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			r.add(testTime, "s", "corrupted", []byte("x"))
			r.flush()
			r.close()
			if n := strings.Count(readAll(t, path), "\n"); n != 1 {
				t.Errorf("%d lines after the way was free, want 1", n)
			}
		})
	}
}

func TestRejectsBeyondTheBufferAreCounted(t *testing.T) {
	r := newRejectFile(filepath.Join(t.TempDir(), "r"), testSink(t, Config{}).log)
	big := bytes.Repeat([]byte("x"), 3<<20)
	for range 12 {
		r.add(testTime, "s", papyra.ClassOversize, big) // each keeps 1 MiB, as 4/3 MiB
	}
	if n, _ := r.counts(); n == 0 || n >= 12 {
		t.Errorf("%d of 12 are not kept, want some", n)
	}
	kept, _ := r.counts()
	r.flush()
	r.close()
	text := readAll(t, r.path)
	if n := strings.Count(text, "\n"); uint64(n) != 12-kept {
		t.Errorf("%d lines in the file and %d not kept, want 12 together", n, kept)
	}
	if !strings.Contains(text, `"length":3145728`) {
		t.Error("the true length of a long line is not there")
	}
}

// When the intake cannot run at all, the client's limits throw messages away,
// and they are counted; a flood that it can take is held back instead.
func TestMessagesBeyondTheClientsLimitAreCountedAsLost(t *testing.T) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s := testSink(t, Config{URL: b.URL()})
	c, err := connect(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	s.conn.Store(c)
	if err := c.subscribe(); err != nil {
		t.Fatal(err)
	}
	for _, sub := range c.subs {
		if err := sub.SetPendingLimits(10, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock() // the intake stands still
	nc, err := nats.Connect(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for range 100 {
		if err := nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); c.lostMessages() < 90; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages counted as lost, want at least 90", c.lostMessages())
		}
	}
	s.mu.Unlock()
	if left := c.drain(20 * time.Second); left != 0 {
		t.Errorf("%d messages were not read", left)
	}
	st := s.Stats()
	if st.LostMessages+st.Messages != 100 {
		t.Errorf("%d messages read and %d lost, want 100 together", st.Messages, st.LostMessages)
	}
	if lost := s.Stats().LostMessages; lost != st.LostMessages {
		t.Errorf("after the end %d are lost, before %d", lost, st.LostMessages)
	}
}

// A flood faster than the intake is held back in the socket, not lost.
func TestFloodIsHeldBackAndNotLost(t *testing.T) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s := testSink(t, Config{URL: b.URL()})
	c, err := connect(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	s.conn.Store(c)
	if err := c.subscribe(); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	// An intake of 10 ms for a message of 1 MB takes a tenth of what the client
	// can read; the client's limit is 64 messages of that size.
	const messages = 100
	line := bytes.Repeat([]byte("x"), 1_000_000)
	release := make(chan struct{})
	go func() {
		defer close(release)
		for s.Stats().Messages < messages {
			s.mu.Lock()
			time.Sleep(10 * time.Millisecond)
			s.mu.Unlock()
		}
	}()
	for range messages {
		if err := nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), line); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.FlushTimeout(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	<-release
	c.drain(20 * time.Second)
	if st := s.Stats(); st.Messages != messages || st.LostMessages != 0 {
		t.Errorf("%d messages read and %d lost, want all %d", st.Messages, st.LostMessages, messages)
	}
}

func TestSubjectsOfFiltersDoNotOverlap(t *testing.T) {
	c := Config{Systems: []string{"a", "b.c", "a"}, Kinds: []papyra.Kind{papyra.KindEvent, papyra.KindReport}}
	got := c.subjects()
	want := []string{"papyra.v1.records.a.events", "papyra.v1.records.b=2Ec.events", "papyra.v1.records.*.reports"}
	if !slices.Equal(got, want) {
		t.Errorf("subjects are %v, want %v", got, want)
	}
}

func TestMillisecondsReadShort(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0"},
		{499 * time.Microsecond, "0"},
		{2_576_918_297, "2.577"},
		{1118 * time.Millisecond, "1.118"}, // 1.1179999999999999 as Duration.Seconds says it
		{36 * time.Hour, "129600"},
	} {
		if got := strconv.FormatFloat(milliseconds(tt.d), 'f', -1, 64); got != tt.want {
			t.Errorf("%v reads %s, want %s", tt.d, got, tt.want)
		}
	}
}

func TestCleanInstance(t *testing.T) {
	for in, want := range map[string]string{
		"web-1": "web-1", "web.example.org": "web_example_org", "": "unknown", "é": "__", strings.Repeat("x", 70): strings.Repeat("x", 64),
	} {
		if got := cleanInstance(in); got != want {
			t.Errorf("cleanInstance(%q) = %q, want %q", in, got, want)
		}
	}
}

// hangingStore is a store whose Append does not return.
type hangingStore struct {
	Backend
	appending chan struct{}
	release   chan struct{}
}

func (h *hangingStore) URL() string { return "hanging:" }

func (h *hangingStore) Read(context.Context, papyra.Query, func(*papyra.Record, papyra.Place) error) (int64, error) {
	return 0, papyra.ErrNotFound
}

func (h *hangingStore) Appender(context.Context) (Appender, error) { return h, nil }

func (h *hangingStore) Append(_ context.Context, b *papyra.Batch) (int, error) {
	h.appending <- struct{}{}
	<-h.release
	return b.Len(), nil
}

func (h *hangingStore) Warnings(context.Context, papyra.Retention) ([]string, error) { return nil, nil }

func (h *hangingStore) Stats() papyra.AppendStats { return papyra.AppendStats{} }

func (h *hangingStore) Sync(context.Context) error { return nil }
func (h *hangingStore) Close() error               { return nil }

// A disk that hangs returns no error: the time that it takes makes the sink
// unready, and its answer ready again.
func TestStoreThatDoesNotAnswerIsNotReady(t *testing.T) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	store := &hangingStore{appending: make(chan struct{}), release: make(chan struct{})}
	s, err := New(Config{URL: b.URL(), SyncEvery: time.Hour, ReportEvery: time.Hour}, store)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	<-s.Receiving()
	<-store.appending // of the first report
	if err := s.Ready(); err != nil {
		t.Errorf("Ready() = %v while the store may still answer in time", err)
	}
	s.mu.Lock()
	s.askedAt = s.askedAt.Add(-2 * storeSilence) // as if so much time had passed
	s.mu.Unlock()
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "the store has not answered for 20s") {
		t.Errorf("Ready() = %v, want that the store does not answer", err)
	}
	store.release <- struct{}{}
	for deadline := time.Now().Add(20 * time.Second); s.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("Ready() = %v after the store has answered", s.Ready())
		}
	}
	cancel()
	go func() {
		for range store.appending {
		}
	}()
	close(store.release)
	if err := <-ended; err != nil {
		t.Errorf("Run() = %v", err)
	}
	close(store.appending)
}
