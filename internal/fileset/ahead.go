package fileset

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// leaving is a file that is to leave the set and is read before, from its end,
// to write down what goes. It holds a descriptor and a reader's buffer.
type leaving struct {
	*file
	changed time.Time
	lines   *lines.Backward
	rec     papyra.Record
	removal maintain.Removal
	carried maintain.Carried
}

// leave opens a file that is to go.
func (s *Store) leave(m listed) (*leaving, error) {
	f, err := s.openMember(s.disk, m)
	if err != nil {
		return nil, &papyra.StoreError{Op: "read before it is dropped", Path: s.beside(m.base), Offset: -1, Err: err, Hint: "it must be readable, so that what goes can be written down"}
	}
	info, err := f.f.Stat()
	if err == nil && (f.dev != m.dev || f.ino != m.ino) {
		err = errGone
	}
	if err != nil {
		f.f.Close()
		return nil, &papyra.StoreError{Op: "read before it is dropped", Path: s.beside(m.base), Offset: -1, Err: err, Hint: "somebody replaced it; try again"}
	}
	return &leaving{file: f, changed: info.ModTime(), lines: lines.NewBackward(s.disk, f.f, f.size)}, nil
}

// unread is how many bytes are to be read yet.
func (l *leaving) unread() int64 { return l.lines.Unread() }

// read reads on until no more than so many bytes are unread. After an error
// nothing more can be read.
func (l *leaving) read(d disk.Disk, unread int64) error {
	l.lines.ReadThrough(d)
	for l.unread() > unread {
		line, err := l.lines.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch verdict, _ := judgeLine(&l.rec, &line, false); verdict {
		case judge.Damaged:
			l.damage(line.Size())
		case judge.Valid:
			gone := &l.rec
			if l.rec.Kind == papyra.KindReport && papyra.ParseInto(&l.rec, line.Bytes) == nil {
				gone = l.carried.Add(&l.rec)
			}
			if gone != nil {
				l.removal.Add(gone)
			}
		}
	}
	return nil
}

// damage counts a damaged place.
func (l *leaving) damage(bytes int64) {
	l.removal.Damaged++
	l.removal.DamagedBytes += bytes
}

// still reports whether the file is the one that m leads to, as it was when it
// was opened.
func (l *leaving) still(m listed) bool {
	info, err := l.f.Stat()
	return err == nil && l.dev == m.dev && l.ino == m.ino && info.Size() == l.size && info.ModTime().Equal(l.changed)
}

// ahead is how far a writer has read the file that the next rotation drops. It
// reads in step with what it appends, so that no append reads all of it.
type ahead struct {
	looked bool     // for a file that goes next
	next   *leaving // nil if none does, or if it could not be read
	from   int64    // size of the active file when it began
}

// forget begins anew with the next append.
func (a *ahead) forget() {
	a.giveUp()
	a.looked = false
}

// giveUp leaves the whole file to the rotation.
func (a *ahead) giveUp() {
	if a.next != nil {
		a.next.f.Close()
		a.next = nil
	}
}

// replaced notes that the file with this inode has left the set.
func (a *ahead) replaced(f *file) {
	if a.next != nil && a.next.dev == f.dev && a.next.ino == f.ino {
		a.forget()
	}
}

// take returns what was read of m, or nil.
func (a *ahead) take(m listed) *leaving {
	l := a.next
	if l == nil || !l.still(m) {
		return nil
	}
	a.next = nil
	return l
}

// readAhead reads as much of the file that goes next as the active file is
// nearer to its bound. An error is none of the append: the rotation will meet it,
// and say so.
func (w *writer) readAhead(ctx context.Context) {
	s, a := w.s, &w.ahead
	if !s.rotates() || ctx.Err() != nil {
		return
	}
	if !a.looked {
		a.looked, a.from = true, w.active.size
		if plan, byNumber, err := s.planRotation(); err == nil && plan.place > 0 && len(plan.drop) > 0 {
			a.next, _ = s.leave(byNumber[plan.drop[0]])
		}
	}
	if a.next == nil {
		return
	}
	left := float64(s.maxBytes-w.active.size) / float64(max(s.maxBytes-a.from, 1))
	if err := a.next.read(disk.Interruptible(ctx, s.disk), int64(left*float64(a.next.size))); err != nil {
		a.giveUp()
	}
}
