package backendtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

func compact(t testing.TB, b papyra.Store, o papyra.CompactOptions) *papyra.CompactReport {
	t.Helper()
	r, err := b.Compact(context.Background(), o)
	if err != nil {
		t.Fatalf("compact %+v: %v", o, err)
	}
	return r
}

func compactKeepsView(t *testing.T, m Medium) {
	var lines [][]byte
	src := testrecord.New(1)
	for i := range 120 {
		lines = append(lines, src.Line([]string{"a", "b", "c"}[i%3], papyra.Kinds()[i%3], "x"))
	}
	// One that arrives late and one from the future: append order is not the
	// order of the timestamps.
	lines = append(lines, unsealedEvent("Late", "orders:w", "n", testrecord.Start))
	lines = append(lines, unsealedEvent("Early", "orders:w", "n", testrecord.Start.Add(24*time.Hour)))
	// What is kept is kept byte for byte, whatever its spelling.
	lines = append(lines, oddEvent(testrecord.Start.Add(500*time.Second)))
	lines = append(lines, bytes.Replace(unsealedEvent("Deep", "a:b", "n", testrecord.Start.Add(500*time.Second)), []byte(`{"from":"n"}`),
		[]byte(strings.Repeat("[", papyra.MaxDepth-1)+strings.Repeat("]", papyra.MaxDepth-1)), 1))
	at := testrecord.Start.Add(100 * time.Second)
	for _, r := range []papyra.Retention{
		keep(5),
		keepAge(20 * time.Second),
		{General: papyra.Limits{Bytes: 1500}},
		{General: papyra.Limits{Records: 8, Age: 60 * time.Second, Bytes: 2000}},
		{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindEvent: {Records: 3}}},
	} {
		b := open(t, m)
		store(t, b, testrecord.Batch(lines...))
		before := users(read(t, b, papyra.Query{}))
		want := users(read(t, b, papyra.Query{Retention: r, At: at}))
		report := compact(t, b, papyra.CompactOptions{Retention: r, At: at})
		if diff := cmp.Diff(want, users(read(t, b, papyra.Query{Retention: r, At: at}))); diff != "" {
			t.Errorf("compact %+v changed the view (-before +after):\n%s", r, diff)
		}
		if diff := cmp.Diff(want, users(read(t, b, papyra.Query{}))); diff != "" {
			t.Errorf("compact %+v left more than the view (-want +got):\n%s", r, diff)
		}
		if removed := total(before) - total(want); report.RecordsBefore-report.RecordsAfter != int64(removed) {
			t.Errorf("compact %+v: report says %d to %d records, %d were removed", r, report.RecordsBefore, report.RecordsAfter, removed)
		}
		// Again with the same T there is nothing to do, and nothing is written.
		scan := scanStore(t, b, papyra.ScanOptions{})
		again := compact(t, b, papyra.CompactOptions{Retention: r, At: at})
		if again.Act != "" || again.RecordsBefore != again.RecordsAfter {
			t.Errorf("a second compact %+v did something: %+v", r, again)
		}
		if diff := cmp.Diff(scan, scanStore(t, b, papyra.ScanOptions{})); diff != "" {
			t.Errorf("a second compact %+v wrote something (-before +after):\n%s", r, diff)
		}
		empty(t, b)
	}
}

func total(lines map[papyra.Stream][]string) (n int) {
	for _, l := range lines {
		n += len(l)
	}
	return n
}

// empty leaves at most one old record in each stream, so that a store can be
// used for the next case; what is left is part of that case.
func empty(t testing.TB, b papyra.Store) {
	t.Helper()
	compact(t, b, papyra.CompactOptions{Retention: keepAge(time.Nanosecond), At: testrecord.Start.Add(1000 * time.Hour)})
}

