package sink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

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
			appendTo(t, strings.SplitN(url, ":", 2)[1], string(newRun(t, "orders", runA).Events(500))+"torn")
		}
	}
	if ids["file"] == ids["another"] || ids["file"] == ids["rotating"] {
		t.Errorf("different stores have one id: %v", ids)
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
