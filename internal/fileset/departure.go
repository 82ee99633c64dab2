package fileset

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// departure is a file on its way out of the set. It goes through these states, in
// this order, and never back:
//
//	opened ──note──► noted ──rename──► renamed ──reports──► reported ──unlink──► unlinked
//
//	state     what there is                              what a crash then leaves
//	opened    NAME.<n>, being read from its end          the set as it was
//	noted     NAME.<n>; its reports, in memory           the set as it was
//	renamed   .NAME.dropping-<hex>, out of the set;      a hole in the numbers, and a file of which
//	          some of its reports, appended              readers see nothing: whoever takes the lock
//	                                                     next reads it again and appends the reports
//	                                                     that are missing
//	reported  .NAME.dropping-<hex>; all its reports,     a file that is fully reported: whoever takes
//	          durable                                    the lock next finds its reports and unlinks it
//	unlinked  its reports                                nothing; after a power cut the file may be
//	                                                     back, as reported
//
// The IDs of its reports end in the digits <hex>. From them a later process knows
// which reports are those of the file.
type departure struct {
	s     *Store
	state departureState
	path  string

	// content is the open file; nil after rename, and after an error.
	content *departingFile

	// What note makes.
	digits         string
	reports        [][]byte // lines that are not appended yet, those that stay as they are first
	staying        int      // how many of all the lines are reports that stay as they are
	records, bytes int64
}

// departureState is how far a departure has come.
type departureState int

const (
	departureOpened departureState = iota
	departureNoted
	departureRenamed
	departureReported
	departureUnlinked
)

// departingFile is the open file of a departure. It is read from its end, to write
// down what goes. It holds a descriptor and the buffer of a reader.
type departingFile struct {
	*pinnedFile
	changed time.Time
	lines   *lines.Backward
	rec     papyra.Record
	removal maintain.Removal
	carried maintain.Carried
}

const (
	// manyRuns is how many runs the carried reports of one file may name before the
	// set is read to find out which of them have anything left.
	manyRuns = 1024
	// stayingShare is which part of a file the reports may take that stay as they
	// are: a quarter.
	stayingShare = 4
)

// openDeparture opens a file that is to go.
func (s *Store) openDeparture(m listedFile) (*departure, error) {
	path := s.beside(m.base)
	f, err := s.openMember(s.disk, m)
	if err != nil {
		return nil, &papyra.StoreError{Op: "read before it is dropped", Path: path, Offset: -1, Err: err, Hint: "it must be readable, so that what goes can be written down"}
	}
	info, err := f.f.Stat()
	if err == nil && (f.dev != m.dev || f.ino != m.ino) {
		err = errGone
	}
	if err != nil {
		f.f.Close()
		return nil, &papyra.StoreError{Op: "read before it is dropped", Path: path, Offset: -1, Err: err, Hint: "somebody replaced it; try again"}
	}
	content := &departingFile{pinnedFile: f, changed: info.ModTime(), lines: lines.NewBackward(s.disk, f.f, f.size)}
	return &departure{s: s, path: path, content: content}, nil
}

// closeFile closes the open file and gives back what it holds. It is safe to call
// twice.
func (d *departure) closeFile() {
	if d.content != nil {
		d.content.f.Close()
		d.content = nil
	}
}

// readBack reads on until no more than so many bytes are unread. After an error
// nothing more can be read.
func (c *departingFile) readBack(through disk.Disk, unread int64) error {
	c.lines.ReadThrough(through)
	for c.lines.Unread() > unread {
		line, err := c.lines.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch verdict, _ := judgeLine(&c.rec, &line, false); verdict {
		case judge.Damaged:
			c.addDamage(line.Size())
		case judge.Valid:
			gone := &c.rec
			if c.rec.Kind == papyra.KindReport && papyra.ParseInto(&c.rec, line.Bytes) == nil {
				gone = c.carried.Add(&c.rec)
			}
			if gone != nil {
				c.removal.Add(gone)
			}
		}
	}
	return nil
}

// addDamage counts a damaged place.
func (c *departingFile) addDamage(bytes int64) {
	c.removal.Damaged++
	c.removal.DamagedBytes += bytes
}

// isFile reports whether the open file has this inode.
func (c *departingFile) isFile(dev, ino uint64) bool { return c.dev == dev && c.ino == ino }

// isUnchanged reports whether m still leads to the open file, and nobody has
// changed that since it was opened.
func (c *departingFile) isUnchanged(m listedFile) bool {
	info, err := c.f.Stat()
	return err == nil && c.isFile(m.dev, m.ino) && info.Size() == c.size && info.ModTime().Equal(c.changed)
}

