package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultfs"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/sink/backend"
)

// confirmAll records so many events and waits until all that ever were are confirmed.
func confirmAll(t *testing.T, p *publisher.Publisher, n int) {
	t.Helper()
	for i := range n {
		record(p, i)
	}
	testkit.Await(t, "the records to be confirmed", func() bool { st := p.Stats().Events; return st.Confirmed == st.Accepted })
}

// spooling is a sink with a spool that is stopped, killed and started again.
type spooling struct {
	t    *testing.T
	dir  string
	args []string
	web  string
	sink *worker
	nc   *nats.Conn
}

func startSpooling(t *testing.T, url, store string, more ...string) *spooling {
	t.Helper()
	s := &spooling{t: t, dir: dirOf(t), web: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)), nc: client(t, url)}
	s.args = append([]string{"--server", url, "--instance", "w", "--backend", store, "--spool", filepath.Join(s.dir, "spool"), "--http", s.web}, more...)
	s.start()
	return s
}

// dirOf returns a directory in memory, unless gigabytes go there.
func dirOf(t *testing.T) string {
	t.Helper()
	if testkit.Long() {
		return t.TempDir()
	}
	return testkit.FastDir(t)
}

func (s *spooling) start() {
	s.t.Helper()
	s.sink = startSink(s.t, s.dir, s.args...)
}

// metric returns a number of the sink.
func (s *spooling) metric(name string) uint64 {
	s.t.Helper()
	_, text := s.get("/metrics")
	for l := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(l, "papyra_"+name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return uint64(n)
		}
	}
	s.t.Fatalf("there is no metric %s", name)
	return 0
}

// settled waits until the sink has written all that was confirmed. A message that is
// none tells it: the sink rejects it after it has looked at everything before.
func (s *spooling) settled() {
	s.t.Helper()
	const rejected = `records_rejected_total{reason="corrupted"}`
	before := s.metric(rejected)
	if err := s.nc.Publish(papyra.RecordsSubject("marker", papyra.KindEvent), []byte("x")); err != nil {
		s.t.Fatal(err)
	}
	testkit.Await(s.t, "the sink to have looked at everything", func() bool { return s.metric(rejected) > before })
	testkit.Await(s.t, "the sink to have written everything", func() bool { return s.metric("pending_records") == 0 })
}

// drained waits until nothing waits in the spool.
func (s *spooling) drained() {
	s.t.Helper()
	for most := uint64(0); testkit.Long() && s.metric("spool_bytes") > 64<<20; most = s.metric("records_drained_total") {
		testkit.Await(s.t, "more to be drained", func() bool { return s.metric("records_drained_total") > most })
	}
	testkit.Await(s.t, "the spool to be empty", func() bool { return s.metric("spool_bytes") == 0 && s.metric("pending_records") == 0 })
}

// ready returns what /readyz says.
func (s *spooling) ready() (code int, text string) {
	s.t.Helper()
	return s.get("/readyz")
}

// get returns what the sink says over HTTP.
func (s *spooling) get(path string) (code int, text string) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.web + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// accounted runs the account of a store, which must be balanced, and returns how many
// events of the publisher are stored.
func accounted(t *testing.T, store string) (stored, duplicates uint64) {
	t.Helper()
	var r struct {
		Verdict string `json:"verdict"`
		Total   struct {
			Missing uint64 `json:"missing"`
			Spooled uint64 `json:"spooled"`
		} `json:"total"`
		Runs []struct {
			System     string `json:"system"`
			Categories []struct {
				Category   string `json:"category"`
				Stored     uint64 `json:"stored"`
				Duplicates uint64 `json:"duplicates"`
				Conflicts  uint64 `json:"conflicts"`
			} `json:"categories"`
		} `json:"runs"`
	}
	out := ctl(t, 0, "account", "--settle", "0s", "--backend", store, "--output", "json")
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if r.Verdict != "balanced" || r.Total.Missing > 0 || r.Total.Spooled > 0 {
		t.Errorf("account: %+v", r)
	}
	for _, run := range r.Runs {
		for _, c := range run.Categories {
			if c.Conflicts > 0 {
				t.Errorf("%d conflicts in %s", c.Conflicts, c.Category)
			}
			if run.System == "orders" && c.Category == "events" {
				stored, duplicates = stored+c.Stored, duplicates+c.Duplicates
			}
		}
	}
	return stored, duplicates
}

// recordPaced records so many events a second for some time.
func recordPaced(p *publisher.Publisher, rate int, duration time.Duration) {
	c := newPace(p, rate)
	time.Sleep(duration)
	c.stop()
}