func compactReports(t *testing.T, m Medium) {
	b := open(t, m)
	one, two := testrecord.New(1), testrecord.New(2)
	var lines [][]byte
	for range 50 {
		lines = append(lines, one.Event(), two.Line("orders", papyra.KindDeadLetter, "x"), one.Line("orders", papyra.KindAudit, ""))
	}
	lines = append(lines, unsealedEvent("Odd", "orders:w", "n", testrecord.Start))
	lines = append(lines, one.Events(10)...)
	store(t, b, testrecord.Batch(lines...))
	report := compact(t, b, papyra.CompactOptions{
		Retention: papyra.Retention{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindEvent: {Records: 5}, papyra.KindDeadLetter: {Records: 49}}},
		At:        testrecord.Start,
	})
	removals, performed := reports[papyra.RemovalReport](t, b, papyra.ReportRemoval), reports[papyra.CompactionPerformed](t, b, papyra.ReportCompactionPerformed)
	if len(removals) != 1 || len(performed) != 1 {
		t.Fatalf("got %d RemovalReports and %d CompactionPerformed, want one of each", len(removals), len(performed))
	}
	bytesOfEvents := bytesOf(text([][]byte{lines[len(lines)-11]}))
	for i, l := range lines[:len(lines)-11] {
		if i%3 == 0 {
			bytesOfEvents += int64(len(l)) + 1
		}
	}
	for _, l := range lines[len(lines)-10 : len(lines)-5] {
		bytesOfEvents += int64(len(l)) + 1
	}
	want := papyra.RemovalReport{Act: papyra.ActCompact, ID: report.Act, Categories: map[string]papyra.RemovedCategory{
		"events":       {Records: 56, Bytes: bytesOfEvents, Runs: []papyra.RemovedRun{{System: "orders", Node: "sample", Run: one.Run(), Ranges: []papyra.Range{{1, 55}}}}},
		"dead_letters": {Records: 1, Bytes: int64(len(lines[1])) + 1, Runs: []papyra.RemovedRun{{System: "orders", Node: "sample", Run: two.Run(), Ranges: []papyra.Range{{1, 1}}}}},
	}}
	if diff := cmp.Diff(want, removals[0]); diff != "" {
		t.Errorf("RemovalReport (-want +got):\n%s", diff)
	}
	if p := performed[0]; p.ID != report.Act || p.End != papyra.EndDone || p.RecordsBefore != report.RecordsBefore || p.RecordsAfter != report.RecordsAfter ||
		p.BytesBefore != report.BytesBefore || p.BytesAfter != report.BytesAfter {
		t.Errorf("CompactionPerformed %+v differs from the report %+v", p, report)
	}
	if report.RecordsBefore != 161 || report.RecordsAfter != 104 || report.BytesBefore-report.BytesAfter != bytesOfEvents+int64(len(lines[1]))+1 {
		t.Errorf("got %+v, want 161 to 104 records", report)
	}
}

// reports returns the payloads of the store's reports of one name.
func reports[P any](t testing.TB, b papyra.Store, name string) []P {
	t.Helper()
	var out []P
	_, err := b.Read(context.Background(), papyra.Query{Kinds: []papyra.Kind{papyra.KindReport}, Types: []string{name}, Systems: []string{papyra.SystemReserved}},
		func(r *papyra.Record, _ papyra.Place) error {
			if !r.Sealed {
				t.Errorf("report is not sealed: %s", r.Line)
			}
			var p P
			dec := json.NewDecoder(bytes.NewReader(r.Payload))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&p); err != nil {
				t.Errorf("payload of %s: %v", r.Line, err)
			}
			out = append(out, p)
			return nil
		})
	if err != nil {
		t.Fatalf("read reports: %v", err)
	}
	return out
}

