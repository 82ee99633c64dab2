package sink

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// sealedReport returns a sealed report of a run, and what a check of it finds.
func sealedReport(t *testing.T, id *papyra.Identity, seq uint64, name string, payload any) (*papyra.Record, []byte) {
	t.Helper()
	line, err := papyra.SealedReport(id, "orders", seq, &papyra.Report{Name: name, Payload: payload}, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	line = line[:len(line)-1]
	rec, err := papyra.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	return &rec, line
}

// The newest report of each run is kept, in whatever order they come; what is no
// PublisherReport of a known run is passed over.
func TestRunsKeepTheNewestReport(t *testing.T) {
	var r runList
	id := papyra.NewIdentity("n1")
	note := func(seq uint64, uptime float64, second int64) {
		rec, line := sealedReport(t, id, seq, papyra.ReportPublisher, papyra.PublisherReport{Uptime: uptime})
		r.note("orders", rec, line, time.Unix(second, 0))
		clear(line) // the message's bytes are not the list's
	}
	note(2, 20, 100)
	note(1, 10, 110)
	note(2, 20, 120)
	other, line := sealedReport(t, papyra.NewIdentity("n2"), 1, "Something", struct{}{})
	r.note("orders", other, line, time.Unix(130, 0))
	unsealed := papyra.Record{}
	r.note("orders", &unsealed, []byte("{}"), time.Unix(130, 0))
	runs, forgotten := r.all()
	if len(runs) != 1 || forgotten != 0 {
		t.Fatalf("%d runs and %d forgotten, want one", len(runs), forgotten)
	}
	if got := runs[0]; got.Seq != 2 || got.Report.Uptime != 20 || got.Heard.Unix() != 100 || got.Node != "n1" || got.System != "orders" || len(got.Run) != 16 {
		t.Errorf("the run is %+v", got)
	}
	note(3, 30, 140)
	if runs, _ = r.all(); runs[0].Report.Uptime != 30 || runs[0].Heard.Unix() != 140 {
		t.Errorf("after a newer report the run is %+v", runs[0])
	}
}

// However many runs there are, and however long their reports, memory is bounded: those
// of which nothing was heard for longest go, and are counted.
func TestRunsAreBounded(t *testing.T) {
	rec, line := sealedReport(t, papyra.NewIdentity("n"), 1, papyra.ReportPublisher, papyra.PublisherReport{})
	flood := func(n int, line []byte) *runList {
		var r runList
		own := *rec
		for i := range n {
			own.Run = fmt.Appendf(nil, "%016d", i)
			r.note("orders", &own, line, time.Unix(int64(i), 0))
			if i == n-2 { // the first one is heard of again
				own.Run, own.Seq = []byte("0000000000000000"), 2
				r.note("orders", &own, line, time.Unix(int64(i), 0))
				own.Seq = 1
			}
		}
		return &r
	}
	r := flood(maxRuns, line)
	if n := r.order.Len(); n != maxRuns || r.forgotten != 0 {
		t.Errorf("%d runs are kept and %d forgotten", n, r.forgotten)
	}
	own := *rec
	own.Run = []byte("x")
	r.note("orders", &own, line, time.Unix(0, 0))
	if n := r.order.Len(); n != maxRuns || len(r.byRun) != n || r.forgotten != 1 {
		t.Errorf("%d and %d runs are kept and %d forgotten", n, len(r.byRun), r.forgotten)
	}
	if r.byRun[runName{"orders", "0000000000000000"}] == nil || r.byRun[runName{"orders", "0000000000000001"}] != nil {
		t.Error("not the run of which nothing was heard for longest is forgotten")
	}
	r = flood(100, []byte(strings.Repeat("x", papyra.MaxLine-1)))
	if n := r.order.Len(); r.bytes > maxRunBytes || n < 10 || n+int(r.forgotten) < 99 {
		t.Errorf("%d runs with %d bytes are kept and %d forgotten", n, r.bytes, r.forgotten)
	}
}
