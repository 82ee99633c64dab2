package fileset

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
)

// The files of a quarantine act.
const (
	quarantineBytes = "bytes"
	quarantineIndex = "index.ndjson"
	unfinishedIndex = ".index.tmp"
)

// Saved is one line of a quarantine act's index: a damaged place of a file,
// whose bytes stand in "bytes" behind those of the lines before.
type Saved struct {
	File   string       `json:"file"`   // its name as text, see docs/format.md
	Offset int64        `json:"offset"` // in the file as the recovery found it
	Length int64        `json:"length"` // may be 0: only a newline was missing there
	Class  papyra.Class `json:"class"`
	SHA256 string       `json:"sha256"`
	// InsertedNewlines is how many newlines stand in the recovered file at this
	// place and did not stand in the file before.
	InsertedNewlines int       `json:"inserted_newlines"`
	Time             time.Time `json:"time"`
}

// quarantine is an act's directory while it is written.
type quarantine struct {
	s      *Store
	dir    string          // its path, for people
	above  *disk.Directory // in which it is
	act    *disk.Directory
	now    time.Time
	bytes  *os.File
	index  *os.File
	sparse disk.SparseWriter // to bytes
	out    *bufio.Writer     // to sparse
	lines  *bufio.Writer     // to index
}

// newQuarantine makes the directory of an act in parent; empty means the store's own
// place.
func (s *Store) newQuarantine(parent, act string, now time.Time) (*quarantine, error) {
	above, err := s.openQuarantines(parent, true)
	if err != nil {
		return nil, err
	}
	q := &quarantine{s: s, dir: filepath.Join(above.Path(), act), above: above, now: now.UTC()}
	if q.act, err = above.MakeDirectory(act, s.giveOwner); err == nil {
		if q.bytes, err = q.act.MakeFile(quarantineBytes, os.O_RDWR|os.O_APPEND, 0o600); err == nil {
			q.index, err = q.act.MakeFile(unfinishedIndex, os.O_RDWR, 0o600)
		}
	}
	if err != nil {
		q.abandon()
		return nil, &papyra.StoreError{Op: "make quarantine", Path: q.dir, Offset: -1, Err: err, Hint: hintFor(err)}
	}
	s.giveOwner(q.bytes)
	s.giveOwner(q.index)
	q.sparse = disk.SparseWriter{Disk: s.disk, File: q.bytes}
	q.out = bufio.NewWriterSize(&q.sparse, lines.ChunkSize)
	q.lines = bufio.NewWriterSize(disk.Writer{Disk: s.disk, File: q.index}, lines.ChunkSize)
	return q, nil
}

// openQuarantines opens the directory that holds quarantine acts, and makes it first
// if so asked. The one beside the store is not reached through a symlink and must not
// be a stranger's: it would be him who keeps what is moved away.
func (s *Store) openQuarantines(parent string, change bool) (*disk.Directory, error) {
	fail := func(path string, err error, hint string) error {
		return &papyra.StoreError{Op: "open quarantine", Path: path, Offset: -1, Err: err, Hint: hint}
	}
	if parent != "" {
		if change {
			if err := disk.MakeDirectory(s.disk, parent, s.giveOwner); err != nil {
				return nil, err
			}
		}
		dir, err := disk.OpenDirectory(s.disk, parent)
		if err != nil {
			return nil, fail(parent, err, hintFor(err))
		}
		return dir, nil
	}
	beside, err := disk.OpenDirectory(s.disk, s.dir)
	if err != nil {
		return nil, fail(s.dir, err, "")
	}
	defer beside.Close()
	base := filepath.Base(s.saved())
	if change {
		made, err := beside.MakeDirectory(base, s.giveOwner)
		switch {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return nil, fail(s.saved(), err, hintFor(err))
		default:
			made.Close()
			if err := beside.Sync(); err != nil {
				return nil, fail(s.dir, err, hintFor(err))
			}
		}
	}
	dir, err := beside.Directory(base)
	const elsewhere = ", or name another with --quarantine-dir"
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil, fail(s.saved(), papyra.ErrConfig, "it is not a directory; remove it"+elsewhere)
	}
	if err != nil {
		return nil, fail(s.saved(), err, hintFor(err))
	}
	info, err := dir.Stat()
	if err == nil && !s.ours(info) {
		err = papyra.ErrConfig
	}
	if err != nil {
		dir.Close()
		return nil, fail(s.saved(), err, "it belongs to somebody else; remove it"+elsewhere)
	}
	return dir, nil
}

