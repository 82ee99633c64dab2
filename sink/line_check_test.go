package sink

import (
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/linecheck"
)

// The check needs nothing but a line and its subject.
func TestLineCheck(t *testing.T) {
	sealed := strings.TrimSuffix(string(NewRun(t, "orders", RunA).Event()), "\n")
	plain := `{"kind":"event","system_id":"orders","actor_address":"orders:x","event_type":"T","payload":{},"timestamp":1}`
	events, audits := papyra.RecordsSubject("orders", papyra.KindEvent), papyra.RecordsSubject("orders", papyra.KindAudit)
	shop := papyra.RecordsSubject("shop", papyra.KindEvent)
	broken := strings.Replace(sealed, "something", "Something", 1)
	for _, tt := range []struct {
		name, subject, line string
		reason              papyra.RejectReason
		seq                 uint64 // of the accepted line, or of the rejected one where its seal is believed
	}{
		{"sealed", events, sealed, "", 1},
		{"without a seal", events, plain, "", 0},
		{"no subject of records", "papyra.v1.heard.orders.x.1", sealed, papyra.RejectSubject, 0},
		{"the pipeline's own system", papyra.RecordsSubject(papyra.SystemReserved, papyra.KindReport), sealed, papyra.RejectReserved, 0},
		{"carriage return", events, plain + "\r", papyra.RejectCarriageReturn, 0},
		{"no record", events, "nonsense", papyra.ClassCorrupted, 0},
		{"cut off", events, plain[:50], papyra.ClassTruncated, 0},
		{"a flipped bit", events, broken, papyra.ClassChecksumMismatch, 0},
		{"another category", audits, sealed, papyra.RejectKindMismatch, 1},
		{"another system", shop, sealed, papyra.RejectSystemMismatch, 0},
	} {
		for _, trust := range []bool{false, true} {
			check, sub := linecheck.Checker{TrustSeals: trust}, linecheck.ParseSubject(tt.subject)
			reason := check.CheckLine(&sub, []byte(tt.line))
			if reason != tt.reason {
				t.Errorf("%s, trust seals %v: got %q, want %q", tt.name, trust, reason, tt.reason)
			}
			seq := check.Record().Seq
			if reason != "" {
				r := describeRejected(&check, &sub, []byte(tt.line), reason)
				if seq = r.seqs[0]; r.reason != reason || r.n != 1 || r.size != len(tt.line) {
					t.Errorf("%s, trust seals %v: the rejected line is %+v", tt.name, trust, r)
				}
			}
			if seq != tt.seq {
				t.Errorf("%s, trust seals %v: got number %d, want %d", tt.name, trust, seq, tt.seq)
			}
		}
	}
}
