package shelf_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"

	"example.com/shelf"
)

var start0 = time.Unix(1_700_000_000, 0)

// source makes the records of one run.
type source struct {
	id   *papyra.Identity
	enc  papyra.Encoder
	seqs [papyra.KindCount]uint64
}

func newSource() *source { return &source{id: papyra.NewIdentity("test")} }

func (s *source) line(kind papyra.Kind, encode func(at time.Time) error) []byte {
	s.seqs[kind]++
	if err := encode(start0.Add(time.Duration(s.seqs[kind]) * time.Second)); err != nil {
		panic(err)
	}
	line := s.enc.AppendLine(nil, s.seqs[kind])
	return line[:len(line)-1]
}

func (s *source) event() []byte {
	return s.line(papyra.KindEvent, func(at time.Time) error {
		return s.enc.Event(s.id, "orders", &papyra.Event{Actor: papyra.Address{ID: 1}, Type: papyra.ActorStarted, Time: at}, nil, at)
	})
}

func (s *source) letter() []byte {
	return s.line(papyra.KindDeadLetter, func(at time.Time) error {
		return s.enc.DeadLetter(s.id, "orders", &papyra.DeadLetter{MessageType: "Pay", Time: at}, nil, at)
	})
}

func (s *source) report(p *papyra.PublisherReport) []byte {
	return s.line(papyra.KindReport, func(at time.Time) error {
		return s.enc.Report(s.id, "orders", &papyra.Report{Name: papyra.ReportPublisher, Payload: p, Time: at}, at)
	})
}

