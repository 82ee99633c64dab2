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
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// What has gone wrong in other stores that consist of files. What would go wrong
// in any store is a law of the conformance suite.

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
func TestTornTail(t *testing.T) {
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

// A complete last record without its newline is no damage, and stays; a recovery
// gives it one.
func TestLastNewlineMissing(t *testing.T) {
	f := newFixture(t)
	l := testrecord.New(1).Events(3)
	whole := bytes.TrimSuffix(testrecord.Join(l...), []byte("\n"))
	f.write(whole)
	r := f.recover(papyra.RecoverOptions{})
	if !r.Before.Clean() || r.Moved != 0 || !bytes.Equal(f.bytes(), append(bytes.Clone(whole), '\n')) {
		t.Errorf("recover: %+v", r)
	}
	f.write(append([]byte("junk\n"), whole...))
	f.recover(papyra.RecoverOptions{})
	if diff := cmp.Diff(text(l), f.read(papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Blank lines are a notice that nothing removes; a byte order mark is damage
// that hides no record for good.
func TestBlankLinesAndBOM(t *testing.T) {
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
func TestBareCR(t *testing.T) {
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
func TestNULTail(t *testing.T) {
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

// Owner and mode survive compaction and recovery.
func TestOwnerAndMode(t *testing.T) {
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
func TestSymlinkIsRefused(t *testing.T) {
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
func TestTemporaryNames(t *testing.T) {
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
func TestOtherFileSystem(t *testing.T) {
	other := testkit.FastDir(t)
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
func TestTwoQuarantines(t *testing.T) {
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
func TestAlwaysAFile(t *testing.T) {
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
func TestSyncsAroundTheSwap(t *testing.T) {
	f := newFixture(t)
	f.write(testrecord.Join(plain("1"), plain("2")))
	var ops []string
	f.disk.Before(record(&ops))
	f.compact(keepLast(1))
	want := []string{
		"write .tmp", "sync .tmp", // what stays
		"write records.ndjson", "sync records.ndjson", // the RemovalReport, before the first byte goes
		"write .tmp", "sync .tmp", // what was appended since: the RemovalReport
		"rename .tmp", "sync dir",
		"write records.ndjson", "sync records.ndjson", // CompactionPerformed
	}
	if diff := cmp.Diff(want, relevant(ops, filepath.Base(filepath.Dir(f.path)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Memory does not grow with the file, nor with a line.
func TestBoundedMemory(t *testing.T) {
	f := openFixture(t, filepath.Join(testkit.FastDir(t), "records.ndjson"), fileset.SyncInterval)
	block := testrecord.Join(testrecord.New(1).Events(10_000)...)
	blocks := 8
	if strings.HasPrefix(t.Name(), onASet) {
		blocks = 1 // a line as long all the same
	}
	file, err := os.Create(f.path)
	must(t, err)
	defer file.Close()
	for range blocks {
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
			t.Errorf("%s allocated %d MiB in all on a file of %d MiB", name, grown>>20, (blocks*len(block))>>20+60)
		}
	}
}

// A record appended during a compaction is in the new file. See also the suite's
// law "appends go on during compact".
func TestAppendDuringCompact(t *testing.T) {
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

// A mistyped path is not healthy, and nothing is made there.
func TestMissingPath(t *testing.T) {
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
func TestEvidence(t *testing.T) {
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

// A file that replaces the store's does not let a second holder in.
func TestLockOfItsOwn(t *testing.T) {
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