// savePlace copies one damaged place of a file.
func (q *quarantine) savePlace(ctx context.Context, file string, f *os.File, p damagedPlace) error {
	sum := sha256.New()
	if err := disk.CopyRange(ctx, q.s.disk, io.MultiWriter(q.out, sum), f, p.off, p.off+p.length); err != nil {
		return q.wrapError(err)
	}
	entry := Saved{
		File: file, Offset: p.off, Length: p.length, Class: p.anomaly.Class,
		SHA256: hex.EncodeToString(sum.Sum(nil)), Time: q.now,
	}
	if p.newline {
		entry.InsertedNewlines = 1
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return q.wrapError(err)
	}
	if _, err := q.lines.Write(append(line, '\n')); err != nil {
		return q.wrapError(err)
	}
	return nil
}

// completeAct makes the bytes and the index durable, compares what can be read back
// with the checksums, and then gives the index its name: with it the act is
// complete.
func (q *quarantine) completeAct() error {
	err := q.out.Flush()
	if err == nil {
		err = q.sparse.Flush()
	}
	if err == nil {
		err = q.s.disk.Sync(q.bytes)
	}
	if err == nil {
		err = q.lines.Flush()
	}
	if err == nil {
		err = q.s.disk.Sync(q.index)
	}
	if err == nil {
		err = q.verifyBytes()
	}
	if err == nil {
		err = q.act.Rename(unfinishedIndex, quarantineIndex)
	}
	if err == nil {
		err = q.act.Sync()
	}
	if err == nil {
		err = q.above.Sync()
	}
	if err != nil {
		return q.wrapError(err)
	}
	return nil
}

// verifyBytes reads back what was saved and compares it with its checksums.
func (q *quarantine) verifyBytes() error {
	saved := &disk.Reader{Disk: q.s.disk, File: q.bytes}
	sum, buf := sha256.New(), make([]byte, lines.ChunkSize)
	return q.eachEntry(func(e *Saved) error {
		return checkSum(sum, buf, saved, e)
	})
}

// checkSum reads the bytes of one entry and compares them with its checksum.
func checkSum(sum hash.Hash, buf []byte, saved io.Reader, e *Saved) error {
	sum.Reset()
	if _, err := io.CopyBuffer(sum, io.LimitReader(saved, e.Length), buf); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("what was saved of %s at offset %d reads back differently", e.File, e.Offset)
	}
	return nil
}

// eachEntry calls visit for each line of the index in order.
func (q *quarantine) eachEntry(visit func(*Saved) error) error {
	return eachSaved(q.s.disk, q.index, visit)
}

// wrapError says that the store is unchanged and what to do, unless err is of
// reading the store.
func (q *quarantine) wrapError(err error) error {
	var se *papyra.StoreError
	if errors.As(err, &se) && se.Op == "read" {
		return err // it is the store that cannot be read
	}
	return &papyra.StoreError{Op: "write quarantine", Path: q.dir, Offset: -1, Err: err, Hint: "the store is unchanged; " + cmp.Or(hintFor(err), "name another place with --quarantine-dir")}
}

// close closes the files of a complete act.
func (q *quarantine) close() {
	for _, f := range []*os.File{q.bytes, q.index} {
		if f != nil {
			f.Close()
		}
	}
	if q.act != nil {
		q.act.Close()
	}
	q.above.Close()
}

// abandon removes an act that is not needed: every byte is still in the store.
// The index goes first: with it the act would count as complete.
func (q *quarantine) abandon() {
	defer q.close()
	if q.act == nil {
		return
	}
	for _, base := range []string{quarantineIndex, unfinishedIndex, quarantineBytes} {
		if err := q.act.Remove(base); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	_ = q.above.RemoveDirectory(filepath.Base(q.dir))
}