func compactKeepsReports(t *testing.T, m Medium) {
	b := open(t, m)
	one, two := testrecord.New(1), testrecord.New(2)
	report := func(s *testrecord.Source) []byte { return s.Line("orders", papyra.KindReport, "") }
	var firsts [][]byte
	var lastOne, lastTwo []byte
	var lines [][]byte
	for i := range 5 {
		var of []byte
		of, lastTwo = report(one), report(two)
		lines = append(lines, one.Event(), of, lastTwo)
		if i == 0 {
			firsts = [][]byte{of, lastTwo}
		}
	}
	lastOne = report(one)
	lines = append(lines, lastOne)
	store(t, b, testrecord.Batch(lines...))
	at := testrecord.Start.Add(time.Hour)
	// A general limit does not touch reports.
	compact(t, b, papyra.CompactOptions{Retention: keep(1), At: at})
	orders := papyra.Query{Kinds: []papyra.Kind{papyra.KindReport}, Systems: []string{"orders"}}
	if got := list(t, b, orders); len(got) != 11 {
		t.Errorf("keep_records removed reports: %d of 11 are left", len(got))
	}
	removals := len(reports[papyra.RemovalReport](t, b, papyra.ReportRemoval))
	for _, limits := range []papyra.Limits{{Age: time.Nanosecond}, {Bytes: 1}, {Records: 1}} {
		r := papyra.Retention{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindReport: limits}}
		view := list(t, b, papyra.Query{Kinds: orders.Kinds, Systems: orders.Systems, Retention: r, At: at})
		compact(t, b, papyra.CompactOptions{Retention: r, At: at})
		got := list(t, b, orders)
		want := text(append(firsts, lastTwo, lastOne))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limits %+v: the first and the last PublisherReport of each run must stay (-want +got):\n%s", limits, diff)
		}
		if diff := cmp.Diff(view, list(t, b, papyra.Query{Kinds: orders.Kinds, Systems: orders.Systems, Retention: r, At: at})); diff != "" {
			t.Errorf("limits %+v changed the view (-before +after):\n%s", limits, diff)
		}
		if n := len(reports[papyra.RemovalReport](t, b, papyra.ReportRemoval)); n < removals {
			t.Errorf("limits %+v removed RemovalReports: %d of %d are left", limits, n, removals)
		} else {
			removals = n
		}
	}
}

