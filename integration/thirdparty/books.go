package shelf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/papyra/papyra"
)

const (
	bookEnd = ".book"
	partEnd = ".part" // of a book that is being written
	digits  = 16
)

func bookName(n uint64) string { return fmt.Sprintf("%0*d%s", digits, n, bookEnd) }

// bookNumber returns the number of a book, 0 for a name that is none.
func bookNumber(name string) uint64 {
	number, ok := strings.CutSuffix(name, bookEnd)
	if !ok || len(number) != digits {
		return 0
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// list returns the names of the books in append order. What else lies in the
// directory is not the shelf's, except for unfinished books: see leftovers.
func (s *Shelf) list() ([]string, error) {
	return s.names(func(name string) bool { return bookNumber(name) > 0 })
}

// leftovers returns the names of what has not become a book. They are left by a
// crash, or, while somebody holds the shelf, perhaps being written. mine says
// that the caller is an act, which holds it and writes nothing now.
func (s *Shelf) leftovers(mine bool) (names []string, left bool, err error) {
	s.mu.Lock() // nobody of this Shelf appends meanwhile
	defer s.mu.Unlock()
	names, err = s.names(func(name string) bool { return strings.HasSuffix(name, partEnd) && strings.Contains(name, bookEnd) })
	if err != nil || len(names) == 0 || mine {
		return names, mine, err
	}
	return names, s.holders == 0 && !s.heldByAnother(), nil
}

// heldByAnother reports whether the lock is taken. For that moment nobody else
// can take it, which is why it is only asked where there are leftovers.
func (s *Shelf) heldByAnother() bool {
	lock, err := os.Open(s.path("lock"))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer lock.Close()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

func (s *Shelf) names(want func(string) bool) ([]string, error) {
	entries, err := os.ReadDir(s.dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		err = papyra.ErrNotFound
	}
	if err != nil {
		return nil, failed("read", s.dir, err)
	}
	var names []string
	for _, e := range entries {
		if want(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// entry is one line of a book.
type entry struct {
	text   []byte // without the newline
	raw    []byte // as it lies there
	number int64  // from 1
	offset int64
}

// entries reads a book. One that a compaction has removed meanwhile is empty.
func (s *Shelf) entries(ctx context.Context, name string) ([]entry, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	data, err := s.readBook(name)
	if err != nil {
		return nil, err
	}
	list := make([]entry, 0, bytes.Count(data, []byte("\n"))+1)
	offset := int64(0)
	for raw := range bytes.Lines(data) {
		list = append(list, entry{bytes.TrimSuffix(raw, []byte("\n")), raw, int64(len(list)) + 1, offset})
		offset += int64(len(raw))
	}
	return list, nil
}

// errNotAFile is the error of a directory, pipe or link in the place of a book.
var errNotAFile = errors.New("is not a regular file")

func (s *Shelf) readBook(name string) ([]byte, error) {
	info, err := os.Lstat(s.path(name))
	if err == nil && !info.Mode().IsRegular() {
		err = errNotAFile // a pipe would never end
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(s.path(name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed("read", s.path(name), err)
	}
	return data, nil
}

// progress returns what tells p that one more book was looked at.
func (s *Shelf) progress(p papyra.Progress, books []string) (looked func(name string)) {
	if p == nil {
		return func(string) {}
	}
	var done, total int64
	sizes := map[string]int64{}
	for _, name := range books {
		if info, err := os.Lstat(s.path(name)); err == nil {
			sizes[name] = info.Size()
			total += info.Size()
		}
	}
	return func(name string) {
		done += sizes[name]
		p(done, total)
	}
}

// write makes a synced file that is no book yet and returns its path.
func (s *Shelf) write(name string, data []byte) (path string, err error) {
	f, err := os.CreateTemp(s.dir, name+".*"+partEnd) // never over a leftover
	if err != nil {
		return "", failed("write", s.path(name), err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		os.Remove(f.Name())
		return "", failed("write", f.Name(), err)
	}
	return f.Name(), nil
}

// put adds a book. The caller holds mu, and the shelf.
func (s *Shelf) put(data []byte) error {
	name := bookName(s.next)
	part, err := s.write(name, data)
	if err != nil {
		return err
	}
	defer os.Remove(part)
	// Unlike a rename, a link does not replace a book that is there already.
	err = os.Link(part, s.path(name))
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%w: this book is not the lock holder's", papyra.ErrForeignWriter)
	}
	if err != nil {
		return failed("add", s.path(name), err)
	}
	s.next++
	return nil
}

// putDurably adds a book that must not be lost.
func (s *Shelf) putDurably(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.put(data); err != nil {
		return err
	}
	return syncDir(s.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return failed("sync", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return failed("sync", dir, err)
	}
	return nil
}

// changes are books that an act is going to replace.
type changes struct {
	s     *Shelf
	books []change // in append order
}

type change struct{ name, part string } // without a part: the book goes

// prepare writes what stays of a book. Nothing has changed until apply.
func (c *changes) prepare(name string, stays [][]byte) error {
	if len(stays) == 0 {
		c.books = append(c.books, change{name: name})
		return nil
	}
	part, err := c.s.write(name, bytes.Join(stays, nil))
	if err != nil {
		return err
	}
	c.books = append(c.books, change{name, filepath.Base(part)})
	return nil
}

// apply changes the books, the oldest first. After a crash on the way the others
// are as they were, and the same act again changes them too.
func (c *changes) apply() error {
	for len(c.books) > 0 {
		next := c.books[0]
		var err error
		if next.part == "" {
			err = os.Remove(c.s.path(next.name))
		} else {
			err = os.Rename(c.s.path(next.part), c.s.path(next.name))
		}
		if err != nil {
			return failed("change", c.s.path(next.name), err)
		}
		c.books = c.books[1:]
	}
	return syncDir(c.s.dir)
}

// drop forgets what was not applied.
func (c *changes) drop() {
	for _, b := range c.books {
		if b.part != "" {
			os.Remove(c.s.path(b.part))
		}
	}
}
