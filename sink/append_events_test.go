package sink_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// logged adds up an attribute of the log lines with a message.
func logged(t *testing.T, log, message, attribute string) (sum int64, lines int) {
	t.Helper()
	for l := range strings.Lines(log) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(l), &fields); err != nil {
			t.Fatalf("log line %q: %v", l, err)
		}
		if text, _ := fields["msg"].(string); strings.Contains(text, message) {
			n, _ := fields[attribute].(float64)
			sum += int64(n)
			lines++
		}
	}
	return sum, lines
}

// What a rotation drops is in the sink's numbers and, added up, in its log.
func TestRotationIsCountedAndLogged(t *testing.T) {
	var log syncBuffer
	b := startBroker(t)
	store := openStore(t, "rotating:"+filepath.Join(t.TempDir(), "records.ndjson")+"?max_bytes=20kB&max_files=2")
	w := runSink(t, sink.Config{URL: b.URL(), SyncEvery: time.Millisecond, Logger: slog.New(slog.NewJSONHandler(&log, nil))}, store)
	nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
	for range 20 {
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Events(50))
	}
	eventually(t, "a running sink tells of rotations", func() bool { return w.Stats().Files.DroppedRecords > 100 })
	eventually(t, "all is stored", func() bool { return w.Stats().Stored == 1000 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	files := w.Stats().Files
	if files.Rotations < 2 || files.DroppedFiles < 1 || files.DroppedBytes < 100*files.DroppedRecords {
		t.Errorf("got %+v, want rotations, dropped files and their bytes", files)
	}
	for attribute, want := range map[string]int64{
		"rotations": files.Rotations, "dropped_files": files.DroppedFiles,
		"dropped_records": files.DroppedRecords, "dropped_bytes": files.DroppedBytes,
	} {
		got, lines := logged(t, log.String(), "rotated the store's files", attribute)
		if got != want || lines < 1 || int64(lines) >= files.Rotations {
			t.Errorf("%s: %d in %d log lines, want %d in fewer than %d", attribute, got, lines, want, files.Rotations)
		}
	}
	balance(t, w.Stats())
}

func TestFileDeletedFromOutsideIsLogged(t *testing.T) {
	var log syncBuffer
	b, path := startBroker(t), filepath.Join(t.TempDir(), "records.ndjson")
	if err := os.WriteFile(path, []byte(`{"torn":`), 0o600); err != nil {
		t.Fatal(err)
	}
	w := runSink(t, sink.Config{URL: b.URL(), SyncEvery: time.Millisecond, Logger: slog.New(slog.NewJSONHandler(&log, nil))}, openStore(t, "json:"+path))
	eventually(t, "the sink tells that it healed the end", func() bool { return w.Stats().Files.Healed == 1 })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	publish(t, dial(t, b.URL()), papyra.RecordsSubject("orders", papyra.KindEvent), newRun(t, "orders", runA).Event())
	eventually(t, "the sink tells that it made the file anew", func() bool { return w.Stats().Files.Reopened == 1 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"ended without a newline", "renamed or deleted from outside"} {
		if n, lines := logged(t, log.String(), message, "times"); n != 1 || lines != 1 {
			t.Errorf("%q: %d times in %d lines, want once:\n%s", message, n, lines, log.String())
		}
	}
}

// Each trouble has its own words; one that comes all the time is not logged all
// the time, and none is left out.
func TestLogOfFilesIsRateLimitedAndComplete(t *testing.T) {
	var looks int64
	store := &countingStore{count: func() papyra.AppendStats {
		looks++
		return papyra.AppendStats{
			Healed: looks, CutBack: 2 * looks, Torn: 3 * looks, Reopened: 4 * looks, Truncated: 5 * looks,
			SyncFailures: 6 * looks, LockRetaken: 7 * looks, Rotations: 8 * looks, DroppedFiles: looks,
		}
	}}
	var log syncBuffer
	began := time.Now()
	w := runSink(t, sink.Config{
		URL: startBroker(t).URL(), SyncEvery: time.Millisecond, Logger: slog.New(slog.NewJSONHandler(&log, nil)),
	}, store)
	eventually(t, "many looks", func() bool { return w.Stats().Files.Healed > 100 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	most := int(time.Since(began)/time.Second) + 3 // the first, one a second, the end
	last := w.Stats().Files
	for message, want := range map[string]int64{
		"ended without a newline": last.Healed, "were cut off again": last.CutBack, "could not be cut off": last.Torn,
		"renamed or deleted": last.Reopened, "made shorter": last.Truncated, "could not be synced": last.SyncFailures,
		"lock file was removed": last.LockRetaken,
	} {
		if got, lines := logged(t, log.String(), message, "times"); got != want || lines < 1 || lines > most {
			t.Errorf("%q: %d times in %d lines, want %d in at most %d", message, got, lines, want, most)
		}
	}
	if got, lines := logged(t, log.String(), "rotated", "rotations"); got != last.Rotations || lines > most {
		t.Errorf("%d rotations in %d lines, want %d", got, lines, last.Rotations)
	}
}
