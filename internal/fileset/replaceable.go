package fileset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
)

// hintMount is what to do where a single file is mounted, as into a container.
const hintMount = "mount the directory of the store, not the single file"

// An obstacle is why a file of the set cannot get another name, or another file its
// name: then it can be appended to, and neither rotated nor compacted nor recovered.
type obstacle struct {
	what, hint string
	rights     bool // it is a matter of this process's user
}

// findObstacle looks for what a rename of a file of the set would fail at. It asks,
// and changes nothing; what it cannot ask is no obstacle.
func (n names) findObstacle() *obstacle {
	dir, err := os.Stat(n.dir)
	if err != nil {
		return nil
	}
	err = unix.Access(n.dir, unix.W_OK|unix.X_OK)
	if errors.Is(err, unix.EROFS) {
		return nil // whoever opens it hears that of the system
	}
	if err != nil {
		return &obstacle{"this user may not write to the directory " + n.dir, "give the directory to the user of the sink, or run as the user that owns it", true}
	}
	if fixed := fixedBy(n.dir); fixed != "" {
		return &obstacle{"the directory " + n.dir + " " + fixed, "take that away with chattr", false}
	}
	members, _, _, err := n.listSet()
	if err != nil {
		return nil
	}
	for _, m := range members {
		path := n.beside(m.base)
		info, err := os.Lstat(path)
		switch {
		case err != nil:
		case isMountPoint(path, info, dir):
			return &obstacle{path + " is a mount point", hintMount, false}
		case fixedBy(path) != "":
			return &obstacle{path + " " + fixedBy(path), "take that away with chattr", false}
		case isSticky(dir, info):
			return &obstacle{path + " is another user's, in a directory with the sticky bit", "run as the user that owns the file", true}
		}
	}
	return nil
}

// isMountPoint reports whether something is mounted on a file.
func isMountPoint(path string, info, dir fs.FileInfo) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &st)
	if err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	}
	// An older kernel: only a mount from another file system shows.
	one, _ := inodeOf(info)
	other, _ := inodeOf(dir)
	return one != other
}

// fixedBy names the flag of a file or directory that forbids renames, or is empty.
func fixedBy(path string) string {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &st)
	switch {
	case err != nil:
		return ""
	case st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0:
		return "is immutable"
	case st.Attributes&unix.STATX_ATTR_APPEND != 0:
		return "is append-only"
	}
	return ""
}

// isSticky reports whether the sticky bit of the directory keeps this process from
// renaming a file.
func isSticky(dir, file fs.FileInfo) bool {
	me := int64(os.Geteuid())
	return dir.Mode()&fs.ModeSticky != 0 && me != 0 && ownerOf(file) != me && ownerOf(dir) != me
}

// checkRotation refuses to open for appending a set whose first rotation would fail:
// from then on nothing would be stored.
func (s *Store) checkRotation() error {
	if s.maxFiles == 0 {
		return nil
	}
	if o := s.findObstacle(); o != nil {
		return &papyra.StoreError{
			Op: "open", Path: s.path(), Offset: -1, Err: fmt.Errorf("it cannot be rotated: %s: %w", o.what, papyra.ErrConfig),
			Hint: o.hint + "; or use json:, which is one file without a bound",
		}
	}
	return nil
}

// examineReplacing says whether the files of the set can be renamed and replaced.
func (s *Store) examineReplacing(n names) papyra.Check {
	check := checkOf("replace")
	o := n.findObstacle()
	switch {
	case o == nil:
		return check(papyra.StatusOK, "nothing is in the way of a rename", "")
	case s.maxFiles > 0 && !o.rights:
		return check(papyra.StatusFail, "it cannot be rotated: "+o.what, o.hint)
	}
	return check(papyra.StatusWarn, "no file can be renamed, as rotate, compact and recover do: "+o.what, o.hint)
}
