package fileset

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// Compact removes what is outside the view at o.At, and duplicates if o says so:
// it reads the set once from the end, a second time if there are duplicates to be
// compared, and then rewrites, from the oldest file on, each one that has
// something to lose, so that at every moment a valid store with the same view is
// there. Appends of this store's own appender go on; somebody else's:
// papyra.ErrBusy. What is damaged stays where it is. The byte counts of the
// report leave out what was appended since, the act's own reports among it.
func (s *Store) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	if err := maintain.CheckCompaction(o); err != nil {
		return nil, err
	}
	ctx, cancel, err := s.within(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	done, sn, err := s.begin(ctx, o.DryRun)
	if err != nil {
		return nil, err
	}
	defer done()
	if !sn.readable || len(sn.odd) > 0 {
		// The view of a store of which a part is missing is not the view.
		return nil, incomplete(s.path(), nil, sn.odd)
	}
	c := &compaction{s: s, ctx: ctx, count: maintain.NewCompaction(o), progress: o.Progress, total: 2 * sn.size()}
	if c.count.NeedsSurvey() {
		c.total += sn.size()
		for i := len(sn.files) - 1; i >= 0; i-- {
			if err := c.survey(sn.files[i]); err != nil {
				return nil, err
			}
		}
	}
	remove := make([]*removal, len(sn.files))
	for i := len(sn.files) - 1; i >= 0; i-- {
		if remove[i], err = c.look(sn.files[i]); err != nil {
			return nil, err
		}
	}
	if c.count.Repeats() {
		c.total += sn.size()
		for i := len(sn.files) - 1; i >= 0; i-- {
			if err := c.lookAgain(sn.files[i], remove[i]); err != nil {
				return nil, err
			}
		}
	}
	report := c.count.Report(s.url)
	if o.DryRun || c.count.Nothing() {
		c.finished()
		return report, nil
	}
	act := maintain.New(papyra.ActCompact, s.now())
	report.Act = act.ID
	lines, err := c.count.Reports(act, s.now())
	if err != nil {
		return nil, err
	}
	if err := s.report(lines...); err != nil {
		return nil, err
	}
	for i, f := range sn.files {
		if remove[i].lines.IsEmpty() {
			continue
		}
		pause, err := c.rewrite(f, remove[i])
		if errors.Is(err, errGone) && (f.number > 0 || s.maxFiles > 0) {
			continue // rotated away meanwhile, and reported by the rotation
		}
		if err != nil {
			return nil, err
		}
		report.Pause = max(report.Pause, papyra.Duration(pause))
	}
	last, err := act.Line(papyra.ReportCompactionPerformed, maintain.Performed(report), s.now())
	if err != nil {
		return nil, err
	}
	if err := s.report(last); err != nil {
		return nil, err
	}
	c.finished()
	return report, nil
}

// begin waits for the act's turn, takes the lock unless the act is dry, and
// pins the set.
func (s *Store) begin(ctx context.Context, dry bool) (done func(), sn *snapshot, err error) {
	pass, err := s.turn(ctx)
	if err != nil {
		return nil, nil, err
	}
	// Before the lock file is made: a store that does not exist stays so.
	if sn, err = s.pin(); err != nil {
		pass()
		return nil, nil, err
	}
	if dry {
		return func() { sn.close(); pass() }, sn, nil
	}
	sn.close()
	release, err := s.hold()
	if err != nil {
		pass()
		return nil, nil, err
	}
	if err = s.finishRotation(ctx); err == nil {
		sn, err = s.pin()
	}
	if err != nil {
		release()
		pass()
		return nil, nil, err
	}
	return func() { sn.close(); release(); pass() }, sn, nil
}

// finishRotation finishes a rotation that was interrupted, so that no file is
// half in the set.
func (s *Store) finishRotation(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumeDrops(ctx)
}