// A store is down for a while under load. The sink is stopped, killed and started
// meanwhile, and everything that was recorded is stored in the end.
//
// With PAPYRA_LONG it is down for ten minutes at 20,000 records a second, about 3 GB.
func TestRootWhileWithoutAStore(t *testing.T) {
	stores := map[string]func(t *testing.T) (store string, down, up func()){
		"redis": func(t *testing.T) (string, func(), func()) {
			server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			return "redis://" + server.Addr(), server.Kill, func() { server.Restart(t) }
		},
		"file": func(t *testing.T) (string, func(), func()) {
			fs := faultfs.Mount(t)
			full := faultfs.Fault{Op: faultfs.Write, Path: "records.ndjson", Err: unix.ENOSPC, Part: 1000}
			return "json:" + filepath.Join(fs.Dir, "records.ndjson"), func() { fs.Fail(full) }, fs.Heal
		},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			if name == "redis" && testkit.Long() {
				t.Skip("3 GB are for a file")
			}
			t.Parallel()
			store, down, up := open(t)
			url := broker(t)
			s := startSpooling(t, url, store)
			p := connect(t, url, publisher.Config{})
			confirmAll(t, p, 2000)
			s.settled()
			down()
			rounds, duration, rate := 3, 300*time.Millisecond, 50_000
			if testkit.Long() {
				rounds, duration, rate = 10, time.Minute, 20_000
			}
			waits := uint64(0)
			for round := range rounds {
				recordPaced(p, rate, duration)
				confirmAll(t, p, 100)
				s.settled()
				if code, text := s.ready(); code != http.StatusServiceUnavailable || !strings.Contains(text, "wait in the spool") {
					t.Errorf("/readyz says %d %s", code, text)
				}
				waits = s.metric("spool_records")
				// Nothing is in its memory: a kill loses nothing either.
				if round%2 == 0 {
					s.sink.kill()
				} else {
					s.sink.terminate()
					if text := s.sink.text(); !strings.Contains(text, "records wait in the spool: start a sink") || !strings.Contains(text, `"spool_records"`) {
						t.Error("the log does not say how many records wait where")
					}
				}
				s.start()
			}
			up()
			recordPaced(p, rate, duration/3)
			s.drained()
			testkit.Await(t, "the sink to be ready", func() bool { code, _ := s.ready(); return code == http.StatusOK })
			stats := finish(t, p)
			s.sink.terminate()
			stored, duplicates := accounted(t, store)
			if stats.Events.Accepted != stats.Events.Confirmed || stored != stats.Events.Accepted {
				t.Errorf("%d of %d records are stored: %+v", stored, stats.Events.Accepted, stats.Events)
			}
			t.Logf("%d records, %d waited at most, %d came twice", stored, waits, duplicates)
		})
	}
}

