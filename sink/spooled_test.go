package sink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/spool"
)

// gatedStore is a real store whose appender the test makes fail.
type gatedStore struct {
	sink.Backend
	mu      sync.Mutex
	openErr error
	err     error
	hold    chan struct{} // each Append waits until it is closed; nil for none
}

func newGatedStore(t *testing.T) *gatedStore {
	return &gatedStore{Backend: openStore(t, "json:"+filepath.Join(testkit.FastDir(t), "records.ndjson"))}
}

func (g *gatedStore) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err, g.openErr = err, err
}

func (g *gatedStore) Appender(ctx context.Context) (sink.Appender, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.openErr != nil {
		return nil, g.openErr
	}
	a, err := g.Backend.Appender(ctx)
	return gatedAppender{a, g}, err
}

type gatedAppender struct {
	sink.Appender
	g *gatedStore
}

func (a gatedAppender) Append(ctx context.Context, b *papyra.Batch) (int, error) {
	a.g.mu.Lock()
	hold := a.g.hold
	a.g.mu.Unlock()
	if hold != nil {
		<-hold
	}
	a.g.mu.Lock()
	err := a.g.err
	a.g.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return a.Appender.Append(ctx, b)
}

// spoolDir is a directory for a spool.
func spoolDir(t *testing.T) string { return filepath.Join(testkit.FastDir(t), "spool") }

// storedNumbers returns how often each event of a run is stored.
func storedNumbers(t *testing.T, b sink.Backend, run string) map[uint64]int {
	t.Helper()
	seen := map[uint64]int{}
	if _, err := b.Read(t.Context(), papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}, Duplicates: true}, func(rec *papyra.Record, _ papyra.Place) error {
		if string(rec.Run) == run {
			seen[rec.Seq]++
		}
		return nil
	}); err != nil && !errors.Is(err, papyra.ErrNotFound) {
		t.Fatal(err)
	}
	return seen
}

// A store that is down, and sinks that stop and start meanwhile, also before it is back:
// each stop succeeds and says how many wait where, the report and the account know what
// waits, and in the end the store has all of it, once.
func TestSinksOverAStoreThatIsDown(t *testing.T) {
	b, store := startBroker(t), newGatedStore(t)
	nc, r, sent := dial(t, b.URL()), newRun(t, "orders", runA), uint64(0)
	var log testkit.Buffer
	c := sink.Config{
		URL: b.URL(), Instance: "w", SpoolDir: spoolDir(t), ReportEvery: 20 * time.Millisecond, SyncEvery: 20 * time.Millisecond,
		Logger: slog.New(slog.NewJSONHandler(&log, nil)),
	}
	send := func(w *worker, n int) {
		before := w.Stats().Received
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(n))
		sent += uint64(n)
		eventually(t, "the records to be safe", func() bool { st := w.Stats(); return st.Received == before+uint64(n) && st.Pending == 0 })
		balance(t, w.Stats())
	}
	w := runSink(t, c, store)
	send(w, 10)
	eventually(t, "the sink to be ready", func() bool { return w.Ready() == nil })
	store.fail(unix.ENOSPC)
	send(w, 20)
	eventually(t, "the sink to say why it is not ready", func() bool { return errors.Is(w.Ready(), unix.ENOSPC) })
	if st := w.Stats(); st.Spool.Direct || st.Spool.Records < 20 || st.AppendErrors[papyra.CauseENOSPC] == 0 || st.DroppedTotal() > 0 {
		t.Errorf("stats %+v", st)
	}
	if err := w.Ready(); !strings.Contains(err.Error(), "wait in the spool "+c.SpoolDir) {
		t.Errorf("Ready() = %v", err)
	}
	for range 2 {
		if err := w.stop(); err != nil {
			t.Fatalf("stop while the store is down: %v", err)
		}
		if !strings.Contains(log.String(), "records wait in the spool: start a sink") {
			t.Errorf("the log does not say that records wait: %s", log.String())
		}
		w = runSink(t, c, store)
		send(w, 15)
	}
	store.fail(nil)
	eventually(t, "the sink to be ready again", func() bool { return w.Ready() == nil && w.Stats().Spool.Direct })
	send(w, 5)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	seen := storedNumbers(t, store, runA)
	for n := uint64(1); n <= sent; n++ {
		if seen[n] != 1 {
			t.Errorf("record %d is stored %d times", n, seen[n])
		}
	}
	ids := map[string]bool{}
	for _, report := range reportsIn(t, store) {
		ids[report.Store] = true
	}
	if len(ids) != 1 {
		t.Errorf("the reports name the stores %v, want one", ids)
	}
	result, err := account.Read(t.Context(), account.Options{At: time.Now().Add(time.Hour)}, nil, store)
	if err != nil || result.Verdict != account.Balanced || result.Total.Spooled > 0 {
		t.Errorf("account: %+v, %v", result.Total, err)
	}
	if entries, err := os.ReadDir(c.SpoolDir); err != nil || len(entries) != 2 {
		t.Errorf("the spool holds %v, %v, want its own file and lock", entries, err)
	}
}

