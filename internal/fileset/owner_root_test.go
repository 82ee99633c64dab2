package fileset_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
)

// service is the user to whom the stores of these tests belong.
const service = 12345

// serviceStore makes a set that belongs to service, in a directory of its own.
func serviceStore(t *testing.T) (path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: gives files to another user")
	}
	dir := openDirectory(t)
	path = filepath.Join(dir, "r")
	src := testrecord.New(1)
	for _, p := range []string{path + ".1", path} {
		data := testrecord.Join(src.Events(20)...)
		must(t, os.WriteFile(p, append(data, "junk\n"...), 0o600))
		must(t, os.Chown(p, service, service))
	}
	must(t, os.Chown(dir, service, service))
	return path
}

// ownersBelow returns whose the files below dir are that are not service's.
func ownersBelow(t *testing.T, dir string) (foreign []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != service || st.Gid != service {
			foreign = append(foreign, path)
		}
		return nil
	}))
	return foreign
}

// What root's tools make beside a store belongs to the store's owner.
func TestRootLeavesTheStoreToItsOwner(t *testing.T) {
	at := testrecord.Start
	keep := papyra.Retention{General: papyra.Limits{Records: 5}}
	for name, act := range map[string]func(*fileset.Store) error{
		"append": func(s *fileset.Store) error {
			a, err := s.Appender(t.Context())
			if err != nil {
				return err
			}
			src := testrecord.New(7)
			for range 30 { // and rotate
				if _, err := a.Append(t.Context(), testrecord.Batch(src.Event())); err != nil {
					return err
				}
			}
			return a.Close()
		},
		"recover": func(s *fileset.Store) error {
			_, err := s.Recover(t.Context(), papyra.RecoverOptions{Now: at})
			return err
		},
		"recover elsewhere": func(s *fileset.Store) error {
			path := s.RejectFile()
			_, err := s.Recover(t.Context(), papyra.RecoverOptions{Now: at, QuarantineDir: filepath.Join(filepath.Dir(path), "a", "b")})
			return err
		},
		"compact": func(s *fileset.Store) error {
			_, err := s.Compact(t.Context(), papyra.CompactOptions{At: at, Retention: keep})
			return err
		},
		"compact without an active file": func(s *fileset.Store) error {
			must(t, os.Remove(strings.TrimSuffix(strings.Replace(s.RejectFile(), "/.r", "/r", 1), ".rejected")))
			_, err := s.Compact(t.Context(), papyra.CompactOptions{At: at, Retention: keep})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := serviceStore(t)
			s, err := fileset.Open(fileset.Config{Path: path, Numbered: true, MaxBytes: 5000, MaxFiles: 3})
			must(t, err)
			must(t, act(s))
			must(t, s.Close())
			if foreign := ownersBelow(t, filepath.Dir(path)); foreign != nil {
				t.Errorf("not the service's: %q", foreign)
			}
			s, err = fileset.Open(fileset.Config{Path: path, Numbered: true})
			must(t, err)
			check(t, s, "owners", papyra.StatusOK, "everything belongs to 12345", "")
		})
	}
}

func TestRootExamineOwners(t *testing.T) {
	path := serviceStore(t)
	s, err := fileset.Open(fileset.Config{Path: path, Numbered: true})
	must(t, err)
	dir := filepath.Dir(path)
	lock := filepath.Join(dir, ".r.lock")
	must(t, os.WriteFile(lock, nil, 0o600))
	check(t, s, "owners", papyra.StatusWarn, lock+" belongs to root, the store to 12345", "chown -R 12345 "+lock)
	must(t, os.Mkdir(filepath.Join(dir, ".r.saved"), 0o700))
	check(t, s, "owners", papyra.StatusWarn, lock+" belongs to root.*; 1 more do not belong to it either", "chown -R 12345 .*")
	for _, p := range []string{lock, filepath.Join(dir, ".r.saved")} {
		must(t, os.Chown(p, service, service))
	}
	check(t, s, "owners", papyra.StatusOK, ".*", "")
	must(t, os.Chown(path+".1", 0, 0))
	check(t, s, "owners", papyra.StatusWarn, path+`\.1 belongs to root, .*`, "chown .*")
	must(t, os.Chown(path+".1", service, service))
	must(t, os.Chown(dir, 0, 0))
	check(t, s, "owners", papyra.StatusWarn, "the store belongs to 12345, which cannot write to its directory", "chown 12345 "+dir)
}

