package fileset_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
)

// check wants a check of a store to have a status, and what it found and what to
// do to match patterns.
func check(t *testing.T, s *fileset.Store, name string, status papyra.CheckStatus, finding, hint string) {
	t.Helper()
	for _, c := range s.Examine(t.Context()) {
		if c.Name != name {
			continue
		}
		if c.Status != status || !regexp.MustCompile("^"+finding+"$").MatchString(c.Finding) || !regexp.MustCompile("^"+hint+"$").MatchString(c.Hint) {
			t.Errorf("got %+v, want %s %q, to do %q", c, status, finding, hint)
		}
		return
	}
	t.Errorf("no check %q", name)
}

func TestExamineFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) *fileset.Store {
		s, err := fileset.Open(fileset.Config{Path: filepath.Join(dir, name)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write := func(name string, mode fs.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, testrecord.Join(testrecord.New(1).Event()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("private", 0o600)
	write("read by all", 0o644)
	write("written by all", 0o666)
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("private", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	check(t, at("missing"), "file", papyra.StatusFail, "there is no "+dir+"/missing", "check the path; .*")
	check(t, at("private"), "file", papyra.StatusOK, dir+`/private, \d+ B, mode 0600, owner \S+`, "")
	check(t, at("read by all"), "file", papyra.StatusWarn, ".* mode 0644.*: everybody can read it", "chmod 0600 '"+dir+"/read by all'")
	check(t, at("written by all"), "file", papyra.StatusWarn, ".* mode 0666.*: others can write to it", "chmod 0600 .*")
	check(t, at("directory"), "file", papyra.StatusFail, ".* is not a regular file: d.*", "name the file itself")
	check(t, at("link"), "file", papyra.StatusFail, ".* is not a regular file: L.*", "name the file itself")
	check(t, at("private/x"), "file", papyra.StatusFail, ".* not a directory", "run it as the user .*")
}

func TestExamineDirectoryAndSpace(t *testing.T) {
	f := newFixture(t)
	dir := filepath.Dir(f.path)
	for mode, want := range map[fs.FileMode]papyra.CheckStatus{0o700: papyra.StatusOK, 0o755: papyra.StatusOK, 0o775: papyra.StatusWarn, 0o777: papyra.StatusWarn} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		hint := ""
		if want == papyra.StatusWarn {
			hint = "chmod go-w " + dir
		}
		check(t, f.Store, "directory", want, fmt.Sprintf("%s, mode %04o, owner .*", dir, mode), hint)
	}
	check(t, f.Store, "space", papyra.StatusOK, ".* free of .*", "")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	check(t, f.Store, "directory", papyra.StatusFail, ".*no such file.*", "make it with mode 0700")
	check(t, f.Store, "space", papyra.StatusWarn, "no such file.*", "")
}

// The lock is tested as everybody tests it, and what its holder wrote into it is
// shown only as far as it can be printed.
func TestExamineLock(t *testing.T) {
	f := newFixture(t)
	lock := filepath.Join(filepath.Dir(f.path), ".records.ndjson.lock")
	check(t, f.Store, "lock", papyra.StatusOK, "free: nothing has written here yet", "")
	a, err := f.Appender(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check(t, f.Store, "lock", papyra.StatusOK, fmt.Sprintf(`held by process %d on \S+ since \S+`, os.Getpid()), "")
	if err := os.WriteFile(lock, []byte(`{"host":"\u001b[2Jx","pid":7,"start":""}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, f.Store, "lock", papyra.StatusOK, `held by process 7 on \\x1b\[2Jx since \?`, "")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, f.Store, "lock", papyra.StatusOK, "held by another process", "")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, f.Store, "lock", papyra.StatusOK, "free: no sink and no tool writes to it now", "")
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", lock); err != nil {
		t.Fatal(err)
	}
	check(t, f.Store, "lock", papyra.StatusWarn, "open .*", "run it as the user .*")
}

func TestExamineWhatActsLeft(t *testing.T) {
	f := newFixture(t)
	beside := filepath.Join(filepath.Dir(f.path), ".records.ndjson")
	check(t, f.Store, "rejects", papyra.StatusOK, "none", "")
	check(t, f.Store, "quarantine", papyra.StatusOK, "nothing beside the store", "")

	if err := os.WriteFile(f.RejectFile()+".1", []byte("older\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, f.Store, "rejects", papyra.StatusWarn, "6 B of refused lines in "+beside+`\.rejected\.1, last written \d{4}-.* UTC`, "each line .*")
	if err := os.WriteFile(f.RejectFile(), []byte("line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, f.Store, "rejects", papyra.StatusWarn, "11 B of refused lines in "+beside+`\.rejected, last written .*`, "each line .*")

	if err := os.WriteFile(f.path, []byte("junk\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Recover(t.Context(), papyra.RecoverOptions{}); err != nil {
		t.Fatal(err)
	}
	check(t, f.Store, "quarantine", papyra.StatusOK, "1 recovery in "+beside+`\.saved`, "")
	if err := os.Mkdir(filepath.Join(beside+".saved", "unfinished"), 0o700); err != nil {
		t.Fatal(err)
	}
	check(t, f.Store, "quarantine", papyra.StatusWarn, "2 recoveries in .*, 1 without an index", "a recovery without an index was interrupted.*")
}
