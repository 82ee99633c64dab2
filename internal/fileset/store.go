package fileset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/internal/maintain"
)

// Sync says when stored records are made durable.
type Sync string

// The sync modes.
const (
	SyncNone     Sync = "none"     // when the operating system likes, and on Close
	SyncInterval Sync = "interval" // at each call of Sync; the default
	SyncBatch    Sync = "batch"    // before Append returns
)

// Config describes a store. Path is required.
type Config struct {
	Path string
	// URL is what the store calls itself in reports. Empty means Path. A byte that is
	// not UTF-8 is written as escape.EncodeName does.
	URL string
	// Numbered says that NAME.<n> belong to the set.
	Numbered bool
	// MaxBytes and MaxFiles make an appender to a numbered set rotate: no file
	// gets larger than MaxBytes, unless a single line is, and there are at most
	// MaxFiles files. If both are zero, nothing rotates.
	MaxBytes int64
	MaxFiles int
	Sync     Sync             // "" means SyncInterval
	Now      func() time.Time // nil means time.Now
	Disk     disk.Disk        // nil means OS
}

// Store is a set of files. Its methods may be called concurrently.
type Store struct {
	names
	disk disk.Disk
	url  string
	mode Sync
	now  func() time.Time

	maxBytes int64 // of a file that is appended to
	maxFiles int   // 0: no rotation

	life *maintain.Life

	mu         sync.Mutex       // the append lock; guards what follows
	lock       *lock            // nil while nobody needs it
	users      int              // of the lock: the appender and acts
	writer     *writer          // of the active file; nil until something is appended
	appender   *Appender        // the open one
	signer     *maintain.Signer // of rotations; nil before the first
	pruned     int              // see pruneCarried
	unreadable [2]uint64        // device and inode of the file that could not be read when it was to be dropped
}

// Open returns the store. It does not touch the disk. Its error wraps
// papyra.ErrConfig.
func Open(c Config) (*Store, error) {
	n, err := newNames(c.Path, c.Numbered)
	if err != nil {
		return nil, err
	}
	switch c.Sync {
	case "":
		c.Sync = SyncInterval
	case SyncNone, SyncInterval, SyncBatch:
	default:
		return nil, fmt.Errorf("sync %q: allowed are none, interval and batch: %w", c.Sync, papyra.ErrConfig)
	}
	if err := checkBound(&c); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Disk == nil {
		c.Disk = disk.OS{}
	}
	if c.URL == "" {
		c.URL = escape.EncodeName(n.path())
	}
	s := &Store{
		names: n, disk: c.Disk, url: escape.ValidName(c.URL), mode: c.Sync, now: c.Now,
		maxBytes: c.MaxBytes, maxFiles: c.MaxFiles,
	}
	s.life = maintain.NewLife(&papyra.StoreError{Op: "use", Path: s.path(), Offset: -1, Err: papyra.ErrClosed})
	return s, nil
}

// Traits returns the sync mode and the bound of a rotating store.
func (s *Store) Traits() papyra.Traits {
	return papyra.Traits{Sync: string(s.mode), MaxBytes: s.maxBytes, MaxFiles: s.maxFiles}
}

// Warnings returns what an operator who set r may not expect of a store that
// rotates, and what Mistaken says.
func (s *Store) Warnings(_ context.Context, r papyra.Retention) ([]string, error) {
	if m := s.Mistaken(); m != "" {
		return []string{m}, nil
	}
	if s.maxFiles == 0 || r.IsZero() {
		return nil, nil
	}
	return []string{fmt.Sprintf(
		"keep_* means \"never more than\" on a rotating store: its bound of %d files of %d bytes is shared by all streams and may remove records that keep_* would still show",
		s.maxFiles, s.maxBytes)}, nil
}

// Mistaken says that a store of one file is perhaps meant to be a set: files of a set
// with its name lie beside it, and their records are none of this store's. Otherwise
// it returns "". It looks at the directory, changes nothing and is quick.
func (s *Store) Mistaken() string {
	if s.numbered {
		return ""
	}
	set := s.names
	set.numbered = true
	members, _, _, err := set.listSet()
	beside := 0
	for _, m := range members {
		if m.number > 0 {
			beside++
		}
	}
	if err != nil || beside == 0 {
		return "" // whoever reads the store says what is wrong
	}
	path := escape.EncodeName(s.path())
	return fmt.Sprintf("%s has %s of a rotating set beside it, whose records are not looked at: rotating:%s is all of it",
		path, human.Plural(int64(beside), "file", "files"), path)
}

