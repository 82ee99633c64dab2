package sink

import (
	"bytes"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/linecheck"
)

// A line in the Python implementation's spelling is taken from the wire only if its
// checksum can be checked; a number that a seal vouches for is accounted.
func TestRewrittenLinesFromTheWire(t *testing.T) {
	line := testrecord.New(1).Line("orders", papyra.KindEvent, "Größe 0.00001")
	rewritten := testrecord.Rewritten(line, true)
	events, letters := papyra.RecordsSubject("orders", papyra.KindEvent), papyra.RecordsSubject("orders", papyra.KindDeadLetter)
	for _, tt := range []struct {
		name, subject string
		line          []byte
		reason        papyra.RejectReason
		accounted     bool
	}{
		{"as it was", events, rewritten, "", true},
		{"raw", events, testrecord.Rewritten(line, false), "", true},
		{"another checksum", events, append(rewritten[:len(rewritten)-10:len(rewritten)-10], `12345678"}`...), papyra.ClassChecksumMismatch, false},
		{"another number", events, bytes.Replace(rewritten, []byte(`"seq": 1`), []byte(`"seq": 3`), 1), papyra.ClassChecksumMismatch, false},
		{"another text", events, bytes.Replace(rewritten, []byte("0.00001"), []byte("1e-05"), 1), papyra.ClassChecksumMismatch, false},
		{"of another subject", letters, rewritten, papyra.RejectKindMismatch, true},
		{"with a carriage return", events, append(bytes.Clone(rewritten), '\r'), papyra.RejectCarriageReturn, true},
		{"part of the tail", events, bytes.Replace(rewritten, []byte(`, "seq": 1`), nil, 1), papyra.ClassChecksumMismatch, false},
		{"two spellings", events, bytes.Replace(rewritten, []byte(`"seq": 1`), []byte(`"seq":1`), 1), papyra.ClassChecksumMismatch, false},
	} {
		for _, trust := range []bool{false, true} {
			check, sub := linecheck.Checker{TrustSeals: trust}, linecheck.ParseSubject(tt.subject)
			reason := check.CheckLine(&sub, tt.line)
			if reason != tt.reason {
				t.Errorf("%s, trust seals %v: got %q, want %q", tt.name, trust, reason, tt.reason)
			}
			if reason == "" {
				if !check.Record().Sealed || check.Record().Seq != 1 || !bytes.Equal(check.Record().Line, tt.line) {
					t.Errorf("%s: %+v", tt.name, check.Record())
				}
				continue
			}
			r := describeRejected(&check, &sub, tt.line, reason)
			if accounted := r.seqs == (papyra.Range{1, 1}) && strings.HasSuffix(string(r.run), "1"); accounted != tt.accounted {
				t.Errorf("%s: accounted as %q %d, want %v", tt.name, r.run, r.seqs, tt.accounted)
			}
		}
	}
}
