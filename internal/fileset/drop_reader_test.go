package fileset

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// readingDisk counts what is read, and tells what is about to be dropped.
type readingDisk struct {
	disk.OS
	read     int64
	fails    string // the base name of what cannot be read
	dropping func(from, digits string)
}

func (d *readingDisk) ReadAt(f *os.File, b []byte, off int64) (int, error) {
	if filepath.Base(f.Name()) == d.fails {
		return 0, unix.EIO
	}
	n, err := d.OS.ReadAt(f, b, off)
	d.read += int64(n)
	return n, err
}

func (d *readingDisk) Move(from, to string) error {
	if d.dropping != nil && strings.Contains(to, ".dropping-") {
		d.dropping(from, to[len(to)-hexDigits:])
	}
	return d.OS.Move(from, to)
}

// No append reads more than a little of the file that goes, wherever the
// appender was opened, and however it is given records.
func TestRotateReadsInStep(t *testing.T) {
	const maxBytes = 4 << 20
	for _, c := range []struct {
		name  string
		lines int // of 10,000 bytes in each append
		most  int64
	}{
		{"one at a time", 1, 2 * lines.ChunkSize},
		{"many at a time", 50, 3*500_000 + 2*lines.ChunkSize}, // opened in the middle, it reads faster
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := &readingDisk{}
			dropped := 0
			disk.dropping = func(string, string) { dropped++ }
			s, err := Open(Config{Path: filepath.Join(testkit.FastDir(t), "records.ndjson"), Numbered: true, MaxBytes: maxBytes, MaxFiles: 3, Disk: disk})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var a papyra.Appender
			src := testrecord.New(1)
			reopened := 0
			for n := 0; dropped < 3; n++ {
				if a == nil {
					if a, err = s.Appender(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				var lines [][]byte
				for range c.lines {
					lines = append(lines, src.Line("orders", papyra.KindEvent, strings.Repeat("x", 10_000)))
				}
				disk.read = 0
				if stored, err := a.Append(t.Context(), testrecord.Batch(lines...)); stored != len(lines) || err != nil {
					t.Fatalf("append: %d of %d stored, %v", stored, len(lines), err)
				}
				if disk.read > c.most {
					t.Errorf("append %d read %d bytes, want at most %d", n, disk.read, c.most)
				}
				if dropped == 1 && reopened == 0 && s.writer.active.size > maxBytes/2 {
					reopened++
					if err := a.Close(); err != nil {
						t.Fatal(err)
					}
					a = nil
				}
			}
			if reopened == 0 {
				t.Error("the appender was never opened again in the middle of a file")
			}
		})
	}
}

// A file that cannot be read yet does not stop appends that do not need it. When
// it goes it is read again.
func TestRotateAheadFails(t *testing.T) {
	const maxBytes = 2 << 20
	disk := &readingDisk{}
	dropped := 0
	disk.dropping = func(string, string) { dropped++ }
	s, err := Open(Config{Path: filepath.Join(testkit.FastDir(t), "records.ndjson"), Numbered: true, MaxBytes: maxBytes, MaxFiles: 2, Disk: disk})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, err := s.Appender(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	src := testrecord.New(1)
	appended := int64(0)
	appendUntil := func(done func() bool) {
		for ; !done(); appended++ {
			line := src.Line("orders", papyra.KindEvent, strings.Repeat("x", 10_000))
			if n, err := a.Append(t.Context(), testrecord.Batch(line)); n != 1 || err != nil {
				t.Fatalf("append: %d of 1 stored, %v", n, err)
			}
		}
	}
	appendUntil(func() bool { return a.Stats().Rotations == 1 })
	appendUntil(func() bool { return s.writer.ahead.next != nil && s.writer.active.size > maxBytes/4 })
	disk.fails = "records.ndjson.1"
	appendUntil(func() bool { return s.writer.active.size > maxBytes*9/10 })
	if s.writer.ahead.next != nil {
		t.Error("it still reads what cannot be read")
	}
	disk.fails = ""
	disk.read = 0
	appendUntil(func() bool { return dropped == 1 })
	if disk.read < maxBytes-20_000 {
		t.Errorf("%d bytes were read for the drop, want the whole file", disk.read)
	}
	n := int64(0)
	if _, err := s.Read(t.Context(), papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}}, func(*papyra.Record, papyra.Place) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	if gone := a.Stats().DroppedRecords; gone < 150 || n+gone != appended {
		t.Errorf("%d stored and %d dropped are not the %d that were appended", n, gone, appended)
	}
}