// aclFor is an access control list with which a second user may read, as the kernel
// keeps it.
func aclFor(user uint32) []byte {
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, ^uint32(0)}, {2, 4, user}, {4, 0, ^uint32(0)}, {16, 4, ^uint32(0)}, {32, 0, ^uint32(0)}} {
		acl = binary.LittleEndian.AppendUint16(acl, e.tag)
		acl = binary.LittleEndian.AppendUint16(acl, e.perm)
		acl = binary.LittleEndian.AppendUint32(acl, e.id)
	}
	return acl
}

// Access control lists and attributes survive each way in which a file is replaced,
// and a file that has none gets none from its directory.
func TestRootAttributesSurvive(t *testing.T) {
	const acl, other, inherited = "system.posix_acl_access", "user.papyra", "system.posix_acl_default"
	attribute := func(path, name string) []byte {
		b := make([]byte, 4096)
		n, err := unix.Getxattr(path, name, b)
		if errors.Is(err, unix.ENODATA) {
			return nil
		}
		must(t, err)
		return b[:n]
	}
	for _, with := range []bool{true, false} {
		for _, act := range []string{"recover", "compact", "rotate"} {
			t.Run(act+map[bool]string{true: " with", false: " without"}[with], func(t *testing.T) {
				path := serviceStore(t)
				var want []byte
				for _, p := range []string{path, path + ".1"} {
					if !with {
						break
					}
					want = aclFor(777)
					if err := errors.Join(unix.Setxattr(p, acl, want, 0), unix.Setxattr(p, other, []byte("x\x00y"), 0)); errors.Is(err, unix.ENOTSUP) {
						t.Skip("the file system has no attributes")
					} else {
						must(t, err)
					}
				}
				if err := unix.Setxattr(filepath.Dir(path), inherited, aclFor(888), 0); errors.Is(err, unix.ENOTSUP) {
					t.Skip("the file system has no access control lists")
				} else {
					must(t, err)
				}
				before, err := os.Stat(path)
				must(t, err)
				s, err := fileset.Open(fileset.Config{Path: path, Numbered: true, MaxBytes: 4000, MaxFiles: 9})
				must(t, err)
				defer s.Close()
				switch act {
				case "recover":
					_, err = s.Recover(t.Context(), papyra.RecoverOptions{Now: testrecord.Start})
				case "compact":
					_, err = s.Compact(t.Context(), papyra.CompactOptions{At: testrecord.Start, Retention: papyra.Retention{General: papyra.Limits{Records: 5}}})
				case "rotate":
					var a papyra.Appender
					a, err = s.Appender(t.Context())
					must(t, err)
					src := testrecord.New(9)
					for range 40 {
						if _, err := a.Append(t.Context(), testrecord.Batch(src.Event())); err != nil {
							t.Fatal(err)
						}
					}
					must(t, a.Close())
				}
				must(t, err)
				after, err := os.Stat(path)
				must(t, err)
				if os.SameFile(before, after) {
					t.Fatal("the file was not replaced")
				}
				for _, p := range []string{path, path + ".1"} {
					if got := attribute(p, acl); !bytes.Equal(got, want) {
						t.Errorf("%s: access control list %x, want %x", p, got, want)
					}
					if got := string(attribute(p, other)); with && got != "x\x00y" {
						t.Errorf("%s: attribute %q", p, got)
					}
				}
				if after.Mode() != before.Mode() {
					t.Errorf("mode %v, want %v", after.Mode(), before.Mode())
				}
			})
		}
	}
}
