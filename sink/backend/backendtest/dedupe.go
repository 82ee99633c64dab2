package backendtest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// noDuplicates makes sure that a full scan finds none and no damage.
func noDuplicates(t testing.TB, b papyra.Store) {
	t.Helper()
	if r := scanStore(t, b, papyra.ScanOptions{Full: true}); r.Duplicates != 0 || !r.Clean() {
		t.Errorf("after a compaction of duplicates a scan finds %d of them and %v", r.Duplicates, r.AnomalyCounts)
	}
}

// everyCopy returns the lines of a store with one stream, every copy of them.
func everyCopy(t testing.TB, b papyra.Store) []string {
	t.Helper()
	return list(t, b, papyra.Query{Duplicates: true})
}

func compactDuplicates(t *testing.T, m Medium) {
	b := open(t, m)
	l := testrecord.New(1).Events(6)
	other := conflicting(t, l[1])
	plain := unsealedEvent("Same", "orders:w", "n", testrecord.Start)
	rewritten, changed := testrecord.Rewritten(l[5], false), changedRewritten(t, l[4])
	store(t, b, testrecord.Batch(
		l[0], l[1], l[0], plain, other, plain, // far apart and near, equal without an identity
		l[2], l[2], l[2],
		l[1], other, // a conflict, each version twice
		l[3], changed, l[4], changed, // of a rewritten line nobody can say that it is a copy
		rewritten, l[5], rewritten, l[0]))
	for range 2 {
		m.Plant(t, []byte("junk"))
	}
	o := papyra.CompactOptions{Dedupe: true, At: testrecord.Start}
	report := compact(t, b, o)
	// Of each the newest copy stays, in its place.
	want := text([][]byte{plain, plain, l[2], l[1], other, l[3], l[4], changed, rewritten, l[0]})
	if diff := cmp.Diff(want, everyCopy(t, b)); diff != "" {
		t.Errorf("every copy that is left (-want +got):\n%s", diff)
	}
	r := scanStore(t, b, papyra.ScanOptions{Full: true})
	// The second versions of numbers 2 and 5 are conflicts, and the damage stays.
	if r.Duplicates != 0 || r.NoticeCounts[papyra.NoticeConflict] != 2 || r.AnomalyCounts[papyra.ClassCorrupted] != 2 {
		t.Errorf("scan: %d duplicates, notices %v, anomalies %v; want none, 2 conflicts, 2 corrupted", r.Duplicates, r.NoticeCounts, r.AnomalyCounts)
	}
	if report.RecordsBefore != 19 || report.RecordsAfter != 10 || report.Damaged != 2 || len(report.Limits) > 0 {
		t.Errorf("got %+v, want 19 to 10 records and 2 damaged lines", report)
	}
	// Again there is nothing to do, and nothing is written.
	before := scanStore(t, b, papyra.ScanOptions{})
	if again := compact(t, b, o); again.Act != "" || again.RecordsBefore != again.RecordsAfter {
		t.Errorf("a second compaction did something: %+v", again)
	}
	if diff := cmp.Diff(before, scanStore(t, b, papyra.ScanOptions{})); diff != "" {
		t.Errorf("a second compaction wrote something (-before +after):\n%s", diff)
	}
}

// copied returns records of several streams in which many are there again, right
// behind the first, soon after it, and all of them once more.
func copied() (lines [][]byte) {
	src := testrecord.New(1)
	for i := range 60 {
		lines = append(lines, src.Line([]string{"a", "b"}[i%2], []papyra.Kind{papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter}[i%3], "x"))
		if i%4 == 0 {
			lines = append(lines, lines[len(lines)-1])
		}
		if i%10 == 9 {
			lines = append(lines, lines[len(lines)-8:]...)
		}
	}
	return append(lines, lines[:20]...)
}

var dedupeViews = []papyra.Retention{
	keep(1), keep(2), keep(5), keep(12), keepAge(25 * time.Second),
	{General: papyra.Limits{Bytes: 1500}},
	{General: papyra.Limits{Records: 8, Age: 45 * time.Second, Bytes: 2000}},
	{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindEvent: {Records: 3}}},
}

