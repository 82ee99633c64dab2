package fileset

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/maintain"
)

// Prepare writes the new file that will replace the first one with marked lines.
func (p *pinnedSet) Prepare(all maintain.Marks, advance func(int64)) error {
	m, _ := all.(marks)
	for _, f := range p.files {
		if m[f].lines.IsEmpty() {
			continue
		}
		rp, err := p.withoutLines(f, m[f], advance)
		p.prepared = rp
		return err
	}
	return nil
}

// takePrepared returns the new file that was prepared for a pinned one, or nil.
func (p *pinnedSet) takePrepared(f *pinnedFile) *replacement {
	rp := p.prepared
	if rp == nil || rp.f != f {
		return nil
	}
	p.prepared = nil
	return rp
}

// Remove rewrites each file that has marked lines without these, from the oldest
// file on.
func (p *pinnedSet) Remove(all maintain.Marks, advance func(int64)) (pause time.Duration, changed bool, err error) {
	m, _ := all.(marks)
	for _, f := range p.files {
		if m[f].lines.IsEmpty() {
			continue
		}
		took, placed, err := p.removeLines(f, m[f], advance)
		m[f].gone = placed
		changed = changed || placed
		if errors.Is(err, errGone) && (f.number > 0 || p.s.maxFiles > 0) {
			m[f].gone = true
			continue // rotated away meanwhile, and reported by the rotation
		}
		if err != nil {
			return pause, changed, err
		}
		pause = max(pause, took)
	}
	return pause, changed, nil
}

// removeLines replaces a file by one with the lines that stay.
func (p *pinnedSet) removeLines(f *pinnedFile, m *fileMarks, advance func(int64)) (pause time.Duration, placed bool, err error) {
	rp := p.takePrepared(f)
	if rp == nil {
		if rp, err = p.withoutLines(f, m, advance); err != nil {
			return 0, false, err
		}
	}
	return rp.place(p.ctx)
}

// withoutLines writes a new file with the lines of a pinned one that stay.
func (p *pinnedSet) withoutLines(f *pinnedFile, m *fileMarks, advance func(int64)) (*replacement, error) {
	tail := f.size
	if m.endless {
		tail++ // the newline that ended the line afterwards goes with it
	}
	return p.s.prepareFile(f, tail, func(w io.Writer) error {
		r := lines.NewForward(p.disk, f.f, f.size)
		for number := m.all; number > 0; number-- {
			l, err := r.Next()
			if err != nil && p.ctx.Err() != nil {
				return context.Cause(p.ctx)
			}
			if err != nil {
				return &papyra.StoreError{Op: "read", Path: p.s.beside(f.base), Offset: r.Offset(), Err: err}
			}
			advance(l.Size())
			if m.lines.Contains(uint64(number)) {
				continue
			}
			if l.Bytes == nil {
				err = disk.CopyRange(p.ctx, p.s.disk, w, f.f, l.Offset, l.End())
			} else if _, err = w.Write(l.Bytes); err == nil && l.Ended {
				_, err = w.Write(newline)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

var newline = []byte{'\n'}
