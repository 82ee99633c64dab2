package sink

import (
	"encoding/json"
	"testing"

	"github.com/papyra/papyra"
)

// A store that is found to have forgotten records is named in the next report, and
// in all later ones.
func TestForgottenRecordsAreReportedAtOnce(t *testing.T) {
	s := testSink(t, Config{})
	var forgotten int64
	s.reporter.forgotten = func() int64 { return forgotten }
	last := func() (r papyra.SinkReport, reports int) {
		t.Helper()
		b := s.buffer.waiting.takeOldest()
		if b == nil {
			return r, 0
		}
		l, _ := b.batch.Line(b.batch.Len() - 1)
		rec, err := papyra.Parse(l)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(rec.Payload, &r); err != nil {
			t.Fatal(err)
		}
		return r, b.batch.Len()
	}
	s.reporter.reportForgotten()
	if _, n := last(); n != 0 {
		t.Fatalf("got %d reports of a store that forgot nothing", n)
	}
	for i := range 2 * maxRollbacks {
		forgotten += 2 // as many chunks; it is one time
		s.buffer.account.stored++
		s.reporter.reportForgotten()
		s.reporter.reportForgotten()
		r, n := last()
		want := min(i+1, maxRollbacks)
		if n != 1 || len(r.RolledBack) != want || r.RolledBack[want-1].Stored != uint64(i+1) || r.RolledBack[want-1].At <= 0 {
			t.Fatalf("after %d: got %d reports, %+v", i+1, n, r.RolledBack)
		}
	}
	s.reporter.addSinkReport(reportStopped)
	if r, _ := last(); len(r.RolledBack) != maxRollbacks {
		t.Errorf("the last report names %d, want %d", len(r.RolledBack), maxRollbacks)
	}
}