// While records wait, the reports that have come to the store say which, and the
// account calls them spooled.
func TestAccountKnowsWhatWaits(t *testing.T) {
	b, store := startBroker(t), newGatedStore(t)
	c := sink.Config{URL: b.URL(), Instance: "w", SpoolDir: spoolDir(t), ReportEvery: 10 * time.Millisecond, SyncEvery: 10 * time.Millisecond}
	w := runSink(t, c, store)
	nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(100))
	eventually(t, "the first to be stored", func() bool { return w.Stats().Stored == 100 })
	store.fail(errors.New("connection refused"))
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(500))
	eventually(t, "the others to wait", func() bool { return w.Stats().Spool.Records >= 500 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	// The store gets the reports, as at the beginning of a drain.
	stores := []account.Reader{store}
	segments, err := filepath.Glob(filepath.Join(c.SpoolDir, "reports-*.ndjson"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments of reports: %q, %v", segments, err)
	}
	for _, path := range segments {
		stores = append(stores, openStore(t, "json:"+path))
	}
	o := account.Options{At: time.Now().Add(time.Hour)}
	result, err := account.Read(t.Context(), o, nil, stores...)
	if err != nil || result.Total.Spooled < 500 || result.Total.Missing > 0 || result.Verdict != account.Balanced {
		t.Fatalf("account: %+v, %v, want 500 spooled", result, err)
	}
	if len(result.Spools) != 1 || result.Spools[0].Dir != c.SpoolDir || result.Spools[0].Instance != "w" || result.Spools[0].Records < 500 {
		t.Errorf("spools %+v", result.Spools)
	}
	// And the segments with the records are stores like any other.
	records, _ := filepath.Glob(filepath.Join(c.SpoolDir, "records-*.ndjson"))
	for _, path := range records {
		s := openStore(t, "json:"+path)
		if scan, err := s.Scan(t.Context(), papyra.ScanOptions{Full: true}); err != nil || !scan.Clean() {
			t.Errorf("scan of %s: %+v, %v", path, scan, err)
		}
		stores = append(stores, s)
	}
	if result, err = account.Read(t.Context(), o, nil, stores...); err != nil || result.Total.Spooled > 0 || result.Total.Missing > 0 {
		t.Errorf("with all segments: %+v, %v", result.Total, err)
	}
}

// What neither the store nor the spool nor the buffer takes is dropped, the newest, as
// spool_full with its run and numbers; reports come through all the same.
func TestFullSpoolDropsTheNewest(t *testing.T) {
	b, store := startBroker(t), newGatedStore(t)
	c := sink.Config{
		URL: b.URL(), Instance: "w", SpoolDir: spoolDir(t), SpoolBytes: spool.MinMaxBytes, BufferBytes: 4 << 20,
		ReportEvery: 20 * time.Millisecond, SyncEvery: 20 * time.Millisecond, StopTimeout: 2 * time.Second,
	}
	w := runSink(t, c, store)
	eventually(t, "the start to be reported", func() bool { return w.Stats().StoredBytes > 0 })
	store.fail(errors.New("connection refused"))
	nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
	sent := uint64(0)
	for sent == 0 || w.Stats().DroppedTotal() < 100 {
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(1000))
		sent += 1000
		eventually(t, "the message to be looked at", func() bool { return w.Stats().Received == sent })
	}
	st := w.Stats()
	balance(t, st)
	if st.Dropped[papyra.DropSpoolFull] != st.DroppedTotal() {
		t.Errorf("dropped %v, want spool_full only", st.Dropped)
	}
	if err := w.Ready(); !errors.Is(err, spool.ErrFull) {
		t.Errorf("Ready() = %v, want that the spool is full", err)
	}
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindReport), report(t, "orders"))
	eventually(t, "a report to be spooled", func() bool { return w.Stats().Received == sent+1 && w.Stats().Stored > st.Stored })
	store.fail(nil)
	eventually(t, "all to be stored", func() bool {
		st := w.Stats()
		return st.Spool.Direct && st.Pending == 0 && st.RefusedStreams == 0 && w.Ready() == nil
	})
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	st = w.Stats()
	balance(t, st)
	seen, dropped := storedNumbers(t, store, runA), uint64(0)
	named := map[uint64]bool{}
	for _, report := range reportsIn(t, store) {
		for _, d := range report.Dropped {
			if d.Reason != papyra.DropSpoolFull || d.Run != runA {
				t.Errorf("dropped %+v", d)
			}
			dropped += d.N
			for _, g := range d.Ranges {
				for n := g[0]; n <= g[1]; n++ {
					named[n] = true
				}
			}
		}
	}
	if dropped != st.DroppedTotal() || uint64(len(named)) != dropped {
		t.Errorf("the reports name %d of %d, the sink dropped %d", len(named), dropped, st.DroppedTotal())
	}
	for n := uint64(1); n <= sent; n++ {
		if got := seen[n]; got > 1 || (got == 1) == named[n] {
			t.Fatalf("record %d is stored %d times, dropped: %v", n, got, named[n])
		}
	}
}

