package backendtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

func appendOrder(t *testing.T, m Medium) {
	b := open(t, m)
	src, other := testrecord.New(1), testrecord.New(2)
	want := map[papyra.Stream][]string{}
	var lines [][]byte
	add := func(line []byte) {
		rec, err := papyra.Parse(line)
		if err != nil {
			t.Fatalf("parse %s: %v", line, err)
		}
		lines = append(lines, line)
		want[rec.Stream()] = append(want[rec.Stream()], string(line))
	}
	for i := range 300 {
		kind := papyra.Kinds()[i%4]
		add(src.Line("orders", kind, "tab \t, quote \" and \u2028"))
		add(other.Line("sh/op:é", kind, "x"))
	}
	// From a stranger: no seal, spaces, members that we do not know or that differ
	// from ours in case, exponents.
	add([]byte(` {"kind": "event", "Kind": "audit", "system_id": "orders", "extra": [1e400, 0.1000000000000000055511151231257827], "actor_address": "orders:w", "event_type": "Odd", "payload": null, "timestamp": 17e8}` + "\r"))
	// Longer than the buffers of the standard library.
	add(unsealedEvent("Long", "orders:w", strings.Repeat("x", 300_000), testrecord.Start))
	a := appender(t, b)
	for chunk := range slices.Chunk(lines, 77) {
		appendAll(t, a, testrecord.Batch(chunk...))
	}
	if err := a.Sync(context.Background()); err != nil {
		t.Fatalf("sync: %v", err)
	}
	if diff := cmp.Diff(want, read(t, b, papyra.Query{})); diff != "" {
		t.Errorf("while the appender is open (-want +got):\n%s", diff)
	}
	if err := a.Close(); err != nil {
		t.Fatalf("close appender: %v", err)
	}
	if diff := cmp.Diff(want, read(t, b, papyra.Query{})); diff != "" {
		t.Errorf("after it was closed (-want +got):\n%s", diff)
	}
}

func appendNothing(t *testing.T, m Medium) {
	b := open(t, m)
	store(t, b, &papyra.Batch{})
	if got := read(t, b, papyra.Query{}); len(got) != 0 {
		t.Errorf("an empty store holds %v", got)
	}
	if r := scanStore(t, b, papyra.ScanOptions{}); !r.Clean() || r.Lines != 0 {
		t.Errorf("scan of an empty store: %+v", r)
	}
}

func batchReused(t *testing.T, m Medium) {
	b := open(t, m)
	src := testrecord.New(1)
	a := appender(t, b)
	defer closeAppender(t, a)
	var (
		batch papyra.Batch
		want  []string
	)
	for range 5 {
		batch.Reset()
		for _, line := range src.Events(3) {
			batch.Append(batch.StreamIndex(papyra.Stream{System: "orders", Kind: papyra.KindEvent}), line)
			want = append(want, string(line))
		}
		appendAll(t, a, &batch)
	}
	if diff := cmp.Diff(want, list(t, b, papyra.Query{})); diff != "" {
		t.Errorf("a store may not keep a batch's memory (-want +got):\n%s", diff)
	}
}

