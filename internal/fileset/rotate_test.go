package fileset_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// bound opens another store on the same set, with other limits.
func bound(t testing.TB, path string, maxBytes int64, maxFiles int) *fixture {
	t.Helper()
	f := &fixture{t: t, path: path, disk: faultdisk.New(), clock: &clock{now: testrecord.Start}}
	var err error
	f.Store, err = fileset.Open(fileset.Config{
		Path: path, Numbered: true, MaxBytes: maxBytes, MaxFiles: maxFiles, Disk: f.disk, Now: f.clock.Now,
	})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func newBound(t testing.TB, maxBytes int64, maxFiles int) *fixture {
	t.Helper()
	return bound(t, filepath.Join(testkit.FastDir(t), "records.ndjson"), maxBytes, maxFiles)
}

// member is one file of a set.
type member struct {
	number int
	data   []byte
}

// members returns the files of the set, the oldest first.
func (f *fixture) members() (out []member) {
	f.t.Helper()
	entries, err := os.ReadDir(filepath.Dir(f.path))
	must(f.t, err)
	base := filepath.Base(f.path)
	for _, e := range entries {
		number, err := 0, error(nil)
		if rest, ok := strings.CutPrefix(e.Name(), base+"."); ok {
			number, err = strconv.Atoi(rest)
		} else if e.Name() != base {
			continue
		}
		if err != nil || !e.Type().IsRegular() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(filepath.Dir(f.path), e.Name()))
		must(f.t, err)
		out = append(out, member{number, data})
	}
	slices.SortFunc(out, func(a, b member) int { return cmp.Compare(b.number, a.number) })
	return out
}

func (f *fixture) numbers() (out []int) {
	f.t.Helper()
	for _, m := range f.members() {
		out = append(out, m.number)
	}
	return out
}

// all returns the bytes of the whole set in append order.
func (f *fixture) all() (out []byte) {
	f.t.Helper()
	for _, m := range f.members() {
		out = append(out, m.data...)
	}
	return out
}

// removals returns the RemovalReports of the set.
func (f *fixture) removals() (out []papyra.RemovalReport) {
	f.t.Helper()
	q := papyra.Query{Kinds: []papyra.Kind{papyra.KindReport}, Types: []string{papyra.ReportRemoval}}
	_, err := f.Read(context.Background(), q, func(r *papyra.Record, _ papyra.Place) error {
		out = append(out, f.removal(r))
		return nil
	})
	must(f.t, err)
	return out
}

// removal returns what a RemovalReport says. The same line is decoded once.
func (f *fixture) removal(r *papyra.Record) papyra.RemovalReport {
	f.t.Helper()
	if p, ok := f.decoded[string(r.Line)]; ok {
		return p
	}
	if !r.Sealed {
		f.t.Errorf("not sealed: %s", r.Line)
	}
	var p papyra.RemovalReport
	must(f.t, json.Unmarshal(r.Payload, &p))
	if f.decoded == nil {
		f.decoded = map[string]papyra.RemovalReport{}
	}
	f.decoded[string(r.Line)] = p
	return p
}

// removed returns the numbers of a run's events that the reports name, and the
// sum of what they count.
func (f *fixture) removed(run string) (seqs map[uint64]bool, records, size int64) {
	f.t.Helper()
	return named(f.removals(), run)
}

func named(reports []papyra.RemovalReport, run string) (seqs map[uint64]bool, records, size int64) {
	seqs = map[uint64]bool{}
	for _, r := range reports {
		events := r.Categories["events"]
		records += events.Records
		size += events.Bytes
		for _, of := range events.Runs {
			for _, ranges := range of.Ranges {
				for n := ranges[0]; of.Run == run && n <= ranges[1]; n++ {
					seqs[n] = true
				}
			}
		}
	}
	return seqs, records, size
}

// seqs returns the numbers of the records of a run that are stored, in append
// order.
func (f *fixture) seqs(run string) []uint64 {
	f.t.Helper()
	stored, _ := f.account(run, papyra.KindEvent)
	return stored
}

