package maintain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// reporter is a run that reports.
type reporter struct {
	identity *papyra.Identity
	system   string
	kind     string
}

// report returns report number seq of a run, which came so many seconds later.
func (r *reporter) report(t *testing.T, seq uint64, later int, payload string) *papyra.Record {
	t.Helper()
	report := papyra.Report{Name: r.kind, Payload: jsonText(payload)}
	line, err := papyra.SealedReport(r.identity, r.system, seq, &report, testrecord.Start.Add(time.Duration(later)*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := papyra.Parse(line[:len(line)-1])
	if err != nil {
		t.Fatal(err)
	}
	return &rec
}

type jsonText string

func (j jsonText) MarshalJSON() ([]byte, error) { return []byte(j), nil }

func newPublisher() *reporter {
	return &reporter{papyra.NewIdentity("n"), "orders", papyra.ReportPublisher}
}

func newSink() *reporter {
	return &reporter{papyra.NewIdentity("n"), papyra.SystemReserved, papyra.ReportSink}
}

// reasons counts why reports leave.
func reasons(leaving []leavingReport) map[leavingReason]int {
	out := map[leavingReason]int{}
	for _, l := range leaving {
		out[l.why]++
	}
	return out
}

// Of a run its ends stay; what lies between leaves, and what it names as dropped
// is carried on.
func TestReportsBetweenTheEndsLeave(t *testing.T) {
	var c carriedReports
	p := newPublisher()
	for _, seq := range []uint64{3, 1, 5, 2, 4} {
		payload := fmt.Sprintf(`{"categories":{"events":{"dropped":{"queue_full":{"n":%d,"ranges":[[%d,%d]]}}}}}`, seq, seq*10, seq*10+1)
		c.addReport(p.report(t, seq, int(seq), payload))
	}
	if gone := c.addReport(p.report(t, 5, 5, `{}`)); gone == nil || gone.Seq != 5 {
		t.Errorf("a copy of report 5 does not leave: %v", gone)
	}
	lines := c.stayingLines()
	if len(lines) != 2 || !strings.Contains(string(lines[0]), `"seq":1,`) || !strings.Contains(string(lines[1]), `"seq":5,`) {
		t.Errorf("these stay: %s", lines)
	}
	drops := c.sinkDrops()
	want := []papyra.Range{{20, 21}, {30, 31}, {40, 41}}
	if len(drops) != 1 || drops[0].N != 6 || cmp.Diff(want, drops[0].Ranges) != "" {
		t.Errorf("got %+v, want the ranges %v", drops, want)
	}
}

func TestReportsLeaveForAReason(t *testing.T) {
	newRuns := func(sinks, publishers int) (c carriedReports, size int64) {
		for i := range sinks {
			rec := newSink().report(t, 1, i, `{}`)
			size = int64(len(rec.Line)) + 1
			c.addReport(rec)
		}
		for i := range publishers {
			p := newPublisher()
			c.addReport(p.report(t, 1, i, `{}`))
			c.addReport(p.report(t, 2, i, `{}`))
		}
		return c, size
	}
	const plenty = 1 << 30
	for _, tt := range []struct {
		name              string
		sinks, publishers int
		bytes             func(size int64) int64
		want              map[leavingReason]int
		stay              int
	}{
		{"all fit", maxSinks, 3, func(int64) int64 { return plenty }, map[leavingReason]int{}, maxSinks + 6},
		{"too many sinks", maxSinks + 3, 0, func(int64) int64 { return plenty }, map[leavingReason]int{leavesOldRun: 3}, maxSinks},
		{"too many publishers", 0, maxPublishers + 2, func(int64) int64 { return plenty }, map[leavingReason]int{leavesOldRun: 4}, 2 * maxPublishers},
		{"no room at all", 2, 3, func(int64) int64 { return 0 }, map[leavingReason]int{leavesNoRoom: 8}, 0},
		{"room for a sink", 2, 0, func(size int64) int64 { return size }, map[leavingReason]int{leavesNoRoom: 1}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, size := newRuns(tt.sinks, tt.publishers)
			leaving := c.reportsOverLimit(tt.bytes(size))
			if diff := cmp.Diff(tt.want, reasons(leaving)); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if gone := c.removeReports(leaving); len(gone) != len(leaving) || len(c.stayingLines()) != tt.stay {
				t.Errorf("%d of %d leave and %d stay, want %d", len(gone), len(leaving), len(c.stayingLines()), tt.stay)
			}
		})
	}
	t.Run("the oldest sink stays", func(t *testing.T) {
		var c carriedReports
		var runs []string
		for i := range maxSinks + 2 {
			s := newSink()
			rec := s.report(t, 1, i, `{}`)
			runs = append(runs, string(rec.Run))
			c.addReport(rec)
		}
		var gone []string
		for _, rec := range c.limitReports(plenty) {
			gone = append(gone, string(rec.Run))
		}
		slices.Sort(gone)
		want := []string{runs[1], runs[2]}
		slices.Sort(want)
		if diff := cmp.Diff(want, gone); diff != "" {
			t.Errorf("the second and third oldest leave (-want +got):\n%s", diff)
		}
	})
	t.Run("last reports before first ones", func(t *testing.T) {
		c, _ := newRuns(0, 2)
		var size int64
		for _, line := range c.stayingLines() {
			size = max(size, int64(len(line)))
		}
		gone := c.limitReports(2 * size)
		for _, rec := range gone {
			if rec.Seq != 1 {
				t.Errorf("report %d leaves", rec.Seq)
			}
		}
		if len(gone) != 2 || len(c.stayingLines()) != 2 {
			t.Errorf("%d leave and %d stay, want 2 and 2", len(gone), len(c.stayingLines()))
		}
	})
	t.Run("no record of the run is left", func(t *testing.T) {
		c, _ := newRuns(1, 2)
		gone := c.pruneReports(func(string) bool { return false })
		if len(gone) != 4 || c.countRuns() != 0 || len(c.stayingLines()) != 1 {
			t.Errorf("%d leave, %d runs and %d reports stay", len(gone), c.countRuns(), len(c.stayingLines()))
		}
	})
}

// Ranges that no report of ours names cost nothing and wrap nothing.
func TestHostileReportsAreCarried(t *testing.T) {
	const highest = ^uint64(0)
	var c Carried
	r := reporter{papyra.NewIdentity("n"), papyra.SystemReserved, papyra.ReportRemoval}
	payload := fmt.Sprintf(`{"act":"compact","id":"x","categories":{"events":{"records":1,"bytes":2,"runs":[{"node":"n","run":"r","ranges":[[0,0],[5,3],[1,%d],[7,9]],"n":%d},{"node":"n","run":"r","n":7}]}},`+
		`"dropped":[{"reason":"sink_full","system":"s","category":"events","run":"r","n":%d,"ranges":[[0,0],[5,3],[1,%d],[7,9]]}]}`, highest, highest, highest, highest)
	for seq := range uint64(3) {
		if gone := c.Add(r.report(t, seq+1, 0, payload)); gone == nil {
			t.Fatal("a RemovalReport goes")
		}
	}
	lines, err := c.Reports(New(papyra.ActCompact, testrecord.Start), testrecord.Start)
	if err != nil || len(lines) != 1 {
		t.Fatalf("%d reports, %v", len(lines), err)
	}
	text := string(lines[0])
	for _, part := range []string{
		fmt.Sprintf(`"ranges":[[1,%d]],"n":%d`, highest, highest),
		fmt.Sprintf(`"n":%d,"ranges":[[1,%d]]`, highest, highest),
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %s", text, part)
		}
	}
}

// Of the starts that were accepted the newest stays, also where sinks have no room.
func TestTheNewestAcceptedStartStays(t *testing.T) {
	var c carriedReports
	var size int64
	for i := range 3 {
		rec := newSink().report(t, 1, i, `{"id":"x","late":1}`)
		rec.Type = []byte(papyra.ReportStartAccepted)
		if gone := c.addReport(rec); gone != nil {
			t.Fatalf("report %d goes at once", i)
		}
		size = int64(len(rec.Line)) + 1
	}
	c.addReport(newSink().report(t, 1, 9, `{}`))
	if got := reasons(c.reportsOverLimit(size)); got[leavesOldRun] != 2 || got[leavesNoRoom] != 1 {
		t.Errorf("got %v, want two older ones and the sink's report to leave", got)
	}
	if gone := c.limitReports(size); len(gone) != 3 || len(c.stayingLines()) != 1 || len(c.sinkDrops()) != 0 {
		t.Errorf("%d leave and %d stay, want one to stay", len(gone), len(c.stayingLines()))
	}
}
