package fileset_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

var dedupe = papyra.CompactOptions{Dedupe: true, At: testrecord.Start}

// newestCopies returns lines without the older copies.
func newestCopies(lines []string) (out []string) {
	for i, line := range lines {
		if !slices.Contains(lines[i+1:], line) {
			out = append(out, line)
		}
	}
	return out
}

// checkDedupe makes sure that a killed removal of duplicates left each record,
// announced what it took, and can be finished.
func checkDedupe(t *testing.T, f *fixture, before []string) {
	t.Helper()
	every := papyra.Query{Duplicates: true, Kinds: []papyra.Kind{papyra.KindEvent}}
	left := f.read(every)
	once := newestCopies(before)
	if diff := gocmp.Diff(once, newestCopies(left)); diff != "" {
		t.Errorf("each record's newest copy (-before +now):\n%s", diff)
	}
	announced := int64(0)
	for _, r := range f.removals() {
		announced += r.Categories["events"].Records
		if r.Act != papyra.ActDedupe {
			t.Errorf("a report of act %s", r.Act)
		}
	}
	if gone := int64(len(before) - len(left)); gone > announced {
		t.Errorf("%d lines are gone, %d were announced", gone, announced)
	}
	if _, err := f.Compact(t.Context(), dedupe); err != nil {
		t.Errorf("compact again: %v", err)
	}
	if diff := gocmp.Diff(once, f.read(every)); diff != "" {
		t.Errorf("after the second compaction (-want +got):\n%s", diff)
	}
	if r := f.scan(papyra.ScanOptions{Full: true}); r.Duplicates != 0 {
		t.Errorf("after the second compaction there are %d duplicates", r.Duplicates)
	}
}

// Killed before any system call that changes files, a removal of duplicates
// leaves the old file or the new one, and the next one finishes the job.
func TestStraceKillDedupe(t *testing.T) {
	t.Parallel()
	content, records, _ := crashContent()
	content = content[:bytes.LastIndexByte(content, '\n')+1]
	before := append(slices.Clone(records), records[2:9]...)
	for _, line := range records[2:9] {
		content = append(append(content, line...), '\n')
	}
	fresh := func() *fixture {
		f := fastFixture(t)
		f.write(content)
		return f
	}
	points := killPoints(t, "dedupe", fresh().path)
	for _, p := range some(t, points, 24) {
		f := fresh()
		killAt(t, "dedupe", f.path, p)
		if got := f.read(papyra.Query{Duplicates: true}); len(got) != len(before) && len(got) != len(records) {
			t.Errorf("%d records: neither the old file nor the new one", len(got))
		}
		checkDedupe(t, f, before)
		r := f.scan(papyra.ScanOptions{})
		if n := r.AnomalyCounts[papyra.ClassCorrupted]; n != 6 || len(r.AnomalyCounts) > 2 {
			t.Errorf("scan: %v, want the 6 damaged lines and perhaps a leftover", r.AnomalyCounts)
		}
		if t.Failed() {
			t.Fatalf("killed before %s %d", p.call, p.n)
		}
	}
}

// copiesInASet makes a set of several files that hold most records twice or more,
// in other files and in their own.
func copiesInASet(t *testing.T, path string) (before []string) {
	t.Helper()
	f := bound(t, path, childMaxBytes, 9)
	lines := testrecord.New(1).Events(30)
	all := slices.Concat(lines[:12], lines[4:9], lines[:20], lines[18:19], lines[18:], lines[2:6])
	a := f.appender()
	for _, line := range all {
		f.append(a, line)
	}
	must(t, f.Close())
	return text(all)
}

// Killed anywhere, on a set, each record is in one of the files.
func TestStraceKillDedupeSet(t *testing.T) {
	t.Parallel()
	set := func() (*fixture, []string) {
		path := filepath.Join(testkit.FastDir(t), "records.ndjson")
		before := copiesInASet(t, path)
		return bound(t, path, childMaxBytes, 9), before
	}
	f, _ := set()
	if n := len(f.members()); n < 4 {
		t.Fatalf("%d files, want several", n)
	}
	points := killPoints(t, "dedupe-set", f.path)
	for _, p := range some(t, points, 16) {
		f, before := set()
		files := len(f.members())
		killAt(t, "dedupe-set", f.path, p)
		if got := len(f.members()); got != files {
			t.Errorf("%d files, want %d", got, files)
		}
		checkDedupe(t, f, before)
		if t.Failed() {
			t.Fatalf("killed before %s %d", p.call, p.n)
		}
	}
}

// A disk that is full in the middle leaves the old files.
func TestDedupeOnAFullDisk(t *testing.T) {
	path := filepath.Join(testkit.FastDir(t), "records.ndjson")
	before := copiesInASet(t, path)
	f := bound(t, path, childMaxBytes, 9)
	dir := filepath.Dir(path)
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.Write, Path: ".records.ndjson.tmp-*", Err: syscall.ENOSPC, Skip: 2})
	if _, err := f.Compact(t.Context(), dedupe); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	f.disk.Heal()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if matched, _ := filepath.Match(".records.ndjson.tmp-*", e.Name()); matched {
			t.Errorf("%s is left over", e.Name())
		}
	}
	checkDedupe(t, f, before)
}

// Rotations drop the oldest files while duplicates are removed, and later what
// the reports said is carried on: a copy that lies in a newer file is there until
// the bound reaches it, as if nobody had removed another one.
func TestDedupeBesideRotation(t *testing.T) {
	const maxBytes, maxFiles = 3000, 4
	f := bound(t, filepath.Join(testkit.FastDir(t), "records.ndjson"), maxBytes, maxFiles)
	src := testrecord.New(1)
	a := f.appender()
	ctx := t.Context()
	var running sync.WaitGroup
	stop := make(chan struct{})
	running.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := f.Compact(ctx, dedupe); err != nil {
				t.Errorf("compact: %v", err)
				return
			}
		}
	})
	var recent [][]byte
	for range 300 {
		recent = append(recent, src.Event())
		f.append(a, recent[len(recent)-1])
		if len(recent) > 5 {
			// One of a while ago once more: from here it lives as long as its neighbours.
			f.append(a, recent[len(recent)-6])
		}
	}
	close(stop)
	running.Wait()
	if _, err := f.Compact(ctx, dedupe); err != nil {
		t.Fatal(err)
	}
	if r := f.scan(papyra.ScanOptions{Full: true}); r.Duplicates != 0 || !r.Clean() {
		t.Errorf("%d duplicates, %v", r.Duplicates, r.AnomalyCounts)
	}
	// What is left is, by the order of the last copies, an unbroken end.
	left := f.read(papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}, Duplicates: true})
	var order []string
	for i := range recent {
		order = append(order, string(recent[i]))
		if i >= 5 {
			order = append(order, string(recent[i-5]))
		}
	}
	order = newestCopies(order)
	if len(left) == 0 || len(left) > len(order) {
		t.Fatalf("%d records are left", len(left))
	}
	if diff := gocmp.Diff(order[len(order)-len(left):], left); diff != "" {
		t.Errorf("what is left is no unbroken end (-want +got):\n%s", diff)
	}
	must(t, a.Close())

	// Nothing of what was removed as a copy is forgotten when its report goes.
	deduped, carried := int64(0), false
	for _, r := range f.removals() {
		if r.Act == papyra.ActDedupe {
			deduped += r.Categories["events"].Records
			carried = carried || r.Carried
		}
	}
	if deduped == 0 || !carried {
		t.Errorf("the reports count %d copies, carried %v", deduped, carried)
	}
}