// account returns, from one reading of the set, the numbers of the events of a
// run that are stored, in append order, and the RemovalReports, each once. Only
// these kinds are read.
func (f *fixture) account(run string, kinds ...papyra.Kind) (stored []uint64, reports []papyra.RemovalReport) {
	f.t.Helper()
	seen := map[string]bool{}
	_, err := f.Read(context.Background(), papyra.Query{Kinds: kinds, Duplicates: true}, func(r *papyra.Record, _ papyra.Place) error {
		switch {
		case r.Kind == papyra.KindEvent && string(r.Run) == run:
			stored = append(stored, r.Seq)
		case r.Kind == papyra.KindReport && string(r.Type) == papyra.ReportRemoval && !seen[string(r.Line)]:
			seen[string(r.Line)] = true
			reports = append(reports, f.removal(r))
		}
		return nil
	})
	must(f.t, err)
	return stored, reports
}

// checkAccount makes sure that the events 1 to n of a run are stored at the end
// of the set, in order and once, and that reports explain the others.
func (f *fixture) checkAccount(run string, n int) {
	f.t.Helper()
	stored, reports := f.account(run, papyra.KindEvent, papyra.KindReport)
	if len(stored) == 0 || stored[len(stored)-1] != uint64(n) {
		f.t.Fatalf("stored are %v, want them to end at %d", stored, n)
	}
	for i, seq := range stored {
		if seq != stored[0]+uint64(i) {
			f.t.Fatalf("stored are %v, want no gap and none twice", stored)
		}
	}
	seqs, records, _ := named(reports, run)
	for seq := uint64(1); seq < stored[0]; seq++ {
		if !seqs[seq] {
			f.t.Errorf("%d is not stored, and no report tells why: %v", seq, reports)
		}
	}
	if gone := int(stored[0] - 1); len(seqs) != gone || records != int64(gone) {
		f.t.Errorf("reports name %d and count %d events, %d are gone", len(seqs), records, gone)
	}
}

// checkBound makes sure that no file is larger than the bound, unless one line
// alone is, or one line behind the reports of a rotation; and that there are not
// too many.
func (f *fixture) checkBound(maxBytes, maxFiles int) {
	f.t.Helper()
	members := f.members()
	if len(members) > maxFiles {
		f.t.Errorf("%d files, want at most %d", len(members), maxFiles)
	}
	for _, m := range members {
		if len(m.data) == 0 {
			continue
		}
		if m.data[len(m.data)-1] != '\n' {
			f.t.Errorf("file %d does not end in a newline", m.number)
		}
		lines := bytes.SplitAfter(bytes.TrimSuffix(m.data, []byte("\n")), []byte("\n"))
		for len(lines) > 1 && bytes.Contains(lines[0], []byte(`"report":"RemovalReport"`)) {
			lines = lines[1:]
		}
		if len(m.data) > maxBytes && len(lines) > 1 {
			f.t.Errorf("file %d has %d bytes and %d lines, want at most %d bytes", m.number, len(m.data), len(lines), maxBytes)
		}
	}
}

