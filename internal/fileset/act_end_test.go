package fileset_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/account"
)

// told is what acts have written into a store, in order.
type told struct {
	announced []papyra.RemovalReport
	ended     []papyra.CompactionPerformed
}

func toldBy(t *testing.T, s papyra.Store) (all told) {
	t.Helper()
	_, err := s.Read(context.Background(), papyra.Query{Kinds: []papyra.Kind{papyra.KindReport}, Systems: []string{papyra.SystemReserved}}, func(rec *papyra.Record, _ papyra.Place) error {
		switch string(rec.Type) {
		case papyra.ReportRemoval:
			var r papyra.RemovalReport
			all.announced = append(all.announced, r)
			return json.Unmarshal(rec.Payload, &all.announced[len(all.announced)-1])
		case papyra.ReportCompactionPerformed:
			var r papyra.CompactionPerformed
			all.ended = append(all.ended, r)
			return json.Unmarshal(rec.Payload, &all.ended[len(all.ended)-1])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// countsOf returns what an account says of the one run of system "orders".
func countsOf(t *testing.T, s papyra.Store) account.Counts {
	t.Helper()
	r, err := account.Read(context.Background(), account.Options{}, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range r.Runs {
		if run.System == "orders" && len(run.Categories) == 1 {
			return run.Categories[0].Counts
		}
	}
	t.Fatalf("no run of orders in %+v", r.Runs)
	return account.Counts{}
}

// lose takes the lines of a file that hold one of these numbers' texts.
func lose(t *testing.T, f *fixture, lines ...[]byte) {
	t.Helper()
	data := f.bytes()
	for _, line := range lines {
		before := len(data)
		if data = bytes.Replace(data, append(bytes.Clone(line), '\n'), nil, 1); len(data) == before {
			t.Fatalf("%s is not stored", line)
		}
	}
	f.write(data)
}

// An act whose first new file cannot be written was never begun. One that failed after
// it announced itself removes nothing and explains nothing: not when it failed, and not when what it announced is lost later.
func TestFailedActsAreTakenBack(t *testing.T) {
	keep := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 100}}, At: testrecord.Start}
	for _, c := range []struct {
		name  string
		fault faultdisk.Fault
		begun int // acts of three that announced themselves
	}{
		{"no room for the new file", faultdisk.Fault{Op: faultdisk.Open, Path: ".records.ndjson.tmp-*", Err: unix.ENOSPC}, 0},
		{"no room in the new file", faultdisk.Fault{Op: faultdisk.Write, Path: ".records.ndjson.tmp-*", Err: unix.ENOSPC, Part: 3000}, 0},
		{"the new file cannot be synced", faultdisk.Fault{Op: faultdisk.Sync, Path: ".records.ndjson.tmp-*", Err: unix.EIO}, 0},
		{"the file is a mount point", faultdisk.Fault{Op: faultdisk.Rename, Err: unix.EBUSY}, 3},
		{"no right to rename", faultdisk.Fault{Op: faultdisk.Rename, Err: unix.EACCES}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			src := testrecord.New(1)
			events := src.Events(300)
			f.write(testrecord.Join(events...))
			f.disk.Fail(c.fault)
			for range 3 {
				if _, err := f.Compact(context.Background(), keep); !errors.Is(err, c.fault.Err) {
					t.Fatalf("compact: %v, want %v", err, c.fault.Err)
				}
			}
			f.disk.Heal()
			all := toldBy(t, f.Store)
			if len(all.announced) != c.begun || len(all.ended) != c.begun {
				t.Fatalf("%d announcements and %d ends, want %d of each", len(all.announced), len(all.ended), c.begun)
			}
			for i, end := range all.ended {
				if end.End != papyra.EndWithdrawn || end.ID != all.announced[i].ID || end.Cause == "" || end.RecordsAfter != end.RecordsBefore {
					t.Errorf("end %d: %+v, want that %s is withdrawn", i, end, all.announced[i].ID)
				}
			}
			if got := countsOf(t, f.Store); got.Stored != 300 || got.RemovedTotal() != 0 || got.Missing != 0 {
				t.Errorf("account after the failures: %+v", got)
			}
			lose(t, f, events[10:30]...)
			if got := countsOf(t, f.Store); got.Stored != 280 || got.RemovedTotal() != 0 || got.Missing != 20 {
				t.Errorf("account after a loss: %+v, want 20 missing", got)
			}
			// The ends stay as long as the announcements do, whatever a compaction removes.
			reports := papyra.Retention{ByKind: [papyra.KindCount]papyra.Limits{papyra.KindReport: {Records: 1}}}
			if _, err := f.Compact(context.Background(), papyra.CompactOptions{Retention: reports, At: testrecord.Start}); err != nil {
				t.Fatal(err)
			}
			if got := countsOf(t, f.Store); got.RemovedTotal() != 0 || got.Missing != 20 {
				t.Errorf("account after a compaction of reports: %+v, want 20 missing", got)
			}
			// The same command finishes the job.
			if _, err := f.Compact(context.Background(), keep); err != nil {
				t.Fatal(err)
			}
			if got := countsOf(t, f.Store); got.Stored != 100 || got.RemovedTotal() != 180 || got.Missing != 20 {
				t.Errorf("account after the compaction: %+v, want 100 stored, 180 removed, 20 missing", got)
			}
			if beside := f.beside(); !slices.Equal(beside, []string{".records.ndjson.lock"}) {
				t.Errorf("beside the store lies %v", beside)
			}
		})
	}
}

// An act that is interrupted while it writes its new file was never begun; one that is
// interrupted behind its announcement is withdrawn.
func TestInterruptedActIsTakenBack(t *testing.T) {
	var events [][]byte
	for src := testrecord.New(1); len(events) < 6000; {
		events = append(events, src.Events(1000)...)
	}
	why := errors.New("somebody pressed ^C")
	for _, announced := range []bool{false, true} {
		f := fastFixture(t)
		f.write(testrecord.Join(events...))
		ctx, cancel := context.WithCancelCause(context.Background())
		o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 100}}, At: testrecord.Start}
		if announced {
			f.disk.Before(func(_ int, op faultdisk.Op, path string) {
				if op == faultdisk.Sync && path == f.path {
					cancel(why)
				}
			})
		} else {
			o.Progress = func(done, total int64) {
				if done > total/2+total/8 { // behind the look: the new file is written
					cancel(why)
				}
			}
		}
		if _, err := f.Compact(ctx, o); !errors.Is(err, why) {
			t.Fatalf("compact: %v, want %v", err, why)
		}
		f.disk.Before(nil)
		all := toldBy(t, f.Store)
		if !announced && len(all.announced)+len(all.ended) > 0 {
			t.Errorf("%+v, want nothing: the act was never begun", all)
		}
		if announced && (len(all.announced) == 0 || len(all.ended) != 1 || all.ended[0].End != papyra.EndWithdrawn) {
			t.Fatalf("%+v, want one act that is withdrawn", all)
		}
		if got := countsOf(t, f.Store); got.Stored != 6000 || got.RemovedTotal() != 0 || got.Missing != 0 {
			t.Errorf("account: %+v, want everything stored", got)
		}
		if beside := f.beside(); !slices.Equal(beside, []string{".records.ndjson.lock"}) {
			t.Errorf("beside the store lies %v", beside)
		}
	}
}

