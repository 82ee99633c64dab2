package inspect

import (
	"testing"

	"github.com/papyra/papyra"
)

// What has a reason in the place of its payload is counted, also after a rewrite by
// the Python implementation; what only quotes one is not.
func TestSummaryCountsReplacedPayloads(t *testing.T) {
	t.Parallel()
	s := newSummarizer()
	for _, payload := range []string{
		`{"payload_error":"value cannot be encoded"}`,
		`{"payload_error": "value cannot be encoded"}`,
		`{"text":"{\"payload_error\":1}"}`,
		`{}`,
	} {
		for _, head := range []string{
			`{"kind":"event","system_id":"orders","actor_address":null,"event_type":"T"`,
			`{"kind":"dead_letter","system_id":"shop","target":null,"message_type":"T"`,
			`{"kind":"report","system_id":"shop","report":"T"`,
		} {
			rec, err := papyra.Parse([]byte(head + `,"payload":` + payload + `,"timestamp":1700000000.5}`))
			if err != nil {
				t.Fatal(err)
			}
			s.addRecord(&rec)
		}
	}
	r := s.summary()
	for _, st := range r.Streams {
		want := int64(2)
		if st.Category == papyra.KindReport.Category() {
			want = 0
		}
		if st.PayloadReplaced != want {
			t.Errorf("%s %s: got %d replaced, want %d", st.System, st.Category, st.PayloadReplaced, want)
		}
	}
	if r.PayloadReplaced != 4 {
		t.Errorf("got %d replaced in all, want 4", r.PayloadReplaced)
	}
}
