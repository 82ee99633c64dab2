package fileset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
	"github.com/papyra/papyra/internal/numset"
)

// Read yields the records that q chooses; see [maintain.Read]. yield must not
// close the store.
func (s *Store) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error) {
	return maintain.Read(ctx, medium{s}, q, yield)
}

// Compact removes what is outside the view at o.At, and duplicates if o says so;
// see [maintain.Compact]. It rewrites each file that loses something, from the oldest
// on. At every moment the store is valid and has the same view. The new files that a
// killed act has left go first: they are copies of what stands in the store. The error is
// papyra.ErrBusy where another process appends.
func (s *Store) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	return maintain.Compact(ctx, compacting{medium{s}}, o)
}

// Recover moves every damaged place, and every leftover of an act that did not
// finish, into a quarantine act, by default in .NAME.saved beside the file; see
// [maintain.Recover]. Nothing is changed before the quarantine is complete and
// durable. The error is papyra.ErrBusy where another process appends.
func (s *Store) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	return maintain.Recover(ctx, medium{s}, o)
}

// medium shows a set of files to package maintain.
type medium struct{ s *Store }

func (m medium) URL() string          { return m.s.url }
func (m medium) Now() time.Time       { return m.s.now() }
func (m medium) Life() *maintain.Life { return m.s.life }

