package fileset_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
)

// What has gone wrong in other rotating stores. Two of the mistakes need processes
// that are killed and readers beside: TestStraceKillCompactSet and
// TestReadersBesideRotation.

// Rotation stops for good once the oldest file exists, and the active one then
// grows without bound.
func TestRotationNeverStops(t *testing.T) {
	f := newBound(t, 1500, 3)
	for _, n := range []string{".1", ".2", ".3", ".40"} {
		must(t, os.WriteFile(f.path+n, testrecord.Join(testrecord.New(9).Line("a", papyra.KindAudit, "")), 0o600))
	}
	src := testrecord.New(1)
	a := f.appender()
	f.append(a, src.Events(7)...) // one rotation
	for range 93 {
		f.append(a, src.Event())
		f.checkBound(1500, 3)
	}
	f.checkAccount(src.Run(), 100)
}

// max_files=1 truncates the active file and counts no loss. Here it is refused.
func TestOneFileIsRefused(t *testing.T) {
	_, err := fileset.Open(fileset.Config{Path: "x", Numbered: true, MaxBytes: 1000, MaxFiles: 1})
	if !errors.Is(err, papyra.ErrConfig) || !strings.Contains(err.Error(), "json:") {
		t.Errorf("got %v, want papyra.ErrConfig that names json:", err)
	}
}

// After the limits were made smaller, compact drops most records and reports
// that it dropped none. Here only a rotation looks at the limits.
func TestCompactUnderSmallerLimits(t *testing.T) {
	f := newBound(t, 2000, 20)
	src := testrecord.New(1)
	f.store(src.Events(100)...)
	smaller := bound(t, f.path, 300, 2)
	a := smaller.appender()
	r, err := smaller.Compact(t.Context(), papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 1000}}, At: testrecord.Start})
	if err != nil || r.RecordsBefore != 100 || r.RecordsAfter != 100 {
		t.Errorf("compact: %+v, %v, want 100 records before and after", r, err)
	}
	if got := smaller.read(papyra.Query{}); len(got) != 100 {
		t.Errorf("%d records are left, want 100", len(got))
	}
	smaller.append(a, src.Event())
	smaller.checkAccount(src.Run(), 101)
	if s := a.Stats(); s.DroppedRecords == 0 || int(s.DroppedRecords) != 101-len(smaller.seqs(src.Run())) {
		t.Errorf("stats %+v, %d of 101 are left", s, len(smaller.seqs(src.Run())))
	}
}

// A repair that needs fewer files leaves the stale ones: duplicates, and the
// anomaly remains. One partial record makes listing fail.
func TestDamageInEveryFile(t *testing.T) {
	f := newBound(t, 1500, 20)
	lines := testrecord.New(1).Events(40)
	f.store(lines...)
	members := f.members()
	var before []byte
	for _, m := range members {
		path := f.path
		if m.number > 0 {
			path += "." + strconv.Itoa(m.number)
		}
		must(t, appendTo(path, `{"kind":"event","system_id":"or`)) // no newline
		before = append(append(before, m.data...), `{"kind":"event","system_id":"or`...)
	}
	var got []string
	damaged, err := f.Read(t.Context(), papyra.Query{}, func(r *papyra.Record, _ papyra.Place) error {
		got = append(got, string(r.Line))
		return nil
	})
	if err != nil || int(damaged) != len(members) {
		t.Errorf("read: %d damaged, %v, want %d", damaged, err, len(members))
	}
	if diff := cmp.Diff(text(lines), got); diff != "" {
		t.Errorf("beside the damage (-want +got):\n%s", diff)
	}
	r := f.recover(papyra.RecoverOptions{})
	if int(r.Moved) != len(members) || !r.After.Clean() || r.After.Duplicates > 0 {
		t.Errorf("recovery: moved %d, %+v", r.Moved, r.After)
	}
	if diff := cmp.Diff(text(lines), f.read(papyra.Query{})); diff != "" {
		t.Errorf("after the recovery (-want +got):\n%s", diff)
	}
	saved, err := testrecord.ReadAct(r.Quarantine)
	must(t, err)
	total := int64(0)
	for _, s := range saved {
		total += s.Length
	}
	if total != r.MovedBytes || int(total) != len(before)-len(testrecord.Join(lines...)) {
		t.Errorf("%d bytes in quarantine, want %d", total, len(before)-len(testrecord.Join(lines...)))
	}
}