// Of an act that failed when it had replaced a part of the files, the store says
// what is gone, and nothing else is explained.
func TestPartialActSaysWhatIsGone(t *testing.T) {
	dir := t.TempDir()
	disk := faultdisk.New()
	open := func() *fixture {
		f := &fixture{t: t, path: filepath.Join(dir, "records.ndjson"), disk: disk, clock: &clock{now: testrecord.Start}}
		var err error
		if f.Store, err = fileset.Open(fileset.Config{Path: f.path, Numbered: true, MaxBytes: 20_000, MaxFiles: 50, Disk: disk, Now: f.clock.Now}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	f := open()
	src := testrecord.New(1)
	events := src.Events(600)
	f.store(events...)
	disk.Fail(faultdisk.Fault{Op: faultdisk.Rename, Path: ".records.ndjson.tmp-*", Err: unix.EACCES, Skip: 2})
	keep := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 50}}, At: testrecord.Start}
	if _, err := f.Compact(context.Background(), keep); !errors.Is(err, unix.EACCES) {
		t.Fatalf("compact: %v, want EACCES", err)
	}
	disk.Heal()
	all := toldBy(t, f.Store)
	if len(all.announced) != 2 || len(all.ended) != 1 || all.ended[0].End != papyra.EndPartial || all.ended[0].ID != all.announced[0].ID || all.ended[0].ReplacedBy != all.announced[1].ID {
		t.Fatalf("%+v, want an act that was replaced by what it really removed", all)
	}
	gone := all.announced[1].Categories["events"].Records
	left := int64(len(f.read(papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}})))
	if gone == 0 || gone+left != 600 || all.ended[0].RecordsBefore-all.ended[0].RecordsAfter != gone {
		t.Errorf("%d gone and %d left of 600; the end says %+v", gone, left, all.ended[0])
	}
	if got := countsOf(t, f.Store); got.Stored != uint64(left) || got.RemovedTotal() != uint64(gone) || got.Missing != 0 {
		t.Errorf("account: %+v, want %d stored and %d removed", got, left, gone)
	}
	// What was announced, stayed, and is lost now, is missing.
	active := f.bytes()
	var lost [][]byte
	for _, line := range events[:550] {
		if bytes.Contains(active, line) && len(lost) < 5 {
			lost = append(lost, line)
		}
	}
	if len(lost) == 0 {
		t.Fatal("the active file holds nothing that was announced")
	}
	lose(t, f, lost...)
	if got := countsOf(t, f.Store); got.Missing != uint64(len(lost)) {
		t.Errorf("account after the loss of %d: %+v", len(lost), got)
	}
}

