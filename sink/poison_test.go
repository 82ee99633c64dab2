package sink_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func hex8(v uint32) string { return fmt.Sprintf("%08x", v) }

// rejected is a line of a reject file.
type rejected struct {
	Time    float64 `json:"time"`
	Subject string  `json:"subject"`
	Reason  string  `json:"reason"`
	Length  int     `json:"length"`
	Raw     []byte  `json:"raw"` // base64
}

func readRejects(t *testing.T, path string) (list []rejected) {
	t.Helper()
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewReader(f); ; {
		l, err := sc.ReadBytes('\n')
		if len(l) == 0 && err != nil {
			return list
		}
		var r rejected
		if err := json.Unmarshal(l, &r); err != nil {
			t.Fatalf("reject file: %q: %v", l, err)
		}
		list = append(list, r)
	}
}

func TestPoisonIsRejectedRawWithItsReasonAndStopsNothing(t *testing.T) {
	events := papyra.RecordsSubject("orders", papyra.KindEvent)
	head, tail := `{"kind":"event","system_id":"orders","actor_address":"orders:x","event_type":"T","payload":`, `,"timestamp":1}`
	good := head + `{}` + tail
	sealed := strings.TrimSuffix(string(newRun(t, "orders", runA).Event()), "\n")
	for _, tt := range []struct {
		name, subject, line string
		reason              papyra.RejectReason
	}{
		{"not JSON", events, "nonsense", papyra.ClassCorrupted},
		{"cut off", events, good[:len(good)-8], papyra.ClassTruncated},
		{"100,000 deep", events, head + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + tail, papyra.ClassCorrupted},
		{"65 deep", events, head + strings.Repeat("[", 64) + strings.Repeat("]", 64) + tail, papyra.ClassCorrupted},
		{"1 MiB line", events, head + `"` + strings.Repeat("x", 1<<20-len(head)-len(tail)-2) + `"` + tail, papyra.ClassOversize},
		{"duplicate key", events, `{"kind":"event",` + good[1:], papyra.ClassDuplicateKey},
		{"duplicate unknown key", events, `{"x":1,"x":2,` + good[1:], papyra.ClassDuplicateKey},
		{"NaN", events, head + `NaN` + tail, papyra.ClassCorrupted},
		{"Infinity", events, head + `-Infinity` + tail, papyra.ClassCorrupted},
		{"lone surrogate", events, head + `"\ud800"` + tail, papyra.ClassInvalidUTF8},
		{"invalid UTF-8", events, head + "\"\xff\"" + tail, papyra.ClassInvalidUTF8},
		{"NUL bytes", events, "\x00\x00\x00\x00", papyra.ClassNULRun},
		{"byte order mark", events, "\ufeff" + good, papyra.ClassCorrupted},
		{"white space", events, " \t ", papyra.ClassCorrupted},
		{"scalar", events, "42", papyra.ClassCorrupted},
		{"array", events, "[]", papyra.ClassCorrupted},
		{"empty object", events, "{}", papyra.ClassMissingField},
		{"two records on a line", events, good + good, papyra.ClassCorrupted},
		{"key in another case", events, strings.Replace(good, "event_type", "Event_Type", 1), papyra.ClassMissingField},
		{"timestamp is a string", events, strings.Replace(good, `"timestamp":1}`, `"timestamp":"1"}`, 1), papyra.ClassBadTimestamp},
		{"no timestamp", events, head + `{}}`, papyra.ClassMissingField},
		{"flipped bit under a seal", events, strings.Replace(sealed, "something", "Something", 1), papyra.ClassChecksumMismatch},
		{"part of a seal", events, strings.Replace(good, `}`+tail, `},"seq":3`+tail, 1), papyra.ClassChecksumMismatch},
		{"carriage return", events, good + "\r", papyra.RejectCarriageReturn},
		{"carriage return alone", events, "\r", papyra.RejectCarriageReturn},
		{"kind of another category", papyra.RecordsSubject("orders", papyra.KindAudit), good, papyra.RejectKindMismatch},
		{"unknown kind", events, strings.Replace(good, `"kind":"event"`, `"kind":"novel"`, 1), papyra.RejectKindMismatch},
		{"another system", papyra.RecordsSubject("shop", papyra.KindEvent), good, papyra.RejectSystemMismatch},
		{"reserved system", papyra.RecordsSubject("papyra", papyra.KindReport), `{"kind":"report","system_id":"papyra","report":"SinkReport","payload":{},"timestamp":1}`, papyra.RejectReserved},
		{"subject not canonical", "papyra.v1.records.=6Frders.events", good, papyra.RejectSubject},
		{"unknown category", "papyra.v1.records.orders.novels", good, papyra.RejectSubject},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), ".records.rejected")
			b, store := startBroker(t), &fakeStore{}
			w := runSink(t, sink.Config{URL: b.URL(), RejectFile: path}, store)
			nc := dial(t, b.URL())
			publish(t, nc, events, []byte(good))
			publish(t, nc, tt.subject, []byte(tt.line))
			if len(tt.line) < 1<<19 {
				// Between good lines it takes only itself away.
				publish(t, nc, events, []byte(good+"\n"+good))
			}
			flush(t, nc)
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			st := w.Stats()
			balance(t, st)
			if st.Rejected[tt.reason] != 1 || st.RejectedTotal() != 1 {
				t.Errorf("rejected %v, want one %s", st.Rejected, tt.reason)
			}
			if strings.ReplaceAll(store.text(), good+"\n", "") != "" || st.Stored < 1 {
				t.Errorf("stored %d lines: %.200q", st.Stored, store.text())
			}
			list := readRejects(t, path)
			if len(list) != 1 || list[0].Reason != string(tt.reason) || list[0].Subject != tt.subject ||
				list[0].Length != len(tt.line) || string(list[0].Raw) != tt.line || list[0].Time < 1.7e9 {
				t.Errorf("the reject file has %d lines; the first is reason %q subject %q length %d raw %.200q",
					len(list), list[0].Reason, list[0].Subject, list[0].Length, list[0].Raw)
			}
			if st.RejectsNotKept != 0 {
				t.Errorf("%d rejects not kept", st.RejectsNotKept)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode of the reject file: %v, %v, want 0600", info.Mode(), err)
			}
		})
	}
}