// A view that is taken after the duplicates are gone shows everything that it
// showed before, so that no later compaction removes more; and one without
// limits, or by age alone, exactly that.
func compactDuplicatesKeepsViews(t *testing.T, m Medium) {
	b := open(t, m)
	lines := copied()
	store(t, b, testrecord.Batch(lines...))
	at := testrecord.Start.Add(60 * time.Second)
	show := func(r papyra.Retention) map[papyra.Stream][]string {
		return users(read(t, b, papyra.Query{Retention: r, At: at, Reverse: true}))
	}
	var before []map[papyra.Stream][]string
	for _, r := range dedupeViews {
		before = append(before, show(r))
	}
	whole := show(papyra.Retention{})
	report := compact(t, b, papyra.CompactOptions{Dedupe: true, At: at})
	noDuplicates(t, b)
	if diff := cmp.Diff(whole, users(read(t, b, papyra.Query{Reverse: true, Duplicates: true}))); diff != "" {
		t.Errorf("what is left is not each record once (-want +got):\n%s", diff)
	}
	if n := int64(len(lines) - total(whole)); report.RecordsBefore-report.RecordsAfter != n || count(report.Deduped) != n {
		t.Errorf("got %+v, want %d duplicates removed", report, n)
	}
	for i, r := range dedupeViews {
		after := show(r)
		for stream, shown := range before[i] {
			for _, line := range shown {
				if !slices.Contains(after[stream], line) {
					t.Errorf("retention %+v showed before, and no longer: %s", r, line)
				}
			}
		}
		if byAge := r.General.Records == 0 && r.General.Bytes == 0 && r.General.Age > 0; byAge {
			if diff := cmp.Diff(before[i], after); diff != "" {
				t.Errorf("a view by age changed (-before +after):\n%s", diff)
			}
		}
	}
}

// With limits, the view at T is the same before and after, and what is left is
// that view, each record once.
func compactDuplicatesByLimits(t *testing.T, m Medium) {
	at := testrecord.Start.Add(60 * time.Second)
	lines := copied()
	for _, r := range dedupeViews {
		b := open(t, m)
		store(t, b, testrecord.Batch(lines...))
		raw := users(read(t, b, papyra.Query{Duplicates: true}))
		q := papyra.Query{Retention: r, At: at}
		view := users(read(t, b, q))
		o := papyra.CompactOptions{Retention: r, Dedupe: true, At: at, DryRun: true}
		dry := compact(t, b, o)
		o.DryRun = false
		report := compact(t, b, o)
		for _, q := range []papyra.Query{q, {}, {Duplicates: true}} {
			if diff := cmp.Diff(view, users(read(t, b, q))); diff != "" {
				t.Errorf("compact %+v changed the view, or left more (-before +after):\n%s", r, diff)
			}
		}
		noDuplicates(t, b)
		var all []string
		for _, stream := range raw {
			all = append(all, stream...)
		}
		inView := 0
		for _, stream := range modelViews(all, r, at) {
			inView += len(stream)
		}
		if count(report.Deduped) != int64(inView-total(view)) || count(report.Removed) != int64(len(all)-total(view)) {
			t.Errorf("compact %+v: %+v removed, %+v of them duplicates; want %d and %d", r, report.Removed, report.Deduped, len(all)-total(view), inView-total(view))
		}
		report.DryRun, report.Act, report.Pause = true, "", 0
		if diff := cmp.Diff(dry, report); diff != "" {
			t.Errorf("compact %+v does something else than its dry run said (-dry +real):\n%s", r, diff)
		}
		empty(t, b)
	}
}