// Orphaned files are never recovered, so that a recovering start fails for ever.
// The default quarantine place creates a new anomaly for ever.
func TestOrphansGoOnce(t *testing.T) {
	f := newBound(t, 1500, 20)
	f.store(testrecord.New(1).Events(20)...)
	for _, base := range []string{
		".records.ndjson.tmp-0123456789abcdef", "records.ndjson.compact.tmp", "records.ndjson.2.recovered.tmp",
	} {
		must(t, os.WriteFile(filepath.Join(filepath.Dir(f.path), base), []byte("rest of "+base), 0o600))
	}
	if n := f.scan(papyra.ScanOptions{}).AnomalyCounts[papyra.ClassLeftover]; n != 3 {
		t.Errorf("scan finds %d leftovers, want 3", n)
	}
	if r := f.recover(papyra.RecoverOptions{}); r.Moved != 3 || !r.After.Clean() {
		t.Errorf("recovery moved %d and left %v", r.Moved, r.After.AnomalyCounts)
	}
	for range 3 {
		if r := f.recover(papyra.RecoverOptions{}); r.Moved != 0 || !r.Before.Clean() {
			t.Errorf("once more: moved %d of %v", r.Moved, r.Before.AnomalyCounts)
		}
	}
}

// What a killed rotation was about to drop is no damage: whoever takes the lock
// next finishes it, tells what goes, and puts nothing into quarantine.
func TestDroppingIsFinished(t *testing.T) {
	const digits = "0123456789abcdef"
	dropping := func(f *fixture) string {
		return filepath.Join(filepath.Dir(f.path), ".records.ndjson.dropping-"+digits)
	}
	for name, finish := range map[string]func(f *fixture){
		"appender": func(f *fixture) { f.store() },
		"recover":  func(f *fixture) { f.recover(papyra.RecoverOptions{}) },
		"compact": func(f *fixture) {
			o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 1000}}, At: testrecord.Start}
			_, err := f.Compact(f.t.(*testing.T).Context(), o)
			must(f.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newBound(t, 4000, 3)
			lines := testrecord.New(1).Events(9)
			f.store(lines[5:]...)
			must(t, os.WriteFile(dropping(f), testrecord.Join(lines[:5]...), 0o600))
			if r, err := f.Recover(t.Context(), papyra.RecoverOptions{DryRun: true}); err != nil || r.Moved != 0 || r.Before.AnomalyCounts[papyra.ClassLeftover] != 1 {
				t.Errorf("dry run: %+v, %v", r, err)
			}
			finish(f)
			for range 2 { // the second time there is nothing to do
				removals := f.removals()
				if len(removals) != 1 || !strings.HasSuffix(removals[0].ID, "-"+digits) || removals[0].Categories["events"].Records != 5 {
					t.Errorf("reports %+v, want one of 5 events", removals)
				}
				if got := f.beside(); !slices.Equal(got, []string{".records.ndjson.lock"}) {
					t.Errorf("beside the file lie %v", got)
				}
				f.checkAccount(testrecord.New(1).Run(), 9)
				// The report was written, and the process killed before it unlinked.
				must(t, os.WriteFile(dropping(f), testrecord.Join(lines[:5]...), 0o600))
				finish(f)
			}
		})
	}
}