// A newline within a value is two lines, each wrong; the others of the message
// stay.
func TestEmbeddedNewlineIsRejectedAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "rejected")
	b, store := startBroker(t), &fakeStore{}
	w := runSink(t, sink.Config{URL: b.URL(), RejectFile: path}, store)
	nc := dial(t, b.URL())
	good := plainEvent("orders", 1)
	broken := strings.Replace(good, "Actor", "Act\nor", 1)
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(good+"\n"+broken+"\n"+good))
	flush(t, nc)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if store.text() != good+"\n"+good+"\n" {
		t.Errorf("stored %q", store.text())
	}
	var raw [][]byte
	for _, r := range readRejects(t, path) {
		raw = append(raw, r.Raw)
	}
	if got := string(bytes.Join(raw, []byte("\n"))); got != broken {
		t.Errorf("rejected %q, want the two halves of %q", got, broken)
	}
}

func TestSealValidationTrustsASealAndChecksOthers(t *testing.T) {
	// A sealed line whose payload is no JSON: only a full check finds it.
	r := newRun(t, "orders", runA)
	sealed := string(r.Event())
	fake := resealed(t, strings.Replace(sealed, `"what":`, `what:`, 1))
	events := papyra.RecordsSubject("orders", papyra.KindEvent)
	for _, tt := range []struct {
		validate sink.Validation
		stored   uint64
	}{{sink.ValidateFull, 2}, {sink.ValidateSeal, 3}} {
		t.Run(string(tt.validate), func(t *testing.T) {
			b, store := startBroker(t), &fakeStore{}
			w := runSink(t, sink.Config{URL: b.URL(), Validate: tt.validate}, store)
			nc := dial(t, b.URL())
			publish(t, nc, events, []byte(sealed+fake+plainEvent("orders", 1)+"\nnonsense\n"+strings.Replace(sealed, "some", "same", 1)))
			publish(t, nc, papyra.RecordsSubject("shop", papyra.KindEvent), []byte(sealed))
			publish(t, nc, papyra.RecordsSubject("orders", papyra.KindAudit), []byte(sealed))
			flush(t, nc)
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			st := w.Stats()
			balance(t, st)
			if st.Stored != tt.stored {
				t.Errorf("stored %d, want %d: rejected %v", st.Stored, tt.stored, st.Rejected)
			}
			for reason, want := range map[papyra.RejectReason]uint64{
				papyra.ClassChecksumMismatch: 1, papyra.RejectSystemMismatch: 1, papyra.RejectKindMismatch: 1,
				papyra.ClassCorrupted: 4 - tt.stored,
			} {
				if st.Rejected[reason] != want {
					t.Errorf("rejected %v, want %d of %s", st.Rejected, want, reason)
				}
			}
			// The number of a sealed line on the wrong category of its own system
			// is accounted for; nothing is believed about another system.
			_, own := store.stored()
			var drops []papyra.SinkDrops
			for _, report := range sinkReports(t, own) {
				drops = append(drops, report.Dropped...)
				if report.DroppedLines != 0 {
					t.Errorf("%d dropped lines, but rejected ones are not dropped", report.DroppedLines)
				}
			}
			for _, d := range drops {
				if d.Reason != papyra.DropSinkRejected || d.System != "orders" || d.Category != "events" || d.Run != runA {
					t.Errorf("drop %+v", d)
				}
			}
			if len(drops) == 0 {
				t.Error("no drop tells of the sealed line that was rejected")
			}
		})
	}
}

// resealed computes the checksum of a changed line anew.
func resealed(t *testing.T, l string) string {
	t.Helper()
	body := l[:strings.LastIndex(l, `,"crc":"`)]
	l = body + `,"crc":"` + hex8(castagnoli([]byte(body))) + `"}` + "\n"
	if !papyra.CheckSeal([]byte(strings.TrimSuffix(l, "\n"))) {
		t.Fatal("the test's own seal is wrong")
	}
	return l
}

// A flood of rejects is a line of log a second, with the number of the others.
func TestLogOfRejectsIsRateLimited(t *testing.T) {
	var log syncBuffer
	b := startBroker(t)
	w := runSink(t, sink.Config{URL: b.URL(), Logger: slog.New(slog.NewJSONHandler(&log, nil))}, &fakeStore{})
	nc := dial(t, b.URL())
	secret := "canary\x1b[31m"
	for range 2000 {
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(secret+"\n"+secret))
	}
	flush(t, nc)
	eventually(t, "all are rejected", func() bool { return w.Stats().RejectedTotal() == 4000 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if n := strings.Count(text, "rejected a line"); n < 1 || n > 20 {
		t.Errorf("%d log lines about 4000 rejects", n)
	}
	if strings.Contains(text, "canary") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("canary"))[:6]) {
		t.Error("the log shows what was rejected")
	}
}
