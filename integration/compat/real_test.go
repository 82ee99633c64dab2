package compat

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// realStore opens a store that a real actor system wrote, in a directory of the test.
func realStore(t *testing.T, name string) sink.Backend {
	t.Helper()
	dir := t.TempDir()
	from := filepath.Join("testdata", "real", name)
	if name == "rotating" {
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return openStore(t, "rotating:"+filepath.Join(dir, "records.ndjson"))
	}
	data := content(t, from)
	if filepath.Ext(name) == ".gz" {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "records.ndjson")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return store(t, path)
}

var realWritten = time.Unix(1_795_820_000, 0) // soon after the stores were written

func TestStoresOfARealActorSystem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name               string
		records, undated   int64
		damaged            map[papyra.Class]int64
		letters, addressed int // dead letters, and those whose actor is known
		actor              string
	}{
		{"default-clock.ndjson", 47, 47, nil, 18, 18, "pysys:4"},
		{"unix-clock.ndjson", 54, 0, map[papyra.Class]int64{papyra.ClassCorrupted: 4}, 20, 19, "pysys:4"},
		{"rotating", 54, 0, nil, 20, 19, "größe 東京:4"},
		{"backlog.ndjson.gz", 6, 0, nil, 3, 3, "pysys:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := realStore(t, c.name)
			for _, full := range []bool{false, true} {
				r, err := b.Scan(t.Context(), papyra.ScanOptions{Full: full, Now: realWritten})
				if err != nil {
					t.Fatal(err)
				}
				if r.Records != c.records || r.NoticeCounts[papyra.NoticeClockSkew] != c.undated || r.Incomplete || fmt.Sprint(r.AnomalyCounts) != fmt.Sprint(c.damaged) {
					t.Errorf("full %v: %d records, notices %v, anomalies %v; want %d, %d without a date, %v", full, r.Records, r.NoticeCounts, r.AnomalyCounts, c.records, c.undated, c.damaged)
				}
			}
			letters := all(t, b, papyra.Query{Kinds: []papyra.Kind{papyra.KindDeadLetter}})
			addressed := 0
			for i := range letters {
				if _, ok := letters[i].Address(); ok {
					addressed++
				}
			}
			if len(letters) != c.letters || addressed != c.addressed {
				t.Errorf("%d dead letters, %d with an actor; want %d and %d", len(letters), addressed, c.letters, c.addressed)
			}
			if got := all(t, b, papyra.Query{Kinds: []papyra.Kind{papyra.KindDeadLetter}, Actors: []string{c.actor}}); len(got) == 0 {
				t.Errorf("no dead letter to %s is found", c.actor)
			}
			report, err := b.Compact(t.Context(), papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Age: 30 * 24 * time.Hour}}, At: realWritten})
			if err != nil || report.RecordsAfter != c.records || report.KeptUndated != c.undated {
				t.Errorf("compact --keep-age 30d: %+v, %v; want all %d records kept, %d because they have no date", report, err, c.records, c.undated)
			}
			if got := all(t, b, papyra.Query{Since: realWritten.Add(-24 * time.Hour)}); int64(len(got)) != c.records {
				t.Errorf("--since 1d shows %d records, want %d", len(got), c.records)
			}
			if r, err := b.Recover(t.Context(), papyra.RecoverOptions{Now: realWritten}); err != nil || !r.After.Clean() {
				t.Errorf("recover: %+v, %v", r, err)
			}
		})
	}
}