func compactUsage(t *testing.T, m Medium) {
	b := open(t, m)
	lines := testrecord.New(1).Events(3)
	store(t, b, testrecord.Batch(lines...))
	for name, o := range map[string]papyra.CompactOptions{
		"no limit":              {At: testrecord.Start},
		"no moment, duplicates": {Dedupe: true},
		"no moment":             {Retention: keep(1)},
		"negative number":       {Retention: keep(-1), At: testrecord.Start},
		"negative age":          {Retention: keepAge(-1), At: testrecord.Start},
		"negative size":         {Retention: papyra.Retention{General: papyra.Limits{Bytes: -1}}, At: testrecord.Start},
	} {
		if _, err := b.Compact(context.Background(), o); !errors.Is(err, papyra.ErrUsage) {
			t.Errorf("%s: got %v, want papyra.ErrUsage", name, err)
		}
	}
	if diff := cmp.Diff(text(lines), list(t, b, papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func compactLeavesDamage(t *testing.T, m Medium) {
	b := open(t, m)
	src := testrecord.New(1)
	store(t, b, testrecord.Batch(src.Events(10)...))
	for _, d := range damage() {
		m.Plant(t, d.line)
	}
	store(t, b, testrecord.Batch(src.Events(10)...))
	// No damage, but nothing that a limit applies to: it stays like damage.
	unknown := []byte(`{"kind":"of tomorrow","system_id":"orders","timestamp":1}`)
	store(t, b, testrecord.Batch(unknown))
	before := scanStore(t, b, papyra.ScanOptions{})
	left := int64(20)
	for _, c := range []struct {
		limits papyra.Limits
		leaves int64
	}{
		{papyra.Limits{Records: 9}, 9},
		// By age, too: a line without a timestamp, or with a wrong one, is not old.
		{papyra.Limits{Age: 4500 * time.Millisecond}, 5},
		{papyra.Limits{Bytes: 1}, 0},
	} {
		r := compact(t, b, papyra.CompactOptions{Retention: papyra.Retention{General: c.limits}, At: testrecord.Start.Add(20 * time.Second)})
		if r.Damaged != int64(len(damage())) || r.RecordsBefore-r.RecordsAfter != left-c.leaves {
			t.Errorf("%+v: got %+v, want %d damaged lines and %d to %d records", c.limits, r, len(damage()), left, c.leaves)
		}
		left = c.leaves
		after := scanStore(t, b, papyra.ScanOptions{})
		if diff := cmp.Diff(before.AnomalyCounts, after.AnomalyCounts); diff != "" {
			t.Errorf("%+v: damage that is gone or new (-before +after):\n%s", c.limits, diff)
		}
		if diff := cmp.Diff(r.Counts, after.AnomalyCounts); diff != "" {
			t.Errorf("%+v: damage by class (-report +scan):\n%s", c.limits, diff)
		}
		if diff := cmp.Diff([]string{string(unknown)}, read(t, b, papyra.Query{})[papyra.Stream{System: "orders", Kind: papyra.KindUnknown}]); diff != "" {
			t.Errorf("%+v: records of an unknown kind (-want +got):\n%s", c.limits, diff)
		}
	}
}

func compactDuringAppends(t *testing.T, m Medium) {
	b := open(t, m)
	src := testrecord.New(1)
	a := appender(t, b)
	defer closeAppender(t, a)
	appendAll(t, a, testrecord.Batch(src.Events(2000)...))
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			batch := testrecord.Batch(src.Events(5)...)
			if stored, err := a.Append(context.Background(), batch); err != nil || stored != 5 {
				t.Errorf("append during compact: stored %d, error %v", stored, err)
				break
			}
			n += 5
			select {
			case <-stop:
			default:
				continue
			}
			break
		}
		done <- n
	}()
	for i := range 3 {
		r := compact(t, b, papyra.CompactOptions{Retention: keep(100), At: testrecord.Start})
		if i == 0 && r.RecordsAfter != 100 {
			t.Errorf("compact during appends: %+v, want 100 records left", r)
		}
		if r.Pause < 0 {
			t.Errorf("pause %v", r.Pause)
		}
	}
	close(stop)
	n := <-done
	if t.Failed() {
		return
	}
	// Everything that was appended since the last compaction began is there, and
	// before it at least what was kept: the newest number is the last of an
	// unbroken run.
	var seqs []uint64
	_, err := b.Read(context.Background(), papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}}, func(r *papyra.Record, _ papyra.Place) error {
		seqs = append(seqs, r.Seq)
		return nil
	})
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if len(seqs) < 100 || seqs[len(seqs)-1] != uint64(2000+n) {
		t.Fatalf("%d records, want at least 100 up to number %d", len(seqs), 2000+n)
	}
	for i := range seqs {
		if seqs[i] != seqs[0]+uint64(i) {
			t.Fatalf("number %d follows %d", seqs[i], seqs[i-1])
		}
	}
	if r := scanStore(t, b, papyra.ScanOptions{}); !r.Clean() {
		t.Errorf("scan: %+v", r.Anomalies)
	}
}

// damaged is a line that is no record.
type damaged struct {
	class papyra.Class
	line  []byte
}

// damage returns one line of each class that a line can have. They must not be
// changed.
var damage = sync.OnceValue(makeDamage)