// report is a publisher's report, sealed.
func report(t *testing.T, system string) []byte {
	t.Helper()
	id, err := papyra.NewIdentityRun("node-1", runB)
	if err != nil {
		t.Fatal(err)
	}
	line, err := papyra.SealedReport(id, system, 1, &papyra.Report{Name: papyra.ReportPublisher, Payload: papyra.PublisherReport{}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// Somebody else writes to the store: the sink ends, and what it has in memory waits in
// the spool for the next start.
func TestLostStoreLeavesTheRestInTheSpool(t *testing.T) {
	b, store := startBroker(t), newGatedStore(t)
	c := sink.Config{URL: b.URL(), Instance: "w", SpoolDir: spoolDir(t)}
	w := runSink(t, c, store)
	nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(10))
	eventually(t, "the first to be stored", func() bool { return w.Stats().Stored == 10 })
	hold := make(chan struct{})
	store.mu.Lock()
	store.hold = hold
	store.mu.Unlock()
	for range 30 { // more than is written at once
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(1000))
	}
	eventually(t, "all to be in memory", func() bool { return w.Stats().Received == 30010 })
	store.fail(papyra.ErrForeignWriter)
	close(hold)
	if err := w.wait(); !errors.Is(err, papyra.ErrForeignWriter) || errors.Is(err, sink.ErrNotStored) {
		t.Errorf("Run() = %v, want the foreign writer, and nothing that is not stored", err)
	}
	st := w.Stats()
	balance(t, st)
	store.fail(nil)
	w = runSink(t, c, store)
	eventually(t, "the rest to be stored", func() bool { return w.Stats().Spool.Direct })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(storedNumbers(t, store, runA)); uint64(n) < st.Received || st.DroppedTotal() > 0 {
		t.Errorf("%d records are stored, %d had come, %v were dropped", n, st.Received, st.Dropped)
	}
}

// A store that is down at the first start of all has no id that the sink could say. It
// gets one when it comes, and only then do others hear of it.
func TestFirstStartWithAStoreThatIsDown(t *testing.T) {
	b, store := startBroker(t), newGatedStore(t)
	store.fail(unix.EIO)
	c := sink.Config{URL: b.URL(), Instance: "w", SpoolDir: spoolDir(t), ReportEvery: 10 * time.Millisecond, SyncEvery: 10 * time.Millisecond}
	w := runSink(t, c, store)
	nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(30))
	eventually(t, "the records to wait", func() bool { return w.Stats().Stored == 30 })
	store.fail(nil)
	eventually(t, "the store to take them", func() bool { return w.Stats().Spool.Direct })
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(1))
	eventually(t, "another to be stored", func() bool { return w.Stats().Stored == 31 })
	eventually(t, "the sink to announce itself", func() bool {
		m, err := nc.Request("$SRV.INFO.papyra-sink", nil, time.Second)
		if err != nil {
			return false
		}
		var info struct{ Metadata map[string]string }
		return json.Unmarshal(m.Data, &info) == nil && len(info.Metadata["store"]) == 16
	})
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	list := reportsIn(t, store)
	if last := list[len(list)-1]; list[0].Store != "" || len(last.Store) != 16 || last.Spool == nil || last.Spool.Records != 0 {
		t.Errorf("the first report names store %q, the last %q, %+v", list[0].Store, last.Store, last.Spool)
	}
	if n := len(storedNumbers(t, store, runA)); n != 31 {
		t.Errorf("%d records are stored, want 31", n)
	}
}