// A rotation that drops the announcement of an act that was taken back does not
// carry on what the act did not remove, wherever its end stands.
func TestRotationForgetsWhatWasTakenBack(t *testing.T) {
	dir := t.TempDir()
	disk := faultdisk.New()
	f := &fixture{t: t, path: filepath.Join(dir, "records.ndjson"), disk: disk, clock: &clock{now: testrecord.Start}}
	var err error
	if f.Store, err = fileset.Open(fileset.Config{Path: f.path, Numbered: true, MaxBytes: 30_000, MaxFiles: 2, Disk: disk, Now: f.clock.Now}); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src := testrecord.New(1)
	f.store(src.Events(60)...)
	disk.Fail(faultdisk.Fault{Op: faultdisk.Rename, Path: ".records.ndjson.tmp-*", Err: unix.EBUSY})
	keep := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 10}}, At: testrecord.Start}
	if _, err := f.Compact(context.Background(), keep); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("compact: %v, want EBUSY", err)
	}
	disk.Heal()
	f.store(src.Events(600)...) // drops the file with the announcement, and others
	all := toldBy(t, f.Store)
	for _, r := range all.announced {
		if r.Act != papyra.ActRotate {
			t.Errorf("%+v is carried, and was taken back", r)
		}
	}
	got := countsOf(t, f.Store)
	if got.Missing != 0 || got.Stored+got.RemovedTotal() != 660 || got.Removed[papyra.ActCompact] != 0 {
		t.Errorf("account: %+v, want 660 stored or removed by rotations", got)
	}
}

// The end of an act that a rotation drops may stand in another file than its
// announcement.
func TestRotationFindsTheEndInAnotherFile(t *testing.T) {
	plain := newFixture(t)
	src := testrecord.New(1)
	events := src.Events(60)
	plain.write(testrecord.Join(events...))
	plain.disk.Fail(faultdisk.Fault{Op: faultdisk.Rename, Err: unix.EBUSY})
	keep := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 10}}, At: testrecord.Start}
	if _, err := plain.Compact(context.Background(), keep); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("compact: %v, want EBUSY", err)
	}
	reports := bytes.SplitAfter(bytes.TrimPrefix(plain.bytes(), testrecord.Join(events...)), []byte("\n"))
	if len(reports) != 3 { // an announcement, its end, and nothing behind it
		t.Fatalf("%d reports: %s", len(reports)-1, reports)
	}
	path := filepath.Join(t.TempDir(), "records.ndjson")
	must(t, os.WriteFile(path+".1", append(testrecord.Join(events...), reports[0]...), 0o600))
	must(t, os.WriteFile(path, reports[1], 0o600))
	f := &fixture{t: t, path: path, disk: faultdisk.New(), clock: &clock{now: testrecord.Start}}
	var err error
	if f.Store, err = fileset.Open(fileset.Config{Path: f.path, Numbered: true, MaxBytes: 30_000, MaxFiles: 2, Disk: f.disk, Now: f.clock.Now}); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.store(src.Events(150)...) // drops the file with the announcement
	rotated := false
	for _, r := range toldBy(t, f.Store).announced {
		rotated = rotated || r.Act == papyra.ActRotate
		if r.Act == papyra.ActCompact {
			t.Errorf("%+v is carried, and was taken back", r)
		}
	}
	if !rotated {
		t.Error("nothing was dropped")
	}
	if got := countsOf(t, f.Store); got.Missing != 0 || got.Removed[papyra.ActCompact] != 0 {
		t.Errorf("account: %+v, want nothing missing or compacted", got)
	}
}