func reopened(t *testing.T, m Medium) {
	src := testrecord.New(1)
	var want []string
	for range 3 {
		b := m.Open(t)
		lines := src.Events(5)
		store(t, b, testrecord.Batch(lines...))
		want = append(want, text(lines)...)
		if diff := cmp.Diff(want, list(t, b, papyra.Query{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := b.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
}

func busy(t *testing.T, m Medium) {
	ctx := context.Background()
	b, other := open(t, m), open(t, m)
	a := appender(t, b)
	refused := map[string]func() error{
		"of the same backend": func() error { _, err := b.Appender(ctx); return err },
		"of another backend":  func() error { _, err := other.Appender(ctx); return err },
	}
	if m.Shared {
		delete(refused, "of another backend")
		together(t, b, a, other)
	}
	for name, second := range refused {
		if err := second(); !errors.Is(err, papyra.ErrBusy) {
			t.Errorf("a second appender %s: got %v, want papyra.ErrBusy", name, err)
		}
	}
	appendAll(t, a, testrecord.Batch(testrecord.New(1).Events(1)...))
	if err := a.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	second := appender(t, other)
	appendAll(t, second, testrecord.Batch(testrecord.New(2).Events(1)...))
	if err := second.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// together appends through an open appender and through another backend's, in
// turns.
func together(t *testing.T, b papyra.Store, a papyra.Appender, other papyra.Store) {
	t.Helper()
	second := appender(t, other)
	one, two := testrecord.New(3), testrecord.New(4)
	var want []string
	for range 20 {
		lines, more := one.Events(3), two.Events(2)
		appendAll(t, a, testrecord.Batch(lines...))
		appendAll(t, second, testrecord.Batch(more...))
		want = append(append(want, text(lines)...), text(more)...)
	}
	if err := second.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if diff := cmp.Diff(want, list(t, b, papyra.Query{})); diff != "" {
		t.Errorf("two appenders in turns (-want +got):\n%s", diff)
	}
}

func closed(t *testing.T, m Medium) {
	ctx := context.Background()
	b := m.Open(t)
	a := appender(t, b)
	batch := testrecord.Batch(testrecord.New(1).Events(2)...)
	appendAll(t, a, batch)
	if err := b.Close(); err != nil {
		t.Fatalf("close with an open appender: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("close of an appender whose backend is closed: %v", err)
	}
	for name, call := range map[string]func() error{
		"Append": func() error {
			n, err := a.Append(ctx, batch)
			if n != 0 {
				t.Errorf("append after close stored %d", n)
			}
			return err
		},
		"Sync":     func() error { return a.Sync(ctx) },
		"Appender": func() error { _, err := b.Appender(ctx); return err },
		"Scan":     func() error { _, err := b.Scan(ctx, papyra.ScanOptions{}); return err },
		"Recover":  func() error { _, err := b.Recover(ctx, papyra.RecoverOptions{}); return err },
		"Compact": func() error {
			_, err := b.Compact(ctx, papyra.CompactOptions{Retention: keep(1), At: testrecord.Start})
			return err
		},
		"Read": func() error {
			_, err := b.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error { return nil })
			return err
		},
	} {
		if err := call(); !errors.Is(err, papyra.ErrClosed) {
			t.Errorf("%s after close: got %v, want papyra.ErrClosed", name, err)
		}
	}
	if got := list(t, open(t, m), papyra.Query{}); len(got) != batch.Len() {
		t.Errorf("after close %d records are stored, want %d", len(got), batch.Len())
	}
}

func cancelled(t *testing.T, m Medium) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := open(t, m)
	lines := testrecord.New(1).Events(20)
	store(t, b, testrecord.Batch(lines[:10]...))
	m.Plant(t, []byte("junk"))
	a := appender(t, b)
	defer closeAppender(t, a)
	for name, call := range map[string]func() error{
		"Append": func() error {
			n, err := a.Append(ctx, testrecord.Batch(lines[10:]...))
			if n != 0 {
				t.Errorf("a cancelled append stored %d", n)
			}
			return err
		},
		"Scan":    func() error { _, err := b.Scan(ctx, papyra.ScanOptions{}); return err },
		"Recover": func() error { _, err := b.Recover(ctx, papyra.RecoverOptions{}); return err },
		"Compact": func() error {
			_, err := b.Compact(ctx, papyra.CompactOptions{Retention: keep(1), At: testrecord.Start})
			return err
		},
		"Read": func() error {
			_, err := b.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error { return nil })
			return err
		},
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: got %v, want context.Canceled", name, err)
		}
	}
	if diff := cmp.Diff(text(lines[:10]), list(t, b, papyra.Query{})); diff != "" {
		t.Errorf("something changed (-want +got):\n%s", diff)
	}
	if r := scanStore(t, b, papyra.ScanOptions{}); len(r.Anomalies) != 1 || r.Lines != 11 {
		t.Errorf("something changed: %+v", r)
	}
	appendAll(t, a, testrecord.Batch(lines[10:]...))
	if diff := cmp.Diff(text(lines), list(t, b, papyra.Query{})); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}

// keep is a retention of the newest n records of each stream.
func keep(n int64) papyra.Retention {
	return papyra.Retention{General: papyra.Limits{Records: n}}
}

func keepAge(d time.Duration) papyra.Retention {
	return papyra.Retention{General: papyra.Limits{Age: d}}
}