// Sinks are killed at any moment while they spool, and while they drain. What a sink
// said to have written is stored in the end, and nothing but exact copies comes twice.
func TestKilledWhileSpoolingAndDraining(t *testing.T) {
	t.Parallel()
	kills := times(3, 50)
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	url, store := broker(t), "redis://"+server.Addr()
	s := startSpooling(t, url, store)
	p := connect(t, url, publisher.Config{})
	var safe []papyra.Range // numbers that a sink said to have written
	server.Kill()
	for range kills {
		first := p.Stats().Events.Accepted + 1
		confirmAll(t, p, 3000)
		s.settled()
		safe = append(safe, papyra.Range{first, p.Stats().Events.Accepted})
		stop := stream(p)
		time.Sleep(time.Duration(rand.N(20)) * time.Millisecond)
		s.sink.kill()
		stop()
		s.start()
	}
	for range kills {
		server.Restart(t)
		before := s.metric("spool_bytes")
		testkit.Await(t, "the drain to begin", func() bool { return s.metric("records_drained_total") > 0 || s.metric("spool_bytes") < before })
		s.sink.kill()
		server.Kill()
		s.start()
		first := p.Stats().Events.Accepted + 1
		confirmAll(t, p, 3000)
		s.settled()
		safe = append(safe, papyra.Range{first, p.Stats().Events.Accepted})
	}
	server.Restart(t)
	s.drained()
	finish(t, p)
	s.sink.terminate()

	b, err := backend.Open(store)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	lines := map[uint64][]byte{}
	copies := 0
	if _, err := b.Read(t.Context(), papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}, Duplicates: true}, func(rec *papyra.Record, _ papyra.Place) error {
		if old := lines[rec.Seq]; old == nil {
			lines[rec.Seq] = bytes.Clone(rec.Line)
		} else if copies++; !bytes.Equal(old, rec.Line) {
			t.Errorf("record %d is stored as %s and as %s", rec.Seq, old, rec.Line)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, g := range safe {
		for n := g[0]; n <= g[1]; n++ {
			if lines[n] == nil {
				t.Fatalf("record %d was written and is not stored", n)
			}
		}
	}
	t.Logf("%d records, %d came twice", len(lines), copies)
	ctl(t, 0, "scan", "--full", "--backend", store)
}

// What waits in a spool does not go into another store, unless somebody says so.
func TestSpoolOfAnotherStore(t *testing.T) {
	t.Parallel()
	fs := testkit.FastDir(t)
	server := redistest.Start(t)
	url, first, second := broker(t), "redis://"+server.Addr()+"/0", "json:"+filepath.Join(fs, "other.ndjson")
	s := startSpooling(t, url, first)
	p := connect(t, url, publisher.Config{})
	confirmAll(t, p, 10)
	s.settled()
	testkit.Await(t, "the store to hold a report", func() bool { return server.Client(t).XLen(t.Context(), "papyra:papyra:reports").Val() > 0 })
	server.Kill()
	confirmAll(t, p, 100)
	s.settled()
	s.sink.terminate()
	for i, arg := range s.args {
		if arg == first {
			s.args[i] = second
		}
	}
	code, out := runSink(t, s.dir, s.args...)
	if code != 78 || !strings.Contains(out, "--spool-adopt") {
		t.Errorf("another store: exit code %d, want 78 and the flag:\n%s", code, out)
	}
	s.args = append(s.args, "--spool-adopt")
	s.start()
	s.drained()
	finish(t, p)
	s.sink.terminate()
	if held := load(t, filepath.Join(fs, "other.ndjson")).numbers(p.Run(), papyra.KindEvent); len(held) != 100 {
		t.Errorf("the other store holds %d records, want 100", len(held))
	}
}

// One stream of a Redis server is refused: its records wait in the spool, over a stop
// that succeeds, and nobody else's do.
func TestSpoolOfARefusedStream(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	url, store := broker(t), "redis://"+server.Addr()
	s := startSpooling(t, url, store)
	p := connect(t, url, publisher.Config{})
	c := server.Client(t)
	server.Do(t, "SET", "papyra:orders:dead_letters", "not a stream")
	add := func(n int) {
		for range n {
			p.DeadLetter(papyra.DeadLetter{MessageType: "Job"})
		}
		confirmAll(t, p, n)
		s.settled()
	}
	add(50)
	if n := c.XLen(t.Context(), "papyra:orders:events").Val(); n != 50 {
		t.Errorf("%d events are stored, want 50", n)
	}
	if n := s.metric("spool_records"); n != 50 || s.metric("spool_refused_streams") != 1 {
		t.Errorf("%d records wait in the spool, want the 50 of one stream", n)
	}
	if code, text := s.ready(); code != http.StatusServiceUnavailable || !strings.Contains(text, "WRONGTYPE") {
		t.Errorf("/readyz says %d %s", code, text)
	}
	s.sink.terminate()
	s.start()
	add(50)
	server.Do(t, "DEL", "papyra:orders:dead_letters")
	s.drained()
	add(10)
	finish(t, p)
	s.sink.terminate()
	if n := c.XLen(t.Context(), "papyra:orders:dead_letters").Val(); n != 110 {
		t.Errorf("%d dead letters are stored, want 110", n)
	}
	if stored, _ := accounted(t, store); stored != 110 {
		t.Errorf("%d events are stored, want 110", stored)
	}
}

// A Redis server that stands still does not answer: what it does not take waits in the
// spool, and a sink that is stopped meanwhile does not wait for it.
func TestSpoolOfAFrozenStore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	url, store := broker(t), "redis://"+server.Addr()
	s := startSpooling(t, url, store)
	p := connect(t, url, publisher.Config{})
	confirmAll(t, p, 100)
	s.settled()
	testkit.Await(t, "the store to hold them", func() bool { return server.Client(t).XLen(t.Context(), "papyra:orders:events").Val() == 100 })
	server.Pause()
	confirmAll(t, p, 200)
	began := time.Now()
	s.settled()
	spooled := time.Since(began)
	began = time.Now()
	s.sink.terminate()
	t.Logf("spooled after %s, stopped after %s", seconds(spooled), seconds(time.Since(began)))
	if !strings.Contains(s.sink.text(), "records wait in the spool: start a sink") {
		t.Error("the log does not say that records wait")
	}
	server.Resume()
	s.start()
	s.drained()
	finish(t, p)
	s.sink.terminate()
	if stored, _ := accounted(t, store); stored != 300 {
		t.Errorf("%d events are stored, want 300", stored)
	}
}
