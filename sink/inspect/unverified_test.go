package inspect

import (
	"bytes"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// A record whose checksum cannot be checked is neither sealed nor unsealed.
func TestSummaryTellsUnverifiedApart(t *testing.T) {
	lines := testrecord.New(1).Events(3)
	lines[1] = testrecord.Rewritten(lines[1], false)
	lines[2] = bytes.Replace(testrecord.Rewritten(lines[2], false), []byte("text"), []byte("tExt"), 1)
	lines = append(lines, []byte(`{"kind":"event","system_id":"orders","actor_address":null,"event_type":"x","payload":1,"timestamp":1700000000.5}`))
	s := newSummarizer()
	for _, line := range lines {
		rec, err := papyra.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		s.addRecord(&rec)
	}
	r := s.summary()
	if r.Sealed != 2 || r.Unverified != 1 || r.Unsealed != 1 || r.Streams[0].Sealed != 2 || r.Streams[0].Unverified != 1 || r.Streams[0].Unsealed != 1 {
		t.Errorf("%+v; want 2 sealed, 1 unverified, 1 unsealed", r)
	}
	if len(r.Runs) != 1 || r.Runs[0].Records != 3 {
		t.Errorf("runs %+v, want one with 3 records", r.Runs)
	}
}
