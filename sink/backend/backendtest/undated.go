package backendtest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// A record without a date, because its sender's clock does not know it, is a
// notice. It does not expire by age, and no bound of a query's time leaves it out.
func undatedRecords(t *testing.T, m Medium) {
	b := open(t, m)
	at := testrecord.Start.Add(time.Hour)
	uptime := time.Unix(888, 651_930_000)
	plain := func(text string, when time.Time) []byte { return unsealedEvent("Same", "orders:w", text, when) }
	sealed := testrecord.New(1).EventsAt(uptime, 5) // enough in a row for a scan that looks at them all at once
	old, last := plain("old", testrecord.Start.Add(-time.Hour)), plain("last", time.Unix(papyra.MinDate-1, 0))
	first, recent := plain("first date", time.Unix(papyra.MinDate, 0)), plain("new", at)
	dated := testrecord.New(2).Events(40)
	lines := slices.Concat(sealed, [][]byte{old, plain("up", uptime), first, last, recent}, dated)
	store(t, b, testrecord.Batch(lines...))

	for _, full := range []bool{false, true} {
		r := scanStore(t, b, papyra.ScanOptions{Full: full, Now: at})
		if !r.Clean() || r.NoticeCounts[papyra.NoticeClockSkew] != 7 || len(r.Notices) != 7 {
			t.Errorf("full %v: notices %v, %+v; want the 7 records without a date", full, r.NoticeCounts, r.Notices)
		}
		if r := scanStore(t, b, papyra.ScanOptions{Full: full}); r.NoticeCounts[papyra.NoticeClockSkew] != 0 {
			t.Errorf("full %v, no clock: notices %v", full, r.NoticeCounts)
		}
	}
	undated := append(slices.Clone(sealed), plain("up", uptime), last)
	for _, q := range []papyra.Query{{Since: at.Add(-time.Second)}, {Since: at.Add(-time.Second), Reverse: true}, {Since: at.Add(-time.Second), Until: at.Add(time.Hour), Limit: 50}} {
		want := text(append(slices.Clone(undated), recent))
		if got := list(t, b, papyra.Query{Since: q.Since, Until: q.Until, Limit: q.Limit}); !cmp.Equal(want, got) {
			t.Errorf("%+v (-want +got):\n%s", q, cmp.Diff(want, got))
		}
	}
	if got := list(t, b, papyra.Query{Until: testrecord.Start.Add(-2 * time.Hour)}); len(got) != 8 {
		t.Errorf("until: %q, want the 7 records without a date, and the first date", got)
	}

	view := papyra.Query{Retention: keepAge(30 * time.Minute), At: at}
	shown := list(t, b, view)
	if want := text(append(slices.Clone(undated), recent)); !cmp.Equal(want, shown) {
		t.Errorf("the view (-want +got):\n%s", cmp.Diff(want, shown))
	}
	dry := compact(t, b, papyra.CompactOptions{Retention: view.Retention, At: at, DryRun: true})
	report := compact(t, b, papyra.CompactOptions{Retention: view.Retention, At: at})
	if report.KeptUndated != 7 || dry.KeptUndated != 7 || report.RecordsAfter != 8 {
		t.Errorf("%+v; want 8 records kept, 7 of them because they have no date", report)
	}
	if diff := cmp.Diff(shown, list(t, b, papyra.Query{})); diff != "" {
		t.Errorf("what is left is not the view (-view +left):\n%s", diff)
	}
	// Other limits hold for them as for all.
	report = compact(t, b, papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 3, Age: 30 * time.Minute}}, At: at})
	if report.KeptUndated != 2 || report.RecordsBefore-report.RecordsAfter != 5 {
		t.Errorf("%+v; want 5 records removed and 3 kept, 2 of them without a date", report)
	}
}
