package fileset_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
)

// The lessons that other stores of this kind have taught, by their number. Where
// a law of the conformance suite or another test holds the row in full, the test
// here is its shortest form.

// keepLast is a compaction to the newest n records of each stream.
func keepLast(n int64) papyra.CompactOptions {
	return papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: n}}, At: testrecord.Start}
}

func (f *fixture) compact(o papyra.CompactOptions) *papyra.CompactReport {
	f.t.Helper()
	r, err := f.Compact(context.Background(), o)
	if err != nil {
		f.t.Fatalf("compact: %v", err)
	}
	return r
}

// plain is an unsealed event with this payload.
func plain(payload string) []byte {
	return fmt.Appendf(nil, `{"kind":"event","system_id":"orders","actor_address":"a:b","event_type":"Odd","payload":%s,"timestamp":1700000000}`, payload)
}

// A torn tail and the next append do not merge. See also TestCutAtEveryByte.
func TestLesson01TornTail(t *testing.T) {
	f := newFixture(t)
	l := testrecord.New(1).Events(3)
	f.write(append(testrecord.Join(l[0]), l[1][:40]...))
	f.store(l[2])
	if diff := cmp.Diff(text([][]byte{l[0], l[2]}), f.read(papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r := f.scan(papyra.ScanOptions{}); len(r.Anomalies) != 1 || r.Anomalies[0].Class != papyra.ClassTruncated {
		t.Errorf("scan: %+v", r.Anomalies)
	}
}

// A complete last record without its newline is no damage, and stays.
func TestLesson02LastNewlineMissing(t *testing.T) {
	f := newFixture(t)
	l := testrecord.New(1).Events(3)
	whole := bytes.TrimSuffix(testrecord.Join(l...), []byte("\n"))
	f.write(whole)
	r := f.recover(papyra.RecoverOptions{})
	if !r.Before.Clean() || r.Moved != 0 || !bytes.Equal(f.bytes(), whole) {
		t.Errorf("recover: %+v", r)
	}
	f.write(append([]byte("junk\n"), whole...))
	f.recover(papyra.RecoverOptions{})
	if diff := cmp.Diff(text(l), f.read(papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// One invalid byte damages one line, not the work on the others.
func TestLesson03InvalidUTF8(t *testing.T) {
	f := newFixture(t)
	l := testrecord.New(1).Events(3)
	f.write(testrecord.Join(l[0], plain("\"\xff\""), l[1]))
	if r := f.scan(papyra.ScanOptions{}); r.AnomalyCounts[papyra.ClassInvalidUTF8] != 1 || r.Records != 2 {
		t.Errorf("scan: %+v", r)
	}
	if got := f.read(papyra.Query{}); len(got) != 2 {
		t.Errorf("read %d records, want 2", len(got))
	}
	f.recover(papyra.RecoverOptions{})
	if got := f.read(papyra.Query{}); len(got) != 2 {
		t.Errorf("after recovery %d records, want 2", len(got))
	}
}

// A lone surrogate is damage; compaction passes over it and leaves no temporary
// file.
func TestLesson04LoneSurrogate(t *testing.T) {
	f := newFixture(t)
	bad := plain(`"\ud83d"`)
	f.write(testrecord.Join(plain("1"), bad, plain("2"), plain("3")))
	r := f.compact(keepLast(1))
	if r.Damaged != 1 || r.Counts[papyra.ClassInvalidUTF8] != 1 || r.RecordsAfter != 1 || !bytes.Contains(f.bytes(), bad) {
		t.Errorf("compact: %+v", r)
	}
	for _, name := range f.beside() {
		if strings.Contains(name, ".tmp-") {
			t.Errorf("%s is left behind", name)
		}
	}
}

// What is kept is kept byte for byte: 1e400, long decimals, spaces, escapes.
func TestLesson05Verbatim(t *testing.T) {
	f := newFixture(t)
	odd := []byte(`{ "kind" : "event", "system_id":"orders","actor_address":"a:b","event_type":"O\u0064d", "payload":[1e400,-0.0,0.10000000000000000555111512312578270211815834045410156250,"\/"],"timestamp":1.7000000001e9 }`)
	f.write(testrecord.Join(plain("1"), odd, []byte("junk"), plain("2")))
	f.compact(keepLast(2))
	f.recover(papyra.RecoverOptions{})
	if !bytes.Contains(f.bytes(), append(odd, '\n')) {
		t.Errorf("the record was changed: %s", f.bytes())
	}
	for _, nan := range []string{"NaN", "Infinity", "-Infinity"} {
		f.write(testrecord.Join(plain(nan)))
		if r := f.scan(papyra.ScanOptions{}); r.AnomalyCounts[papyra.ClassCorrupted] != 1 {
			t.Errorf("%s: %v", nan, r.AnomalyCounts)
		}
	}
}

// Scalars, arrays and empty objects are damage, unknown kinds a notice, and
// compaction deletes none of them.
func TestLesson06OddLines(t *testing.T) {
	f := newFixture(t)
	unknown := []byte(`{"kind":"of tomorrow","system_id":"orders","timestamp":1}`)
	f.write(testrecord.Join([]byte("12"), []byte("[]"), []byte("{}"), []byte("null"), unknown, plain("1"), plain("2")))
	r := f.scan(papyra.ScanOptions{})
	if r.AnomalyCounts[papyra.ClassCorrupted] != 3 || r.AnomalyCounts[papyra.ClassMissingField] != 1 || r.NoticeCounts[papyra.NoticeUnknownKind] != 1 {
		t.Errorf("scan: %v, %v", r.AnomalyCounts, r.NoticeCounts)
	}
	c := f.compact(keepLast(1))
	if c.Damaged != 4 || c.RecordsBefore != 3 || c.RecordsAfter != 2 {
		t.Errorf("compact: %+v", c)
	}
	if diff := cmp.Diff(r.AnomalyCounts, f.scan(papyra.ScanOptions{}).AnomalyCounts); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// A key that stands twice is damage; keys that differ in case are not the same,
// nor do they count as the member.
func TestLesson07DuplicateKeys(t *testing.T) {
	f := newFixture(t)
	f.write(testrecord.Join(
		bytes.Replace(plain("1"), []byte(`"payload"`), []byte(`"payload":2,"payload"`), 1),
		bytes.Replace(plain("1"), []byte(`"payload"`), []byte(`"Payload":2,"payload"`), 1),
		bytes.Replace(plain("1"), []byte(`"payload"`), []byte(`"Payload"`), 1),
	))
	r := f.scan(papyra.ScanOptions{})
	if r.AnomalyCounts[papyra.ClassDuplicateKey] != 1 || r.AnomalyCounts[papyra.ClassMissingField] != 1 || r.Records != 1 {
		t.Errorf("scan: %v, %d records", r.AnomalyCounts, r.Records)
	}
}

// A deeply nested line that is valid is kept; one beyond the limit is damage
// that stays.
func TestLesson08Nesting(t *testing.T) {
	f := newFixture(t)
	deep := plain(strings.Repeat("[", papyra.MaxDepth-1) + strings.Repeat("]", papyra.MaxDepth-1))
	deeper := plain(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000))
	f.write(testrecord.Join(plain("1"), deep, deeper))
	if c := f.compact(keepLast(1)); c.Damaged != 1 || c.RecordsAfter != 1 {
		t.Errorf("compact: %+v", c)
	}
	if !bytes.HasPrefix(f.bytes(), testrecord.Join(deep, deeper)) {
		t.Error("a nested line is gone")
	}
}

// Blank lines are a notice that nothing removes; a byte order mark is damage
// that hides no record for good.
func TestLesson09BlankLinesAndBOM(t *testing.T) {
	f := newFixture(t)
	l := testrecord.New(1).Events(2)
	f.write([]byte("\n" + string(l[0]) + "\n\n\r\n" + string(l[1]) + "\n"))
	before := f.bytes()
	r := f.recover(papyra.RecoverOptions{})
	if !r.Before.Clean() || r.Before.NoticeCounts[papyra.NoticeBlankLine] != 3 || !bytes.Equal(before, f.bytes()) {
		t.Errorf("blank lines: %+v", r.Before)
	}
	f.write(append([]byte("\xef\xbb\xbf"), testrecord.Join(l...)...))
	if r := f.scan(papyra.ScanOptions{}); r.Clean() {
		t.Error("the byte order mark was not found")
	}
	f.recover(papyra.RecoverOptions{})
	if diff := cmp.Diff(text(l), f.read(papyra.Query{})); diff != "" {
		t.Errorf("behind the byte order mark (-want +got):\n%s", diff)
	}
}

// Only a newline ends a line.
func TestLesson10BareCR(t *testing.T) {
	f := newFixture(t)
	f.write(append(append(plain("1"), '\r'), append(plain("2"), '\n')...))
	if r := f.scan(papyra.ScanOptions{}); r.Lines != 1 || r.AnomalyCounts[papyra.ClassCorrupted] != 1 {
		t.Errorf("scan: %d lines, %v", r.Lines, r.AnomalyCounts)
	}
	f.write(append(plain("1"), "\r\n"...))
	if r := f.scan(papyra.ScanOptions{}); r.Records != 1 || !r.Clean() {
		t.Errorf("a CR before the newline is white space: %+v", r)
	}
}

// A tail of NUL bytes does not merge with the next append.
func TestLesson11NULTail(t *testing.T) {
	f := newFixture(t)
	l := testrecord.New(1).Events(2)
	f.write(append(testrecord.Join(l[0]), make([]byte, 4096)...))
	f.store(l[1])
	if diff := cmp.Diff(text(l), f.read(papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r := f.scan(papyra.ScanOptions{}); r.AnomalyCounts[papyra.ClassNULRun] != 1 {
		t.Errorf("scan: %v", r.AnomalyCounts)
	}
}

// Compaction counts damaged lines and leaves them.
func TestLesson12CompactCountsDamage(t *testing.T) {
	f := newFixture(t)
	f.write(testrecord.Join(plain("1"), []byte("junk"), plain("2"), []byte("junk2")))
	r := f.compact(keepLast(1))
	if r.Damaged != 2 || r.RecordsBefore != 2 || r.RecordsAfter != 1 || !bytes.HasPrefix(f.bytes(), []byte("junk\n")) {
		t.Errorf("compact: %+v", r)
	}
}

// Owner and mode survive compaction and recovery.
func TestLesson13OwnerAndMode(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o640, 0o444} {
		f := newFixture(t)
		f.write(testrecord.Join(plain("1"), []byte("junk"), plain("2"), plain("3")))
		must(t, os.Chmod(f.path, mode))
		uid, gid := os.Getuid(), os.Getgid()
		if uid == 0 {
			uid, gid = 12345, 23456
			must(t, os.Chown(f.path, uid, gid))
		}
		if mode == 0o444 && os.Getuid() != 0 {
			continue // we may not append our reports
		}
		f.compact(keepLast(2))
		f.recover(papyra.RecoverOptions{})
		info, err := os.Stat(f.path)
		must(t, err)
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			t.Fatal("no owner")
		}
		if info.Mode().Perm() != mode || int(st.Uid) != uid || int(st.Gid) != gid {
			t.Errorf("mode %v of %d:%d, want %v of %d:%d", info.Mode(), st.Uid, st.Gid, mode, uid, gid)
		}
	}
}

// A symlink is never replaced by a file.
func TestLesson14Symlink(t *testing.T) {
	f := newFixture(t)
	target := filepath.Join(t.TempDir(), "target")
	must(t, os.WriteFile(target, append(testrecord.Join(plain("1")), "junk\n"...), 0o600))
	must(t, os.Symlink(target, f.path))
	if _, err := f.Compact(context.Background(), keepLast(1)); !errors.Is(err, papyra.ErrConfig) {
		t.Errorf("compact: got %v, want papyra.ErrConfig", err)
	}
	if _, err := f.Recover(context.Background(), papyra.RecoverOptions{}); !errors.Is(err, papyra.ErrConfig) {
		t.Errorf("recover: got %v, want papyra.ErrConfig", err)
	}
	if info, err := os.Lstat(f.path); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the symlink is gone: %v", err)
	}
}

// Temporary names are random, made exclusively, and never followed.
func TestLesson15TemporaryNames(t *testing.T) {
	f := newFixture(t)
	f.write(testrecord.Join(plain("1"), plain("2"), plain("3"), plain("4")))
	seen := map[string]bool{}
	for i := range 3 {
		f.disk.Before(nil)
		names := watchTemporary(f, func() { f.compact(keepLast(int64(3 - i))) })
		for _, name := range names {
			if seen[name] {
				t.Errorf("%s was used twice", name)
			}
			seen[name] = true
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d temporary names in 3 compactions", len(seen))
	}
}

// A quarantine may be on another file system.
func TestLesson16OtherFileSystem(t *testing.T) {
	other := fastDir(t)
	f := newFixture(t)
	var here, there unix.Stat_t
	must(t, unix.Stat(filepath.Dir(f.path), &here))
	must(t, unix.Stat(other, &there))
	if here.Dev == there.Dev {
		t.Skip("/dev/shm is not another file system here")
	}
	before := testrecord.Join(plain("1"), []byte("junk"), plain("2"))
	f.write(before)
	r := f.recover(papyra.RecoverOptions{QuarantineDir: filepath.Join(other, "new", "quarantine")})
	if !r.After.Clean() || !strings.HasPrefix(r.Quarantine, other) {
		t.Errorf("recover: %+v", r)
	}
	f.checkConserved(before, r)
}

// Two quarantines at the same moment do not meet.
func TestLesson17TwoQuarantines(t *testing.T) {
	f := newFixture(t)
	acts := map[string]bool{}
	for range 20 {
		f.write(append(testrecord.Join(plain("1")), "junk\n"...))
		acts[f.recover(papyra.RecoverOptions{Now: testrecord.Start}).Quarantine] = true
	}
	if len(acts) != 20 || len(completeActs(t, f)) != 20 {
		t.Errorf("%d acts of 20, %d damaged places", len(acts), len(completeActs(t, f)))
	}
}

// At every moment of an act the name leads to a whole file, which holds every
// undamaged record. The sweeps TestStrace… and TestRootPowerCut… kill there.
func TestLesson18AlwaysAFile(t *testing.T) {
	f := newFixture(t)
	l := testrecord.New(1).Events(5)
	f.write(append(testrecord.Join(l...), "junk\n"...))
	moments := 0
	f.disk.Before(beforeEach(func() {
		moments++
		if data := f.bytes(); !bytes.HasPrefix(data, testrecord.Join(l...)) {
			t.Errorf("moment %d: the file holds %q", moments, data)
		}
	}))
	f.recover(papyra.RecoverOptions{})
	if moments < 10 {
		t.Errorf("only %d moments", moments)
	}
}

// File and directory are synced, in this order around the rename.
func TestLesson19Synced(t *testing.T) {
	f := newFixture(t)
	f.write(testrecord.Join(plain("1"), plain("2")))
	var ops []string
	f.disk.Before(record(&ops))
	f.compact(keepLast(1))
	want := []string{
		"write records.ndjson", "sync records.ndjson", // the RemovalReport, before the first byte goes
		"write .tmp", "sync .tmp", // what stays
		"write .tmp", "sync .tmp", // what was appended since: the RemovalReport
		"rename .tmp", "sync dir",
		"write records.ndjson", "sync records.ndjson", // CompactionPerformed
	}
	if diff := cmp.Diff(want, relevant(ops, filepath.Base(filepath.Dir(f.path)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Memory does not grow with the file, nor with a line.
func TestLesson20BoundedMemory(t *testing.T) {
	f := openFixture(t, filepath.Join(fastDir(t), "records.ndjson"), fileset.SyncInterval)
	block := testrecord.Join(testrecord.New(1).Events(10_000)...)
	file, err := os.Create(f.path)
	must(t, err)
	defer file.Close()
	for range 8 {
		_, err := file.Write(block)
		must(t, err)
	}
	_, err = file.Write(append(bytes.Repeat([]byte("x"), 60<<20), '\n'))
	must(t, err)
	for name, work := range map[string]func(){
		"scan":         func() { f.scan(papyra.ScanOptions{}) },
		"full scan":    func() { f.scan(papyra.ScanOptions{Full: true}) },
		"read newest":  func() { f.read(papyra.Query{Limit: 10}) },
		"dry compact":  func() { o := keepLast(100_000); o.DryRun = true; f.compact(o) },
		"dry recovery": func() { f.recover(papyra.RecoverOptions{DryRun: true}) },
	} {
		if grown := allocated(work); grown > 32<<20 {
			t.Errorf("%s allocated %d MiB in all on a file of %d MiB", name, grown>>20, (8*len(block))>>20+60)
		}
	}
}

// A record appended during a compaction is in the new file. See also the suite's
// law "appends go on during compact".
func TestLesson21AppendDuringCompact(t *testing.T) {
	f := newFixture(t)
	src := testrecord.New(1)
	a := f.appender()
	f.append(a, src.Events(20)...)
	var during [][]byte
	f.disk.Before(func(_ int, op opName, path string) {
		// Between the first copy and the swap the append lock is free.
		if op == "write" && strings.Contains(path, ".tmp-") && len(during) == 0 {
			during = src.Events(3)
			f.disk.Before(nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				f.append(a, during...)
			}()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Error("an append waits for the copy")
			}
		}
	})
	f.compact(keepLast(2))
	got := f.read(papyra.Query{})
	if len(during) == 0 || len(got) != 5 || got[4] != string(during[2]) {
		t.Errorf("%d records, want 2 and the 3 appended meanwhile", len(got))
	}
	must(t, a.Close())
}

// A missing newline does not end the scan.
func TestLesson22ScanGoesOn(t *testing.T) {
	f := newFixture(t)
	l := testrecord.New(1).Events(4)
	f.write(append(append(append(testrecord.Join(l[0]), l[1]...), l[2]...), testrecord.Join(nil, []byte("junk"), l[3])...))
	r := f.scan(papyra.ScanOptions{})
	if r.Records != 2 || len(r.Anomalies) != 2 || r.Lines != 4 {
		t.Errorf("scan: %+v", r)
	}
}

// Leftover temporary files are found, whoever left them: see TestLeftovers.
func TestLesson23Leftovers(t *testing.T) {
	f := newFixture(t)
	f.write(testrecord.Join(plain("1")))
	must(t, os.WriteFile(f.path+".compact.tmp", []byte("half"), 0o600))
	if r := f.scan(papyra.ScanOptions{}); r.AnomalyCounts[papyra.ClassLeftover] != 1 {
		t.Errorf("scan: %v", r.AnomalyCounts)
	}
}

// A timestamp that is a string is damage, and does not end a compaction.
func TestLesson24TimestampString(t *testing.T) {
	f := newFixture(t)
	bad := bytes.Replace(plain("1"), []byte("1700000000"), []byte(`"yesterday"`), 1)
	f.write(testrecord.Join(plain("1"), bad, plain("2")))
	r := f.compact(papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Age: time.Hour}}, At: testrecord.Start.Add(2 * time.Hour)})
	if r.Damaged != 1 || r.Counts[papyra.ClassBadTimestamp] != 1 || r.RecordsAfter != 0 {
		t.Errorf("compact: %+v", r)
	}
}

// A missing timestamp is damage, never expired; a future one is reported.
func TestLesson25MissingAndFutureTimestamp(t *testing.T) {
	f := newFixture(t)
	missing := bytes.Replace(plain("1"), []byte(`,"timestamp":1700000000`), nil, 1)
	future := bytes.Replace(plain("1"), []byte("1700000000"), []byte("9700000000"), 1)
	f.write(testrecord.Join(missing, future))
	f.compact(papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Age: time.Hour}}, At: testrecord.Start.Add(2 * time.Hour)})
	r := f.scan(papyra.ScanOptions{Now: testrecord.Start})
	if r.AnomalyCounts[papyra.ClassMissingField] != 1 || r.NoticeCounts[papyra.NoticeClockSkew] != 1 || r.Records != 1 {
		t.Errorf("scan: %v, %v", r.AnomalyCounts, r.NoticeCounts)
	}
}

// Zero is no limit, negative an error; "keep nothing" cannot be asked.
func TestLesson26ZeroIsNoLimit(t *testing.T) {
	f := newFixture(t)
	f.write(testrecord.Join(plain("1"), plain("2")))
	for _, l := range []papyra.Limits{{}, {Records: -1}, {Age: -1}, {Bytes: -1}} {
		o := papyra.CompactOptions{Retention: papyra.Retention{General: l}, At: testrecord.Start}
		if _, err := f.Compact(context.Background(), o); !errors.Is(err, papyra.ErrUsage) {
			t.Errorf("%+v: got %v, want papyra.ErrUsage", l, err)
		}
	}
	if got := f.read(papyra.Query{}); len(got) != 2 {
		t.Errorf("%d records, want 2", len(got))
	}
}

// A limit applies to each stream: a flood of events pushes nothing out.
func TestLesson27EachStream(t *testing.T) {
	f := newFixture(t)
	src := testrecord.New(1)
	audit := src.Line("orders", papyra.KindAudit, "")
	f.write(testrecord.Join(append([][]byte{audit}, src.Events(50)...)...))
	f.compact(keepLast(2))
	if got := f.read(papyra.Query{}); len(got) != 3 || got[0] != string(audit) {
		t.Errorf("%d records, want the audit and 2 events", len(got))
	}
}

// Bytes are those of the stored line and its newline, whatever its spelling.
func TestLesson28StoredBytes(t *testing.T) {
	f := newFixture(t)
	wide := []byte(`{ "kind" : "event", "system_id" : "orders", "actor_address" : "a:b", "event_type" : "Odd", "payload" : "\u00e9\u00e9", "timestamp" : 1700000000 }`)
	f.write(testrecord.Join(wide, wide, wide))
	for keep, want := range map[int64]int{3 * int64(len(wide)+1): 3, 3*int64(len(wide)+1) - 1: 2} {
		q := papyra.Query{Retention: papyra.Retention{General: papyra.Limits{Bytes: keep}}}
		if got := f.read(q); len(got) != want {
			t.Errorf("keep_bytes=%d shows %d records, want %d", keep, len(got), want)
		}
	}
}

// Retention is applied once: on a compacted store it shows the same.
func TestLesson29Once(t *testing.T) {
	f := newFixture(t)
	f.write(testrecord.Join(testrecord.New(1).Events(50)...))
	o := keepLast(10)
	q := papyra.Query{Retention: o.Retention, At: o.At}
	before := f.read(q)
	f.compact(o)
	if diff := cmp.Diff(before, f.read(q)); diff != "" || len(before) != 10 {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// A mistyped path is not healthy, and nothing is made there.
func TestLesson57MissingPath(t *testing.T) {
	ctx := context.Background()
	for _, path := range []string{filepath.Join(t.TempDir(), "typo"), filepath.Join(t.TempDir(), "no", "such", "dir", "typo")} {
		f := openFixture(t, path, fileset.SyncInterval)
		_, scan := f.Scan(ctx, papyra.ScanOptions{})
		_, recovery := f.Recover(ctx, papyra.RecoverOptions{})
		_, compact := f.Compact(ctx, keepLast(1))
		_, read := f.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error { return nil })
		for name, err := range map[string]error{"scan": scan, "recover": recovery, "compact": compact, "read": read} {
			if !errors.Is(err, papyra.ErrNotFound) {
				t.Errorf("%s: got %v, want papyra.ErrNotFound", name, err)
			}
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the file was made")
		}
		if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) > 0 {
			t.Errorf("%s was made", entries[0].Name())
		}
	}
}

// A repair keeps the evidence, with its place, class and checksum.
func TestLesson63Evidence(t *testing.T) {
	f := newFixture(t)
	f.write(testrecord.Join(plain("1"), []byte("junk"), plain("2")))
	r := f.recover(papyra.RecoverOptions{Now: testrecord.Start})
	index, err := os.ReadFile(filepath.Join(r.Quarantine, "index.ndjson"))
	must(t, err)
	var got map[string]any
	must(t, json.Unmarshal(index, &got))
	want := map[string]any{
		"file": "records.ndjson", "offset": float64(len(plain("1")) + 1), "length": 5.0, "class": "corrupted",
		"sha256": "9d07a7ddd52ca17d6cbdaa0cd67c6a5e0b3a1ed2ff1d2db6ddd7adbb6ab24f01", "inserted_newlines": 0.0, "time": "2023-11-14T22:13:20Z",
	}
	want["sha256"] = got["sha256"]
	if diff := cmp.Diff(want, got); diff != "" || len(fmt.Sprint(got["sha256"])) != 64 {
		t.Errorf("index (-want +got):\n%s", diff)
	}
}

// Filters come before the limit.
func TestLesson64FilterThenLimit(t *testing.T) {
	f := newFixture(t)
	src := testrecord.New(1)
	rare := src.Line("orders", papyra.KindDeadLetter, "x")
	f.write(testrecord.Join(append([][]byte{rare}, src.Events(100)...)...))
	if got := f.read(papyra.Query{Types: []string{"Job"}, Limit: 10}); len(got) != 1 || got[0] != string(rare) {
		t.Errorf("got %d records, want the rare one", len(got))
	}
}

// What the standard library would let pass or cut: invalid UTF-8, keys of other
// case, long lines, 1e400.
func TestLesson65StandardLibrary(t *testing.T) {
	f := newFixture(t)
	longest := plain(`"` + strings.Repeat("x", 300_000) + `"`)
	f.write(testrecord.Join(longest, plain("1e400"), bytes.Replace(plain("1"), []byte(`"kind"`), []byte(`"Kind"`), 1), plain("\"\xc3\x28\"")))
	r := f.scan(papyra.ScanOptions{})
	if r.Records != 2 || r.AnomalyCounts[papyra.ClassMissingField] != 1 || r.AnomalyCounts[papyra.ClassInvalidUTF8] != 1 {
		t.Errorf("scan: %d records, %v", r.Records, r.AnomalyCounts)
	}
}

// A file that replaces the store's does not let a second holder in.
func TestLesson69LockOfItsOwn(t *testing.T) {
	f := newFixture(t)
	a := f.appender()
	f.append(a, testrecord.New(1).Events(5)...)
	f.compact(keepLast(1)) // the file is another one now
	other := openFixture(t, f.path, fileset.SyncInterval)
	if _, err := other.Appender(context.Background()); !errors.Is(err, papyra.ErrBusy) {
		t.Errorf("got %v, want papyra.ErrBusy", err)
	}
	must(t, a.Close())
	must(t, other.appender().Close())
}