func makeDamage() []damaged {
	whole := testrecord.New(9).Events(3)
	flipped := bytes.Clone(whole[0])
	flipped[bytes.Index(flipped, []byte("text"))] ^= 0x01
	return []damaged{
		{papyra.ClassTruncated, whole[0][:len(whole[0])/2]},
		{papyra.ClassCorrupted, []byte("junk")},
		{papyra.ClassCorrupted, []byte(`[1,2]`)},
		{papyra.ClassCorrupted, []byte(`"a scalar"`)},
		{papyra.ClassCorrupted, []byte("null")},
		{papyra.ClassCorrupted, []byte(strings.Repeat("[", 100_000))},
		{papyra.ClassInvalidUTF8, bytes.Replace(unsealedEvent("x", "a:b", "n", testrecord.Start), []byte("x"), []byte{0xff}, 1)},
		{papyra.ClassInvalidUTF8, bytes.Replace(unsealedEvent("x", "a:b", "n", testrecord.Start), []byte(`"x"`), []byte(`"\ud83d"`), 1)},
		{papyra.ClassCorrupted, bytes.Replace(unsealedEvent("x", "a:b", "n", testrecord.Start), []byte(`{"from":"n"}`), []byte("NaN"), 1)},
		{papyra.ClassCorrupted, bytes.Replace(unsealedEvent("x", "a:b", "n", testrecord.Start), []byte(`{"from":"n"}`),
			[]byte(strings.Repeat("[", papyra.MaxDepth)+strings.Repeat("]", papyra.MaxDepth)), 1)},
		{papyra.ClassNULRun, make([]byte, 100)},
		{papyra.ClassOversize, bytes.Repeat([]byte("x"), papyra.MaxStoredLine)},
		{papyra.ClassMissingField, []byte(`{"kind":"event","system_id":"orders","timestamp":1}`)},
		{papyra.ClassMissingField, []byte(`{}`)},
		{papyra.ClassMissingField, bytes.Replace(unsealedEvent("x", "a:b", "n", testrecord.Start), []byte(`"kind"`), []byte(`"Kind"`), 1)},
		{papyra.ClassMissingField, bytes.Replace(unsealedEvent("x", "a:b", "n", testrecord.Start), []byte(`,"timestamp":1700000000.0`), nil, 1)},
		{papyra.ClassBadTimestamp, bytes.Replace(unsealedEvent("x", "a:b", "n", testrecord.Start), []byte("1700000000.0"), []byte(`"now"`), 1)},
		{papyra.ClassDuplicateKey, bytes.Replace(unsealedEvent("x", "a:b", "n", testrecord.Start), []byte(`"kind"`), []byte(`"kind":"event","kind"`), 1)},
		{papyra.ClassChecksumMismatch, flipped},
		{papyra.ClassChecksumMismatch, bytes.Replace(whole[1], []byte(`"crc"`), []byte(`"crd"`), 1)},
	}
}

