package linecheck_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/linecheck"
)

const plain = `{"kind":"event","system_id":"orders","actor_address":"orders:x","event_type":"T","payload":{},"timestamp":1}`

func Example() {
	const subject = "papyra.v1.records.orders.events"
	sub := linecheck.ParseSubject(subject)
	line := []byte(strings.Replace(plain, `"payload":{},`, "", 1))
	var c linecheck.Checker
	reason := c.CheckLine(&sub, line)
	fmt.Println(reason, "|", linecheck.Explain(subject, line, reason))
	// Output:
	// missing_field | missing_field payload
}

// Each reason has an explanation that begins with a word of its own, is bounded, and
// does not depend on what was checked before.
func TestExplain(t *testing.T) {
	events := papyra.RecordsSubject("orders", papyra.KindEvent)
	change := func(old, now string) string { return strings.Replace(plain, old, now, 1) }
	for _, tt := range []struct{ subject, line, want string }{
		{events, plain, ""},
		{"papyra.v1.heard.x", plain, "bad_subject: want papyra.v1.records.<system>.<category>: "},
		{papyra.RecordsSubject(papyra.SystemReserved, papyra.KindReport), plain, "reserved_system: only a sink"},
		{events, plain + "\r", "carriage_return: end each line"},
		{events, change(`"T"`, `"`+strings.Repeat("x", papyra.MaxLine)+`"`), "oversize: the line has 10"},
		{events, change("orders:x", "orders:x\"\x00"), "nul_run: "},
		{events, change(`{}`, `{},"crc":1`), "reserved_member crc: "},
		{events, change(`{}`, `{},"`+strings.Repeat("x", 9000)+`":1,"`+strings.Repeat("x", 9000)+`":1`), "duplicate_key: the member stands twice: xxx"},
		{events, change(`"kind":"event"`, `"kind":"metric"`), "kind_mismatch: kind is none of event, audit, dead_letter and report, and the subject is of events"},
		{papyra.RecordsSubject("orders", papyra.KindAudit), plain, "kind_mismatch: kind is event, and the subject is of audits"},
		{papyra.RecordsSubject("shop", papyra.KindEvent), plain, `system_mismatch: system_id is "orders", and the subject is of "shop"`},
		{events, change(`,"timestamp":1}`, `,"timestamp":1, "node": "a", "run": "k3f9x2ab7q04mzt1", "seq": 1, "crc": "00000000"}`), "checksum_mismatch: the line was written anew"},
	} {
		sub := linecheck.ParseSubject(tt.subject)
		var c linecheck.Checker
		reason := c.CheckLine(&sub, []byte(tt.line))
		if reason == "" || tt.want == "" {
			if string(reason) != tt.want {
				t.Errorf("%s: rejected: %s", tt.line, reason)
			}
			continue
		}
		got := linecheck.Explain(tt.subject, []byte(tt.line), reason)
		if !strings.HasPrefix(got, tt.want) || len(got) > 600 {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