// note reads the rest of the file and makes its reports, under the digits. Nothing
// is changed on the disk. A part that cannot be read is an error the first time;
// the next time, or if this is the last try, it counts as damaged, so that the bound
// holds all the same. After an error the departure is of no more use.
func (d *departure) note(ctx context.Context, digits string, lastTry bool) error {
	s, c := d.s, d.content
	if err := c.readBack(disk.Interruptible(ctx, s.disk), 0); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if bad := [2]uint64{c.dev, c.ino}; !lastTry && s.unreadable != bad {
			s.unreadable = bad
			return &papyra.StoreError{Op: "read before it is dropped", Path: d.path, Offset: c.lines.Offset(), Err: err, Hint: "the next time this counts as damage; check the disk"}
		}
		c.addDamage(c.lines.Unread())
	}
	if err := s.resolveCarried(ctx, &c.carried, c.pinnedFile); err != nil {
		return err
	}
	gone, err := s.pruneCarried(ctx, &c.carried, c.pinnedFile)
	if err != nil {
		return err
	}
	for _, rec := range append(gone, c.carried.Limit(s.maxBytes/stayingShare)...) {
		c.removal.Add(rec)
	}
	staying := c.carried.Kept()
	d.digits, d.staying = digits, len(staying)
	d.records, d.bytes = c.removal.Records(), c.size
	for _, line := range staying {
		d.bytes -= int64(len(line))
	}
	now := s.now()
	act := s.rotationSigner().Act(papyra.ActRotate, digits, now)
	removed, err := c.removal.Reports(act, now)
	if err != nil {
		return err
	}
	told, err := c.carried.Reports(act, now)
	if err != nil {
		return err
	}
	d.reports = slices.Concat(staying, removed, told)
	d.state = departureNoted
	return nil
}

// rename takes the noted file out of the set.
func (d *departure) rename() error {
	to := d.s.dropping(d.digits)
	if err := d.s.moveFile(d.path, to); err != nil {
		return err
	}
	d.markRenamed(to)
	return nil
}

// markRenamed notes that the file is out of the set. Its content is not needed any
// more.
func (d *departure) markRenamed(path string) {
	d.closeFile()
	d.state, d.path = departureRenamed, path
}

// markAppended forgets the reports that stand within the first n bytes of what was
// appended, and returns how many of the bytes are those of other files' reports.
func (d *departure) markAppended(n int) (left int, complete bool) {
	for len(d.reports) > 0 && len(d.reports[0]) <= n {
		n -= len(d.reports[0])
		d.reports = d.reports[1:]
	}
	return n, len(d.reports) == 0
}

// errUnreported says that a file would go before it is written down what goes.
var errUnreported = errors.New("its reports are not durable yet")

// unlink removes the file. Never before all of its reports are durable.
func (d *departure) unlink() error {
	if d.state != departureReported {
		return &papyra.StoreError{Op: "remove what was dropped", Path: d.path, Offset: -1, Err: errUnreported}
	}
	if err := d.s.disk.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &papyra.StoreError{Op: "remove what was dropped", Path: d.path, Offset: -1, Err: err, Hint: "its records are no longer part of the store; remove it"}
	}
	d.state = departureUnlinked
	return nil
}

// rotationSigner is the signer of the store's rotations.
func (s *Store) rotationSigner() *maintain.Signer {
	if s.signer == nil {
		s.signer = maintain.NewSigner()
	}
	return s.signer
}

// resolveCarried looks in the other files of the set for the ends of acts that have
// announced in f what they are going to remove. An act ends right behind its
// announcement, so that this is seldom another file.
func (s *Store) resolveCarried(ctx context.Context, carried *maintain.Carried, f *pinnedFile) error {
	open := carried.OpenActs()
	if len(open) == 0 {
		return nil
	}
	sn, err := s.names.openSet(s.disk)
	if err != nil {
		return err
	}
	defer sn.close()
	takenBack := map[string]bool{}
	for _, other := range sn.files {
		if other.dev == f.dev && other.ino == f.ino {
			continue
		}
		if err := s.addEnds(ctx, other, open, takenBack); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			break // what cannot be read may hold no end: what was announced counts
		}
	}
	carried.Resolve(func(id string) bool { return takenBack[id] })
	return nil
}

// addEnds adds those of the acts whose end in a file takes them back.
func (s *Store) addEnds(ctx context.Context, f *pinnedFile, acts []string, takenBack map[string]bool) error {
	var (
		rec papyra.Record
		r   = lines.NewForward(disk.Interruptible(ctx, s.disk), f.f, f.size)
	)
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, id := range acts {
			if !bytes.Contains(l.Bytes, []byte(id)) || papyra.ParseInto(&rec, l.Bytes) != nil {
				continue
			}
			if of, end, ok := papyra.EndOfAct(&rec); ok && of == id && end.TakesBack() {
				takenBack[id] = true
			}
		}
	}
}

// pruneCarried makes carried forget the runs of which only f has anything left. For
// that it reads the set: only when carried names many runs, and then not again
// before it names twice as many as remained.
func (s *Store) pruneCarried(ctx context.Context, carried *maintain.Carried, f *pinnedFile) (gone []*papyra.Record, err error) {
	if carried.Runs() <= max(s.pruned, manyRuns) {
		return nil, nil
	}
	sn, err := s.names.openSet(s.disk)
	if err != nil {
		return nil, err
	}
	defer sn.close()
	alive := map[string]bool{}
	for _, other := range sn.files {
		if other.dev == f.dev && other.ino == f.ino {
			continue
		}
		if err := s.addRuns(ctx, other, alive); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, nil // what cannot be read may be of any run: all runs are kept
		}
	}
	gone = carried.Prune(func(run string) bool { return alive[run] })
	s.pruned = 2 * carried.Runs()
	return gone, nil
}

// addRuns adds the runs of a file's records.
func (s *Store) addRuns(ctx context.Context, f *pinnedFile, alive map[string]bool) error {
	var (
		rec papyra.Record
		r   = lines.NewForward(disk.Interruptible(ctx, s.disk), f.f, f.size)
	)
	for n := 1; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if verdict, _ := judgeLine(&rec, &l, false); verdict == judge.Valid && rec.HasIdentity() && !alive[string(rec.Run)] {
			alive[string(rec.Run)] = true
		}
	}
}
