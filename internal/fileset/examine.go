package fileset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/human"
)

// Examine looks at the active file, its directory, the owners, the lock, the free space, the
// reject files and the quarantine beside the store, as [papyra.Store] says.
func (s *Store) Examine(context.Context) []papyra.Check {
	n := s.names
	if dir, err := filepath.Abs(n.dir); err == nil {
		n.dir = dir // whoever reads it does not know our working directory
	}
	checks := []papyra.Check{
		n.examineFile(), n.examineDirectory(), n.examineOwners(), s.examineReplacing(n), n.examineLock(s.disk), n.examineSpace(), n.examineRejects(), n.examineQuarantine(),
	}
	for i := range checks {
		checks[i].Finding = escape.ValidName(checks[i].Finding)
	}
	return checks
}

// The hints that several checks give.
const (
	hintOwner  = "run it as the user that owns the files"
	hintUnsafe = ": others can write to it"
)

// hintLook says what to do about a file or directory that cannot be looked at: not
// every error is a matter of the user.
func hintLook(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return hintOwner
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return "check the path"
	case errors.Is(err, unix.ELOOP):
		return "it is a symlink: remove it"
	case errors.Is(err, unix.EIO):
		return "check the disk: dmesg says more"
	}
	return "check the file system: dmesg may say more"
}

// checkOf returns what makes the check of a name.
func checkOf(name string) func(status papyra.CheckStatus, finding, hint string) papyra.Check {
	return func(status papyra.CheckStatus, finding, hint string) papyra.Check {
		return papyra.Check{Name: name, Status: status, Finding: finding, Hint: hint}
	}
}

func (n names) examineFile() papyra.Check {
	check := checkOf("file")
	path := n.path()
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return check(papyra.StatusFail, "there is no "+path, "check the path; a sink makes the file when it starts")
	case err != nil:
		return check(papyra.StatusFail, err.Error(), hintLook(err))
	case !info.Mode().IsRegular():
		return check(papyra.StatusFail, path+" is not a regular file: "+info.Mode().String(), "name the file itself")
	}
	read, write := unix.Access(path, unix.R_OK), unix.Access(path, unix.W_OK)
	found := fmt.Sprintf("%s, %s, mode %04o, owner %s", path, human.Bytes(info.Size()), info.Mode().Perm(), owner(info))
	switch {
	case errors.Is(read, fs.ErrPermission):
		return check(papyra.StatusFail, found+": not readable for this user", "run it as the user that owns the file")
	case read != nil:
		return check(papyra.StatusFail, found+": not readable: "+read.Error(), hintLook(read))
	case info.Mode().Perm()&0o022 != 0:
		return check(papyra.StatusWarn, found+hintUnsafe, "chmod 0600 "+human.ShellQuote(path))
	case info.Mode().Perm()&0o004 != 0:
		return check(papyra.StatusWarn, found+": everybody can read it", "chmod 0600 "+human.ShellQuote(path))
	case errors.Is(write, unix.EROFS):
		return check(papyra.StatusWarn, found+": its file system is read-only", "mount it writable")
	case write != nil:
		return check(papyra.StatusWarn, found+": this user cannot write to it", "recover and compact need the user that owns it")
	}
	return check(papyra.StatusOK, found, "")
}

// examineDirectory looks at the rights on the directory: whoever can write to it
// can put another file in the place of the store.
func (n names) examineDirectory() papyra.Check {
	check := checkOf("directory")
	info, err := os.Stat(n.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return check(papyra.StatusFail, err.Error(), "make it with mode 0700")
	case err != nil:
		return check(papyra.StatusFail, err.Error(), hintLook(err))
	}
	list, write := unix.Access(n.dir, unix.R_OK|unix.X_OK), unix.Access(n.dir, unix.W_OK|unix.X_OK)
	found := fmt.Sprintf("%s, mode %04o, owner %s", n.dir, info.Mode().Perm(), owner(info))
	switch {
	case !info.IsDir():
		return check(papyra.StatusFail, n.dir+" is not a directory", "")
	case errors.Is(list, fs.ErrPermission):
		return check(papyra.StatusFail, found+": this user cannot list it, so that nobody can tell what belongs to the store", hintOwner)
	case list != nil:
		return check(papyra.StatusFail, found+": it cannot be listed: "+list.Error(), hintLook(list))
	case info.Mode().Perm()&0o022 != 0:
		return check(papyra.StatusWarn, found+hintUnsafe, "chmod go-w "+human.ShellQuote(n.dir))
	case errors.Is(write, unix.EROFS):
		return check(papyra.StatusWarn, found+": its file system is read-only", "mount it writable")
	case write != nil:
		return check(papyra.StatusWarn, found+": this user cannot write to it", "a sink, recover and compact make files in it")
	}
	return check(papyra.StatusOK, found, "")
}