// The layout: PATH is appended to, PATH.1 is the newest before it, the highest
// number the oldest. A batch is split between records, and no byte changes.
func TestRotateLayout(t *testing.T) {
	const maxBytes = 1000
	f := newBound(t, maxBytes, 100)
	lines := testrecord.New(1).Events(100)
	a := f.appender()
	f.append(a, lines[:70]...)
	for _, l := range lines[70:] {
		f.append(a, l)
	}
	if !bytes.Equal(f.all(), testrecord.Join(lines...)) {
		t.Errorf("the set is not what was appended")
	}
	members := f.members()
	for i, m := range members {
		if m.number != len(members)-1-i {
			t.Errorf("numbers %v, want an unbroken row down to 0", f.numbers())
		}
		next := len(lines[0]) + 1 // about as long as all the others
		if i < len(members)-1 && len(m.data)+next+20 < maxBytes {
			t.Errorf("file %d was left with %d bytes, there was room for a record", m.number, len(m.data))
		}
	}
	f.checkBound(maxBytes, 100)
	if s := a.Stats(); s.Rotations != int64(len(members)-1) || s.DroppedFiles != 0 {
		t.Errorf("stats %+v, want %d rotations", s, len(members)-1)
	}
	if diff := gocmp.Diff(text(lines), f.read(papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r := f.scan(papyra.ScanOptions{Full: true}); !r.Clean() || r.Files != int64(len(members)) || r.Records != 100 {
		t.Errorf("scan: %+v", r)
	}
}

// A new file is private, but whoever could read the one before can read it.
func TestRotateKeepsMode(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o640} {
		f := newBound(t, 500, 3)
		a := f.appender()
		must(t, os.Chmod(f.path, mode))
		f.append(a, testrecord.New(1).Events(9)...)
		for _, path := range []string{f.path, f.path + ".1", f.path + ".2"} {
			info, err := os.Stat(path)
			must(t, err)
			if info.Mode() != mode {
				t.Errorf("%s has mode %v, want %v", path, info.Mode(), mode)
			}
		}
	}
}

// What the bound drops is told exactly, before it goes, and counted.
func TestRotateTellsWhatItDrops(t *testing.T) {
	f := newBound(t, 3000, 2)
	one, two := testrecord.New(1), testrecord.New(2)
	var lines [][]byte
	for range 6 {
		lines = append(lines, one.Event(), two.Line("orders", papyra.KindDeadLetter, "x"), one.Line("é", papyra.KindAudit, ""))
	}
	must(t, os.WriteFile(f.path+".1", append(testrecord.Join(lines...), "junk\n\n"...), 0o600))
	a := f.appender()
	f.append(a, testrecord.New(3).Events(16)...) // larger than one file
	r := f.removals()
	if len(r) != 1 {
		t.Fatalf("%d reports: %+v", len(r), r)
	}
	size := func(i int) (n int64) {
		for ; i < len(lines); i += 3 {
			n += int64(len(lines[i])) + 1
		}
		return n
	}
	runs := func(system string, s *testrecord.Source) []papyra.RemovedRun {
		return []papyra.RemovedRun{{System: system, Node: "sample", Run: s.Run(), Ranges: []papyra.Range{{1, 6}}}}
	}
	want := papyra.RemovalReport{Act: papyra.ActRotate, ID: r[0].ID, Damaged: 1, DamagedBytes: 5, Categories: map[string]papyra.RemovedCategory{
		"events":       {Records: 6, Bytes: size(0), Runs: runs("orders", one)},
		"dead_letters": {Records: 6, Bytes: size(1), Runs: runs("orders", two)},
		"audits":       {Records: 6, Bytes: size(2), Runs: runs("é", one)},
	}}
	if diff := gocmp.Diff(want, r[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := a.Stats(); s.Rotations != 1 || s.DroppedFiles != 1 || s.DroppedRecords != 18 || s.DroppedBytes != int64(len(testrecord.Join(lines...)))+6 {
		t.Errorf("stats %+v", s)
	}
	if got := f.beside(); !slices.Equal(got, []string{".records.ndjson.lock", "records.ndjson.1"}) {
		t.Errorf("beside the file lie %v", got)
	}
}

// For ever: reports that are dropped themselves are told again, so that at any
// time every number of a run is stored or named, and counted once.
func TestRotateExplainsEverything(t *testing.T) {
	for _, maxFiles := range []int{2, 3, 5} {
		t.Run(strconv.Itoa(maxFiles), func(t *testing.T) {
			f := newBound(t, 2500, maxFiles)
			src := testrecord.New(1)
			a := f.appender()
			n := 0
			for round := range 40 {
				lines := src.Events(1 + round%9)
				n += len(lines)
				f.append(a, lines...)
				f.checkAccount(src.Run(), n)
				f.checkBound(2500, maxFiles)
				if round%10 == 9 { // a new process
					must(t, a.Close())
					a = f.appender()
				}
			}
			var dropped int64
			for _, r := range f.removals() {
				for _, c := range r.Categories {
					dropped += c.Records
				}
			}
			if dropped == 0 || f.scan(papyra.ScanOptions{Full: true}).Duplicates > 0 {
				t.Errorf("%d records dropped, %+v", dropped, f.scan(papyra.ScanOptions{Full: true}))
			}
		})
	}
}

// Also what a compaction or a recovery removed is told again, as theirs.
func TestRotateCarriesOtherActs(t *testing.T) {
	f := newBound(t, 4000, 3)
	src := testrecord.New(1)
	a := f.appender()
	f.append(a, src.Events(10)...)
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 4}}, At: testrecord.Start}
	if _, err := f.Compact(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		f.append(a, src.Event())
		_ = i
	}
	seqs, records, _ := f.removed(src.Run())
	stored := f.seqs(src.Run())
	if len(seqs)+len(stored) != 210 || records != int64(len(seqs)) {
		t.Errorf("%d named, %d counted, %d stored, want 210 in all", len(seqs), records, len(stored))
	}
	var compacted int64
	for _, r := range f.removals() {
		if r.Act == papyra.ActCompact {
			compacted += r.Categories["events"].Records
			if !r.Carried {
				t.Errorf("the report of the compaction should be gone: %+v", r)
			}
		}
	}
	if compacted != 6 {
		t.Errorf("reports count %d compacted events, want 6", compacted)
	}
}