// The start warns where the spool shares the device of the store, and refuses to share
// its directory.
func TestPlaceOfTheSpool(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "records.ndjson")
	for _, tt := range []struct {
		spool   string
		warns   bool
		refuses bool
	}{
		{filepath.Join(dir, "spool"), true, false},
		{filepath.Join(testkit.FastDir(t), "spool"), false, false},
		{dir, false, true},
		{dir + "/../" + filepath.Base(dir), false, true},
	} {
		var log testkit.Buffer
		w := startSink(t, sink.Config{URL: startBroker(t).URL(), SpoolDir: tt.spool, Logger: slog.New(slog.NewTextHandler(&log, nil))}, openStore(t, "json:"+path))
		if tt.refuses {
			if err := w.wait(); !errors.Is(err, papyra.ErrConfig) {
				t.Errorf("%s: %v, want ErrConfig", tt.spool, err)
			}
			continue
		}
		eventually(t, "the sink runs", func() bool { return w.Stats().State == "running" })
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		if warned := strings.Contains(log.String(), "same device"); warned != tt.warns {
			t.Errorf("%s: warned %v, want %v: %s", tt.spool, warned, tt.warns, log.String())
		}
	}
	if _, err := sink.New(sink.Config{SpoolDir: "x", SpoolBytes: 1 << 20}, nil); !errors.Is(err, papyra.ErrConfig) || !strings.Contains(fmt.Sprint(err), "too small") {
		t.Errorf("a spool of 1 MiB: %v", err)
	}
}

// A damaged segment is reported in the store.
func TestDamagedSegmentIsReported(t *testing.T) {
	b, store := startBroker(t), newGatedStore(t)
	c := sink.Config{URL: b.URL(), Instance: "w", SpoolDir: spoolDir(t), SyncEvery: 10 * time.Millisecond}
	w := runSink(t, c, store)
	nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
	store.fail(errors.New("connection refused"))
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(10))
	eventually(t, "the records to wait", func() bool { return w.Stats().Stored == 10 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	paths, _ := filepath.Glob(filepath.Join(c.SpoolDir, "records-*.ndjson"))
	if len(paths) == 0 {
		t.Fatal("no segment")
	}
	appendTo(t, paths[len(paths)-1], `{"kind":"event","sys`)
	store.fail(nil)
	w = runSink(t, c, store)
	found := func() (n int) {
		q := papyra.Query{Types: []string{papyra.ReportCorruptionDetected}}
		_, _ = store.Read(t.Context(), q, func(*papyra.Record, papyra.Place) error {
			n++
			return nil
		})
		return n
	}
	eventually(t, "the damage to be reported", func() bool { return found() == 1 })
	if st := w.Stats(); st.Spool.SetAside != 1 || !st.Spool.Direct {
		t.Errorf("spool %+v", st.Spool)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(storedNumbers(t, store, runA)); n != 10 {
		t.Errorf("%d records are stored, want 10", n)
	}
}