// examineOwners says whether the files of the set and what lies beside them belong
// to one user: what a tool made as another one may lock the store's own sink out.
func (n names) examineOwners() papyra.Check {
	check := checkOf("owners")
	store := n.anyMember()
	if store == nil {
		return check(papyra.StatusSkipped, "there is no file of the store", "")
	}
	beside := []string{n.path(), n.lock(), n.saved(), n.rejected(), n.rejected() + ".1"}
	if members, _, _, err := n.listSet(); err == nil {
		for _, m := range members {
			beside = append(beside, n.beside(m.base))
		}
	}
	if acts, err := os.ReadDir(n.saved()); err == nil {
		for _, act := range acts {
			beside = append(beside, filepath.Join(n.saved(), act.Name()))
		}
	}
	var foreign []string
	for _, path := range beside {
		info, err := os.Lstat(path)
		if err == nil && !slices.Contains(foreign, path) && ownerOf(info) != ownerOf(store) {
			foreign = append(foreign, path)
		}
	}
	if len(foreign) > 0 {
		info, err := os.Lstat(foreign[0])
		if err != nil {
			return check(papyra.StatusWarn, err.Error(), hintLook(err))
		}
		found := fmt.Sprintf("%s belongs to %s, the store to %s", foreign[0], owner(info), owner(store))
		if more := len(foreign) - 1; more > 0 {
			found += fmt.Sprintf("; %d more do not belong to it either", more)
		}
		return check(papyra.StatusWarn, found, fmt.Sprintf("chown -R %d %s", ownerOf(store), human.ShellQuote(foreign[0])))
	}
	if dir, err := os.Stat(n.dir); err == nil && ownerOf(store) != 0 && ownerOf(dir) != ownerOf(store) && dir.Mode().Perm()&0o022 == 0 {
		return check(papyra.StatusWarn, fmt.Sprintf("the store belongs to %s, which cannot write to its directory", owner(store)),
			fmt.Sprintf("chown %d %s", ownerOf(store), human.ShellQuote(n.dir)))
	}
	return check(papyra.StatusOK, "everything belongs to "+owner(store), "")
}

// ownerOf returns the user id, or -1.
func ownerOf(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Uid)
	}
	return -1
}

func owner(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "unknown"
	}
	id := strconv.FormatUint(uint64(st.Uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// examineLock says whether somebody holds the store. It takes nothing.
func (n names) examineLock(d disk.Disk) papyra.Check {
	check := checkOf("lock")
	held, holder, err := testLock(d, n.lock())
	var unopened *fs.PathError
	const perhaps = "perhaps held: "
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return check(papyra.StatusOK, "free: nothing has written here yet", "")
	case errors.As(err, &unopened):
		return check(papyra.StatusWarn, perhaps+err.Error(), hintLook(err))
	case err != nil:
		return check(papyra.StatusWarn, perhaps+err.Error(), "the file system must know record locks")
	case held:
		return check(papyra.StatusOK, "held by "+holder.String(), "")
	}
	return check(papyra.StatusOK, "free: no sink and no tool writes to it now", "")
}

// littleSpace: a file system is called nearly full when less than this is free,
// or less than a twentieth of it, whichever is less.
const littleSpace = 1 << 30

func (n names) examineSpace() papyra.Check {
	check := checkOf("space")
	var st unix.Statfs_t
	if err := unix.Statfs(n.dir, &st); err != nil {
		return check(papyra.StatusWarn, err.Error(), "")
	}
	free, size := spaceOf(&st)
	found := fmt.Sprintf("%s free of %s", human.Bytes(free), human.Bytes(size))
	switch {
	case st.Flags&unix.ST_RDONLY != 0:
		return check(papyra.StatusFail, "the file system is read-only", "mount it read-write: dmesg says why it is not")
	case free == 0:
		return check(papyra.StatusFail, found, "make room: a sink keeps its batch and drops records when its buffer is full")
	case st.Files > 0 && st.Ffree == 0:
		return check(papyra.StatusFail, "no inode is free", "remove files")
	case free < min(littleSpace, size/20):
		return check(papyra.StatusWarn, found, "make room, or papyra-ctl compact --dry-run")
	}
	return check(papyra.StatusOK, found, "")
}

// spaceOf returns how many bytes are free for everybody, and how many there are. Both
// are counted in fragments; the block size is only the one that is good to write.
func spaceOf(st *unix.Statfs_t) (free, size int64) {
	unit := st.Frsize
	if unit == 0 {
		unit = st.Bsize // a file system that does not tell them apart
	}
	return int64(st.Bavail) * unit, int64(st.Blocks) * unit
}

// examineRejects says whether a sink refused lines.
func (n names) examineRejects() papyra.Check {
	check := checkOf("rejects")
	var bytes int64
	newest := ""
	var unseen error
	for _, path := range []string{n.rejected(), n.rejected() + ".1"} {
		info, err := os.Lstat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			unseen = err
		}
		if err == nil && info.Size() > 0 {
			bytes += info.Size()
			if newest == "" {
				newest = path + ", last written " + info.ModTime().UTC().Format(human.TimeFormat) + " UTC"
			}
		}
	}
	switch {
	case unseen != nil:
		return check(papyra.StatusWarn, "perhaps some: "+unseen.Error(), hintLook(unseen))
	case bytes == 0:
		return check(papyra.StatusOK, "none", "")
	}
	return check(papyra.StatusWarn, human.Bytes(bytes)+" of refused lines in "+newest,
		"each line of the file says why it was refused; remove the file when the sender is fixed")
}

// examineQuarantine says what earlier recoveries put beside the store.
func (n names) examineQuarantine() papyra.Check {
	check := checkOf("quarantine")
	acts, err := os.ReadDir(n.saved())
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return check(papyra.StatusWarn, "perhaps something: "+err.Error(), hintLook(err))
	case len(acts) == 0:
		return check(papyra.StatusOK, "nothing beside the store", "")
	}
	incomplete := 0
	for _, act := range acts {
		_, err := os.Lstat(filepath.Join(n.saved(), act.Name(), quarantineIndex))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
			incomplete++
		case err != nil:
			return check(papyra.StatusWarn, "perhaps not all is whole: "+err.Error(), hintLook(err))
		}
	}
	found := fmt.Sprintf("%s in %s", human.Plural(int64(len(acts)), "recovery", "recoveries"), n.saved())
	if incomplete > 0 {
		return check(papyra.StatusWarn, fmt.Sprintf("%s, %d without an index", found, incomplete),
			"a recovery without an index was interrupted; its bytes are in the store or in a later recovery")
	}
	return check(papyra.StatusOK, found, "")
}
