package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// python returns the interpreter of the other side. What is found on the path may
// be a script that looks for it, each time.
func python(t testing.TB) string {
	t.Helper()
	path, err := interpreter()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("python3 is missing: install it, the other side of these tests is written in Python")
		}
		t.Skip("python3 is missing: the other side of this test is written in Python")
	}
	return path
}

var interpreter = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	return strings.TrimSpace(string(out)), err
})

// peer runs a command of the Python side on a place and decodes its answer.
func peer[T any](t testing.TB, input any, verb, place string, args ...string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python(t), append([]string{"-S", filepath.Join("testdata", "peer.py"), verb, place}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONUTF8=1", "PYTHONDONTWRITEBYTECODE=1")
	if input != nil {
		text, err := json.Marshal(input)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = bytes.NewReader(text)
	}
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("peer %s %s: %v\n%s", verb, place, err, problems.String())
	}
	var answer T
	decoder := json.NewDecoder(bytes.NewReader(out))
	decoder.UseNumber()
	if err := decoder.Decode(&answer); err != nil {
		t.Fatalf("peer %s %s: answer %q: %v", verb, place, out, err)
	}
	return answer
}

// object is a fact as the Python side shows it, or as it takes one.
type object = map[string]any

// store opens a file of ours.
func store(t testing.TB, path string) sink.Backend {
	t.Helper()
	return openStore(t, "json:"+backend.EscapePath(path))
}

// openStore opens a store of ours that is closed with the test.
func openStore(t testing.TB, url string) sink.Backend {
	t.Helper()
	b, err := backend.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close %s: %v", url, err)
		}
	})
	return b
}

