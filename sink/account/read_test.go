package account_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/backend"
)

// fill writes the lines of a world's store into a real one.
func fill(t *testing.T, store papyra.Store, lines [][]byte) {
	t.Helper()
	a, err := store.Appender(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b papyra.Batch
	for _, line := range lines {
		rec, err := papyra.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		b.Append(b.StreamIndex(rec.Stream()), line)
	}
	if _, err := a.Append(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, url string) papyra.Store {
	t.Helper()
	store, err := backend.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// Two workers of a group, each with a store of another kind: what one lost and
// what both have shows, copies within a store too, and what a compaction takes
// away is explained afterwards.
func TestReadStores(t *testing.T) {
	p := named("orders", "a")
	w := newWorld(t, 2)
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "stopped"})
	w.events(0, p, 1, 40)
	w.events(0, p, 7, 7)
	w.sink(1, "archive", 1, epoch, papyra.SinkReport{State: "stopped"})
	w.events(1, p, 40, 60)
	w.events(1, p, 63, 70)
	w.put(1, p, papyra.KindEvent, 70, epoch, "another")
	dir := t.TempDir()
	for _, urls := range [][]string{
		{"json:" + filepath.Join(dir, "a.ndjson"), "memory:"},
		{"memory:", "rotating:" + filepath.Join(dir, "b.ndjson") + "?max_bytes=1MB&max_files=3"},
	} {
		t.Run(fmt.Sprint(urls[0][:6], urls[1][:6]), func(t *testing.T) {
			var readers []account.Reader
			var stores []papyra.Store
			for i, url := range urls {
				stores = append(stores, open(t, url))
				fill(t, stores[i], w.stores[i])
				readers = append(readers, stores[i])
			}
			var seen int64
			o := account.Options{At: now, Gaps: true}
			r, err := account.Read(t.Context(), o, func(done, _ int64) { seen = done }, readers...)
			if err != nil {
				t.Fatal(err)
			}
			balanced(t, r)
			_, c := category(t, r, p, papyra.KindEvent)
			if c.Stored != 68 || c.Missing != 2 || c.Duplicates != 2 || c.Conflicts != 1 || r.Group != "archive" {
				t.Errorf("got %+v of group %q, want 68 stored, 2 missing, 2 duplicates, 1 conflict", c, r.Group)
			}
			if len(r.Gaps) != 1 || r.Gaps[0].First != 61 || r.Gaps[0].Last != 62 || r.Gaps[0].After == 0 || r.Gaps[0].Before == 0 {
				t.Errorf("gaps %+v, want 61 to 62 between its neighbours", r.Gaps)
			}
			if r.Stores[0].Name != stores[0].URL() || seen != 0 {
				t.Errorf("store %q, %d seen, want %q and no progress for so little", r.Stores[0].Name, seen, stores[0].URL())
			}

			for _, s := range stores {
				_, err := s.Compact(t.Context(), papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 5}}, At: now})
				if err != nil {
					t.Fatal(err)
				}
			}
			if r, err = account.Read(t.Context(), o, nil, readers...); err != nil {
				t.Fatal(err)
			}
			balanced(t, r)
			if _, c = category(t, r, p, papyra.KindEvent); c.Missing != 2 || c.Stored+c.Removed[papyra.ActCompact] != 68 || c.Stored >= 10 {
				t.Errorf("after the compaction: %+v, want all but a few removed and 2 missing still", c)
			}
		})
	}
}

// failing is a store of which Read fails.
type failing struct {
	account.Reader
	url   string
	err   error
	after func()
}

func (f failing) URL() string { return f.url }

func (f failing) Read(ctx context.Context, _ papyra.Query, yield func(*papyra.Record, papyra.Place) error) (int64, error) {
	if f.after != nil {
		f.after()
		return 0, ctx.Err()
	}
	rec := papyra.Record{Kind: papyra.KindEvent, System: []byte("x"), Node: []byte("n"), Run: []byte("r"), Seq: 1, Time: epoch.UnixMicro()}
	return 3, errors.Join(yield(&rec, papyra.Place{}), f.err)
}

