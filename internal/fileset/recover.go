package fileset

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// Recover moves every damaged place, and every leftover of an act that did not
// finish, into a quarantine act, by default in .NAME.saved beside the file, and
// conserves every byte. It parses every line in full. Appends of this store's
// own appender go on; somebody else's: papyra.ErrBusy. Until the quarantine is
// complete and durable nothing is changed. On a store without damage it writes
// nothing. What cannot be moved, because it is no file, stays and is in the
// report's After; a part that cannot be read ends the recovery before it changed
// anything.
func (s *Store) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
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
	if o.Now.IsZero() {
		o.Now = s.now()
	}
	busy := o.DryRun && lockHeld(s.disk, s.names.lock())
	total := sn.size()
	progress := stages(o.Progress, 3, total)
	before, err := s.newScan(sn, papyra.ScanOptions{Full: true, Now: o.Now, Progress: progress(0)}, busy).run(ctx)
	if err != nil {
		return nil, err
	}
	report := &papyra.RecoverReport{Backend: s.url, DryRun: o.DryRun, Before: before}
	rc := &recovery{s: s, ctx: ctx, sn: sn, busy: busy, progress: progress(1)}
	if before.Clean() {
		if !o.DryRun {
			report.After = before
		}
		return report, nil
	}
	if before.Incomplete {
		return nil, incomplete(s.path(), nil, before.Anomalies)
	}
	if o.DryRun {
		err := rc.damage(func(_ string, _ *os.File, p place) error {
			if !p.healed {
				report.Moved++
				report.MovedBytes += p.length
			}
			return nil
		})
		return report, err
	}
	if err := rc.run(o, report); err != nil {
		return nil, err
	}
	report.After, err = s.scanAgain(ctx, papyra.ScanOptions{Full: true, Now: o.Now})
	if err == nil {
		progress(2)(total, total)
	}
	return report, err
}

func (s *Store) scanAgain(ctx context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	sn, err := s.pin()
	if err != nil {
		return nil, err
	}
	defer sn.close()
	return s.newScan(sn, o, false).run(ctx)
}

// stages divides the progress of work in several passes over the same bytes.
func stages(p papyra.Progress, passes, size int64) func(pass int64) papyra.Progress {
	return func(pass int64) papyra.Progress {
		if p == nil {
			return func(int64, int64) {}
		}
		return func(done, _ int64) { p(min(pass*size+done, passes*size), passes*size) }
	}
}

// recovery is one run of Recover.
type recovery struct {
	s    *Store
	ctx  context.Context
	sn   *snapshot
	busy bool // dry, and somebody else may be writing

	progress papyra.Progress // of both passes, looking and copying
	done     int64

	damaged []*file // to be rewritten
	found   bool    // anything at all
	endless bool    // the active file's last line has no newline, and goes
}

func (rc *recovery) run(o papyra.RecoverOptions, report *papyra.RecoverReport) error {
	s := rc.s
	act := maintain.New(papyra.ActRecover, o.Now)
	parent := o.QuarantineDir
	if parent == "" {
		parent = s.saved()
	}
	q, err := s.newQuarantine(parent, act.ID, o.Now)
	if err != nil {
		return err
	}
	err = rc.damage(func(base string, f *os.File, p place) error { return q.save(rc.ctx, base, f, p) })
	if err == nil && q.places > 0 {
		err = q.complete()
	}
	if err != nil || q.places == 0 {
		q.abandon()
		return err
	}
	defer q.close()
	report.Act, report.Quarantine = act.ID, q.dir
	report.Moved, report.MovedBytes = q.places, q.moved

	removal := maintain.Removal{Damaged: q.places, DamagedBytes: q.moved}
	lines, err := removal.Reports(act, s.now())
	if err != nil {
		return err
	}
	if err := s.report(lines...); err != nil {
		return err
	}
	for _, f := range rc.damaged {
		err := rc.rewrite(f, q)
		if errors.Is(err, errGone) && s.maxFiles > 0 {
			continue // rotated away meanwhile, and reported by the rotation
		}
		if err != nil {
			return err
		}
	}
	if err := rc.removeLeftovers(); err != nil {
		return err
	}
	last, err := act.Line(papyra.ReportRecoveryPerformed, &papyra.RecoveryPerformed{
		ID: act.ID, Moved: q.places, MovedBytes: q.moved, Quarantine: q.dir, Counts: report.Before.AnomalyCounts,
	}, s.now())
	if err != nil {
		return err
	}
	return s.report(last)
}

// damage calls visit for each damaged place of the pinned set, file by file and
// in order of offset, and then for each leftover.
func (rc *recovery) damage(visit visitor) error {
	for _, f := range rc.sn.files {
		if err := rc.fileDamage(f, visit); err != nil {
			return err
		}
	}
	leftovers := rc.leftovers()
	if rc.busy {
		leftovers = nil // they may be somebody's work in progress
	}
	if f := rc.sn.active(); f != nil && (rc.found || len(leftovers) > 0) {
		if err := rc.missingNewline(f, visit); err != nil {
			return err
		}
	}
	for _, left := range leftovers {
		if err := rc.leftover(left, visit); err != nil {
			return err
		}
	}
	return nil
}