// Unrelated siblings that share the prefix are flagged, or worse, shifted.
func TestSiblingsAreLeftAlone(t *testing.T) {
	f := newBound(t, 700, 3)
	dir := filepath.Dir(f.path)
	siblings := []string{
		"records.ndjson.bak", "records.ndjson.1.gz", "records.ndjson2", "records.ndjson.01", "records.ndjson.-1", "records.ndjson.1x",
		"records.ndjson.+1", "records.ndjson.99999999999999999999", "records.ndjson.0", "records.ndjson-1", "other.ndjson.1", "records.ndjson.lock",
	}
	for _, base := range siblings {
		must(t, os.WriteFile(filepath.Join(dir, base), []byte("keep me "+base), 0o600))
	}
	src := testrecord.New(1)
	f.store(src.Events(30)...)
	must(t, appendTo(f.path, "junk\n"))
	if r := f.recover(papyra.RecoverOptions{}); r.Moved != 1 || !r.After.Clean() || r.Before.Files != 3 {
		t.Errorf("recovery: %+v", r)
	}
	for _, base := range siblings {
		if data, err := os.ReadFile(filepath.Join(dir, base)); string(data) != "keep me "+base {
			t.Errorf("%s holds %q, %v", base, data, err)
		}
	}
}

// `[` in the path breaks the search for orphans, and names
// of temporary files that are made by replacing text hit directories.
func TestHostilePaths(t *testing.T) {
	for _, path := range []string{
		"a[b]*?/re[c]ords.ndjson", "records.ndjson.1/records.ndjson", ".records.ndjson.dropping-0123456789abcdef/records.ndjson",
		"x.compact.tmp/.tmp-0123456789abcdef", "with space/%n\n/1", "é.3/é.3",
	} {
		f := bound(t, filepath.Join(t.TempDir(), path), 900, 3)
		src := testrecord.New(1)
		for range 3 {
			f.store(src.Events(7)...)
		}
		f.checkAccount(src.Run(), 21)
		f.checkBound(900, 3)
		rest := filepath.Join(filepath.Dir(f.path), filepath.Base(f.path)+".1.compact.tmp")
		must(t, os.WriteFile(rest, []byte("x"), 0o600))
		if r := f.recover(papyra.RecoverOptions{}); r.Moved != 1 || !r.After.Clean() || len(f.members()) != 3 {
			t.Errorf("%q: recovery: %+v", path, r)
		}
	}
}

// The fsync option is broken and fails after the write. Here a file is only
// rotated once it is synced, in every sync mode, and so are the directory and the
// reports before anything is unlinked.
func TestSyncAroundRotation(t *testing.T) {
	f := newBound(t, 1500, 2)
	src := testrecord.New(1)
	a := f.appender()
	f.append(a, src.Events(12)...)
	// Neither the first try nor the one through a new descriptor.
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.Sync, Err: unix.EIO})
	before := f.all()
	batch := testrecord.Batch(src.Events(1)...)
	for range 3 {
		if n, err := a.Append(t.Context(), batch); n != 0 || !errors.Is(err, unix.EIO) {
			t.Fatalf("stored %d, error %v, want 0 and EIO", n, err)
		}
	}
	if !bytes.Equal(before, f.all()) || a.Stats().Rotations != 1 {
		t.Errorf("it rotated what is not durable: %+v", a.Stats())
	}
	f.disk.Heal()
	must(t, a.Sync(t.Context()))
	// The directory cannot be synced after the files were shifted: nothing of what
	// was dropped is unlinked.
	f.disk.Fail(faultdisk.Fault{Op: faultdisk.Sync, Err: unix.EIO, Path: filepath.Base(filepath.Dir(f.path))})
	if n, err := a.Append(t.Context(), batch); n != 0 || !errors.Is(err, unix.EIO) {
		t.Fatalf("stored %d, error %v, want 0 and EIO", n, err)
	}
	if got := f.beside(); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, ".dropping-") }) {
		t.Errorf("beside the file lie %v, want what is not dropped yet", got)
	}
	f.disk.Heal()
	f.append(a, linesOf(batch)...)
	f.checkAccount(src.Run(), 13)
}

func linesOf(b *papyra.Batch) (out [][]byte) {
	for i := range b.Len() {
		line, _ := b.Line(i)
		out = append(out, bytes.Clone(line))
	}
	return out
}