// What is carried does not grow without end: a run of which nothing is left is
// forgotten, its counts are not.
func TestRotateForgetsRuns(t *testing.T) {
	f := newBound(t, 200_000, 3)
	a := f.appender()
	n := 0
	for range 12 {
		var lines [][]byte
		for range 900 {
			n++
			lines = append(lines, testrecord.New(n).Event())
		}
		f.append(a, lines...)
	}
	var named, counted int64
	for _, r := range f.removals() {
		named += int64(len(r.Categories["events"].Runs))
		counted += r.Categories["events"].Records
	}
	stored := int64(len(f.read(papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}})))
	if counted+stored != int64(n) {
		t.Errorf("%d counted and %d stored, want %d in all", counted, stored, n)
	}
	if named == 0 || named > 6000 || counted < 8000 {
		t.Errorf("%d of %d removed runs are named, want the last few thousand", named, counted)
	}
}

// A record larger than a file gets a file of its own.
func TestRotateOversizedRecord(t *testing.T) {
	f := newBound(t, 1000, 10)
	src := testrecord.New(1)
	big := func() []byte { return src.Line("orders", papyra.KindEvent, strings.Repeat("x", 3000)) }
	lines := [][]byte{src.Event(), big(), big(), src.Event(), src.Event(), big()}
	f.append(f.appender(), lines...)
	var got []string
	for _, m := range f.members() {
		got = append(got, fmt.Sprint(bytes.Count(m.data, []byte("\n")), " ", len(m.data) > 1000))
	}
	if want := []string{"1 false", "1 true", "1 true", "2 false", "1 true"}; !slices.Equal(got, want) {
		t.Errorf("lines and size of the files: %v, want %v", got, want)
	}
	if !bytes.Equal(f.all(), testrecord.Join(lines...)) {
		t.Errorf("the set is not what was appended")
	}
}

// The reports of a rotation do not lead to the next one: under any bound records
// are kept, and the newest is there.
func TestRotateTinyBound(t *testing.T) {
	for _, maxBytes := range []int64{1, 100, 300, 450, 600, 900} {
		for _, maxFiles := range []int{2, 3, 5} {
			t.Run(fmt.Sprint(maxBytes, " ", maxFiles), func(t *testing.T) {
				f := newBound(t, maxBytes, maxFiles)
				src := testrecord.New(1)
				a := f.appender()
				for n := 1; n <= 30; n++ {
					f.append(a, src.Event())
					f.checkAccount(src.Run(), n)
				}
				f.append(a, src.Events(10)...)
				f.checkAccount(src.Run(), 40)
				if got := len(f.seqs(src.Run())); got < maxFiles {
					t.Errorf("%d records in %d files, want one in each", got, maxFiles)
				}
				if s := a.Stats(); s.Rotations > 40 {
					t.Errorf("%d rotations for 40 records", s.Rotations)
				}
			})
		}
	}
}