// visitor is told of a damaged place in the file base, which is open as f.
type visitor func(base string, f *os.File, p place) error

func (rc *recovery) fileDamage(f *file, visit visitor) error {
	var (
		rec   papyra.Record
		r     = newForward(interruptible{rc.s.disk, rc.ctx}, f.f, f.size)
		found = false
	)
	for n := 0; ; n++ {
		if n%1024 == 0 && rc.ctx.Err() != nil {
			return context.Cause(rc.ctx)
		}
		l, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &papyra.StoreError{Op: "read", Path: rc.s.beside(f.base), Offset: r.pos, Err: err, Hint: "nothing was changed"}
		}
		rc.advance(l.size())
		verdict, damage := judgeLine(&rec, &l, true)
		if verdict != judge.Damaged || !l.ended && rc.busy && f.number == 0 {
			continue
		}
		found = true
		for _, p := range damagedPlaces(f.base, &l, damage) {
			if err := visit(f.base, f.f, p); err != nil {
				return err
			}
			rc.endless = f.number == 0 && !l.ended && p.off == l.off && p.length == l.length
		}
	}
	if found {
		rc.found = true
		rc.damaged = append(rc.damaged, f)
	}
	return nil
}

// missingNewline visits the end of the active file if its last line stays and
// has no newline: the act's reports get one before them.
func (rc *recovery) missingNewline(f *file, visit visitor) error {
	if f.size == 0 || rc.endless {
		return nil
	}
	var last [1]byte
	if _, err := rc.s.disk.ReadAt(f.f, last[:], f.size-1); err != nil {
		return &papyra.StoreError{Op: "read", Path: rc.s.path(), Offset: f.size - 1, Err: err, Hint: "nothing was changed"}
	}
	if last[0] == '\n' {
		return nil
	}
	return visit(f.base, f.f, place{off: f.size, newline: true, healed: true, anomaly: papyra.Anomaly{Class: papyra.ClassTruncated}})
}

// leftovers returns what is to be moved away. What a rotation was about to drop
// is not: whoever takes the lock finishes that first.
func (rc *recovery) leftovers() (out []rest) {
	for _, left := range rc.sn.leftovers {
		if !rc.s.numbered || !rc.s.isDropping(left.base) {
			out = append(out, left)
		}
	}
	return out
}

// leftover visits all bytes of a leftover.
func (rc *recovery) leftover(left rest, visit visitor) error {
	path := rc.s.beside(left.base)
	f, err := rc.s.disk.Open(path, os.O_RDONLY|openSafely, 0)
	if err != nil {
		return &papyra.StoreError{Op: "open leftover", Path: path, Offset: -1, Err: err, Hint: "nothing was changed"}
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != left.size) {
		err = errors.New("it has changed meanwhile")
	}
	if err != nil {
		return &papyra.StoreError{Op: "open leftover", Path: path, Offset: -1, Err: err, Hint: "nothing was changed; try again"}
	}
	return visit(left.base, f, place{length: left.size, anomaly: papyra.Anomaly{Class: papyra.ClassLeftover}})
}

// rewrite copies a file without the places that the quarantine holds: its index
// is the plan.
func (rc *recovery) rewrite(f *file, q *quarantine) error {
	tail := f.size
	if f.number == 0 && rc.endless {
		tail++ // the newline that ended the fragment afterwards goes with it
	}
	_, err := rc.s.rewrite(rc.ctx, f, tail, func(w io.Writer) error {
		w = &countingWriter{w: w, rc: rc}
		at := int64(0)
		err := q.entries(func(e *Saved) error {
			if e.File != f.base || e.Offset == f.size {
				return nil // a newline at the end is copied with what follows it
			}
			if err := copyRange(rc.ctx, rc.s.disk, w, f.f, at, e.Offset); err != nil {
				return err
			}
			at = e.Offset + e.Length
			if e.InsertedNewlines > 0 {
				_, err := w.Write(newline)
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
		return copyRange(rc.ctx, rc.s.disk, w, f.f, at, f.size)
	})
	return err
}

// countingWriter reports progress about every megabyte.
type countingWriter struct {
	w  io.Writer
	rc *recovery
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.rc.advance(int64(n))
	return n, err
}

func (rc *recovery) advance(n int64) {
	before := rc.done
	rc.done += n
	if before>>20 != rc.done>>20 {
		rc.progress(rc.done, 0)
	}
}

// removeLeftovers removes what is in quarantine now.
func (rc *recovery) removeLeftovers() error {
	if len(rc.leftovers()) == 0 {
		return nil
	}
	for _, left := range rc.leftovers() {
		path := rc.s.beside(left.base)
		if err := rc.s.disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &papyra.StoreError{Op: "remove leftover", Path: path, Offset: -1, Err: err, Hint: "it is in quarantine already; remove it"}
		}
	}
	return syncDir(rc.s.disk, rc.s.dir)
}
