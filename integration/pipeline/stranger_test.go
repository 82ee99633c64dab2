package pipeline

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
)

// publish sends payloads to a subject and waits until the server has them.
func publish(t *testing.T, nc *nats.Conn, subject string, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := nc.Publish(subject, []byte(p)); err != nil {
			t.Fatalf("publish to %s: %v", subject, err)
		}
	}
	if err := nc.FlushTimeout(testkit.Patience); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

// TestStrangersLinesAreStoredByteForByte sends what no publisher of ours would
// write to a papyra-sink that runs with its defaults: its own broker, its own
// file.
func TestStrangersLinesAreStoredByteForByte(t *testing.T) {
	dir, address := t.TempDir(), fmt.Sprint("127.0.0.1:", testkit.FreePort(t))
	sink := startSink(t, dir, "--listen", address)
	nc := client(t, "nats://"+address)

	var want bytes.Buffer
	send := func(subject string, payload string, line ...string) {
		t.Helper()
		publish(t, nc, subject, payload)
		for _, l := range line {
			want.WriteString(l + "\n")
		}
	}
	events, audits, letters := papyra.RecordsSubject("orders", papyra.KindEvent),
		papyra.RecordsSubject("orders", papyra.KindAudit), papyra.RecordsSubject("orders", papyra.KindDeadLetter)

	// One record a message, with and without its newline.
	a := `{"kind": "event", "system_id": "orders", "actor_address": {"system": "orders", "actor_id": 42}, "event_type": "ActorStarted", "payload": {}, "timestamp": 1700000000.123456}`
	b := `{"timestamp":1.7e9,"payload":[1,"\u00e4",{"x":null}],"event_type":"Überfällig","actor_address":"orders:till/3","system_id":"orders","kind":"event","my_own":{"deep":[[[]]]}}`
	c := `  { "kind" : "event" , "system_id":"orders","actor_address":"a:1","event_type":"x","payload":1e400,"timestamp":0}`
	send(events, a, a)
	send(events, b+"\n", b)
	// Many a message, with empty lines between; the last without its newline.
	send(events, "\n\n"+a+"\n\n"+c+"\n"+b, a, c, b)
	d := `{"kind":"dead_letter","system_id":"orders","target":null,"message_type":"T\u0041","payload":null,"timestamp":1700000002.5}`
	send(letters, d, d)
	e := `{"kind":"audit","system_id":"orders","timestamp":1700000001,"total_actors":10,"alive_actors":9,"stopping_actors":1,"restarting_actors":0,"registry_size":3,"registry_orphans":["a"],"registry_dead":[],"dead_letters_count":2}`
	send(audits, e+"\n", e)
	f := `{"kind":"event","system_id":"größe 東京.*>","actor_address":"x:1","event_type":"x","payload":{},"timestamp":1700000000.1}`
	send(papyra.RecordsSubject("größe 東京.*>", papyra.KindEvent), f, f)
	// As large as one message may be, in thousands of lines.
	var many []string
	for size := 0; size < 900<<10; size += len(a) + 1 {
		many = append(many, strings.Replace(a, `"payload": {}`, fmt.Sprintf(`"payload": {"n": %d}`, len(many)), 1))
	}
	send(events, strings.Join(many, "\n"), many...)
	// A single line of half a megabyte.
	g := strings.Replace(a, `"payload": {}`, `"payload": "`+strings.Repeat("ß", 1<<18)+`"`, 1)
	send(events, g, g)
	nc.Close()
	sink.terminate()

	path := filepath.Join(dir, "papyra-data", "records.ndjson")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer // without the sink's own reports
	for line := range bytes.Lines(data) {
		if !bytes.HasPrefix(line, []byte(`{"kind":"report","system_id":"papyra",`)) {
			got.Write(line)
		}
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("the file differs from what was sent: %d bytes, want %d, first difference at %d",
			got.Len(), want.Len(), firstDifference(got.Bytes(), want.Bytes()))
	}
	ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
	var seen struct {
		Records []json.RawMessage `json:"records"`
	}
	out := ctl(t, 0, "inspect", "events", "--backend", "json:"+path, "--type", "Überfällig", "--output", "json")
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(seen.Records) != 2 || string(seen.Records[0]) != b {
		t.Errorf("inspect: got %s, want %s twice", seen.Records, b)
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestLiesAreRejectedWithTheirBytes sends what is not a record, or lies about
// itself, between good lines.
func TestLiesAreRejectedWithTheirBytes(t *testing.T) {
	dir, url := t.TempDir(), broker(t)
	path := filepath.Join(dir, "records.ndjson")
	sink := startSink(t, dir, "--server", url, "--backend", "json:"+path)
	nc := client(t, url)

	good := func(n int) string {
		return fmt.Sprintf(`{"kind":"event","system_id":"orders","actor_address":"a:1","event_type":"good","payload":%d,"timestamp":1700000000.0}`, n)
	}
	with := func(old, replacement string) string { return strings.Replace(good(0), old, replacement, 1) }
	events := papyra.RecordsSubject("orders", papyra.KindEvent)
	bad := []struct {
		reason  papyra.RejectReason
		subject string
		line    string
	}{
		{papyra.ClassCorrupted, events, `hello`},
		{papyra.ClassCorrupted, events, `[1,2]`},
		{papyra.ClassCorrupted, events, with(`"payload":0`, `"payload":NaN`)},
		{papyra.ClassCorrupted, events, strings.Repeat("[", 100_000)},
		{papyra.ClassCorrupted, events, "\ufeff" + good(0)},
		{papyra.ClassTruncated, events, good(0)[:50]},
		{papyra.ClassInvalidUTF8, events, with(`good`, "go\xffd")},
		{papyra.ClassInvalidUTF8, events, with(`good`, `go\ud800d`)},
		{papyra.ClassNULRun, events, strings.Repeat("\x00", 64)},
		{papyra.ClassMissingField, events, with(`"event_type":"good",`, ``)},
		{papyra.ClassBadTimestamp, events, with(`1700000000.0`, `"now"`)},
		{papyra.ClassDuplicateKey, events, with(`"payload":0`, `"payload":0,"payload":1`)},
		{papyra.ClassChecksumMismatch, events, with(`"payload":0`, `"payload":0,"seq":1`)},
		{papyra.RejectCarriageReturn, events, good(0) + "\r"},
		{papyra.RejectSystemMismatch, events, with(`"system_id":"orders"`, `"system_id":"billing"`)},
		{papyra.RejectKindMismatch, papyra.RecordsSubject("orders", papyra.KindDeadLetter), good(0)},
		{papyra.RejectReserved, papyra.RecordsSubject(papyra.SystemReserved, papyra.KindEvent), with("orders", papyra.SystemReserved)},
		{papyra.RejectSubject, "papyra.v1.records.=6Frders.events", good(0)},
	}
	want := map[string]uint64{}
	for i, b := range bad {
		payload := b.line
		if b.subject == events { // good ones before and behind, in the same message
			payload = good(2*i) + "\n" + b.line + "\n" + good(2*i+1) + "\n"
		}
		publish(t, nc, b.subject, payload)
		want[string(b.reason)]++
	}
	sink.terminate()

	s := load(t, path)
	if len(s.damaged) > 0 {
		t.Errorf("%d bad lines are in the file, the first is %.100q", len(s.damaged), s.damaged[0])
	}
	if got, want := len(s.of("orders", papyra.KindEvent)), 2*15; got != want {
		t.Errorf("%d good lines are in the file, want %d", got, want)
	}
	report := lastReport[papyra.SinkReport](t, s, papyra.ReportSink)
	if fmt.Sprint(report.Rejected) != fmt.Sprint(want) {
		t.Errorf("rejected\ngot:  %v\nwant: %v", report.Rejected, want)
	}
	if report.Received != report.Stored+uint64(len(bad)) {
		t.Errorf("received %d, stored %d and rejected %d do not add up", report.Received, report.Stored, len(bad))
	}

	data, err := os.ReadFile(filepath.Join(dir, ".records.ndjson.rejected"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) != len(bad) {
		t.Fatalf("the reject file has %d lines, want %d", len(lines), len(bad))
	}
	for i, line := range lines {
		var reject struct {
			Time    float64 `json:"time"`
			Subject string  `json:"subject"`
			Reason  string  `json:"reason"`
			Length  int     `json:"length"`
			Raw     string  `json:"raw"`
		}
		if err := json.Unmarshal([]byte(line), &reject); err != nil {
			t.Fatalf("reject %d: %v: %s", i, err, line)
		}
		raw, err := base64.StdEncoding.DecodeString(reject.Raw)
		if err != nil || string(raw) != bad[i].line || reject.Length != len(bad[i].line) {
			t.Errorf("reject %d: raw bytes differ (%v): %d bytes, want %d", i, err, len(raw), len(bad[i].line))
		}
		if reject.Subject != bad[i].subject || reject.Reason != string(bad[i].reason) || reject.Time == 0 {
			t.Errorf("reject %d: got %s of %s at %v, want %s of %s", i, reject.Reason, reject.Subject, reject.Time, bad[i].reason, bad[i].subject)
		}
	}
	ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
}