func compactDuplicatesTells(t *testing.T, m Medium) {
	b := open(t, m)
	one, two := testrecord.New(1), testrecord.New(2)
	events, letters := one.Events(20), [][]byte{}
	for range 5 {
		letters = append(letters, two.Line("orders", papyra.KindDeadLetter, "x"))
	}
	lines := slices.Concat(events, letters, events[2:6], events[3:5], letters[4:], events[12:13])
	store(t, b, testrecord.Batch(lines...))
	report := compact(t, b, papyra.CompactOptions{
		Retention: papyra.Retention{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindEvent: {Records: 25}}},
		Dedupe:    true, At: testrecord.Start,
	})
	run := func(s *testrecord.Source, ranges ...papyra.Range) []papyra.RemovedRun {
		return []papyra.RemovedRun{{System: "orders", Node: "sample", Run: s.Run(), Ranges: ranges}}
	}
	size := func(lines ...[]byte) int64 { return bytesOf(text(lines)) }
	// The view leaves out the first two events. Of the copies of events 3 to 6 and
	// 13 the newest stay: numbers 4 and 5 lose two each.
	gone := slices.Concat(events[2:6], events[3:5], events[12:13])
	want := []papyra.RemovalReport{
		{Act: papyra.ActCompact, ID: report.Act, Categories: map[string]papyra.RemovedCategory{
			"events": {Records: 2, Bytes: size(events[:2]...), Runs: run(one, papyra.Range{1, 2})},
		}},
		{Act: papyra.ActDedupe, ID: report.Act, Categories: map[string]papyra.RemovedCategory{
			"events":       {Records: 7, Bytes: size(gone...), Runs: run(one, papyra.Range{3, 6}, papyra.Range{13, 13})},
			"dead_letters": {Records: 1, Bytes: size(letters[4]), Runs: run(two, papyra.Range{5, 5})},
		}},
	}
	if diff := cmp.Diff(want, reports[papyra.RemovalReport](t, b, papyra.ReportRemoval)); diff != "" {
		t.Errorf("RemovalReports (-want +got):\n%s", diff)
	}
	performed := reports[papyra.CompactionPerformed](t, b, papyra.ReportCompactionPerformed)
	wantPerformed := []papyra.CompactionPerformed{{
		ID: report.Act, RecordsBefore: int64(len(lines)), RecordsAfter: int64(len(lines) - 10),
		BytesBefore: size(lines...), BytesAfter: size(lines...) - size(events[:2]...) - size(gone...) - size(letters[4]),
		ActEnd: papyra.ActEnd{End: papyra.EndDone},
	}}
	if diff := cmp.Diff(wantPerformed, performed); diff != "" {
		t.Errorf("CompactionPerformed (-want +got):\n%s", diff)
	}
	if count(report.Removed) != 10 || count(report.Deduped) != 8 || len(report.Removed) != 2 || len(report.Deduped) != 2 {
		t.Errorf("got %+v, want 10 removed, 8 of them duplicates", report)
	}
}

func compactDuplicatesOfReports(t *testing.T, m Medium) {
	b := open(t, m)
	src := testrecord.New(1)
	var lines [][]byte
	for range 6 {
		lines = append(lines, src.Line("orders", papyra.KindReport, ""))
	}
	// The first and the last report of run 1, which stay whatever the limits; behind
	// them copies, which fill the view and more.
	other := testrecord.New(2)
	late := other.Line("orders", papyra.KindReport, "")
	store(t, b, testrecord.Batch(append(lines, late, late, late)...))
	at := testrecord.Start.Add(time.Hour)
	limited := papyra.Retention{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindReport: {Records: 2}}}
	q := papyra.Query{Systems: []string{"orders"}, Retention: limited, At: at}
	view := list(t, b, q)
	report := compact(t, b, papyra.CompactOptions{Retention: limited, Dedupe: true, At: at})
	if diff := cmp.Diff(view, list(t, b, q)); diff != "" {
		t.Errorf("the view of the reports changed (-before +after):\n%s", diff)
	}
	if len(report.Limits) != 1 || len(report.Deduped) > 0 {
		t.Errorf("limits %q, deduped %+v; want to be told that copies of reports stay", report.Limits, report.Deduped)
	}
	// Without such a limit their copies go like any others.
	report = compact(t, b, papyra.CompactOptions{Retention: keep(1), Dedupe: true, At: at})
	if len(report.Limits) != 0 || count(report.Deduped) != 2 {
		t.Errorf("limits %q, deduped %+v; want two copies removed", report.Limits, report.Deduped)
	}
	noDuplicates(t, b)
	if diff := cmp.Diff(text([][]byte{lines[0], lines[5], late}), list(t, b, papyra.Query{Systems: []string{"orders"}, Duplicates: true})); diff != "" {
		t.Errorf("reports that are left (-want +got):\n%s", diff)
	}
}