func TestReadFailures(t *testing.T) {
	part := failing{url: "json:part", err: fmt.Errorf("read: %w", papyra.ErrIncomplete)}
	none := failing{url: "redis://gone", err: papyra.ErrUnavailable}
	r, err := account.Read(t.Context(), account.Options{At: now}, nil, part, none, open(t, "memory:"))
	if !errors.Is(err, papyra.ErrIncomplete) || !errors.Is(err, papyra.ErrUnavailable) {
		t.Errorf("got %v, want both errors", err)
	}
	var first *account.ReadError
	if !errors.As(err, &first) || first.Store != 0 || first.URL != "json:part" {
		t.Errorf("got %+v, want the error of the first store", first)
	}
	if r == nil || r.Verdict != account.Incomplete || r.Total.Stored != 1 || r.Total.Duplicates != 1 || r.Stores[0].Damaged != 3 || !r.Stores[1].Incomplete {
		t.Errorf("got %+v, want an incomplete account of what could be read", r)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	r, err = account.Read(ctx, account.Options{}, nil, failing{url: "x", after: func() { cancel(stop) }})
	if r != nil || !errors.Is(err, stop) {
		t.Errorf("interrupted: got %v, %v, want the cause", r, err)
	}
}

func ExampleRead() {
	store, err := backend.Open("memory:")
	if err != nil {
		fmt.Println(err)
		return
	}
	appender, err := store.Appender(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	id, _ := papyra.NewIdentityRun("eu-1", "k3f9x2ab7q04mzt1")
	var e papyra.Encoder
	var batch papyra.Batch
	stream := batch.StreamIndex(papyra.Stream{System: "orders", Kind: papyra.KindEvent})
	for _, seq := range []uint64{1, 2, 4} {
		at := time.Unix(1_700_000_000+int64(seq), 0)
		_ = e.Event(id, "orders", &papyra.Event{Type: papyra.ActorStarted}, nil, at)
		line := e.AppendLine(nil, seq)
		batch.Append(stream, line[:len(line)-1])
	}
	_, _ = appender.Append(context.Background(), &batch)

	result, err := account.Read(context.Background(), account.Options{Gaps: true}, nil, store)
	if err != nil {
		fmt.Println(err)
		return
	}
	gap := result.Gaps[0]
	fmt.Printf("%s: %d stored, %d missing: %s of %s, %s from %d to %d\n",
		result.Verdict, result.Total.Stored, result.Total.Missing, gap.Run, gap.Node, gap.Category, gap.First, gap.Last)
	// Output: missing: 3 stored, 1 missing: k3f9x2ab7q04mzt1 of eu-1, events from 3 to 3
}

// What the bound of a rotating store takes is explained however often it
// rotates, although the reports of the first rotations rotate away themselves.
func TestRotationIsExplained(t *testing.T) {
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "started"})
	a, b := named("orders", "a"), named("orders", "b")
	for seq := uint64(1); seq <= 3000; seq++ {
		if seq != 2990 { // lost
			w.events(0, a, seq, seq)
		}
		if seq < 100 {
			w.events(0, b, seq, seq) // soon gone altogether
		}
	}
	store := open(t, "rotating:"+filepath.Join(t.TempDir(), "r.ndjson")+"?max_bytes=20KiB&max_files=3")
	for lines := w.stores[0]; len(lines) > 0; lines = lines[min(50, len(lines)):] {
		fill(t, store, lines[:min(50, len(lines))])
	}
	r, err := account.Read(t.Context(), account.Options{At: now, Gaps: true}, nil, store)
	if err != nil {
		t.Fatal(err)
	}
	balanced(t, r)
	_, c := category(t, r, a, papyra.KindEvent)
	if c.Accepted != 3000 || c.Missing != 1 || c.Removed[papyra.ActRotate] < 2000 || len(r.Gaps) != 1 || r.Gaps[0].First != 2990 {
		t.Errorf("got %+v and gaps %+v, want all but 2990 stored or removed by rotation", c, r.Gaps)
	}
	for _, run := range r.Runs {
		for _, c := range run.Categories {
			if run.Run != a.run && c.Missing > 0 {
				t.Errorf("run %s of %q: %+v, want nothing missing", run.Run, run.System, c)
			}
		}
	}
}
