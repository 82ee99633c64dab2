package sink

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/papyra/papyra"
)

func readAll(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// addReject gives r a message with one rejected line.
func addReject(r *rejectFile, reason papyra.RejectReason, raw []byte) {
	r.addRejects(testTime, "s", []reject{{reason: reason, raw: raw}}, r.reserveRoom(testTime, "s", 1), 1)
}

func TestRejectFileIsReplacedWhenFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".r.rejected")
	r := newRejectFile(path, testSink(t, Config{}).log)
	r.limit = 1000
	for i := range 30 {
		addReject(r, papyra.ClassCorrupted, fmt.Appendf(nil, "line %02d", i))
		r.flushLines()
	}
	r.closeFile()
	now, before := readAll(t, path), readAll(t, path+".1")
	if len(now) > 1000 || len(before) > 1000 || len(before) < 800 {
		t.Errorf("the files have %d and %d bytes, want at most 1000", len(now), len(before))
	}
	if _, replaced := r.keptCounts(); replaced == 0 {
		t.Error("no older file was counted as replaced")
	}
	want := `{"time":1700000000.123456,"subject":"s","reason":"corrupted","length":7,"raw":"bGluZSAyOQ=="}` + "\n"
	if !strings.HasSuffix(now, want) {
		t.Errorf("the file ends in %q, want %q", now[max(0, len(now)-len(want)):], want)
	}
}

func TestRejectFileSurvives(t *testing.T) {
	log := testSink(t, Config{}).log
	t.Run("fragment of a crash", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "r")
		if err := os.WriteFile(path, []byte(`{"time":1`), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRejectFile(path, log)
		addReject(r, "corrupted", []byte("x"))
		r.flushLines()
		r.closeFile()
		if got := readAll(t, path); !strings.HasPrefix(got, "{\"time\":1\n{\"time\":17") || strings.Count(got, "\n") != 2 {
			t.Errorf("the file is %q: the fragment merged with the next line", got)
		}
	})
	t.Run("removed by somebody", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "r")
		r := newRejectFile(path, log)
		for range 2 {
			addReject(r, "corrupted", []byte("x"))
			r.flushLines()
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
		}
		addReject(r, "corrupted", []byte("x"))
		r.flushLines()
		r.closeFile()
		if n := strings.Count(readAll(t, path), "\n"); n != 1 {
			t.Errorf("%d lines in the new file, want 1", n)
		}
	})
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
	}{
		{"symlink", func(t *testing.T, path string) {
			victim := path + ".victim"
			if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if b, err := os.ReadFile(victim); err == nil && string(b) != "precious" {
					t.Errorf("the symlink's target is now %q", b)
				}
			})
			if err := os.Symlink(victim, path); err != nil {
				t.Fatal(err)
			}
		}},
		{"FIFO", func(t *testing.T, path string) {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "r")
			tt.make(t, path)
			r := newRejectFile(path, log)
			for range 3 {
				addReject(r, "corrupted", []byte("x"))
			}
			r.flushLines()
			if n, _ := r.keptCounts(); n != 3 {
				t.Errorf("%d rejects counted as not kept, want 3", n)
			}
			// It recovers alone when the way is free.
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			addReject(r, "corrupted", []byte("x"))
			r.flushLines()
			r.closeFile()
			if n := strings.Count(readAll(t, path), "\n"); n != 1 {
				t.Errorf("%d lines after the way was free, want 1", n)
			}
		})
	}
}

func TestRejectsBeyondTheBufferAreCounted(t *testing.T) {
	r := newRejectFile(filepath.Join(t.TempDir(), "r"), testSink(t, Config{}).log)
	big := bytes.Repeat([]byte("x"), 3<<20)
	for range 12 {
		addReject(r, papyra.ClassOversize, big) // each keeps 1 MiB, as 4/3 MiB
	}
	if n, _ := r.keptCounts(); n == 0 || n >= 12 {
		t.Errorf("%d of 12 are not kept, want some", n)
	}
	kept, _ := r.keptCounts()
	r.flushLines()
	r.closeFile()
	text := readAll(t, r.path)
	if n := strings.Count(text, "\n"); uint64(n) != 12-kept {
		t.Errorf("%d lines in the file and %d not kept, want 12 together", n, kept)
	}
	if !strings.Contains(text, `"length":3145728`) {
		t.Error("the true length of a long line is not there")
	}
}

// In a shared directory somebody may put a hard link to another file in the place of
// the reject file: nothing is written to it.
func TestRejectFileThatIsAHardLink(t *testing.T) {
	dir := t.TempDir()
	path, letter := filepath.Join(dir, ".r.rejected"), filepath.Join(dir, "letter")
	if err := os.WriteFile(letter, []byte("without its newline"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(letter, path); err != nil {
		t.Fatal(err)
	}
	r := newRejectFile(path, testSink(t, Config{}).log)
	reject := func() {
		addReject(r, papyra.ClassCorrupted, []byte("line"))
		r.flushLines()
	}
	reject()
	if got := readAll(t, letter); got != "without its newline" {
		t.Errorf("the other name's file holds %q", got)
	}
	if notKept, _ := r.keptCounts(); notKept != 1 {
		t.Errorf("%d rejects count as not kept, want 1", notKept)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	reject()
	r.closeFile()
	if got := readAll(t, path); !strings.Contains(got, `"length":4`) {
		t.Errorf("after the link is gone the file holds %q", got)
	}
}
