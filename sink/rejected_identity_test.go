package sink

import (
	"fmt"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/checksum"
	"github.com/papyra/papyra/sink/linecheck"
)

// sealAgain puts a right checksum in the place of a line's own.
func sealAgain(t *testing.T, line string) string {
	t.Helper()
	body := line[:len(line)-checksum.TailLen]
	again := body + fmt.Sprintf(`,"crc":"%08x"}`, checksum.Of([]byte(body)))
	if !papyra.CheckSeal([]byte(again)) {
		t.Fatalf("%s is not sealed", again)
	}
	return again
}

// Whatever is wrong with a line: if its seal verifies and its system is the
// subject's, it is accounted for by its number. Otherwise the number would be
// missing without a reason.
func TestEveryRejectWithARightSealIsAccounted(t *testing.T) {
	line := strings.TrimSuffix(string(NewRun(t, "orders", RunA).Event()), "\n")
	events := papyra.RecordsSubject("orders", papyra.KindEvent)
	change := func(old, now string) string {
		t.Helper()
		if !strings.Contains(line, old) {
			t.Fatalf("%s has no %s", line, old)
		}
		return sealAgain(t, strings.Replace(line, old, now, 1))
	}
	at := strings.Index(line, `"timestamp":`) + len(`"timestamp":`)
	stamp := line[at : at+strings.IndexAny(line[at:], ",}")]
	for _, tt := range []struct {
		name, line string
		reason     papyra.RejectReason
		kind       papyra.Kind
	}{
		{"a carriage return", line + "\r", papyra.RejectCarriageReturn, papyra.KindEvent},
		{"two carriage returns", line + "\r\r", papyra.RejectCarriageReturn, papyra.KindEvent},
		{"a timestamp before 1970", change(stamp, "-1.5"), papyra.ClassBadTimestamp, papyra.KindEvent},
		{"a timestamp of another year", change(stamp, "999999999999.0"), papyra.ClassBadTimestamp, papyra.KindEvent},
		{"a timestamp that is text", change(stamp, `"now"`), papyra.ClassBadTimestamp, papyra.KindEvent},
		{"a timestamp that is no JSON", change(stamp, "1.5.5"), papyra.ClassCorrupted, papyra.KindEvent},
		{"no timestamp", change(`"timestamp"`, `"timestamped"`), papyra.ClassMissingField, papyra.KindEvent},
		{"no payload", change(`"payload"`, `"payloads"`), papyra.ClassMissingField, papyra.KindEvent},
		{"a member twice", change(`"payload"`, `"x":1,"x":2,"payload"`), papyra.ClassDuplicateKey, papyra.KindEvent},
		{"bytes that are no UTF-8", change(`"event_type":"`, "\"event_type\":\"\xff"), papyra.ClassInvalidUTF8, papyra.KindEvent},
		{"a NUL", change(`"event_type":"`, "\"event_type\":\"\x00"), papyra.ClassNULRun, papyra.KindEvent},
		{"too deep", change(`"payload":`, `"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,"payload":`), papyra.ClassCorrupted, papyra.KindEvent},
		{"too long", change(`"event_type":"`, `"event_type":"`+strings.Repeat("x", papyra.MaxLine)), papyra.ClassOversize, papyra.KindEvent},
		{"spaces between members", change(`"payload":`, `"payload" : nonsense`), papyra.ClassCorrupted, papyra.KindEvent},
		{"the system escaped", change(`"system_id":"orders"`, `"system_id":"\u006frders","x":nonsense`), papyra.ClassCorrupted, papyra.KindEvent},
		{"another kind", change(`"kind":"event"`, `"kind":"report"`), papyra.ClassMissingField, papyra.KindReport},
		{"a kind that is none", change(`"kind":"event"`, `"kind":"metric"`), papyra.RejectKindMismatch, papyra.KindEvent},
	} {
		for _, trust := range []bool{false, true} {
			check, sub := linecheck.Checker{TrustSeals: trust}, linecheck.ParseSubject(events)
			reason := check.CheckLine(&sub, []byte(tt.line))
			if reason == "" && trust {
				continue // as ValidateSeal says
			}
			r := describeRejected(&check, &sub, []byte(tt.line), reason)
			if string(r.run) != RunA || r.seqs[0] != 1 || r.kind != tt.kind {
				t.Errorf("%s (%s), trust seals %v: accounted as %s %q %d, want %s %s 1", tt.name, reason, trust, r.kind, r.run, r.seqs[0], tt.kind, RunA)
			}
			if !trust && reason != tt.reason {
				t.Errorf("%s: got %q, want %q", tt.name, reason, tt.reason)
			}
		}
	}
	for name, l := range map[string]string{
		"another system":   sealAgain(t, strings.Replace(line, `"system_id":"orders"`, `"system_id":"shop"`, 1)) + "\r",
		"a wrong checksum": strings.Replace(change(stamp, "-1.5"), "something", "Something", 1),
		"no system":        sealAgain(t, strings.Replace(line, `"system_id"`, `"systems"`, 1)),
	} {
		check, sub := linecheck.Checker{}, linecheck.ParseSubject(events)
		reason := check.CheckLine(&sub, []byte(l))
		if r := describeRejected(&check, &sub, []byte(l), reason); reason == "" || len(r.run) > 0 {
			t.Errorf("%s: %q is accounted as %q %d", name, reason, r.run, r.seqs[0])
		}
	}
}
