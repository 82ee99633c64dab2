package fileset_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/testrecord"
)

// Others may write to the directory: what they put in the place of the lock is never
// written to. The lock itself holds all the same.
func TestLockFileThatIsNotOurs(t *testing.T) {
	victim := []byte("somebody's letter\n")
	for name, c := range map[string]struct {
		content []byte
		link    bool
		written bool
	}{
		"a hard link":                  {victim, true, false},
		"a hard link to an empty file": {nil, true, false},
		"a hard link to a hint":        {[]byte(`{"host":"a","pid":1,"start":"b"}` + "\n"), true, false},
		"another file":                 {victim, false, false},
		"a long file":                  {bytes.Repeat([]byte(" "), 4096), false, false},
		"an empty file":                {nil, false, true},
		"an old hint":                  {[]byte(`{"host":"a","pid":1,"start":"b"}` + "\n"), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := fastFixture(t)
			dir := filepath.Dir(f.path)
			lock, letter := filepath.Join(dir, ".records.ndjson.lock"), filepath.Join(dir, "letter")
			if !c.link {
				letter = lock
			}
			if err := os.WriteFile(letter, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if c.link {
				if err := os.Link(letter, lock); err != nil {
					t.Fatal(err)
				}
			}
			a := f.appender()
			f.append(a, testrecord.New(1).Event())
			other := openFixture(t, f.path, "")
			if _, err := other.Appender(context.Background()); !errors.Is(err, papyra.ErrBusy) {
				t.Errorf("a second appender: %v, want papyra.ErrBusy", err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(letter)
			if err != nil {
				t.Fatal(err)
			}
			if changed := !bytes.Equal(got, c.content); changed != c.written {
				t.Errorf("the file holds %.100q, written to: %v, want %v", got, changed, c.written)
			}
		})
	}
}

// However somebody swaps .NAME.saved for a symlink while a recovery goes on, nothing
// gets to where it leads, and no byte is lost.
func TestQuarantineThatIsSwapped(t *testing.T) {
	src := testrecord.New(1)
	content := testrecord.Join(src.Event(), []byte("junk"), src.Event())
	for at := 1; ; at++ {
		f := fastFixture(t)
		f.write(content)
		dir := filepath.Dir(f.path)
		saved, aside, victim := filepath.Join(dir, ".records.ndjson.saved"), filepath.Join(dir, "aside"), filepath.Join(dir, "victim")
		for _, d := range []string{saved, victim} {
			if err := os.Mkdir(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		swapped := false
		f.disk.Before(func(n int, _ faultdisk.Op, _ string) {
			if n != at {
				return
			}
			swapped = true
			if err := errors.Join(os.Rename(saved, aside), os.Symlink(victim, saved)); err != nil {
				t.Error(err)
			}
		})
		_, err := f.Recover(context.Background(), papyra.RecoverOptions{Now: testrecord.Start})
		f.disk.Before(nil)
		if !swapped {
			if at < 20 {
				t.Fatalf("only %d operations: are they seen?", at)
			}
			return
		}
		if err != nil && !errors.Is(err, papyra.ErrConfig) {
			t.Errorf("swapped before operation %d: %v, want success or papyra.ErrConfig", at, err)
		}
		if made, err := os.ReadDir(victim); err != nil || len(made) > 0 {
			t.Fatalf("swapped before operation %d: %v was made where the symlink leads (%v)", at, made, err)
		}
		if info, err := os.Stat(victim); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("swapped before operation %d: the mode there is %v (%v)", at, info.Mode(), err)
		}
		acts, _ := filepath.Glob(filepath.Join(aside, "*", "bytes"))
		if err == nil && len(acts) != 1 {
			t.Errorf("swapped before operation %d: the act is in %q, want one in the directory that was opened", at, acts)
		}
		if err != nil && !bytes.Equal(f.bytes(), content) {
			t.Errorf("swapped before operation %d: the recovery failed, and the store was changed", at)
		}
		f.Close()
	}
}
