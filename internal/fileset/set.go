package fileset

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset/disk"
)

// pinnedFile is one file of the set, pinned by its descriptor. Whatever happens to
// its name, it is read up to the size that it had when it was opened.
type pinnedFile struct {
	number   int // 0 is the active file, then the newest first
	base     string
	text     string // base as text, see escape.EncodeName
	f        *os.File
	dev, ino uint64
	size     int64
}

// snapshot is the whole set at one moment.
type snapshot struct {
	files     []*pinnedFile    // oldest first; the active file, if there, is last
	leftovers []leftover       // of acts that did not finish
	odd       []papyra.Anomaly // what stands in the place of a file and cannot be read as one
	readable  bool             // every file of the set could be looked at and opened
}

// leftover is a file that an act or a rotation left behind.
type leftover struct {
	base string
	size int64
}

func (sn *snapshot) close() {
	for _, f := range sn.files {
		f.f.Close()
	}
}

func (sn *snapshot) size() (n int64) {
	for _, f := range sn.files {
		n += f.size
	}
	return n
}

// active returns the active file, or nil.
func (sn *snapshot) active() *pinnedFile {
	if n := len(sn.files); n > 0 && sn.files[n-1].number == 0 {
		return sn.files[n-1]
	}
	return nil
}

// listedFile is what the directory says of one member.
type listedFile struct {
	number   int
	base     string
	dev, ino uint64
}

// listSet reads the directory once. members are the files of the set, the oldest
// first; odd is what stands in the place of a file and is none.
func (n names) listSet() (members []listedFile, leftovers []leftover, odd []papyra.Anomaly, err error) {
	entries, err := os.ReadDir(n.dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = papyra.ErrNotFound
	}
	if err != nil {
		return nil, nil, nil, &papyra.StoreError{Op: "list", Path: n.dir, Offset: -1, Err: err}
	}
	for _, entry := range entries {
		base := entry.Name()
		number, member := 0, base == n.name
		if !member && n.numbered {
			number, member = n.numberOf(base)
		}
		if !member && !n.isTemporary(base) && !n.isDropping(base) && !n.isForeignRest(base) {
			continue
		}
		info, err := os.Lstat(n.beside(base))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went after the directory was read
		}
		if err != nil {
			odd = append(odd, papyra.Anomaly{Class: papyra.ClassUnreadable, File: escape.EncodeName(base), Detail: errorText(err)})
			continue
		}
		switch {
		case !info.Mode().IsRegular():
			odd = append(odd, papyra.Anomaly{Class: papyra.ClassUnexpectedFile, File: escape.EncodeName(base), Detail: "it is a " + fileKind(info.Mode())})
		case member:
			dev, ino := inodeOf(info)
			members = append(members, listedFile{number, base, dev, ino})
		default:
			leftovers = append(leftovers, leftover{base, info.Size()})
		}
	}
	slices.SortFunc(members, func(a, b listedFile) int { return cmp.Compare(b.number, a.number) })
	return members, leftovers, odd, nil
}

// lookAt returns what the directory says of a file that is no member.
func (n names) lookAt(base string) (listedFile, error) {
	info, err := os.Lstat(n.beside(base))
	if err != nil {
		return listedFile{}, &papyra.StoreError{Op: "look at", Path: n.beside(base), Offset: -1, Err: err}
	}
	dev, ino := inodeOf(info)
	return listedFile{base: base, dev: dev, ino: ino}, nil
}

// inodeOf returns what identifies a file, whatever its name.
func inodeOf(info fs.FileInfo) (dev, ino uint64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Dev, st.Ino
	}
	return 0, 0
}

// fileKind says what a file is that is no regular one.
func fileKind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "symlink"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// maxListings bounds how often a set that keeps changing is listed again.
const maxListings = 100

// openSet pins the whole set. It opens every file, lists the set again, and begins
// anew if anything changed. So no file is missed or met twice while a rotation
// shifts the names.
func (n names) openSet(d disk.Disk) (*snapshot, error) {
	for range maxListings {
		before, leftovers, odd, err := n.listSet()
		if err != nil {
			return nil, err
		}
		sn := &snapshot{leftovers: leftovers, odd: odd, readable: true}
		for _, o := range odd {
			sn.readable = sn.readable && o.Class != papyra.ClassUnreadable
		}
		changed := false
		for _, m := range before {
			f, err := n.openMember(d, m)
			if err != nil {
				sn.readable = false
				sn.odd = append(sn.odd, papyra.Anomaly{Class: papyra.ClassUnreadable, File: escape.EncodeName(m.base), Detail: errorText(err)})
				continue
			}
			sn.files = append(sn.files, f)
			changed = changed || f.dev != m.dev || f.ino != m.ino
		}
		after, _, _, err := n.listSet()
		if err == nil && !changed && slices.Equal(before, after) {
			return sn, nil
		}
		sn.close()
		if err != nil {
			return nil, err
		}
	}
	return nil, &papyra.StoreError{Op: "list", Path: n.path(), Offset: -1, Err: papyra.ErrIncomplete, Hint: "its files change all the time; try again"}
}

// openMember pins one file.
func (n names) openMember(d disk.Disk, m listedFile) (*pinnedFile, error) {
	f, err := d.Open(n.beside(m.base), os.O_RDONLY|disk.OpenSafely, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is a %s", fileKind(info.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	dev, ino := inodeOf(info)
	return &pinnedFile{number: m.number, base: m.base, text: escape.EncodeName(m.base), f: f, dev: dev, ino: ino, size: info.Size()}, nil
}
