package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend"
)

// sealed returns the line of one event.
func sealed(t interface{ Fatal(...any) }, run string, seq uint64, at int64) string {
	id, err := papyra.NewIdentityRun("node", run)
	if err != nil {
		t.Fatal(err)
	}
	var e papyra.Encoder
	event := papyra.Event{Actor: papyra.Address{System: "orders", ID: 1}, Type: "X"}
	if err := e.Event(id, "orders", &event, nil, time.Unix(at, 0)); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(e.AppendLine(nil, seq), []byte("\n")))
}

// memoryStore returns a store that holds lines.
func memoryStore(t interface{ Fatal(...any) }, lines []string) papyra.Store {
	store, err := backend.Open("memory:")
	if err != nil {
		t.Fatal(err)
	}
	ap, err := store.Appender(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var b papyra.Batch
	stream := b.StreamIndex(papyra.Stream{System: "orders", Kind: papyra.KindEvent})
	for _, line := range lines {
		b.Append(stream, []byte(line))
	}
	if _, err := ap.Append(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	if err := ap.Close(); err != nil {
		t.Fatal(err)
	}
	return store
}

func closeAll(stores []papyra.Store) {
	for _, s := range stores {
		_ = s.Close()
	}
}

func readLines(t interface{ Fatal(...any) }, stores []papyra.Store, q papyra.Query) []string {
	var out []string
	sources, err := Read(context.Background(), stores, q, func(rec *papyra.Record) error {
		out = append(out, string(rec.Line))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		if s.Err != nil {
			t.Fatal(s.Err)
		}
	}
	return out
}

// However records are spread over stores, each is shown once, a store's own
// order is kept, and a limit is the end of the whole.
func TestReadProperties(t *testing.T) {
	defer goleak.VerifyNone(t)
	rapid.Check(t, func(t *rapid.T) {
		runs := []string{"aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"}
		count := rapid.IntRange(1, 4).Draw(t, "stores")
		held := make([][]string, count)
		all := map[string]bool{}
		for seq := range rapid.IntRange(0, 20).Draw(t, "records") {
			at := rapid.Int64Range(1000, 1006).Draw(t, "at")
			line := sealed(t, rapid.SampledFrom(runs).Draw(t, "run"), uint64(seq+1), at)
			for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, count-1), 1, count, rapid.ID[int]).Draw(t, "in") {
				held[i] = append(held[i], line)
				all[line] = true
			}
		}
		var stores []papyra.Store
		for _, lines := range held {
			stores = append(stores, memoryStore(t, lines))
		}
		defer closeAll(stores)

		shown := readLines(t, stores, papyra.Query{})
		if len(shown) != len(all) {
			t.Fatalf("%d records are shown of %d that differ", len(shown), len(all))
		}
		position := map[string]int{}
		for i, line := range shown {
			position[line] = i
		}
		if count == 1 && !slices.Equal(shown, held[0]) {
			t.Fatalf("one store shows %q, want its append order %q", shown, held[0])
		}

		reversed := readLines(t, stores, papyra.Query{Reverse: true})
		limit := rapid.IntRange(1, 25).Draw(t, "limit")
		newest := readLines(t, stores, papyra.Query{Reverse: true, Limit: limit})
		if want := reversed[:min(limit, len(reversed))]; !slices.Equal(newest, want) {
			t.Fatalf("--reverse --limit %d shows %q, want %q", limit, newest, want)
		}
		forward := readLines(t, stores, papyra.Query{Limit: limit})
		slices.Reverse(forward)
		if !slices.Equal(forward, newest) {
			t.Fatalf("--limit %d shows %q backwards, --reverse %q", limit, forward, newest)
		}
	})
}

// Where stores have their records in the order of time, so has the whole, and
// each store's own order is kept where it is not.
func TestMergeOrder(t *testing.T) {
	defer goleak.VerifyNone(t)
	const a, b = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
	line := func(run string, seq uint64, at int64) string { return sealed(t, run, seq, at) }
	for _, tc := range []struct {
		name string
		in   [][]string
		want []string
	}{
		{
			"by time",
			[][]string{{line(a, 1, 10), line(a, 2, 30)}, {line(b, 1, 20), line(b, 2, 40)}},
			[]string{line(a, 1, 10), line(b, 1, 20), line(a, 2, 30), line(b, 2, 40)},
		},
		{
			"by run, then number, at one time",
			[][]string{{line(b, 1, 10), line(b, 3, 10)}, {line(a, 9, 10)}, {line(b, 2, 10)}},
			[]string{line(a, 9, 10), line(b, 1, 10), line(b, 2, 10), line(b, 3, 10)},
		},
		{
			"late arrival stays where its store has it",
			[][]string{{line(a, 1, 50), line(a, 2, 10)}, {line(b, 1, 40), line(b, 2, 60)}},
			[]string{line(b, 1, 40), line(a, 1, 50), line(a, 2, 10), line(b, 2, 60)},
		},
		{"empty stores", [][]string{nil, {line(a, 1, 1)}, nil}, []string{line(a, 1, 1)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stores []papyra.Store
			for _, lines := range tc.in {
				stores = append(stores, memoryStore(t, lines))
			}
			defer closeAll(stores)
			if got := readLines(t, stores, papyra.Query{}); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// A reader that stops, and a store that fails, leave nothing running.
func TestReadEndsEarly(t *testing.T) {
	defer goleak.VerifyNone(t)
	stores := []papyra.Store{
		memoryStore(t, []string{sealed(t, "aaaaaaaaaaaaaaaa", 1, 1), sealed(t, "aaaaaaaaaaaaaaaa", 2, 2)}),
		failing{memoryStore(t, nil)},
		memoryStore(t, []string{sealed(t, "bbbbbbbbbbbbbbbb", 1, 1)}),
	}
	defer closeAll(stores)
	stop := errors.New("stop")
	for n := range 3 {
		seen := 0
		sources, err := Read(context.Background(), stores[:n+1], papyra.Query{}, func(*papyra.Record) error {
			seen++
			return stop
		})
		if !errors.Is(err, stop) || seen != 1 {
			t.Errorf("%d stores: error %v after %d records, want the reader's own after 1", n+1, err, seen)
		}
		for i, s := range sources {
			if failed := s.Err != nil; failed != (i == 1) {
				t.Errorf("%d stores: error of store %d is %v", n+1, i, s.Err)
			}
		}
	}
	seen := 0
	if _, err := Read(context.Background(), stores, papyra.Query{}, func(*papyra.Record) error { seen++; return nil }); err != nil || seen != 3 {
		t.Errorf("with one failing store: %d records, %v, want the 3 of the others", seen, err)
	}
}

// failing is a store that cannot be read.
type failing struct{ papyra.Store }

func (failing) Read(context.Context, papyra.Query, func(*papyra.Record, papyra.Place) error) (int64, error) {
	return 0, fmt.Errorf("read: %w", papyra.ErrUnavailable)
}

func BenchmarkMerge(b *testing.B) {
	const each = 1000
	var stores []papyra.Store
	for s := range 3 {
		lines := make([]string, each)
		for i := range lines {
			lines[i] = sealed(b, fmt.Sprintf("%016d", s), uint64(i+1), int64(1000+i))
		}
		stores = append(stores, memoryStore(b, lines))
	}
	defer closeAll(stores)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(context.Background(), stores, papyra.Query{}, func(*papyra.Record) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*3*each/b.Elapsed().Seconds(), "records/s")
}