// What was read ahead is reported as if it had been read when it was dropped,
// whatever acts, other processes and somebody's editor did meanwhile.
func TestRotateAheadTellsTheSame(t *testing.T) {
	t.Parallel()
	drops, ahead := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		must := func(err error) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		dir := testkit.FastDir(t)
		maxBytes, maxFiles := int64(rapid.IntRange(3_000, 12_000).Draw(rt, "max_bytes")), rapid.IntRange(3, 5).Draw(rt, "max_files")
		disk := &readingDisk{}
		config := Config{Path: filepath.Join(dir, "records.ndjson"), Numbered: true, MaxBytes: maxBytes, MaxFiles: maxFiles, Disk: disk, Sync: SyncNone}
		s, err := Open(config)
		must(err)
		defer func() { _ = s.Close() }()
		a, err := s.Appender(t.Context())
		must(err)

		// want is the reports of each file, read at once when it is dropped.
		want, last := map[string][]papyra.RemovalReport{}, ""
		disk.dropping = func(from, digits string) {
			other, err := Open(config)
			must(err)
			defer func() { must(other.Close()) }()
			m, err := other.lookAt(filepath.Base(from))
			must(err)
			d, err := other.openDeparture(m)
			must(err)
			defer d.closeFile()
			must(d.note(t.Context(), digits, true))
			for _, line := range d.reports[d.staying:] {
				want[digits] = append(want[digits], removalOf(rt, line))
			}
			drops++
			last = digits
		}
		src := testrecord.New(1)
		for range rapid.IntRange(20, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				must(a.Close())
				must(s.Close())
				config.MaxFiles = rapid.IntRange(3, 5).Draw(rt, "max_files")
				s, err = Open(config)
				must(err)
				a, err = s.Appender(t.Context())
				must(err)
			case 1:
				_, err := s.Compact(t.Context(), papyra.CompactOptions{At: testrecord.Start, Retention: papyra.Retention{General: papyra.Limits{
					Records: rapid.Int64Range(1, 200).Draw(rt, "keep"),
				}}})
				must(err)
			case 2:
				_, err := s.Recover(t.Context(), papyra.RecoverOptions{Now: testrecord.Start})
				must(err)
			case 3: // somebody spoils a file
				f, err := os.OpenFile(s.member(rapid.IntRange(1, 4).Draw(rt, "file")), os.O_WRONLY|os.O_APPEND, 0)
				if errors.Is(err, os.ErrNotExist) {
					continue
				}
				must(err)
				_, err = f.WriteString("junk\n")
				must(errors.Join(err, f.Close()))
			default:
				var lines [][]byte
				for range rapid.IntRange(1, 8).Draw(rt, "lines") {
					kind := rapid.SampledFrom([]papyra.Kind{papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter, papyra.KindReport}).Draw(rt, "kind")
					lines = append(lines, src.Line("orders", kind, "text"))
				}
				n, err := a.Append(t.Context(), testrecord.Batch(lines...))
				if n != len(lines) {
					rt.Fatalf("append: %d of %d stored, %v", n, len(lines), err)
				}
				must(err)
				if s.writer.ahead.next != nil {
					ahead++
				}
			}
			got := map[string][]papyra.RemovalReport{}
			_, err := s.Read(t.Context(), papyra.Query{Kinds: []papyra.Kind{papyra.KindReport}}, func(rec *papyra.Record, _ papyra.Place) error {
				if string(rec.Type) == papyra.ReportRemoval {
					r := removalOf(rt, rec.Line)
					if digits := r.ID[len(r.ID)-hexDigits:]; want[digits] != nil {
						got[digits] = append(got[digits], r)
					}
				}
				return nil
			})
			must(err)
			for digits := range want {
				if digits != last && got[digits] == nil {
					delete(want, digits) // dropped itself within this step
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("the reports of what was dropped (-read at once +told):\n%s", diff)
			}
			clear(want)
		}
		must(a.Close())
		must(s.Close())
	})
	t.Logf("%d files were dropped, %d appends read ahead", drops, ahead)
	if drops < 200 || ahead < 200 {
		t.Errorf("only %d files were dropped and %d appends read ahead", drops, ahead)
	}
}

func removalOf(t *rapid.T, line []byte) (p papyra.RemovalReport) {
	var rec papyra.Record
	err := papyra.ParseInto(&rec, bytes.TrimSuffix(slices.Clone(line), newline))
	if err == nil {
		err = json.Unmarshal(rec.Payload, &p)
	}
	if err != nil {
		t.Fatalf("report %s: %v", line, err)
	}
	p.ID = p.ID[len(p.ID)-hexDigits:] // the time is that of the reading
	return p
}
