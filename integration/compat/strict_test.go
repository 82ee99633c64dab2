package compat

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// What the page about the Python implementation says of its strict start: these are
// no damage here, and it refuses them. What our recovery can make right, it does.
func TestWhatPythonsStrictStartRefuses(t *testing.T) {
	line := sealedLine(t, 1)
	for _, c := range []struct {
		name    string
		data    []byte
		before  []string // what the Python side finds
		after   []string // after a recovery of ours
		records int64
	}{
		{"a blank line", bytes.Join([][]byte{line, line}, []byte("\n")), []string{"CORRUPTED_LINE"}, []string{"CORRUPTED_LINE"}, 2},
		{"a lone CR", append(bytes.Clone(line), bytes.Replace(facts0, []byte(`, "event_type"`), []byte(",\r\"event_type\""), 1)...), []string{"CORRUPTED_LINE", "CORRUPTED_LINE"}, []string{"CORRUPTED_LINE", "CORRUPTED_LINE"}, 2},
		{"CRs before newlines", bytes.ReplaceAll(append(bytes.Clone(facts0), facts0...), []byte("\n"), []byte("\r\n")), nil, nil, 2},
		{"no newline at the end", bytes.TrimSuffix(append(bytes.Clone(line), line...), []byte("\n")), []string{"TRUNCATED_LINE"}, nil, 2},
	} {
		path := filepath.Join(t.TempDir(), "records.ndjson")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		b := store(t, path)
		if r := scan(t, b); !r.Clean() || r.Records != c.records {
			t.Errorf("%s: %d records, %v; want %d, none", c.name, r.Records, r.AnomalyCounts, c.records)
		}
		found := func() (types []string) {
			for _, a := range peer[[]object](t, nil, "scan", path) {
				types = append(types, a["type"].(string))
			}
			return types
		}
		if got := found(); fmt.Sprint(got) != fmt.Sprint(c.before) {
			t.Errorf("%s: the Python side finds %v, want %v", c.name, got, c.before)
		}
		if r, err := b.Recover(t.Context(), papyra.RecoverOptions{Now: time.Now()}); err != nil || r.Moved != 0 {
			t.Errorf("%s: recover: %+v, %v", c.name, r, err)
		}
		if got := found(); fmt.Sprint(got) != fmt.Sprint(c.after) {
			t.Errorf("%s: after a recovery of ours the Python side finds %v, want %v", c.name, got, c.after)
		}
	}
}

var facts0 = []byte(`{"kind": "event", "system_id": "orders", "actor_address": "orders:till", "event_type": "X", "payload": {}, "timestamp": 1700000001.5}` + "\n")