// store appends each list of lines as a batch.
func store(t testing.TB, s *shelf.Shelf, batches ...[][]byte) {
	t.Helper()
	a, err := s.Appender(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, lines := range batches {
		if n, err := a.Append(context.Background(), batch(lines...)); n != len(lines) || err != nil {
			t.Fatalf("append %d lines: stored %d, error %v", len(lines), n, err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

func batch(lines ...[]byte) *papyra.Batch {
	var b papyra.Batch
	for _, line := range lines {
		rec, err := papyra.Parse(line)
		if err != nil {
			panic(err)
		}
		b.Append(b.StreamIndex(rec.Stream()), line)
	}
	return &b
}

func read(t testing.TB, s *shelf.Shelf, q papyra.Query) (lines []string) {
	t.Helper()
	if _, err := s.Read(context.Background(), q, func(r *papyra.Record, _ papyra.Place) error {
		lines = append(lines, string(r.Line))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestMissingShelf(t *testing.T) {
	ctx, dir := context.Background(), filepath.Join(t.TempDir(), "shelf")
	s := open(t, dir)
	defer s.Close()
	for name, call := range map[string]func() error{
		"Read": func() error {
			_, err := s.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error { return nil })
			return err
		},
		"Scan":    func() error { _, err := s.Scan(ctx, papyra.ScanOptions{}); return err },
		"Recover": func() error { _, err := s.Recover(ctx, papyra.RecoverOptions{}); return err },
		"Compact": func() error {
			_, err := s.Compact(ctx, papyra.CompactOptions{Dedupe: true, At: start0})
			return err
		},
		"Groups": func() error { _, err := s.Groups(ctx); return err },
	} {
		if err := call(); !errors.Is(err, papyra.ErrNotFound) {
			t.Errorf("%s: got %v, want papyra.ErrNotFound", name, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
}

func TestForeignWriter(t *testing.T) {
	dir, src := t.TempDir(), newSource()
	s := open(t, dir)
	defer s.Close()
	a, err := s.Appender(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	other := append(src.event(), '\n')
	plant(t, dir, other)
	if n, err := a.Append(context.Background(), batch(src.event())); n != 0 || !errors.Is(err, papyra.ErrForeignWriter) {
		t.Errorf("append over a stranger's book: stored %d, error %v", n, err)
	}
	if got := read(t, s, papyra.Query{}); len(got) != 1 || got[0]+"\n" != string(other) {
		t.Errorf("the stranger's book: %q", got)
	}
}

func TestLeftover(t *testing.T) {
	dir, src, ctx := t.TempDir(), newSource(), context.Background()
	s, other := open(t, dir), open(t, dir)
	defer s.Close()
	defer other.Close()
	store(t, s, [][]byte{src.event()})
	const torn = `{"kind":"event","system_id":"ord`
	if err := os.WriteFile(filepath.Join(dir, "0000000000000002.book.1.part"), []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	scan := func() *papyra.ScanReport {
		r, err := s.Scan(ctx, papyra.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := scan(); r.AnomalyCounts[papyra.ClassLeftover] != 1 || r.Records != 1 {
		t.Errorf("scan: %+v", r)
	}
	a, err := other.Appender(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if r := scan(); !r.Clean() || r.NoticeCounts[papyra.NoticeInProgress] != 1 {
		t.Errorf("scan while somebody writes: %+v", r)
	}
	if r, err := s.Recover(ctx, papyra.RecoverOptions{DryRun: true}); err != nil || r.Moved != 0 {
		t.Errorf("dry recovery while somebody writes: %+v, %v", r, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := s.Recover(ctx, papyra.RecoverOptions{})
	if err != nil || r.Moved != 1 || r.MovedBytes != int64(len(torn)) || !r.After.Clean() || r.After.NoticeCounts[papyra.NoticeInProgress] != 0 {
		t.Fatalf("recover: %+v, %v", r, err)
	}
	if data, err := os.ReadFile(filepath.Join(r.Quarantine, "0000000000000002.book.1.part")); string(data) != torn {
		t.Errorf("quarantine: %q, %v", data, err)
	}
}

// TestUnreadable: what cannot be read hides nothing else, and is named.
func TestUnreadable(t *testing.T) {
	dir, src, ctx := t.TempDir(), newSource(), context.Background()
	s := open(t, dir)
	defer s.Close()
	store(t, s, [][]byte{src.event()})
	if err := os.Mkdir(filepath.Join(dir, "0000000000000002.book"), 0o755); err != nil {
		t.Fatal(err)
	}
	store(t, s, [][]byte{src.event()})
	n := 0
	damaged, err := s.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error { n++; return nil })
	if !errors.Is(err, papyra.ErrIncomplete) || n != 2 || damaged != 1 {
		t.Errorf("read: %d records, %d damaged, error %v; want 2, 1, papyra.ErrIncomplete", n, damaged, err)
	}
	r, err := s.Scan(ctx, papyra.ScanOptions{})
	if err != nil || !r.Incomplete || r.AnomalyCounts[papyra.ClassUnexpectedFile] != 1 || r.Records != 2 {
		t.Errorf("scan: %+v, %v", r, err)
	}
}

// TestCompactedReports: a compaction of reports leaves their view and the account
// of what was dropped as they were, number by number.
func TestCompactedReports(t *testing.T) {
	for _, limits := range []papyra.Limits{{Records: 1}, {Age: time.Second}, {Bytes: 1}, {Bytes: 1500}} {
		t.Run(fmt.Sprintf("%+v", limits), func(t *testing.T) {
			s := open(t, t.TempDir())
			defer s.Close()
			lines := troubled(newSource())
			store(t, s, lines[:20], lines[20:])
			o := papyra.CompactOptions{At: start0.Add(time.Hour)}
			o.Retention.ByKind[papyra.KindReport] = limits
			q := papyra.Query{Systems: []string{"orders"}, Retention: o.Retention, At: o.At}
			view, counts, gaps := read(t, s, q), balance(t, s), missing(t, s)
			report, err := s.Compact(context.Background(), o)
			if err != nil || report.RecordsAfter == report.RecordsBefore {
				t.Fatalf("compact: %+v, %v", report, err)
			}
			if after := read(t, s, q); !slices.Equal(view, after) {
				t.Errorf("the view held %d records, and now %d", len(view), len(after))
			}
			if after := balance(t, s); counts.Dropped[papyra.DropQueueFull] != 16 || counts.Missing != 1 || !reflect.DeepEqual(counts, after) {
				t.Errorf("account of the events\nbefore: %+v\nafter:  %+v", counts, after)
			}
			if after := missing(t, s); len(gaps) != 1 || !reflect.DeepEqual(gaps, after) {
				t.Errorf("missing\nbefore: %+v\nafter:  %+v", gaps, after)
			}
		})
	}
}

// troubled returns the records of a run that took 40 events. It dropped number 11
// to 15 and said so, 21 and 31 to 40 and only counted them, and 25 is missing.
func troubled(src *source) (lines [][]byte) {
	for i := range uint64(40) {
		n := i + 1
		line := src.event()
		if n <= 10 || n > 15 && n <= 30 && n != 21 && n != 25 {
			lines = append(lines, line)
		}
		say := func(p papyra.PublisherReport, dropped uint64, ranges ...papyra.Range) {
			p.Categories = map[string]papyra.PublisherCategory{"events": {
				Accepted: n, Confirmed: n - dropped, Dropped: map[papyra.DropReason]*papyra.Drops{papyra.DropQueueFull: {N: dropped, Ranges: ranges}},
			}}
			if n == 26 { // a large one that nobody needs
				for i := range 20 {
					p.Categories[fmt.Sprintf("category %d of tomorrow", i)] = papyra.PublisherCategory{}
				}
			}
			lines = append(lines, src.report(&p))
		}
		switch n {
		case 2, 4, 6, 8:
			say(papyra.PublisherReport{}, 0)
		case 15:
			say(papyra.PublisherReport{}, 5, papyra.Range{11, 15})
		case 20:
			say(papyra.PublisherReport{}, 5)
		case 21, 26, 29:
			say(papyra.PublisherReport{}, 6)
		case 24: // 25 is missing because of this outage
			say(papyra.PublisherReport{Outages: []papyra.Outage{{From: 1_700_000_022, To: 1_700_000_027}}}, 6)
		case 34:
			say(papyra.PublisherReport{}, 10)
		case 40:
			say(papyra.PublisherReport{Final: true}, 16)
		}
	}
	return lines
}

// balance returns the account of the events of orders.
func balance(t testing.TB, s *shelf.Shelf) account.Counts {
	t.Helper()
	for _, run := range accountOf(t, s).Runs {
		for _, c := range run.Categories {
			if run.System == "orders" && c.Category == "events" {
				return c.Counts
			}
		}
	}
	t.Fatal("no account of the events")
	return account.Counts{}
}

// missing returns the missing events of orders.
func missing(t testing.TB, s *shelf.Shelf) (gaps []account.Gap) {
	t.Helper()
	for _, g := range accountOf(t, s).Gaps {
		if g.System == "orders" && g.Category == "events" {
			gaps = append(gaps, g)
		}
	}
	return gaps
}

func accountOf(t testing.TB, s *shelf.Shelf) *account.Result {
	t.Helper()
	r, err := account.Read(context.Background(), account.Options{Gaps: true}, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestKilled kills compactions: half of them while they prepare, the others
// while they change books. Whatever is left, the view is the same, and the next
// compaction finishes the job.
func TestKilled(t *testing.T) {
	o := papyra.CompactOptions{At: start0}
	o.Retention.ByKind[papyra.KindEvent].Records = 300
	if dir := os.Getenv("SHELF_COMPACT"); dir != "" {
		if _, err := open(t, dir).Compact(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		return
	}
	inMemory(t)
	src := newSource()
	var batches [][][]byte // of each old book the dead letter stays
	for range 400 {
		batches = append(batches, [][]byte{src.event(), src.letter(), src.event()})
	}
	changing := 0
	for i := range 12 {
		dir := filepath.Join(t.TempDir(), "shelf")
		s := open(t, dir)
		store(t, s, batches...)
		events := papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}}
		view := events
		view.Retention, view.At = o.Retention, o.At
		want := read(t, s, view)

		first := filepath.Join(dir, "0000000000000001.book")
		whole := size(first)
		kill(t, dir, func() bool {
			if i%2 == 0 {
				return size(first) < whole
			}
			parts, _ := filepath.Glob(filepath.Join(dir, "*.part"))
			return len(parts) > 10*i
		})
		if n := len(read(t, s, papyra.Query{Kinds: []papyra.Kind{papyra.KindDeadLetter}})); n != len(batches) {
			t.Fatalf("of %d dead letters %d are left after kill %d", len(batches), n, i)
		}
		if n := len(read(t, s, events)); n > len(want) && n < 800 {
			changing++
		}
		if got := read(t, s, view); len(want) != 300 || !slices.Equal(got, want) {
			t.Fatalf("the view after kill %d holds %d records, before %d", i, len(got), len(want))
		}
		if _, err := s.Compact(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recover(context.Background(), papyra.RecoverOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s, events); !slices.Equal(got, want) {
			t.Errorf("the shelf after kill %d holds %d events, want %d", i, len(got), len(want))
		}
		r, err := s.Scan(context.Background(), papyra.ScanOptions{Full: true})
		if err != nil || !r.Clean() || r.Duplicates > 0 {
			t.Errorf("scan after kill %d: %+v, %v", i, r, err)
		}
		if c := balance(t, s); c.Accepted != 800 || c.Stored != 300 || c.Removed[papyra.ActCompact] != 500 {
			t.Errorf("account after kill %d: %+v", i, c)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d of 12 were killed while books changed", changing)
}

// kill compacts a shelf in another process and kills that when it is time.
func kill(t testing.TB, dir string, now func() bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run", "^TestKilled$")
	child.Env = append(os.Environ(), "SHELF_COMPACT="+dir)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = child.Wait() }()
	await(t, "the act to be in its middle", func() bool {
		select {
		case <-ended: // it was faster
			return true
		default:
			return now()
		}
	})
	_ = child.Process.Kill()
	<-ended
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
