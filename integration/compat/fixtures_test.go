package compat

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/papyra/papyra"
)

// lines returns the lines of a fixture.
func lines(t testing.TB, name string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// expected is what one line of a fixture says.
type expected struct {
	kind    papyra.Kind
	system  string
	typ     string
	address string // "system:id", "" for none
	payload string // raw JSON
	micros  int64
	run     string
	seq     uint64
}

var fixtures = map[string][]expected{
	"json-layout.ndjson": {
		{papyra.KindEvent, "orders", "ActorStarted", "orders:42", `{}`, 1700000000123456, "", 0},
		{papyra.KindEvent, "orders", "ActorCrashed", "orders:-9007199254740993",
			`{"error": "ValueError(\"bad input\")", "args": [1, 2.5, null, true, {"deep": {"er": ["x", {}]}}]}`, 1700000000000000, "", 0},
		{papyra.KindEvent, "local", "ActorRestarted", "local:till/3",
			`{"attempt": 2, "reason": "", "ratio": 1e-07, "big": 123456789012345678901234567890}`, 1700000000123456, "", 0}, // the seventh digit is below our resolution
		{papyra.KindEvent, "größe 東京", "ActorStopped", "größe 東京:1",
			`{"reason": "señal 🛑", "tab": "a\tb\nc\\d\"e\u0000\u001f", "separators": "` + "\u2028\u2029\u0085" + `"}`, 1700000000000000, "", 0},
		{papyra.KindAudit, "orders", "", "", "", 1700000001500000, "", 0},
		{papyra.KindDeadLetter, "orders", "PaymentRequest", "", `{"amount": 3}`, 1700000002500000, "", 0},
		{papyra.KindDeadLetter, "orders", "str", "orders:7", `"late"`, 1700000003250000, "", 0},
		{papyra.KindDeadLetter, "orders", "NoneType", "orders:billing", `null`, 1700000000000000, "", 0},
		{papyra.KindDeadLetter, "orders", "list", "", `[1, "two", [3]]`, 0, "", 0},
		{papyra.KindEvent, "orders", "ActorStarted", "orders:1", `{}`, 1700000004000000, "", 0},
		{papyra.KindEvent, "orders", "ActorStopped", "orders:5", `{}`, 1700000005500000, "k3f9x2ab7q04mzt1", 17}, // once sealed, then rewritten
	},
	"rotating-layout.ndjson": {
		{papyra.KindEvent, "orders", "ActorStarted", "orders:42", `{}`, 1700000000123456, "", 0},
		{papyra.KindEvent, "größe", "ActorStopped", "größe:1", `{"reason": "se\u00f1al \ud83d\uded1"}`, 1700000000000000, "", 0},
		{papyra.KindAudit, "orders", "", "", "", 1700000001500000, "", 0},
		{papyra.KindDeadLetter, "orders", "PaymentRequest", "", `{"amount": 3}`, 1700000002500000, "", 0},
	},
}

func TestFixturesAreRecords(t *testing.T) {
	for name, want := range fixtures {
		t.Run(name, func(t *testing.T) {
			all := lines(t, name)
			if len(all) != len(want) {
				t.Fatalf("fixture has %d lines, the table %d", len(all), len(want))
			}
			for i, line := range all {
				rec, err := papyra.Parse(line)
				if err != nil {
					t.Errorf("line %d: %v\n%s", i+1, err, line)
					continue
				}
				check(t, i+1, &rec, want[i])
				if rec.Sealed != (want[i].run != "") {
					t.Errorf("line %d: sealed: %v", i+1, rec.Sealed)
				}
			}
		})
	}
}

// check compares a record with what its line says.
func check(t *testing.T, line int, rec *papyra.Record, want expected) {
	t.Helper()
	got := expected{rec.Kind, string(rec.System), string(rec.Type), "", string(rec.Payload), rec.Time, string(rec.Run), rec.Seq}
	if a, ok := rec.Address(); ok {
		got.address = a.String()
	}
	if got != want {
		t.Errorf("line %d\ngot:  %+v\nwant: %+v", line, got, want)
	}
}

// What the other side lets pass and we call damage. It is found, never removed
// without being asked, and never in the way of the lines around it.
func TestFixturesThatAreDamageHere(t *testing.T) {
	want := []papyra.Class{
		papyra.ClassMissingField,     // a partial fact
		papyra.ClassCorrupted,        // NaN is not JSON
		papyra.ClassCorrupted,        // nor is an infinity
		papyra.ClassInvalidUTF8,      // half of a surrogate pair
		papyra.ClassBadTimestamp,     // a timestamp in quotes
		papyra.ClassDuplicateKey,     // two systems
		papyra.ClassChecksumMismatch, // part of a seal
		papyra.ClassCorrupted,        // an array
		papyra.ClassCorrupted,        // a string
		papyra.ClassCorrupted,        // words
	}
	all := lines(t, "tolerated.ndjson")
	if len(all) != len(want) {
		t.Fatalf("fixture has %d lines, the table %d", len(all), len(want))
	}
	for i, line := range all {
		_, err := papyra.Parse(line)
		var bad *papyra.LineError
		if !errors.As(err, &bad) {
			t.Errorf("line %d: got %v, want a LineError: %s", i+1, err, line)
		} else if bad.Class != want[i] {
			t.Errorf("line %d: got class %s, want %s: %s", i+1, bad.Class, want[i], line)
		}
	}
}
