package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// place is where a file store lies: DIR/NAME and what stands beside it.
type place struct{ dir, name string }

// newPlace finds a store by its reject file, DIR/.NAME.rejected.
func newPlace(rejectFile string) place {
	if abs, err := filepath.Abs(rejectFile); err == nil {
		rejectFile = abs // at night nobody knows the working directory
	}
	base := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(rejectFile), "."), ".rejected")
	return place{dir: filepath.Dir(rejectFile), name: base}
}

func (p place) path() string                { return filepath.Join(p.dir, p.name) }
func (p place) beside(suffix string) string { return filepath.Join(p.dir, "."+p.name+suffix) }

// file checks the active file itself.
func (e *examination) file(p place) {
	info, err := os.Lstat(p.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.add("file", checkFail, "there is no "+p.path(), "check the path; a sink makes the file when it starts")
		return
	case err != nil:
		e.add("file", checkFail, err.Error(), "run it as the user that owns the files")
		return
	case !info.Mode().IsRegular():
		e.add("file", checkFail, p.path()+" is not a regular file: "+info.Mode().String(), "name the file itself")
		return
	}
	found := fmt.Sprintf("%s, %s, mode %04o, owner %s", p.path(), showBytes(info.Size()), info.Mode().Perm(), owner(info))
	switch {
	case unix.Access(p.path(), unix.R_OK) != nil:
		e.add("file", checkFail, found+": not readable for this user", "run it as the user that owns the file")
	case info.Mode().Perm()&0o022 != 0:
		e.add("file", checkWarn, found+": others can write to it", "chmod 0600 "+shellQuote(p.path()))
	case info.Mode().Perm()&0o004 != 0:
		e.add("file", checkWarn, found+": everybody can read it", "chmod 0600 "+shellQuote(p.path()))
	case unix.Access(p.path(), unix.W_OK) != nil:
		e.add("file", checkWarn, found+": this user cannot write to it", "recover and compact need the user that owns it")
	default:
		e.add("file", checkOK, found, "")
	}
}

// directory checks the rights on the directory: whoever can write to it can
// put another file in the place of the store.
func (e *examination) directory(p place) {
	info, err := os.Stat(p.dir)
	if err != nil {
		e.add("directory", checkFail, err.Error(), "make it with mode 0700")
		return
	}
	found := fmt.Sprintf("%s, mode %04o, owner %s", p.dir, info.Mode().Perm(), owner(info))
	switch {
	case !info.IsDir():
		e.add("directory", checkFail, p.dir+" is not a directory", "")
	case info.Mode().Perm()&0o022 != 0:
		e.add("directory", checkWarn, found+": others can write to it", "chmod go-w "+shellQuote(p.dir))
	case unix.Access(p.dir, unix.W_OK|unix.X_OK) != nil:
		e.add("directory", checkWarn, found+": this user cannot write to it", "a sink, recover and compact make files in it")
	default:
		e.add("directory", checkOK, found, "")
	}
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

// lock says whether somebody holds the store. It takes nothing.
func (e *examination) lock(p place) {
	f, err := os.OpenFile(p.beside(".lock"), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		e.add("lock", checkOK, "free: nothing has written here yet", "")
		return
	}
	if err != nil {
		e.add("lock", checkWarn, err.Error(), "run it as the user that owns the files")
		return
	}
	defer f.Close()
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &whole); err != nil {
		e.add("lock", checkWarn, err.Error(), "the file system must know record locks")
		return
	}
	if whole.Type == unix.F_UNLCK {
		e.add("lock", checkOK, "free: no sink and no tool writes to it now", "")
		return
	}
	e.add("lock", checkOK, "held by "+holder(f), "")
}

// holder reads what the holder wrote into the lock file.
func holder(f *os.File) string {
	var who struct {
		Host  string `json:"host"`
		PID   int    `json:"pid"`
		Start string `json:"start"`
	}
	var buf [1024]byte
	n, _ := f.ReadAt(buf[:], 0)
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	if json.Unmarshal([]byte(line), &who) != nil || who.PID <= 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s since %s", who.PID, who.Host, who.Start)
}

// A file system is called nearly full below a twentieth of it or this much,
// whichever is less.
const littleSpace = 1 << 30

func (e *examination) space(p place) {
	var st unix.Statfs_t
	if err := unix.Statfs(p.dir, &st); err != nil {
		e.add("space", checkWarn, err.Error(), "")
		return
	}
	free, size := int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	found := fmt.Sprintf("%s free of %s", showBytes(free), showBytes(size))
	switch {
	case st.Flags&unix.ST_RDONLY != 0:
		e.add("space", checkFail, "the file system is read-only", "mount it read-write: dmesg says why it is not")
	case free == 0:
		e.add("space", checkFail, found, "make room: a sink keeps its batch and drops records when its buffer is full")
	case st.Files > 0 && st.Ffree == 0:
		e.add("space", checkFail, "no inode is free", "remove files")
	case free < min(littleSpace, size/20):
		e.add("space", checkWarn, found, "make room, or papyra-ctl compact --dry-run")
	default:
		e.add("space", checkOK, found, "")
	}
}

// rejects says whether a sink refused lines.
func (e *examination) rejects(p place) {
	var bytes int64
	newest := ""
	for _, path := range []string{p.beside(".rejected"), p.beside(".rejected") + ".1"} {
		if info, err := os.Lstat(path); err == nil && info.Size() > 0 {
			bytes += info.Size()
			if newest == "" {
				newest = path + ", last written " + info.ModTime().UTC().Format(timeFormat) + " UTC"
			}
		}
	}
	if bytes == 0 {
		e.add("rejects", checkOK, "none", "")
		return
	}
	e.add("rejects", checkWarn, showBytes(bytes)+" of refused lines in "+newest, "each line of the file says why it was refused; remove it when the sender is mended")
}

// quarantine says what earlier recoveries put beside the store.
func (e *examination) quarantine(p place) {
	acts, err := os.ReadDir(p.beside(".saved"))
	if err != nil || len(acts) == 0 {
		e.add("quarantine", checkOK, "nothing beside the store", "")
		return
	}
	incomplete := 0
	for _, act := range acts {
		if _, err := os.Lstat(filepath.Join(p.beside(".saved"), act.Name(), "index.ndjson")); err != nil {
			incomplete++
		}
	}
	found := fmt.Sprintf("%s in %s", plural(int64(len(acts)), "recovery", "recoveries"), p.beside(".saved"))
	if incomplete > 0 {
		e.add("quarantine", checkWarn, fmt.Sprintf("%s, %d without an index", found, incomplete), "such a recovery was interrupted; the bytes are in the store or in a later one")
		return
	}
	e.add("quarantine", checkOK, found, "")
}