func scanFinds(t *testing.T, m Medium) {
	b := open(t, m)
	src := testrecord.New(1)
	var lines [][]byte
	want := map[papyra.Class]int64{}
	for _, d := range damage() {
		events := src.Events(3)
		store(t, b, testrecord.Batch(events...))
		lines = append(lines, events...)
		m.Plant(t, d.line)
		want[d.class]++
	}
	unknown := []byte(`{"kind":"of tomorrow","system_id":"orders","timestamp":1700000000,"x":{}}`)
	future := unsealedEvent("x", "a:b", "n", testrecord.Start.Add(48*time.Hour))
	store(t, b, testrecord.Batch(unknown, future))
	for _, full := range []bool{false, true} {
		r := scanStore(t, b, papyra.ScanOptions{Full: full, Now: testrecord.Start})
		if diff := cmp.Diff(want, r.AnomalyCounts); diff != "" {
			t.Errorf("full %v: anomalies (-want +got):\n%s", full, diff)
		}
		if len(r.Anomalies) != len(damage()) {
			t.Fatalf("full %v: %d anomalies are listed, want %d", full, len(r.Anomalies), len(damage()))
		}
		for i, d := range damage() {
			if r.Anomalies[i].Class != d.class || r.Anomalies[i].Length != int64(len(d.line)) {
				t.Errorf("full %v: anomaly %d is %+v, want %s of %d bytes", full, i, r.Anomalies[i], d.class, len(d.line))
			}
		}
		notices := map[papyra.Class]int64{papyra.NoticeUnknownKind: 1, papyra.NoticeClockSkew: 1, papyra.NoticeUnsealed: 2}
		if diff := cmp.Diff(notices, r.NoticeCounts); diff != "" {
			t.Errorf("full %v: notices (-want +got):\n%s", full, diff)
		}
		if r.Records != int64(len(lines)+2) || r.Sealed != int64(len(lines)) || r.Lines != int64(len(lines)+2+len(damage())) || r.Incomplete {
			t.Errorf("full %v: counts %+v", full, r)
		}
		again := scanStore(t, b, papyra.ScanOptions{Full: full, Now: testrecord.Start})
		if diff := cmp.Diff(r, again); diff != "" {
			t.Errorf("full %v: a second scan finds something else (-first +second):\n%s", full, diff)
		}
	}
	few := scanStore(t, b, papyra.ScanOptions{MaxListed: 2})
	if len(few.Anomalies) != 2 || few.Anomalies[0].Class != damage()[0].class {
		t.Errorf("MaxListed 2 lists %+v", few.Anomalies)
	}
	if diff := cmp.Diff(want, few.AnomalyCounts); diff != "" {
		t.Errorf("MaxListed 2 changes the counts (-want +got):\n%s", diff)
	}
	n := 0
	missed, err := b.Read(context.Background(), papyra.Query{}, func(*papyra.Record, papyra.Place) error { n++; return nil })
	if err != nil || n != len(lines)+2 || missed != int64(len(damage())) {
		t.Errorf("read: %d records, %d damaged, error %v; want %d, %d, nil", n, missed, err, len(lines)+2, len(damage()))
	}
}

func scanFull(t *testing.T, m Medium) {
	b := open(t, m)
	l := testrecord.New(1).Events(5)
	plain := unsealedEvent("Same", "orders:w", "n", testrecord.Start)
	store(t, b, testrecord.Batch(l[0], l[1], l[0], plain, plain, l[2], conflicting(t, l[1]), l[1], l[0], l[3], l[4]))
	r := scanStore(t, b, papyra.ScanOptions{Full: true})
	if r.Duplicates != 3 || r.NoticeCounts[papyra.NoticeConflict] != 1 || len(r.Limits) > 0 || !r.Clean() {
		t.Errorf("got %d duplicates, %d conflicts, limits %v, clean %v; want 3, 1, none, true",
			r.Duplicates, r.NoticeCounts[papyra.NoticeConflict], r.Limits, r.Clean())
	}
	if len(r.Notices) != 1 || r.Notices[0].Class != papyra.NoticeConflict {
		t.Errorf("notices %+v, want the one conflict", r.Notices)
	}
	if r := scanStore(t, b, papyra.ScanOptions{}); r.Duplicates != 0 || r.NoticeCounts[papyra.NoticeConflict] != 0 {
		t.Errorf("a scan that is not full found %d duplicates", r.Duplicates)
	}
}

func recoverStore(t testing.TB, b papyra.Store, o papyra.RecoverOptions) *papyra.RecoverReport {
	t.Helper()
	r, err := b.Recover(context.Background(), o)
	if err != nil {
		t.Fatalf("recover: %v", err)
	}
	return r
}