// add appends lines, each with its newline, to a file of ours.
func add(t testing.TB, b sink.Backend, lines []byte) {
	t.Helper()
	a, err := b.Appender(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var batch papyra.Batch
	for line := range bytes.Lines(lines) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		rec, err := papyra.Parse(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		batch.Append(batch.StreamIndex(rec.Stream()), line)
	}
	if n, err := a.Append(t.Context(), &batch); err != nil || n != batch.Len() {
		t.Fatalf("append: %d of %d stored: %v", n, batch.Len(), err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// all returns every record of a file of ours, with lines of their own.
func all(t testing.TB, b sink.Backend, q papyra.Query) []papyra.Record {
	t.Helper()
	var out []papyra.Record
	if _, err := b.Read(t.Context(), q, func(rec *papyra.Record, _ papyra.Place) error {
		again, err := papyra.Parse(bytes.Clone(rec.Line))
		out = append(out, again)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// scan returns a full scan.
func scan(t testing.TB, b sink.Backend) *papyra.ScanReport {
	t.Helper()
	report, err := b.Scan(t.Context(), papyra.ScanOptions{Full: true, Now: time.Unix(1_700_000_100, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func content(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// written returns sealed lines of every kind, and what the Python side must make
// of them: the objects of encoding/json.
func written(t testing.TB) (lines []byte, want map[string][]object) {
	t.Helper()
	id, err := papyra.NewIdentityRun("eu-1", "k3f9x2ab7q04mzt1")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_700_000_000, 123_456_000)
	var e papyra.Encoder
	seq := map[papyra.Kind]uint64{}
	keep := func(kind papyra.Kind, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		seq[kind]++
		lines = e.AppendLine(lines, seq[kind])
	}
	type nested struct {
		A []any          `json:"a"`
		M map[string]any `json:"m"`
	}
	payloads := []any{
		nil, true, "late", 3.25, []any{1, "two", nil}, object{},
		nested{A: []any{1, 2.5, "x"}, M: object{"größe": "東京 🛑", "": nil}},
		"quotes \" and \\, tab \t, newline \n, CR \r, NUL \x00, del \x7f, \u0085\u2028\u2029, <&>",
		"invalid \xff\xc3 bytes",
		math.Inf(1), math.NaN(), math.MaxInt64, uint64(math.MaxUint64), 1e-7, 1e22,
	}
	for _, p := range payloads {
		keep(papyra.KindEvent, e.Event(id, "orders", &papyra.Event{
			Actor: papyra.Address{ID: 42}, Type: papyra.ActorCrashed, Payload: p, Time: at}, nil, at))
		keep(papyra.KindDeadLetter, e.DeadLetter(id, "größe 東京", &papyra.DeadLetter{
			Target: papyra.Address{Name: "till/3"}, MessageType: "*shop.Charge", Payload: p, Time: at}, nil, at))
		at = at.Add(1500 * time.Microsecond)
	}
	keep(papyra.KindEvent, e.Event(id, "orders", &papyra.Event{Actor: papyra.Address{System: "other", ID: math.MinInt64}, Type: "Custom"},
		[]slog.Attr{slog.String("error", "x"), slog.Duration("took", time.Second), slog.Group("where", slog.Int("line", 3))}, at))
	keep(papyra.KindDeadLetter, e.DeadLetter(id, "orders", &papyra.DeadLetter{MessageType: "string"}, nil, at))
	keep(papyra.KindAudit, e.Audit(id, "orders", &papyra.Audit{TotalActors: 10, AliveActors: 9, StoppingActors: 1, RegistrySize: 3,
		RegistryOrphans: []string{"a", "büro"}, DeadLetters: 2}, at))
	keep(papyra.KindReport, e.Report(id, "orders", &papyra.Report{Name: papyra.ReportPublisher, Payload: papyra.PublisherReport{Final: true}}, at))

	return lines, decoded(t, lines)
}

// decoded returns what the Python side must make of lines, by category: the
// objects of encoding/json.
func decoded(t testing.TB, lines []byte) map[string][]object {
	t.Helper()
	want := map[string][]object{}
	fields := map[string][]string{
		"events":       {"system_id", "actor_address", "event_type", "payload", "timestamp"},
		"dead_letters": {"system_id", "target", "message_type", "payload", "timestamp"},
		"audits": {"system_id", "timestamp", "total_actors", "alive_actors", "stopping_actors", "restarting_actors",
			"registry_size", "registry_orphans", "registry_dead", "dead_letters_count"},
	}
	for line := range bytes.Lines(lines) {
		var o object
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.UseNumber()
		if err := decoder.Decode(&o); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		category := papyra.ParseKind(o["kind"].(string)).Category()
		fact := object{}
		for _, name := range fields[category] {
			fact[name] = o[name]
		}
		if category != "reports" { // the Python readers skip them
			want[category] = append(want[category], fact)
		}
	}
	return want
}

// same compares two JSON values; numbers are the same if they are as float64, or
// digit by digit if they are integers.
func same(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		if a == b {
			return true
		}
		if !strings.ContainsAny(a.String()+b.String(), ".eE") {
			return false
		}
		x, errX := a.Float64()
		y, errY := b.Float64()
		return errX == nil && errY == nil && x == y
	case object:
		b, ok := b.(object)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if w, ok := b[k]; !ok || !same(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !same(a[i], b[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b)
}

// sameFacts compares what the Python side read with what was written.
func sameFacts(t testing.TB, category string, got, want []object) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: the Python side reads %d, want %d", category, len(got), len(want))
	}
	for i := range want {
		if !same(got[i], want[i]) {
			t.Errorf("%s %d as the Python side reads it\ngot:  %v\nwant: %v", category, i, got[i], want[i])
		}
	}
}

func TestPythonReadsWhatPapyraWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.ndjson")
	lines, want := written(t)
	b := store(t, path)
	add(t, b, lines)
	if got := content(t, path); !bytes.Equal(got, lines) {
		t.Fatalf("the file is not the lines, byte for byte:\n%s", got)
	}
	for _, category := range []string{"events", "audits", "dead_letters"} {
		sameFacts(t, category, peer[[]object](t, nil, "list", path, category), want[category])
	}
	if anomalies := peer[[]object](t, nil, "scan", path); len(anomalies) != 0 {
		t.Errorf("the Python side finds %v in a file of ours", anomalies)
	}
	// Whatever else lies in the directory must not look like a part of the set
	// to the Python side, which takes every name that begins with NAME.
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "records.ndjson" && strings.HasPrefix(e.Name(), "records.ndjson") {
			t.Errorf("the Python side would take %s for an orphan", e.Name())
		}
	}
}

// facts are what the Python side is asked to write, and what they are here.
var (
	facts = []object{
		{"kind": "event", "system_id": "orders", "actor_address": object{"system": "orders", "actor_id": 42},
			"event_type": "ActorStarted", "payload": object{}, "timestamp": 1700000000.123456},
		{"kind": "event", "system_id": "orders", "actor_address": "orders:till", "event_type": "ActorCrashed",
			"payload": object{"error": "Größe 🛑\u2028", "deep": []any{object{"x": []any{1, nil}}}}, "timestamp": 1700000001},
		{"kind": "audit", "system_id": "orders", "timestamp": 1700000002.5, "total_actors": 2, "alive_actors": 1, "stopping_actors": 0,
			"restarting_actors": 1, "registry_size": 1, "registry_orphans": []string{"büro"}, "registry_dead": []string{}, "dead_letters_count": 3},
		{"kind": "dead_letter", "system_id": "東京", "target": nil, "message_type": "Payment", "payload": object{"amount": 3}, "timestamp": 1700000003.25},
		{"kind": "dead_letter", "system_id": "orders", "target": object{"system": "orders", "actor_id": 7},
			"message_type": "str", "payload": "late", "timestamp": 1700000004.0},
	}
	factsHere = []expected{
		{papyra.KindEvent, "orders", "ActorStarted", "orders:42", "", 1700000000123456, "", 0},
		{papyra.KindEvent, "orders", "ActorCrashed", "orders:till", "", 1700000001000000, "", 0},
		{papyra.KindAudit, "orders", "", "", "", 1700000002500000, "", 0},
		{papyra.KindDeadLetter, "東京", "Payment", "", "", 1700000003250000, "", 0},
		{papyra.KindDeadLetter, "orders", "str", "orders:7", "", 1700000004000000, "", 0},
	}
)

func TestPapyraReadsWhatPythonWrites(t *testing.T) {
	for _, layout := range []string{"json", "rotating"} {
		t.Run(layout, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "records.ndjson")
			peer[int](t, facts, "append", path, "--layout", layout)
			before := content(t, path)
			b := store(t, path)

			report := scan(t, b)
			if !report.Clean() || report.Records != int64(len(facts)) || report.NoticeCounts[papyra.NoticeUnsealed] != int64(len(facts)) {
				t.Errorf("scan: %+v, want %d clean unsealed records", report, len(facts))
			}
			got := all(t, b, papyra.Query{})
			if len(got) != len(factsHere) {
				t.Fatalf("read %d records, want %d", len(got), len(factsHere))
			}
			for i := range got {
				var payload, want any
				if got[i].Kind != papyra.KindAudit {
					if err := json.Unmarshal(got[i].Payload, &payload); err != nil {
						t.Errorf("record %d: payload %s: %v", i, got[i].Payload, err)
					}
				}
				text, _ := json.Marshal(facts[i]["payload"])
				if err := json.Unmarshal(text, &want); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(payload, want) {
					t.Errorf("record %d: payload: got %v, want %v", i, payload, want)
				}
				got[i].Payload = nil
				check(t, i, &got[i], factsHere[i])
			}
			if letters := all(t, b, papyra.Query{Kinds: []papyra.Kind{papyra.KindDeadLetter}, Actors: []string{"orders:7"}}); len(letters) != 1 {
				t.Errorf("inspect by kind and actor: got %d records, want 1", len(letters))
			}

			recovered, err := b.Recover(t.Context(), papyra.RecoverOptions{Now: time.Now()})
			if err != nil || recovered.Moved != 0 || !bytes.Equal(content(t, path), before) {
				t.Errorf("recover of a clean file: %+v, %v; the file must stay as it was", recovered, err)
			}
			add(t, b, bytes.Clone(sealedLine(t, 1)))
			if got, want := content(t, path), append(before, sealedLine(t, 1)...); !bytes.Equal(got, want) {
				t.Errorf("append behind the Python side's lines\ngot:  %s\nwant: %s", got, want)
			}
		})
	}
}

// sealedLine is an event of ours.
func sealedLine(t testing.TB, seq uint64) []byte {
	t.Helper()
	id, err := papyra.NewIdentityRun("eu-1", "k3f9x2ab7q04mzt1")
	if err != nil {
		t.Fatal(err)
	}
	var e papyra.Encoder
	if err := e.Event(id, "orders", &papyra.Event{Actor: papyra.Address{ID: 1}, Type: papyra.ActorStarted}, nil, time.Unix(1_700_000_010, 0)); err != nil {
		t.Fatal(err)
	}
	return e.AppendLine(nil, seq)
}

func TestPapyraRecoversAndCompactsWhatPythonWrote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.ndjson")
	peer[int](t, facts, "append", path)
	good := content(t, path)

	// A crash of the writer in mid-line, and appends behind it.
	torn := bytes.Split(good, []byte("\n"))[0][:60]
	damaged := bytes.Join([][]byte{good, torn, []byte("\nnot-json\n")}, nil)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	peer[int](t, facts[:1], "append", path)
	b := store(t, path)
	if report := scan(t, b); report.AnomalyCounts[papyra.ClassTruncated] != 1 || report.AnomalyCounts[papyra.ClassCorrupted] != 1 {
		t.Errorf("scan of the damaged file: %v, want one truncated and one corrupted", report.AnomalyCounts)
	}
	recovered, err := b.Recover(t.Context(), papyra.RecoverOptions{Now: time.Now()})
	if err != nil || recovered.Moved != 2 || !recovered.After.Clean() {
		t.Fatalf("recover: %+v, %v; want two places moved and a clean file", recovered, err)
	}
	sameFacts(t, "events", peer[[]object](t, nil, "list", path, "events"), numbers(t, facts[0], facts[1], facts[0]))
	if anomalies := peer[[]object](t, nil, "scan", path); len(anomalies) != 0 {
		t.Errorf("the Python side finds %v in a file that we recovered", anomalies)
	}

	// The newest record of each stream, verbatim.
	compacted, err := b.Compact(t.Context(), papyra.CompactOptions{At: time.Now(),
		Retention: papyra.Retention{General: papyra.Limits{Records: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.SplitAfter(good, []byte("\n"))
	var want [][]byte
	for _, i := range []int{2, 3, 4, 0} { // the only audit, both dead letters (of two systems), the last event
		want = append(want, first[i])
	}
	var got [][]byte
	for _, rec := range all(t, b, papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter}}) {
		got = append(got, append(rec.Line, '\n'))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("compact to one record for each stream: %+v\ngot:  %s\nwant: %s", compacted, got, want)
	}
}

// numbers returns facts as decoded JSON without their kind.
func numbers(t testing.TB, facts ...object) []object {
	t.Helper()
	text, err := json.Marshal(facts)
	if err != nil {
		t.Fatal(err)
	}
	var out []object
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&out); err != nil {
		t.Fatal(err)
	}
	for _, o := range out {
		delete(o, "kind")
	}
	return out
}

func TestRewriteByPythonKeepsTheIdentity(t *testing.T) {
	for _, rewrite := range []struct {
		name string
		verb string
		args []string
		harm bool // the rewrite happens only to a damaged file
	}{
		{"compact", "compact", nil, false},
		{"repair", "recover", []string{"--mode", "repair"}, true},
		{"quarantine", "recover", []string{"--mode", "quarantine"}, true},
	} {
		t.Run(rewrite.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "records.ndjson")
			lines, facts := written(t)
			b := store(t, path)
			add(t, b, lines)
			sealed := all(t, b, papyra.Query{})
			if rewrite.harm {
				if err := os.WriteFile(path, append(bytes.Clone(lines), "not-json\n"...), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := rewrite.args
			if rewrite.name == "quarantine" {
				args = append(args, "--quarantine-dir", filepath.Join(dir, "quarantine"))
			}
			peer[object](t, nil, rewrite.verb, path, args...)
			if bytes.Contains(content(t, path), []byte(`,"crc":`)) {
				t.Fatal("the Python side kept a line as it was: the test proves nothing")
			}

			report := scan(t, b)
			if !report.Clean() || report.Sealed != int64(len(sealed)) || len(report.NoticeCounts) != 0 {
				t.Errorf("scan after the rewrite: clean %t, %d sealed, notices %v; want %d sealed and no notice",
					report.Clean(), report.Sealed, report.NoticeCounts, len(sealed))
			}
			got := all(t, b, papyra.Query{})
			if len(got) != len(sealed) {
				t.Fatalf("read %d records after the rewrite, want %d: %v", len(got), len(sealed), report.AnomalyCounts)
			}
			sameIdentities(t, got, sealed)
			// Both sides go on with the file.
			add(t, b, sealedLine(t, 100))
			if report := scan(t, b); !report.Clean() || report.Sealed != int64(len(sealed))+1 {
				t.Errorf("scan after one more append: clean %t, %d sealed, want %d", report.Clean(), report.Sealed, len(sealed)+1)
			}
			if got, want := len(peer[[]object](t, nil, "list", path, "events")), len(facts["events"])+1; got != want {
				t.Errorf("the Python side reads %d events, want %d", got, want)
			}
		})
	}
}

// sameIdentities compares what is left after a rewrite by the Python side with
// what was there.
func sameIdentities(t *testing.T, got, sealed []papyra.Record) {
	t.Helper()
	if len(got) != len(sealed) {
		t.Fatalf("read %d records after the rewrite, want %d", len(got), len(sealed))
	}
	for i, rec := range got {
		was := sealed[i]
		if !rec.Sealed || !bytes.Equal(rec.Canonical(), was.Line) || !bytes.Equal(rec.Run, was.Run) || rec.Seq != was.Seq || !bytes.Equal(rec.Node, was.Node) {
			t.Errorf("record %d: got sealed=%t node=%s run=%s seq=%d, want sealed node=%s run=%s seq=%d",
				i, rec.Sealed, rec.Node, rec.Run, rec.Seq, was.Node, was.Run, was.Seq)
		}
		if rec.Kind != was.Kind || !bytes.Equal(rec.System, was.System) || !bytes.Equal(rec.Type, was.Type) || rec.Time != was.Time {
			t.Errorf("record %d\ngot:  %s\nwas:  %s", i, rec.Line, was.Line)
		}
	}
}
