package fileset_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
)

// What is in the way of a rotation is said when the set is opened for appending and
// by an examination, and not first by a rotation that fails.
func TestRootObstacleOfARotation(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a file")
	}
	mount := func(t *testing.T, what, on string) {
		t.Helper()
		if err := unix.Mount(what, on, "", unix.MS_BIND, ""); err != nil {
			t.Skipf("needs to mount: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(on, unix.MNT_DETACH) })
	}
	for name, c := range map[string]struct {
		obstruct func(t *testing.T, path string)
		as       func(*testing.T, func())
		says     string
		json     papyra.CheckStatus
		rotating papyra.CheckStatus
	}{
		"the active file is mounted": {
			obstruct: func(t *testing.T, path string) {
				from := filepath.Join(t.TempDir(), "other")
				must(t, os.WriteFile(from, testrecord.Join(testrecord.New(1).Event()), 0o600))
				mount(t, from, path)
			},
			says: "is a mount point", json: papyra.StatusWarn, rotating: papyra.StatusFail,
		},
		"mounted on itself": {
			obstruct: func(t *testing.T, path string) { mount(t, path, path) },
			says:     "is a mount point", json: papyra.StatusWarn, rotating: papyra.StatusFail,
		},
		"an older file is mounted": {
			obstruct: func(t *testing.T, path string) { mount(t, path, path+".1") },
			says:     "is a mount point", json: papyra.StatusOK, rotating: papyra.StatusFail,
		},
		"nothing": {
			obstruct: func(*testing.T, string) {},
			json:     papyra.StatusOK, rotating: papyra.StatusOK,
		},
		"a directory of another user": {
			obstruct: func(t *testing.T, path string) {
				for _, p := range []string{path, path + ".1"} {
					must(t, os.Chown(p, nobody, nobody))
				}
			},
			as:   func(t *testing.T, f func()) { asNobody(t, f) },
			says: "may not write to the directory", json: papyra.StatusWarn, rotating: papyra.StatusWarn,
		},
		"a sticky directory and another user's file": {
			obstruct: func(t *testing.T, path string) {
				must(t, os.Chmod(filepath.Dir(path), os.ModeSticky|0o777))
				must(t, os.Chmod(path, 0o666))
				must(t, os.Chmod(path+".1", 0o666))
			},
			as:   func(t *testing.T, f func()) { asNobody(t, f) },
			says: "sticky", json: papyra.StatusWarn, rotating: papyra.StatusWarn,
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(openDirectory(t), "r")
			for _, p := range []string{path, path + ".1"} {
				must(t, os.WriteFile(p, testrecord.Join(testrecord.New(1).Event()), 0o600))
			}
			c.obstruct(t, path)
			run := c.as
			if run == nil {
				run = func(_ *testing.T, f func()) { f() }
			}
			run(t, func() {
				one, err := fileset.Open(fileset.Config{Path: path})
				must(t, err)
				defer one.Close()
				set, err := fileset.Open(fileset.Config{Path: path, Numbered: true, MaxBytes: 1000, MaxFiles: 3})
				must(t, err)
				defer set.Close()
				check(t, one, "replace", c.json, ".*", ".*")
				check(t, set, "replace", c.rotating, ".*"+c.says+".*", ".*")
				a, err := set.Appender(t.Context())
				if c.rotating == papyra.StatusOK {
					must(t, err)
					must(t, a.Close())
					return
				}
				if !errors.Is(err, papyra.ErrConfig) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("open for appending: got %v, want that %s", err, c.says)
				}
				if c.as != nil {
					return
				}
				if a, err = one.Appender(t.Context()); err != nil {
					t.Fatalf("one file is appended to all the same: %v", err)
				}
				if _, err := a.Append(t.Context(), testrecord.Batch(testrecord.New(2).Event())); err != nil {
					t.Error(err)
				}
				must(t, a.Close())
			})
		})
	}
}

// A file that is mounted while the set is appended to is named with the right hint.
func TestRootMountedWhileAppending(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a file")
	}
	path := filepath.Join(t.TempDir(), "r")
	s, err := fileset.Open(fileset.Config{Path: path, Numbered: true, MaxBytes: 1000, MaxFiles: 3})
	must(t, err)
	defer s.Close()
	a, err := s.Appender(t.Context())
	must(t, err)
	src := testrecord.New(1)
	if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("needs to mount: %v", err)
	}
	defer func() { _ = unix.Unmount(path, unix.MNT_DETACH) }()
	for range 20 {
		if _, err = a.Append(t.Context(), testrecord.Batch(src.Event())); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "mount the directory of the store") {
		t.Errorf("got %v, want EBUSY and what to do", err)
	}
}