// Groups returns nothing: files have no consumer groups.
func (s *Store) Groups(context.Context) ([]papyra.ConsumerGroup, error) { return nil, nil }

// URL returns what the store calls itself.
func (s *Store) URL() string { return s.url }

// RejectFile returns where rejected lines go by default.
func (s *Store) RejectFile() string { return s.rejected() }

// GiveOwner gives a file that somebody has just made beside the store the store's
// owner, as far as this process may.
func (s *Store) GiveOwner(made *os.File) { s.giveOwner(made) }

// Close closes an open appender, ends what is running on the store, waits for
// its acts, and makes every later call fail with papyra.ErrClosed. It is safe to
// call twice.
func (s *Store) Close() error {
	s.life.Close()
	s.mu.Lock()
	a := s.appender
	s.mu.Unlock()
	if a == nil {
		return nil
	}
	return a.Close()
}

// holdStore takes the lock file's lock, or shares it with the appender or act of
// this store that has it. The last one to let go closes the writer.
func (s *Store) holdStore() (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.holdStoreLocked(); err != nil {
		return nil, err
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = s.letGoLocked()
	}, nil
}

// holdStoreLocked is holdStore under the append lock.
func (s *Store) holdStoreLocked() error {
	if err := s.life.Closed(); err != nil {
		return err
	}
	if err := s.checkPlace(); err != nil {
		return err
	}
	if s.lock == nil {
		l, err := s.takeLock(s.disk, s.now())
		if err != nil {
			return err
		}
		s.lock = l
	}
	s.users++
	return nil
}

// letGoLocked ends one use of the lock. The append lock is held.
func (s *Store) letGoLocked() error {
	s.users--
	if s.users > 0 {
		return nil
	}
	var err error
	if s.writer != nil {
		err = s.writer.close()
		s.writer = nil
	}
	s.lock.release()
	s.lock = nil
	return err
}

// checkPlace refuses a PATH where something stands that is no regular file.
func (s *Store) checkPlace() error {
	info, err := os.Lstat(s.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.ENOTDIR):
		return &papyra.StoreError{Op: "open", Path: s.path(), Offset: -1, Err: papyra.ErrConfig, Hint: filepath.Dir(s.path()) + " is not a directory"}
	case err != nil:
		return &papyra.StoreError{Op: "open", Path: s.path(), Offset: -1, Err: err}
	case !info.Mode().IsRegular():
		return &papyra.StoreError{Op: "open", Path: s.path(), Offset: -1, Err: papyra.ErrConfig, Hint: "it is a " + fileKind(info.Mode()) + "; name the file itself"}
	}
	return nil
}

// checkSymlink refuses a PATH that is a symlink. Anything else in the place of a
// file is reported by a scan.
func (s *Store) checkSymlink() error {
	info, err := os.Lstat(s.path())
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return s.checkPlace()
	}
	return nil
}

// pinSet opens the whole set for reading. The active file has the size that our own
// writer has left, so that nobody sees a line that is half written. Where nothing of
// the store exists, the error is papyra.ErrNotFound.
func (s *Store) pinSet() (*snapshot, error) {
	if err := s.checkSymlink(); err != nil {
		return nil, err
	}
	// Under the append lock no write and no rotation of ours is half done.
	s.mu.Lock()
	defer s.mu.Unlock()
	sn, err := s.names.openSet(s.disk)
	if err != nil {
		return nil, err
	}
	if len(sn.files)+len(sn.leftovers)+len(sn.odd) == 0 {
		return nil, &papyra.StoreError{Op: "open", Path: s.path(), Offset: -1, Err: papyra.ErrNotFound, Hint: "check the path"}
	}
	if f := sn.active(); f != nil && s.writer != nil && s.writer.active.is(f.dev, f.ino) {
		f.size = s.writer.active.size
	}
	return sn, nil
}
