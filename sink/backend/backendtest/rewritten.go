package backendtest

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// changedRewritten returns an event as a rewrite by the Python implementation
// leaves it, with another text, so that no checksum vouches for it.
func changedRewritten(t testing.TB, event []byte) []byte {
	t.Helper()
	line := bytes.Replace(testrecord.Rewritten(event, false), []byte(`"text `), []byte(`"tExt `), 1)
	if rec, err := papyra.Parse(line); err != nil || !rec.Unverified() {
		t.Fatalf("%v: %s", err, line)
	}
	return line
}

// A rewritten line is the record that it was, with its bytes as they are stored,
// where a canonical form of it verifies. Where none does it is a notice, and
// neither damage nor a copy of anything.
func rewrittenLines(t *testing.T, m Medium) {
	b := open(t, m)
	src := testrecord.New(1)
	l := src.Events(4)
	city := src.Line("orders", papyra.KindEvent, "Größe 東京 🛑")
	changed := changedRewritten(t, l[3])
	spaced, escaped := testrecord.Rewritten(city, false), testrecord.Rewritten(city, true)
	lines := [][]byte{testrecord.Rewritten(l[0], true), l[1], l[0], spaced, changed, testrecord.Rewritten(l[1], false), city, escaped}
	store(t, b, testrecord.Batch(lines...))

	if diff := cmp.Diff(text(lines), list(t, b, papyra.Query{Duplicates: true})); diff != "" {
		t.Errorf("the stored bytes are not the given ones (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(text([][]byte{lines[0], l[1], spaced, changed}), list(t, b, papyra.Query{})); diff != "" {
		t.Errorf("each record once, in append order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(text([][]byte{escaped, testrecord.Rewritten(l[1], false), changed, l[0]}), list(t, b, papyra.Query{Reverse: true})); diff != "" {
		t.Errorf("each record once, the newest first (-want +got):\n%s", diff)
	}
	for _, full := range []bool{false, true} {
		r := scanStore(t, b, papyra.ScanOptions{Full: full, Now: testrecord.Start})
		if !r.Clean() || r.Records != 8 || r.Sealed != 7 || r.Unverified != 1 || full && r.Duplicates != 4 {
			t.Errorf("full %v: %+v; want a clean store with 8 records, 7 sealed, 1 unverified, and 4 duplicates", full, r)
		}
		if diff := cmp.Diff(map[papyra.Class]int64{papyra.NoticeUnverified: 1}, r.NoticeCounts); diff != "" {
			t.Errorf("full %v: notices (-want +got):\n%s", full, diff)
		}
		if len(r.Notices) != 1 || r.Notices[0].Length != int64(len(changed)) || r.Notices[0].File == "" && r.Notices[0].ID == "" {
			t.Errorf("full %v: notices %+v, want the place of the unverified line", full, r.Notices)
		}
	}
	if r := recoverStore(t, b, papyra.RecoverOptions{Now: testrecord.Start}); r.Moved != 0 {
		t.Errorf("recover moved %d places", r.Moved)
	}
	report := compact(t, b, papyra.CompactOptions{Dedupe: true, At: testrecord.Start.Add(time.Hour)})
	if report.RecordsBefore != 8 || report.RecordsAfter != 4 {
		t.Errorf("%+v; want 8 to 4 records", report)
	}
	if diff := cmp.Diff(text([][]byte{l[0], changed, lines[5], escaped}), list(t, b, papyra.Query{Duplicates: true})); diff != "" {
		t.Errorf("of each record the newest copy stays (-want +got):\n%s", diff)
	}
	noDuplicates(t, b)
}