// Pin opens the set. For a change it takes the lock and first finishes a
// rotation that was interrupted, so that no file is half in the set.
func (m medium) Pin(ctx context.Context, purpose maintain.Purpose) (maintain.Held, error) {
	s := m.s
	// As in a scan: whoever was in the middle of a write when the sizes were taken
	// held the lock before or after.
	writer := whoWrites(s.disk, s.names.lock())
	// The set is pinned before the lock file is made: so nothing is made beside a
	// store that does not exist.
	sn, err := s.pinSet()
	if err != nil {
		return nil, err
	}
	p := &pinnedSet{s: s, ctx: ctx, disk: disk.Interruptible(ctx, s.disk), strict: purpose.Act, snapshot: sn, release: func() {}}
	if !purpose.Change {
		p.writer = cmp.Or(writer, whoWrites(s.disk, s.names.lock()))
		return p, nil
	}
	sn.close()
	if p.release, err = s.holdStore(); err != nil {
		return nil, err
	}
	if err = s.finishRotation(ctx); err == nil {
		p.snapshot, err = s.pinSet()
	}
	if err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

// compacting is the medium of a compaction.
type compacting struct{ medium }

// Pin is Pin of the medium, after what an earlier compaction has left is gone: so the
// same command, given again, finishes all of it, and has its room.
func (m compacting) Pin(ctx context.Context, purpose maintain.Purpose) (maintain.Held, error) {
	p, err := m.medium.Pin(ctx, purpose)
	if set, ok := p.(*pinnedSet); ok && err == nil && purpose.Change {
		if err := m.s.removeTemporaries(set.snapshot); err != nil {
			p.Release()
			return nil, err
		}
	}
	return p, err
}

// removeTemporaries removes the new files of acts that did not come to give them a
// name. The act's turn and the store's lock are held, so that none of them is in
// use. Nothing is lost: until a new file has the name, the old one is whole.
func (s *Store) removeTemporaries(sn *snapshot) error {
	removed := false
	for _, left := range sn.leftovers {
		if !s.isTemporary(left.base) {
			continue
		}
		path := s.beside(left.base)
		if err := s.disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &papyra.StoreError{Op: "remove leftover", Path: path, Offset: -1, Err: err, Hint: cmp.Or(hintFor(err), "remove it: the store has all of it")}
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return disk.SyncDirectory(s.disk, s.dir)
}

// finishRotation finishes a rotation that a crash interrupted.
func (s *Store) finishRotation(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumeDrops(ctx)
}

// pinnedSet is the set at one moment, as a read or an act goes through it.
type pinnedSet struct {
	*snapshot
	s       *Store
	ctx     context.Context
	disk    disk.Disk // its reads end with ctx
	strict  bool      // what cannot be read is an error
	writer  string    // why somebody else may be writing to the set; "" if nobody is
	release func()

	unread   error        // the first part that could not be read
	prepared *replacement // by Prepare, and not placed yet
	line     setLine
}

// Alone is true: an act holds the lock.
func (p *pinnedSet) Alone() bool { return true }

// Release closes the files and lets the lock go.
func (p *pinnedSet) Release() {
	if p.prepared != nil {
		p.prepared.abandon()
	}
	p.close()
	p.release()
}

// Size returns the bytes of all files.
func (p *pinnedSet) Size() (bytes, lines int64) { return p.size(), 0 }

// Incomplete names what could not be read.
func (p *pinnedSet) Incomplete(op string) error {
	if p.unread == nil && p.readable && len(p.odd) == 0 {
		return nil
	}
	e := &papyra.StoreError{Op: op, Path: p.s.path(), Offset: -1, Err: papyra.ErrIncomplete, Hint: "scan it"}
	if p.unread != nil {
		e.Err = fmt.Errorf("%w: %w", papyra.ErrIncomplete, p.unread)
	} else if len(p.odd) > 0 {
		e.Hint = p.odd[0].File + ": " + p.odd[0].Detail
	}
	return e
}

// cannotRead notes a part that cannot be read. For an act, and where the context
// has ended, it returns the error instead.
func (p *pinnedSet) cannotRead(f *pinnedFile, off int64, err error) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if p.strict {
		return &papyra.StoreError{Op: "read", Path: p.s.beside(f.base), Offset: off, Err: err, Hint: "nothing was changed"}
	}
	if p.unread == nil {
		p.unread = &papyra.StoreError{Op: "read", Path: f.base, Offset: off, Err: errors.New(systemError(err))}
	}
	return nil
}

// Announce appends reports to the active file and makes them durable.
func (p *pinnedSet) Announce(lines ...[]byte) error {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openWriter(); err != nil {
		return err
	}
	for _, line := range lines {
		if err := s.writer.appendReports(line); err != nil {
			return err
		}
	}
	return nil
}

// TouchedGroups returns nothing: files have no consumer groups.
func (p *pinnedSet) TouchedGroups(maintain.Marks, maintain.Part) ([]papyra.RemovedGroup, error) {
	return nil, nil
}

// setLine is a line of a pinned set as package maintain sees it.
type setLine struct {
	lines.Line
	p *pinnedSet
	f *pinnedFile
}

func (l *setLine) Judge(rec *papyra.Record, full bool) (judge.Verdict, *papyra.LineError) {
	return judgeLine(rec, &l.Line, full)
}

func (l *setLine) Size() int64 {
	if l.Hole {
		return l.Length
	}
	return l.Length + 1
}

func (l *setLine) Place() papyra.Place { return papyra.Place{File: l.f.text, Offset: l.Offset} }

func (l *setLine) Unfinished() bool { return l.Open() && l.p.writer != "" && l.f.number == 0 }

// marks are the marked lines of a set, by file.
type marks map[*pinnedFile]*fileMarks

// fileMarks are the marked lines of one file. Lines are numbered from the end: the
// last one is 1.
type fileMarks struct {
	lines   numset.Set
	copies  numset.Set // those of lines that are marked as copies
	all     int64      // lines of the file that were visited
	first   int64      // number of the first marked line in the file, which is the highest; 0 if there is none
	offset  int64      // where that line begins
	endless bool       // the last line has no newline, and is marked
	gone    bool       // the file was replaced by one without the marked lines, or has left the set
}

// addLine marks a line.
func (m *fileMarks) addLine(number int64, part maintain.Part, l *lines.Line) {
	m.lines.Add(uint64(number))
	if part == maintain.Copies {
		m.copies.Add(uint64(number))
	}
	m.endless = m.endless || l.Open()
	if number > m.first {
		m.first, m.offset = number, l.Offset
	}
}

// NewMarks returns marks that are empty.
func (p *pinnedSet) NewMarks() maintain.Marks {
	m := marks{}
	for _, f := range p.files {
		m[f] = &fileMarks{}
	}
	return m
}

// Backward visits the lines file by file, from the newest one back.
func (p *pinnedSet) Backward(all maintain.Marks, part maintain.Part, visit maintain.Visit) error {
	m, _ := all.(marks)
	for i := len(p.files) - 1; i >= 0; i-- {
		if err := p.visitBackward(p.files[i], m[p.files[i]], part, visit); err != nil {
			return err
		}
	}
	return nil
}

// visitBackward visits the lines of one file. Behind the first part, those that
// are marked already are left out.
func (p *pinnedSet) visitBackward(f *pinnedFile, m *fileMarks, part maintain.Part, visit maintain.Visit) error {
	r := lines.NewBackward(p.disk, f.f, f.size)
	p.line.p, p.line.f = p, f
	for number := int64(1); ; number++ {
		var err error
		p.line.Line, err = r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return p.cannotRead(f, r.Offset(), err)
		}
		if m != nil {
			m.all = number
			if part > 0 && m.lines.Contains(uint64(number)) {
				continue
			}
		}
		mark, err := visit(&p.line)
		if mark && m != nil {
			m.addLine(number, part, &p.line.Line)
		}
		if err != nil {
			return err
		}
	}
}

// Forward visits the lines file by file, from the oldest one on.
func (p *pinnedSet) Forward(all maintain.Marks, visit maintain.Visit) error {
	m, chosen := all.(marks)
	for _, f := range p.files {
		if chosen && m[f].first == 0 {
			continue
		}
		if err := p.visitForward(f, m[f], visit); err != nil {
			return err
		}
	}
	return nil
}

// visitForward visits the lines of one file; with marks, only the marked ones.
func (p *pinnedSet) visitForward(f *pinnedFile, m *fileMarks, visit maintain.Visit) error {
	r := lines.NewForward(p.disk, f.f, f.size)
	number := int64(0)
	if m != nil {
		number = m.first
		r.Reset(f.f, m.offset, f.size, f.size)
	}
	p.line.p, p.line.f = p, f
	for ; ; number-- {
		var err error
		p.line.Line, err = r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return p.cannotRead(f, r.Offset(), err)
		}
		if m != nil && (number < 1 || !m.lines.Contains(uint64(number))) {
			continue
		}
		if _, err := visit(&p.line); err != nil {
			return err
		}
	}
}