func recoverConserves(t *testing.T, m Medium) {
	b := open(t, m)
	src := testrecord.New(1)
	var lines [][]byte
	for _, d := range damage() {
		events := src.Events(2)
		lines = append(lines, events...)
		store(t, b, testrecord.Batch(events...))
		m.Plant(t, d.line)
	}
	unknown, odd := []byte(`{"kind":"of tomorrow","system_id":"orders","timestamp":1}`), oddEvent(testrecord.Start)
	store(t, b, testrecord.Batch(unknown, odd))
	before := scanStore(t, b, papyra.ScanOptions{Full: true})
	r := recoverStore(t, b, papyra.RecoverOptions{Now: testrecord.Start})
	if r.Moved != int64(len(damage())) || r.Quarantine == "" || r.Act == "" || r.After == nil || !r.After.Clean() {
		t.Errorf("got %+v, want %d moved and a clean store", r, len(damage()))
	}
	if diff := cmp.Diff(before.AnomalyCounts, r.Before.AnomalyCounts); diff != "" {
		t.Errorf("the report's Before (-scan +report):\n%s", diff)
	}
	saved := m.Quarantined(t, r)
	if len(saved) != len(damage()) {
		t.Fatalf("%d places in quarantine, want %d", len(saved), len(damage()))
	}
	for i, d := range damage() {
		if !bytes.Equal(saved[i], d.line) {
			t.Errorf("quarantined %d: %.80q, want %.80q", i, saved[i], d.line)
		}
	}
	got := users(read(t, b, papyra.Query{}))
	want := map[papyra.Stream][]string{
		{System: "orders", Kind: papyra.KindEvent}:   text(lines),
		{System: "orders", Kind: papyra.KindUnknown}: {string(unknown)},
		{System: "a", Kind: papyra.KindEvent}:        {string(odd)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kept records (-want +got):\n%s", diff)
	}
	removals, performed := reports[papyra.RemovalReport](t, b, papyra.ReportRemoval), reports[papyra.RecoveryPerformed](t, b, papyra.ReportRecoveryPerformed)
	if len(removals) != 1 || removals[0].Act != papyra.ActRecover || removals[0].ID != r.Act || removals[0].Damaged != r.Moved || removals[0].DamagedBytes != r.MovedBytes {
		t.Errorf("RemovalReports %+v, want one like %+v", removals, r)
	}
	if len(performed) != 1 || performed[0].ID != r.Act || performed[0].End != papyra.EndDone || performed[0].Moved != r.Moved || performed[0].Quarantine != r.Quarantine {
		t.Errorf("RecoveryPerformed %+v, want one like %+v", performed, r)
	}
	// Again there is nothing to do, and nothing is written.
	scan := scanStore(t, b, papyra.ScanOptions{})
	again := recoverStore(t, b, papyra.RecoverOptions{})
	if again.Moved != 0 || again.Act != "" || again.Quarantine != "" {
		t.Errorf("a second recovery did something: %+v", again)
	}
	if diff := cmp.Diff(scan, scanStore(t, b, papyra.ScanOptions{})); diff != "" {
		t.Errorf("a second recovery wrote something (-before +after):\n%s", diff)
	}
}

func recoverNothing(t *testing.T, m Medium) {
	b := open(t, m)
	lines := testrecord.New(1).Events(10)
	store(t, b, testrecord.Batch(lines...))
	r := recoverStore(t, b, papyra.RecoverOptions{})
	if r.Moved != 0 || r.Act != "" || r.After == nil || !r.After.Clean() {
		t.Errorf("got %+v", r)
	}
	if got := read(t, b, papyra.Query{}); len(got) != 1 {
		t.Errorf("a recovery with nothing to do wrote: %v", got)
	}
}

func dryRuns(t *testing.T, m Medium) {
	b := open(t, m)
	src := testrecord.New(1)
	store(t, b, testrecord.Batch(src.Events(50)...))
	for _, d := range damage() {
		m.Plant(t, d.line)
	}
	scan := scanStore(t, b, papyra.ScanOptions{})
	before := read(t, b, papyra.Query{})
	unchanged := func(what string) {
		t.Helper()
		if diff := cmp.Diff(scan, scanStore(t, b, papyra.ScanOptions{})); diff != "" {
			t.Errorf("%s changed the store (-before +after):\n%s", what, diff)
		}
		if diff := cmp.Diff(before, read(t, b, papyra.Query{})); diff != "" {
			t.Errorf("%s changed the records (-before +after):\n%s", what, diff)
		}
	}
	o := papyra.CompactOptions{Retention: keep(7), At: testrecord.Start, DryRun: true}
	dryCompact := compact(t, b, o)
	unchanged("dry compact")
	dryRecover := recoverStore(t, b, papyra.RecoverOptions{DryRun: true})
	unchanged("dry recover")
	if !dryCompact.DryRun || !dryRecover.DryRun || dryRecover.After != nil {
		t.Errorf("dry runs do not say so: %+v, %+v", dryCompact, dryRecover)
	}
	o.DryRun = false
	wet := compact(t, b, o)
	wet.DryRun, wet.Act, wet.Pause = true, "", 0
	if diff := cmp.Diff(dryCompact, wet); diff != "" {
		t.Errorf("compact does something else than its dry run said (-dry +real):\n%s", diff)
	}
	r := recoverStore(t, b, papyra.RecoverOptions{})
	if r.Moved != dryRecover.Moved || r.MovedBytes != dryRecover.MovedBytes {
		t.Errorf("recover moved %d places of %d bytes, its dry run said %d of %d", r.Moved, r.MovedBytes, dryRecover.Moved, dryRecover.MovedBytes)
	}
}

func busyActs(t *testing.T, m Medium) {
	ctx := context.Background()
	b, other := open(t, m), open(t, m)
	a := appender(t, b)
	lines := testrecord.New(1).Events(10)
	appendAll(t, a, testrecord.Batch(lines...))
	o := papyra.CompactOptions{Retention: keep(2), At: testrecord.Start}
	if m.Shared {
		actsOfAnother(t, m, a, b, other, lines)
		return
	}
	if _, err := other.Recover(ctx, papyra.RecoverOptions{}); !errors.Is(err, papyra.ErrBusy) {
		t.Errorf("recover of what another backend appends to: got %v, want papyra.ErrBusy", err)
	}
	if _, err := other.Compact(ctx, o); !errors.Is(err, papyra.ErrBusy) {
		t.Errorf("compact of what another backend appends to: got %v, want papyra.ErrBusy", err)
	}
	if got := list(t, other, papyra.Query{}); len(got) != 10 {
		t.Errorf("another backend reads %d records beside the appender, want 10", len(got))
	}
	if r := scanStore(t, other, papyra.ScanOptions{}); r.Records != 10 || !r.Clean() {
		t.Errorf("another backend's scan beside the appender: %+v", r)
	}
	// The appender's own backend may.
	compact(t, b, o)
	recoverStore(t, b, papyra.RecoverOptions{})
	appendAll(t, a, testrecord.Batch(testrecord.New(2).Events(1)...))
	if err := a.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if got := list(t, b, papyra.Query{}); len(got) != 3 {
		t.Errorf("%d records are left, want 2 and the one appended since: %s", len(got), fmt.Sprint(got))
	}
}

// actsOfAnother recovers and compacts a shared store through another backend
// while the first one's appender is open, and goes on appending.
func actsOfAnother(t *testing.T, m Medium, a papyra.Appender, b, other papyra.Store, lines [][]byte) {
	t.Helper()
	m.Plant(t, []byte("junk"))
	if r := recoverStore(t, other, papyra.RecoverOptions{}); r.Moved != 1 || !r.After.Clean() {
		t.Errorf("recover beside an appender: %+v", r)
	}
	if r := compact(t, other, papyra.CompactOptions{Retention: keep(2), At: testrecord.Start}); r.RecordsBefore-r.RecordsAfter != 8 {
		t.Errorf("compact beside an appender: %+v, want 8 records removed", r)
	}
	more := testrecord.New(2).Events(1)
	appendAll(t, a, testrecord.Batch(more...))
	if err := a.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	want := append(text(lines[8:]), text(more)...)
	for _, b := range []papyra.Store{b, other} {
		if diff := cmp.Diff(want, list(t, b, papyra.Query{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
