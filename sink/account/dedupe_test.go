package account_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/backend"
)

// When the duplicates of a store are removed, its account loses the duplicates
// and nothing else, and a record that gets lost afterwards is missing.
func TestDuplicatesRemoved(t *testing.T) {
	w := newWorld(t, 1)
	p := named("orders", "run")
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "started"})
	w.events(0, p, 1, 30)
	w.events(0, p, 33, 40)
	w.events(0, p, 10, 36) // again, without 31 and 32
	w.put(0, p, papyra.KindEvent, 40, epoch, "another")
	w.published(0, p, 1, now.Add(-20*60e9), false, papyra.PublisherCategory{Accepted: 45, Confirmed: 45})
	lines := w.stores[0][:0:0]
	for _, line := range w.stores[0] {
		if !strings.Contains(string(line), `"seq":31,`) && !strings.Contains(string(line), `"seq":32,`) {
			lines = append(lines, line)
		}
	}
	dir := t.TempDir()
	for _, url := range []string{"memory:", "json:" + filepath.Join(dir, "a.ndjson"), "rotating:" + filepath.Join(dir, "b.ndjson") + "?max_bytes=3kB&max_files=9"} {
		t.Run(strings.Split(url, ":")[0], func(t *testing.T) {
			s, err := backend.Open(url)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			fill(t, s, lines)
			read := func() (*account.Result, account.Category) {
				r, err := account.Read(t.Context(), account.Options{At: now}, nil, s)
				if err != nil {
					t.Fatal(err)
				}
				balanced(t, r)
				_, c := category(t, r, p, papyra.KindEvent)
				return r, c
			}
			before, c := read()
			if c.Duplicates != 25 || c.Conflicts != 1 || c.Stored != 38 || c.Missing != 7 {
				t.Fatalf("before: %+v, want 38 stored, 7 missing, 25 duplicates, 1 conflict", c)
			}
			report, err := s.Compact(t.Context(), papyra.CompactOptions{Dedupe: true, At: now})
			if err != nil || report.RecordsBefore-report.RecordsAfter != 25 {
				t.Fatalf("compact: %+v, %v", report, err)
			}
			after, got := read()
			c.Duplicates = 0
			if diff := cmp.Diff(c, got); diff != "" {
				t.Errorf("the category (-before +after):\n%s", diff)
			}
			if before.Verdict != after.Verdict || before.Total.Missing != after.Total.Missing || after.Total.RemovedTotal() != 0 {
				t.Errorf("verdict %s and %+v, then %s and %+v", before.Verdict, before.Total, after.Verdict, after.Total)
			}
		})
	}
}
