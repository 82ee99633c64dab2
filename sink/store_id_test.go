package sink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
)

// askedStore is a store that answers what a sink asks at its start.
type askedStore struct {
	fakeStore
	warnings []string
	warnErr  error
	asked    []papyra.Retention
	read     func(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) error
}

func (s *askedStore) Warnings(_ context.Context, r papyra.Retention) ([]string, error) {
	s.asked = append(s.asked, r)
	return s.warnings, s.warnErr
}

func (s *askedStore) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (int64, error) {
	if s.read == nil {
		return 0, papyra.ErrNotFound
	}
	return 0, s.read(ctx, q, yield)
}

func TestWarningsOfTheStoreAreLoggedOnce(t *testing.T) {
	for _, tt := range []struct {
		name  string
		store *askedStore
		want  []string
	}{
		{"none", &askedStore{}, nil},
		{"two", &askedStore{warnings: []string{"it may evict", "it persists nothing"}}, []string{"it may evict", "it persists nothing"}},
		{"incomplete", &askedStore{warnings: []string{"it may evict"}, warnErr: errors.New("no answer")}, []string{"it may evict", "no answer"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log syncBuffer
			keep := papyra.Retention{General: papyra.Limits{Records: 7}}
			w := runSink(t, sink.Config{
				URL: startBroker(t).URL(), Retention: keep, SyncEvery: time.Millisecond, ReportEvery: time.Millisecond,
				Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
			}, tt.store)
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			if n := len(tt.store.asked); n != 1 || tt.store.asked[0].General.Records != 7 {
				t.Errorf("asked with %+v, want once with %+v", tt.store.asked, keep)
			}
			lines := strings.Count(log.String(), "\n")
			if lines != len(tt.want) {
				t.Errorf("%d log lines, want %d:\n%s", lines, len(tt.want), log.String())
			}
			for _, text := range tt.want {
				if n := strings.Count(log.String(), text); n != 1 {
					t.Errorf("%q is logged %d times:\n%s", text, n, log.String())
				}
			}
		})
	}
}

// reportsIn returns the SinkReports of a store, the oldest first.
func reportsIn(t *testing.T, b sink.Backend) (list []papyra.SinkReport) {
	t.Helper()
	q := papyra.Query{Types: []string{papyra.ReportSink}}
	if _, err := b.Read(t.Context(), q, func(rec *papyra.Record, _ papyra.Place) error {
		var r papyra.SinkReport
		list = append(list, r)
		return json.Unmarshal(rec.Payload, &list[len(list)-1])
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func openStore(t *testing.T, url string) sink.Backend {
	t.Helper()
	b, err := backend.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// The id is made with the store and outlives the sinks, also where others have
// written behind their last report.
func TestStoreKeepsItsID(t *testing.T) {
	b, dir := startBroker(t), t.TempDir()
	ids := map[string]string{}
	for name, url := range map[string]string{
		"file": "json:" + filepath.Join(dir, "a.ndjson"), "another": "json:" + filepath.Join(dir, "b.ndjson"),
		"rotating": "rotating:" + filepath.Join(dir, "c.ndjson"),
	} {
		for start := range 3 {
			store := openStore(t, url)
			if err := runSink(t, sink.Config{URL: b.URL(), Instance: fmt.Sprintf("w%d", start)}, store).stop(); err != nil {
				t.Fatal(err)
			}
			list := reportsIn(t, store)
			if want := 2 * (start + 1); len(list) != want {
				t.Fatalf("%s: %d reports after start %d, want %d", name, len(list), start, want)
			}
			if start == 0 {
				ids[name] = list[0].Store
			}
			for _, r := range list {
				if len(r.Store) != 16 || r.Store != ids[name] {
					t.Errorf("%s: the %q report of %s says store %q, want %q", name, r.State, r.Instance, r.Store, ids[name])
				}
			}
			_ = store.Close()
			appendTo(t, strings.SplitN(url, ":", 2)[1], string(newRun(t, "orders", runA).events(500))+"torn")
		}
	}
	if ids["file"] == ids["another"] || ids["file"] == ids["rotating"] {
		t.Errorf("different stores have one id: %v", ids)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestStoreIDIsFoundOrMade(t *testing.T) {
	yields := func(store string, err error) func(context.Context, papyra.Query, func(*papyra.Record, papyra.Place) error) error {
		return func(_ context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) error {
			payload, merr := json.Marshal(papyra.SinkReport{Store: store})
			rec := papyra.Record{
				Kind: papyra.KindReport, System: []byte(papyra.SystemReserved), Type: []byte(papyra.ReportSink), Payload: payload,
			}
			if q.Limit != 1 || !q.Match(&rec) {
				return fmt.Errorf("the query %+v is not for the last report", q)
			}
			return errors.Join(merr, yield(&rec, papyra.Place{}), err)
		}
	}
	for _, tt := range []struct {
		name   string
		read   func(context.Context, papyra.Query, func(*papyra.Record, papyra.Place) error) error
		want   string // "": a new one
		logged bool
	}{
		{"no store", nil, "", false},
		{"an id", yields("k3f9x2ab7q04mzt1", nil), "k3f9x2ab7q04mzt1", false},
		{"an id beside what cannot be read", yields("k3f9x2ab7q04mzt1", papyra.ErrIncomplete), "k3f9x2ab7q04mzt1", false},
		{"a report without an id", yields("", nil), "", false},
		{"what is no id", yields("a\x1b[31m", nil), "", false},
		{"nothing can be read", func(context.Context, papyra.Query, func(*papyra.Record, papyra.Place) error) error {
			return errors.New("input/output error")
		}, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log syncBuffer
			store := &askedStore{read: tt.read}
			w := runSink(t, sink.Config{
				URL: startBroker(t).URL(), Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
			}, store)
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			_, own := store.stored()
			list := sinkReports(t, own)
			got := list[0].Store
			if tt.want != "" && got != tt.want || len(got) != 16 || papyra.CheckName("store", got) != nil {
				t.Errorf("got id %q, want %q", got, tt.want)
			}
			if slices.ContainsFunc(list, func(r papyra.SinkReport) bool { return r.Store != got }) {
				t.Errorf("the reports of one sink disagree: %+v", list)
			}
			if logged := strings.Contains(log.String(), "input/output error"); logged != tt.logged || !logged && log.String() != "" {
				t.Errorf("the log says %q", log.String())
			}
		})
	}
}

// A sink that is stopped while it looks for the id leaves the store as it was.
func TestStopWhileLookingForTheStoreID(t *testing.T) {
	looking := make(chan struct{})
	store := &askedStore{read: func(ctx context.Context, _ papyra.Query, _ func(*papyra.Record, papyra.Place) error) error {
		close(looking)
		<-ctx.Done()
		return ctx.Err()
	}}
	w := startSink(t, sink.Config{URL: startBroker(t).URL()}, store)
	<-looking
	if err := w.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run() = %v, want context.Canceled", err)
	}
	if _, own := store.stored(); len(own) > 0 || store.closes != 1 {
		t.Errorf("the store has %d reports and was closed %d times, want none and once", len(own), store.closes)
	}
}
