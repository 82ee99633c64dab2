package papyra

import (
	"errors"
	"strings"
	"testing"
)

// What is wrong with a line is said by the member that is to blame, and the class says
// the same as ever.
func TestExplain(t *testing.T) {
	const plain = `{"kind":"event","system_id":"orders","actor_address":"orders:x","event_type":"T","payload":{},"timestamp":1}`
	const whole = `{"kind":"event","system_id":"orders","actor_address":"orders:x","event_type":"T","payload":{},"timestamp":1,"node":"eu-1","run":"k3f9x2ab7q04mzt1","seq":17,"crc":"00000000"}`
	change := func(line, old, now string) string {
		t.Helper()
		if !strings.Contains(line, old) {
			t.Fatalf("%s has no %s", line, old)
		}
		return strings.Replace(line, old, now, 1)
	}
	const reserved = ": the name is the seal's, and the line has no seal"
	for _, tt := range []struct {
		line, want string
		class      Class
	}{
		{change(plain, `"system_id":"orders",`, ``), "missing_field system_id", ClassMissingField},
		{change(plain, `"kind":"event",`, ``), "missing_field kind", ClassMissingField},
		{change(plain, `,"payload":{}`, ``), "missing_field payload", ClassMissingField},
		{change(plain, `,"timestamp":1`, ``), "missing_field timestamp", ClassMissingField},
		{change(plain, `"orders",`, `7,`), "missing_field system_id: system_id must be a string", ClassMissingField},
		{change(plain, `"orders",`, `"",`), "missing_field system_id: system_id does not have 1 to 64 bytes", ClassMissingField},
		{change(plain, `"orders:x"`, `[]`), "missing_field actor_address: actor_address must be an object, a string or null", ClassMissingField},
		{change(plain, `"timestamp":1`, `"timestamp":"now"`), "bad_timestamp: want Unix seconds, a number between the years 1970 and 9999", ClassBadTimestamp},
		{change(plain, `"timestamp":1`, `"timestamp":1700000000000`), "bad_timestamp: want Unix seconds, a number between the years 1970 and 9999", ClassBadTimestamp},
		{change(plain, `{}`, `{},"seq":3`), "reserved_member seq" + reserved, ClassChecksumMismatch},
		{change(plain, `{}`, `{},"run":null,"node":[]`), "reserved_member node" + reserved, ClassChecksumMismatch},
		{change(whole, `k3f9x2ab7q04mzt1`, `K3F9`), "bad_seal: run must be 16 of [0-9a-z]", ClassChecksumMismatch},
		{change(whole, `"k3f9x2ab7q04mzt1"`, `12`), "bad_seal: run must be 16 of [0-9a-z]", ClassChecksumMismatch},
		{change(whole, `"eu-1"`, `"eu 1"`), "bad_seal: node must be 1 to 64 of [A-Za-z0-9._-]", ClassChecksumMismatch},
		{change(whole, `:17`, `:0`), "bad_seal: seq must be a whole number from 1 on", ClassChecksumMismatch},
		{change(whole, `:17`, `:"17"`), "bad_seal: seq must be a whole number from 1 on", ClassChecksumMismatch},
		{change(whole, `:17`, `:1.5`), "bad_seal: seq must be a whole number from 1 on", ClassChecksumMismatch},
		{change(whole, `"00000000"`, `"0000000G"`), "bad_seal: crc must be 8 of [0-9a-f]", ClassChecksumMismatch},
		{change(whole, `,"crc":"00000000"`, ``), "bad_seal: crc is missing", ClassChecksumMismatch},
		{change(whole, `,"seq":17`, ` ,"seq":17`), "bad_seal: node, run, seq and crc must end the line, in this order and without spaces", ClassChecksumMismatch},
		{whole, "checksum_mismatch: crc is 00000000, and the line's own is ", ClassChecksumMismatch},
		{"nonsense", `corrupted: "n" where a JSON object should stand`, ClassCorrupted},
		{change(plain, `{}`, `{},"x":1,"x":2`), "duplicate_key: the member stands twice: x", ClassDuplicateKey},
	} {
		_, err := Parse([]byte(tt.line))
		var bad *LineError
		if !errors.As(err, &bad) || bad.Class != tt.class {
			t.Errorf("%s: got %v, want the class %s", tt.line, err, tt.class)
			continue
		}
		if got := bad.Explain(); !strings.HasPrefix(got, tt.want) || got != tt.want && !strings.HasSuffix(tt.want, " ") {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.line, got, tt.want)
		}
		var rec Record
		if got := new(Parser).Check(&rec, []byte(tt.line)); got != tt.class {
			t.Errorf("%s: Check says %q, want %q", tt.line, got, tt.class)
		}
	}
}
