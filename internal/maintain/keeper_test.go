package maintain

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// keptOf returns which of the records, from the oldest to the newest, a compaction
// keeps that wants one report of each system.
func keptOf(records []papyra.Record) (kept []int) {
	k := NewKeeper(papyra.Retention{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindReport: {Records: 1}}}, testrecord.Start)
	for i := range slices.Backward(records) {
		k.Survey(&records[i])
	}
	for i := range slices.Backward(records) {
		if k.Keep(&records[i]) {
			kept = append(kept, i)
		}
	}
	slices.Reverse(kept)
	return kept
}

func reportRecord(system, name, run string, seq uint64, payload string) papyra.Record {
	rec := papyra.Record{Kind: papyra.KindReport, System: []byte(system), Type: []byte(name), Payload: []byte(payload), Time: testrecord.Start.UnixMicro()}
	if run != "" {
		rec.Run, rec.Seq, rec.Sealed = []byte(run), seq, true
	}
	rec.Line = []byte(strings.Repeat("x", 200) + payload)
	return rec
}

// Whatever a tenant sends, a compaction that limits reports removes what no
// account ever believes.
func TestReportsThatNobodyBelievesAreRemoved(t *testing.T) {
	const (
		removal   = `{"act":"compact","id":"x","categories":{"events":{"records":9,"runs":[{"run":"r","ranges":[[1,9]]}]}}}`
		dropped   = `{"uptime":9,"categories":{"events":{"accepted":9,"confirmed":8,"dropped":{"encode":{"n":1,"ranges":[[%d,%d]]}}}}}`
		withdrawn = `{"id":"x","end":"withdrawn"}`
	)
	for _, c := range []struct {
		name   string
		system string
		report string
		run    string // "" for no seal
		text   string
		stays  bool
	}{
		{"removal of another system", "evil", papyra.ReportRemoval, "e", removal, false},
		{"removal", papyra.SystemReserved, papyra.ReportRemoval, "e", removal, true},
		{"removal without a seal", papyra.SystemReserved, papyra.ReportRemoval, "", removal, false},
		{"start accepted by another system", "evil", papyra.ReportStartAccepted, "e", `{"id":"x","late":1}`, false},
		{"start accepted", papyra.SystemReserved, papyra.ReportStartAccepted, "e", `{"id":"x","late":1}`, true},
		{"request", papyra.SystemReserved, papyra.ReportActRequested, "e", `{"job":"x"}`, true},
		{"request of another system", "evil", papyra.ReportActRequested, "e", `{"job":"x"}`, false},
		{"end of another system's act", "evil", papyra.ReportCompactionPerformed, "e", withdrawn, false},
		{"end", papyra.SystemReserved, papyra.ReportCompactionPerformed, "e", withdrawn, true},
		{"end without a seal", papyra.SystemReserved, papyra.ReportRecoveryPerformed, "", withdrawn, false},
		{"drops without a seal", "evil", papyra.ReportPublisher, "", fmt.Sprintf(dropped, 3, 3), false},
		{"drops", "evil", papyra.ReportPublisher, "e", fmt.Sprintf(dropped, 3, 3), true},
		{"outages without a seal", "evil", papyra.ReportPublisher, "", `{"outages":[{"from":1}],"categories":{}}`, false},
		{"drops of papyra as a publisher", papyra.SystemReserved, papyra.ReportPublisher, "e", fmt.Sprintf(dropped, 3, 3), false},
		{"a sink's drops, by another system", "evil", papyra.ReportSink, "e", `{"dropped":[{"run":"r","n":1}]}`, false},
		{"a sink's drops", papyra.SystemReserved, papyra.ReportSink, "e", `{"dropped":[{"run":"r","n":1}]}`, true},
	} {
		var records []papyra.Record
		for i := range 20 {
			run := c.run
			if run != "" {
				run = fmt.Sprintf("%s%d", run, i)
			}
			records = append(records, reportRecord(c.system, c.report, run, uint64(i+1), c.text))
		}
		// The newest is what the view holds.
		records = append(records, reportRecord(c.system, "Other", "z", 99, "{}"))
		want := 1
		if c.stays {
			want = len(records)
		}
		if got := len(keptOf(records)); got != want {
			t.Errorf("%s: %d of %d stay, want %d", c.name, got, len(records), want)
		}
	}
}

// Of reports that cannot be true the newest stay, as many as there is room for;
// they take no room of those that can, and no place as the first or the last one.
func TestReportsThatCannotBeTrueAreBounded(t *testing.T) {
	var records []papyra.Record
	add := func(run string, seq uint64, accepted, confirmed int) {
		records = append(records, reportRecord("evil", papyra.ReportPublisher, run, seq,
			fmt.Sprintf(`{"uptime":9,"categories":{"events":{"accepted":%d,"confirmed":%d,"dropped":{"encode":{"n":1,"ranges":[[3,3]]}}}}}`, accepted, confirmed)))
	}
	add("aaaaaaaaaaaaaaaa", 1, 8, 7)
	add("aaaaaaaaaaaaaaaa", 2, 9, 8)
	const flood = 5000
	for i := range flood {
		add("aaaaaaaaaaaaaaaa", uint64(i+3), 100, 7)
	}
	kept := keptOf(records)
	if len(kept) < 4 || kept[0] != 0 || kept[1] != 1 {
		t.Fatalf("the reports that can be true do not stay: %d kept", len(kept))
	}
	size := 0
	for n, i := range kept[2:] {
		size += len(records[i].Line) + 1
		if want := len(records) - len(kept) + 2 + n; i != want {
			t.Fatalf("report %d stays, want the newest", i)
		}
	}
	if size > maxDoubtedOfSystem+500 || size < maxDoubtedOfSystem/2 {
		t.Errorf("%d bytes of reports that cannot be true stay, want about %d", size, maxDoubtedOfSystem)
	}
	// Many systems together are bounded too.
	records = nil
	for i := range 20_000 {
		records = append(records, reportRecord(fmt.Sprintf("s%d", i/2), papyra.ReportPublisher, "aaaaaaaaaaaaaaaa", uint64(i+1), `{"categories":{"events":{"accepted":1}}}`+strings.Repeat(" ", 2000)))
	}
	size = 0
	for _, i := range keptOf(records) {
		if i%2 == 0 { // beyond the view, which holds the newest of each
			size += len(records[i].Line) + 1
		}
	}
	if size > maxDoubted || size < maxDoubted/2 {
		t.Errorf("%d bytes of reports that cannot be true stay, want about %d", size, maxDoubted)
	}
}