// Holes, numbers beyond the bound and things that are no files.
func TestRotateOddSets(t *testing.T) {
	type files map[int]int // number: its event's number; 0 for something else
	for _, c := range []struct {
		name     string
		before   files
		maxFiles int
		after    []int // events in order, the new one is 9
		numbers  []int
	}{
		{"a hole at the front", files{2: 1, 0: 2}, 4, []int{1, 2, 9}, []int{2, 1, 0}},
		{"a hole behind", files{3: 1, 1: 2, 0: 3}, 5, []int{1, 2, 3, 9}, []int{3, 2, 1, 0}},
		{"no active file", files{2: 1, 1: 2}, 4, []int{1, 2, 9}, []int{2, 1, 0}},
		{"full", files{2: 1, 1: 2, 0: 3}, 3, []int{2, 3, 9}, []int{2, 1, 0}},
		{"lowered from 5 to 2", files{4: 1, 3: 2, 2: 3, 1: 4, 0: 5}, 2, []int{5, 9}, []int{1, 0}},
		{"raised", files{2: 1, 1: 2, 0: 3}, 7, []int{1, 2, 3, 9}, []int{3, 2, 1, 0}},
		{"a high number with room for it", files{70: 1, 0: 2}, 4, []int{1, 2, 9}, []int{3, 1, 0}},
		{"high numbers without room", files{90: 1, 80: 2, 1: 3, 0: 4}, 3, []int{3, 4, 9}, []int{2, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			events := testrecord.New(1).Events(9)
			f := newBound(t, 1, c.maxFiles)
			for n, event := range c.before {
				path := f.path
				if n > 0 {
					path += "." + strconv.Itoa(n)
				}
				must(t, os.WriteFile(path, testrecord.Join(events[event-1]), 0o600))
			}
			a := f.appender()
			f.append(a, events[8])
			var want, got []uint64
			for _, n := range c.after {
				want = append(want, uint64(n))
			}
			got = f.seqs(testrecord.New(1).Run())
			if !slices.Equal(got, want) || !slices.Equal(f.numbers(), c.numbers) {
				t.Errorf("events %v in files %v, want %v in %v", got, f.numbers(), want, c.numbers)
			}
			seqs, records, _ := f.removed(testrecord.New(1).Run())
			if gone := len(c.before) + 1 - len(want); len(seqs) != gone || records != int64(gone) || a.Stats().DroppedFiles != int64(gone) {
				t.Errorf("%d gone, reports name %v and count %d, stats %+v", gone, seqs, records, a.Stats())
			}
		})
	}
}

// What stands in the place of a file is neither moved nor overwritten.
func TestRotateAroundOtherThings(t *testing.T) {
	f := newBound(t, 1, 4)
	src := testrecord.New(1)
	must(t, os.Mkdir(f.path+".2", 0o700))
	must(t, os.Symlink("nowhere", f.path+".9"))
	a := f.appender()
	f.append(a, src.Events(6)...)
	if got := f.numbers(); !slices.Equal(got, []int{3, 1, 0}) {
		t.Errorf("files %v, want 3, 1 and 0", got)
	}
	if target, err := os.Readlink(f.path + ".9"); target != "nowhere" {
		t.Errorf("the symlink leads to %q, %v", target, err)
	}
	must(t, os.Remove(f.path+".1"))
	must(t, os.Remove(f.path+".3"))
	must(t, os.Mkdir(f.path+".1", 0o700))
	must(t, unix.Mkfifo(f.path+".3", 0o600))
	n, err := a.Append(t.Context(), testrecord.Batch(src.Events(2)...))
	if n != 0 || !errors.Is(err, papyra.ErrConfig) || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("without any place: stored %d, error %v", n, err)
	}
	must(t, os.Remove(f.path+".3"))
	f.append(a, src.Event())
}

