package backendtest

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// What may come after an act that was killed.
const (
	nextCompact = "compact"
	nextNothing = "compact with nothing to do"
	nextRecover = "recover"
)

// endsOthers: compactions that were killed after their announcement are ended by
// the next act on the store, by what is left of what they announced.
func endsOthers(t *testing.T, m Medium, next string) {
	b := open(t, m)
	fresh := papyra.EndWithdrawn
	if m.Shared {
		fresh = "" // somebody may be at work on it
	}
	of := func(run int, ranges ...papyra.Range) []papyra.RemovedRun {
		return []papyra.RemovedRun{{System: "orders", Node: "sample", Run: testrecord.New(run).Run(), Ranges: ranges}}
	}
	cases := []struct {
		name      string
		announced papyra.RemovedCategory
		act       string // of the announcement
		want      string // its end, "" for none
		gone      []papyra.RemovedRun
		records   int64 // of gone
	}{
		{"nothing is left", papyra.RemovedCategory{Records: 5, Bytes: 500, Runs: of(0, papyra.Range{1, 5})}, papyra.ActCompact, "", nil, 0},
		{"all is left", papyra.RemovedCategory{Records: 3, Bytes: 500, Runs: of(1, papyra.Range{6, 8})}, papyra.ActCompact, papyra.EndWithdrawn, nil, 0},
		{"a part is left", papyra.RemovedCategory{Records: 6, Bytes: 5000, Runs: of(2, papyra.Range{2, 6}, papyra.Range{10, 10})}, papyra.ActCompact, papyra.EndPartial,
			of(2, papyra.Range{2, 5}), 4},
		{"no system", papyra.RemovedCategory{Records: 2, Bytes: 5000, Runs: []papyra.RemovedRun{{Run: testrecord.New(3).Run(), Ranges: []papyra.Range{{5, 6}}}}}, papyra.ActCompact, papyra.EndPartial,
			[]papyra.RemovedRun{{Run: testrecord.New(3).Run(), Ranges: []papyra.Range{{5, 5}}}}, 1},
		{"not named", papyra.RemovedCategory{Records: 6, Bytes: 500, Runs: []papyra.RemovedRun{{Run: testrecord.New(4).Run(), Below: 9, N: 6}}}, papyra.ActCompact, "", nil, 0},
		{"of duplicates", papyra.RemovedCategory{Records: 3, Bytes: 500, Runs: of(5, papyra.Range{6, 8})}, papyra.ActDedupe, "", nil, 0},
		{"of a rotation", papyra.RemovedCategory{Records: 3, Bytes: 500, Runs: of(6, papyra.Range{6, 8})}, papyra.ActRotate, "", nil, 0},
		{"just now", papyra.RemovedCategory{Records: 1, Bytes: 500, Runs: of(7, papyra.Range{6, 6})}, papyra.ActCompact, fresh, nil, 0},
	}
	var lines [][]byte
	for i, c := range cases {
		at := testrecord.Start
		if c.name == "just now" {
			at = time.Now()
		}
		src := testrecord.New(i)
		src.Rewind(papyra.KindEvent, 5)
		lines = append(lines, src.Events(6)...) // 6 to 11
		line, err := papyra.SealedReport(papyra.NewIdentity("n"), papyra.SystemReserved, 1, &papyra.Report{
			Name: papyra.ReportRemoval, Payload: papyra.RemovalReport{Act: c.act, ID: c.name, Categories: map[string]papyra.RemovedCategory{"events": c.announced}},
		}, at)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line[:len(line)-1])
	}
	store(t, b, testrecord.Batch(lines...))
	keep := func(records int64) papyra.CompactOptions {
		return papyra.CompactOptions{At: testrecord.Start, Retention: papyra.Retention{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindEvent: {Records: records}}}}
	}
	switch next {
	case nextCompact:
		compact(t, b, keep(6*int64(len(cases))-1))
	case nextNothing:
		compact(t, b, keep(1000))
		compact(t, b, keep(1000))
	case nextRecover:
		m.Plant(t, []byte("no record"))
		recoverStore(t, b, papyra.RecoverOptions{Now: testrecord.Start})
	}
	for _, c := range cases {
		var end papyra.ActEnd
		ends := 0
		for _, p := range reports[papyra.CompactionPerformed](t, b, papyra.ReportCompactionPerformed) {
			if p.ID == c.name {
				end = p.ActEnd
				ends++
			}
		}
		if end.End != c.want || ends > 1 {
			t.Errorf("%s: it ended %q (%d times), want %q", c.name, end.End, ends, c.want)
		}
		var gone []papyra.RemovedRun
		var records int64
		for _, p := range reports[papyra.RemovalReport](t, b, papyra.ReportRemoval) {
			if end.ReplacedBy != "" && p.ID == end.ReplacedBy {
				gone = append(gone, p.Categories["events"].Runs...)
				records += p.Categories["events"].Records
			}
		}
		if diff := gocmp.Diff(c.gone, gone); diff != "" || records != c.records {
			t.Errorf("%s: %d records are gone, want %d (-want +got):\n%s", c.name, records, c.records, diff)
		}
	}
}
