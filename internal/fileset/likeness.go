package fileset

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
)

// A file that replaces another one, or begins where another one ends, is like it:
// the same owner, mode, access control list and extended attributes. What is made
// beside a store gets the store's owner: otherwise a tool that somebody ran as root
// would leave a lock that the store's own sink may not open.

// keepOwner gives a file the owner of another one, if it has not got it.
func keepOwner(to *os.File, info fs.FileInfo) error {
	made, err := to.Stat()
	if err != nil {
		return err
	}
	want, ok1 := info.Sys().(*syscall.Stat_t)
	have, ok2 := made.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 {
		return errors.New("the file system tells no owner")
	}
	if want.Uid == have.Uid && want.Gid == have.Gid {
		return nil
	}
	return to.Chown(int(want.Uid), int(want.Gid))
}

// accessACL is the attribute in which Linux keeps an access control list.
const accessACL = "system.posix_acl_access"

// keepAttributes gives a new file the access control list and the extended
// attributes of another one. A list that the directory gave to the new file goes, if
// the other one has none. What only the system may set (security.*, trusted.*) is
// kept as far as this process may.
func keepAttributes(to, from *os.File) error {
	names, err := listAttributes(from)
	if errors.Is(err, unix.ENOTSUP) {
		return nil // a file system without attributes
	}
	if err != nil {
		return err
	}
	acl := false
	for _, name := range names {
		acl = acl || name == accessACL
		err := copyAttribute(to, from, name)
		if err != nil && !strings.HasPrefix(name, "security.") && !strings.HasPrefix(name, "trusted.") {
			return &fs.PathError{Op: "copy attribute " + name + " to", Path: to.Name(), Err: err}
		}
	}
	if acl {
		return nil
	}
	err = unix.Fremovexattr(int(to.Fd()), accessACL)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

func listAttributes(f *os.File) ([]string, error) {
	list, err := readAttribute(func(b []byte) (int, error) { return unix.Flistxattr(int(f.Fd()), b) })
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range bytes.SplitSeq(list, []byte{0}) {
		if len(name) > 0 {
			names = append(names, string(name))
		}
	}
	return names, nil
}

func copyAttribute(to, from *os.File, name string) error {
	value, err := readAttribute(func(b []byte) (int, error) { return unix.Fgetxattr(int(from.Fd()), name, b) })
	if errors.Is(err, unix.ENODATA) {
		return nil // removed meanwhile
	}
	if err != nil {
		return err
	}
	return unix.Fsetxattr(int(to.Fd()), name, value, 0)
}

// readAttribute calls read with a buffer that is large enough: with none it tells
// the size.
func readAttribute(read func([]byte) (int, error)) ([]byte, error) {
	for {
		size, err := read(nil)
		if err != nil || size == 0 {
			return nil, err
		}
		b := make([]byte, size)
		n, err := read(b)
		if errors.Is(err, unix.ERANGE) {
			continue // it has grown meanwhile
		}
		if err != nil {
			return nil, err
		}
		return b[:n], nil
	}
}

// giveOwner gives what this process has just made beside the store the store's
// owner. It does what it may: where this process may not, doctor says so. Where
// there is no file of the store yet, the maker owns what it makes.
func (n names) giveOwner(made *os.File) {
	if info := n.anyMember(); info != nil {
		_ = keepOwner(made, info)
	}
}

// ours reports whether a file or directory beside the store belongs to somebody who
// may make it there: this process, root, or the store's owner.
func (n names) ours(info fs.FileInfo) bool {
	owner := ownerOf(info)
	if owner == 0 || owner == int64(os.Geteuid()) {
		return true
	}
	store := n.anyMember()
	return store != nil && owner == ownerOf(store)
}

// anyMember looks at the active file, or at the newest one of the set, or returns
// nil.
func (n names) anyMember() fs.FileInfo {
	if info, err := os.Lstat(n.path()); err == nil && info.Mode().IsRegular() {
		return info
	}
	if !n.numbered {
		return nil
	}
	members, _, _, err := n.listSet()
	if err != nil || len(members) == 0 {
		return nil
	}
	info, err := os.Lstat(n.beside(members[len(members)-1].base))
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return info
}

// likeError says why a new file could not be made like f.
func likeError(path string, f *pinnedFile, err error) error {
	return &papyra.StoreError{Op: "give owner, mode and attributes of " + f.text + " to", Path: path, Offset: -1, Err: err, Hint: "run as the owner of the file"}
}