// A tool that was told no limits, or others, drops nothing.
func TestOnlyAnAppenderRotates(t *testing.T) {
	f := newBound(t, 700, 50)
	src := testrecord.New(1)
	f.store(src.Events(60)...)
	want := f.read(papyra.Query{})
	numbers := f.numbers()
	tool := bound(t, f.path, 1, 2)
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 59}}, At: testrecord.Start}
	if _, err := tool.Compact(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	must(t, appendTo(f.path+".7", "junk\n"))
	if r := tool.recover(papyra.RecoverOptions{}); r.Moved != 1 || !r.After.Clean() {
		t.Errorf("recovery: %+v", r)
	}
	if diff := gocmp.Diff(want[1:], tool.read(papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := tool.numbers(); !slices.Equal(got, numbers) {
		t.Errorf("files %v, want %v", got, numbers)
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func TestRotateLimits(t *testing.T) {
	for name, c := range map[string]struct {
		config fileset.Config
		part   string
	}{
		"one file":          {fileset.Config{Numbered: true, MaxFiles: 1, MaxBytes: 1}, "use json:"},
		"a negative number": {fileset.Config{Numbered: true, MaxFiles: -2, MaxBytes: 1}, "2 or more"},
		"no size":           {fileset.Config{Numbered: true, MaxFiles: 2}, "positive size"},
		"a negative size":   {fileset.Config{Numbered: true, MaxFiles: 2, MaxBytes: -1}, "positive size"},
		"one file only":     {fileset.Config{MaxFiles: 2, MaxBytes: 1}, "numbered"},
	} {
		c.config.Path = "x"
		if _, err := fileset.Open(c.config); !errors.Is(err, papyra.ErrConfig) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: got %v, want papyra.ErrConfig with %q", name, err, c.part)
		}
	}
}

// Every single system call of rotations that drop fails once, in each of its
// occurrences: what is appended again afterwards is complete, and nothing is
// stored twice or unexplained.
func TestRotateFaults(t *testing.T) {
	t.Parallel()
	const maxBytes, maxFiles = 1500, 3
	ops := []faultdisk.Op{faultdisk.Open, faultdisk.ReadAt, faultdisk.Write, faultdisk.Truncate, faultdisk.Sync, faultdisk.Rename, faultdisk.Remove}
	work := func(t *testing.T, f *fixture, a papyra.Appender, src *testrecord.Source) (failed bool) {
		for range 3 {
			batch := testrecord.Batch(src.Events(6)...)
			for tries := 0; batch.Len() > 0; tries++ {
				n, err := a.Append(t.Context(), batch)
				batch.Drop(n)
				failed = failed || err != nil
				if tries > 3 {
					t.Fatalf("append still fails: %v", err)
				}
			}
		}
		if err := a.Sync(t.Context()); err != nil {
			failed = true
			must(t, a.Sync(t.Context()))
		}
		return failed
	}
	prepare := func(t *testing.T) (*fixture, papyra.Appender, *testrecord.Source) {
		f := newBound(t, maxBytes, maxFiles)
		src := testrecord.New(1)
		a := f.appender()
		f.append(a, src.Events(18)...)
		return f, a, src
	}
	f, a, src := prepare(t)
	before := map[faultdisk.Op]int{}
	for _, op := range ops {
		before[op] = f.disk.Calls(op)
	}
	work(t, f, a, src)
	seen := 0
	for _, op := range ops {
		calls := f.disk.Calls(op) - before[op]
		for n := range calls {
			for _, errno := range []error{unix.EIO, unix.ENOSPC} {
				f, a, src := prepare(t)
				f.disk.Fail(faultdisk.Fault{Op: op, Err: errno, Skip: n, Times: 1, Part: 100})
				failed := work(t, f, a, src)
				f.disk.Heal()
				if failed {
					seen++
				}
				f.checkAccount(src.Run(), 36)
				f.checkBound(maxBytes, maxFiles)
				if s := a.Stats(); s.Reopened+s.Truncated > 0 {
					t.Errorf("it took its own rotation for somebody else's: %+v", s)
				}
				must(t, a.Close())
				if r := f.scan(papyra.ScanOptions{Full: true}); !r.Clean() || r.Duplicates > 0 {
					t.Errorf("scan: %+v", r)
				}
				if t.Failed() {
					t.Fatalf("after %s %d of %d failed with %v", op, n+1, calls, errno)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d faults were noticed", seen)
	}
	t.Logf("%d faults noticed", seen)
}

// An oldest file that cannot be read to its end does not stop the rotation for
// ever: what cannot be read counts as damage.
func TestRotateUnreadableOldest(t *testing.T) {
	f := newBound(t, 1500, 2)
	src := testrecord.New(1)
	a := f.appender()
	f.append(a, src.Events(12)...)
	size := len(f.members()[0].data)
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.ReadAt, Err: unix.EIO, Path: "records.ndjson.1"})
	batch := testrecord.Batch(src.Events(2)...)
	if n, err := a.Append(t.Context(), batch); n != 0 || !errors.Is(err, unix.EIO) {
		t.Fatalf("the first time: stored %d, error %v, want 0 and EIO", n, err)
	}
	if n, err := a.Append(t.Context(), batch); n != 2 || err != nil {
		t.Fatalf("the second time: stored %d, error %v", n, err)
	}
	f.disk.Heal()
	r := f.removals()
	if len(r) != 1 || r[0].Damaged != 1 || r[0].DamagedBytes != int64(size) {
		t.Errorf("reports %+v, want one damaged place of %d bytes", r, size)
	}
	f.checkBound(1500, 2)
}

// A set that nobody appended to has no reports of its own.
func TestRotateIdle(t *testing.T) {
	f := newBound(t, 1000, 2)
	f.store(testrecord.New(1).Events(2)...)
	before := f.all()
	for range 3 {
		f.store()
	}
	if !bytes.Equal(before, f.all()) {
		t.Errorf("opening changed the set")
	}
}