// report appends lines of an act to the active file and makes them durable.
func (s *Store) report(lines ...[]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openWriter(); err != nil {
		return err
	}
	for _, line := range lines {
		if err := s.writer.report(line); err != nil {
			return err
		}
	}
	return nil
}

// compaction is one run of Compact.
type compaction struct {
	s        *Store
	ctx      context.Context
	count    *maintain.Compaction
	progress papyra.Progress

	rec         papyra.Record
	done, total int64
}

// removal says what a file loses: lines by their number from the end.
type removal struct {
	lines   *roaring64.Bitmap
	all     int64 // lines in the file
	endless bool  // the last line has no newline, and goes
}

func (rm *removal) remove(number int64, l *line) {
	rm.lines.Add(uint64(number))
	rm.endless = rm.endless || !l.ended
}

// survey reads a file from the end and looks for what an account needs.
func (c *compaction) survey(f *file) error {
	return c.each(f, func(_ int64, l *line) {
		verdict, _ := judgeLine(&c.rec, l, true)
		c.count.Survey(&c.rec, verdict)
	})
}

// look reads a file from the end and decides about each line.
func (c *compaction) look(f *file) (*removal, error) {
	rm := &removal{lines: roaring64.New()}
	err := c.each(f, func(number int64, l *line) {
		rm.all = number + 1
		verdict, damage := judgeLine(&c.rec, l, true)
		if !c.count.Judged(&c.rec, verdict, damage, l.length+1) {
			rm.remove(number, l)
		}
	})
	return rm, err
}

// lookAgain finds the duplicates among the lines that stay.
func (c *compaction) lookAgain(f *file, rm *removal) error {
	return c.each(f, func(number int64, l *line) {
		if rm.lines.Contains(uint64(number)) {
			return
		}
		// Most are told apart by what stands in their seals.
		if verdict, _ := judgeLine(&c.rec, l, false); verdict != judge.Valid || !c.count.Suspect(&c.rec) {
			return
		}
		if verdict, _ := judgeLine(&c.rec, l, true); verdict == judge.Valid && c.count.Copy(&c.rec) {
			rm.remove(number, l)
		}
	})
}

// each calls visit with the lines of a file, numbered from the last one back.
func (c *compaction) each(f *file, visit func(number int64, l *line)) error {
	r := newBackward(interruptible{c.s.disk, c.ctx}, f.f, f.size)
	for number := int64(0); ; number++ {
		if number%1024 == 0 && c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		l, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &papyra.StoreError{Op: "read", Path: c.s.beside(f.base), Offset: r.pos, Err: err, Hint: "nothing was changed"}
		}
		visit(number, &l)
		c.advance(l.size())
	}
}

// rewrite copies the lines that stay.
func (c *compaction) rewrite(f *file, rm *removal) (time.Duration, error) {
	tail := f.size
	if rm.endless {
		tail++ // the newline that ended the line afterwards goes with it
	}
	return c.s.rewrite(c.ctx, f, tail, func(w io.Writer) error {
		r := newForward(interruptible{c.s.disk, c.ctx}, f.f, f.size)
		for number := rm.all - 1; number >= 0; number-- {
			if number%1024 == 0 && c.ctx.Err() != nil {
				return context.Cause(c.ctx)
			}
			l, err := r.next()
			if err != nil {
				return &papyra.StoreError{Op: "read", Path: c.s.beside(f.base), Offset: r.pos, Err: err}
			}
			c.advance(l.size())
			if rm.lines.Contains(uint64(number)) {
				continue
			}
			if l.bytes == nil {
				err = copyRange(c.ctx, c.s.disk, w, f.f, l.off, l.end())
			} else if _, err = w.Write(l.bytes); err == nil && l.ended {
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

// advance reports progress about every megabyte.
func (c *compaction) advance(n int64) {
	before := c.done
	c.done += n
	if c.progress != nil && c.done>>20 != before>>20 {
		c.progress(c.done, c.total)
	}
}

func (c *compaction) finished() {
	if c.progress != nil {
		c.progress(c.total, c.total)
	}
}
