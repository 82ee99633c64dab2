package maintain

import (
	"context"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/unended"
)

// Recover moves damage into quarantine and conserves every byte:
//
//  1. scan: every line in full; without damage the next five steps are left out
//  2. salvage: bring into quarantine what must be safe before anything is removed
//  3. prepare: write the first of the new files, where the store has files
//  4. announce: append the RemovalReport and make it durable
//  5. move: take the damage out of the store
//  6. end: append how it ended
//  7. end lines: a last line without a newline gets one, so that it is safe from
//     every reader and writer that takes such a line for torn
//  8. scan again: what could not be moved, because it is no line and no file, is in
//     the report's After
//
// A crash leaves every byte in the store, in quarantine or in both, and the next
// recovery moves the rest. A part that cannot be read ends the recovery before it
// changed anything. Appends of the store's own appender go on meanwhile.
func Recover(ctx context.Context, m Medium, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	held, within, end, err := begin(ctx, m, !o.DryRun)
	if err != nil {
		return nil, err
	}
	defer end()
	if o.Now.IsZero() {
		o.Now = m.Now()
	}
	r := &recovering{m: m, held: held, options: o}
	r.ctx = within
	return r.run()
}

// recovering is one run of Recover.
type recovering struct {
	m        Medium
	held     Held
	ctx      context.Context
	options  papyra.RecoverOptions
	progress *progress
	unended  unended.Acts // earlier ones
}

func (r *recovering) run() (*papyra.RecoverReport, error) {
	o := r.options
	// Scan, salvage, move; the last scan is not counted.
	r.progress = newProgress(o.Progress, r.held, 3)
	before, err := r.held.Scan(papyra.ScanOptions{Full: true, Now: o.Now, Progress: r.scanned}, r.unended.AddReport)
	if err != nil {
		return nil, err
	}
	report := &papyra.RecoverReport{Backend: r.m.URL(), DryRun: o.DryRun, Before: before}
	if before.Incomplete && !before.Clean() {
		return nil, r.held.Incomplete("recover")
	}
	if !before.Clean() {
		report.Mistake = papyra.RecoverMistake(before)
		if o.Approve != nil && !o.DryRun {
			if err := o.Approve(report); err != nil {
				return nil, err
			}
		}
		if err := r.salvage(report); err != nil {
			return nil, err
		}
	}
	if report.Ended, err = r.held.EndLines(o.DryRun); err != nil {
		return nil, err
	}
	switch {
	case o.DryRun:
	case before.Clean() && report.Ended == 0:
		report.After = before
	default:
		if report.After, err = r.held.ScanAgain(papyra.ScanOptions{Full: true, Now: o.Now}); err != nil {
			return nil, err
		}
	}
	r.progress.finish()
	return report, nil
}

// scanned tells how far the first scan has come, which is one of three passes.
func (r *recovering) scanned(done, total int64) {
	if r.options.Progress != nil {
		r.options.Progress(done, r.progress.passes*total)
	}
	r.progress.done = done
}

// salvage moves the damage, or with DryRun finds it, and tells of it in report.
func (r *recovering) salvage(report *papyra.RecoverReport) error {
	act := New(papyra.ActRecover, r.options.Now)
	s, err := r.held.Salvage(act.ID, r.options, r.progress.addBytes)
	if err != nil {
		return err
	}
	defer s.Close()
	removal := s.Removal()
	report.Moved, report.MovedBytes, report.Groups = removal.Damaged, removal.DamagedBytes, removal.Groups
	if r.options.DryRun || report.Moved == 0 {
		return nil
	}
	report.Act, report.Quarantine = act.ID, s.Quarantine()
	lines, err := removal.Reports(act, r.m.Now())
	if err != nil {
		return err
	}
	if err := endOthers(r.ctx, r.m, r.held, &r.unended); err != nil {
		return err
	}
	e, err := announce(r.m, r.held, lines, s.Prepare)
	if err != nil {
		return err
	}
	defer e.free()
	performed := papyra.RecoveryPerformed{
		ID: act.ID, Moved: report.Moved, MovedBytes: report.MovedBytes, Quarantine: report.Quarantine, Counts: report.Before.AnomalyCounts,
	}
	var moved Removal
	if err = e.err; err == nil {
		moved, err = s.Move()
	}
	if err == nil {
		performed.End = papyra.EndDone
		return e.end(act, papyra.ReportRecoveryPerformed, &performed)
	}
	return e.fail(r.ctx, err, func(held Held) error { return r.takeBack(held, act, &performed, &moved, err) })
}

// takeBack says of a recovery that failed what it has moved, if anything.
func (r *recovering) takeBack(held Held, act *Act, performed *papyra.RecoveryPerformed, moved *Removal, why error) error {
	performed.End, performed.Cause = papyra.EndWithdrawn, why.Error()
	performed.Moved, performed.MovedBytes = moved.Damaged, moved.DamagedBytes
	var lines [][]byte
	if moved.Damaged > 0 {
		really := New(papyra.ActRecover, r.options.Now)
		var err error
		if lines, err = moved.Reports(really, r.m.Now()); err != nil {
			return err
		}
		performed.End, performed.ReplacedBy = papyra.EndPartial, really.ID
	}
	last, err := act.Line(papyra.ReportRecoveryPerformed, performed, r.m.Now())
	if err != nil {
		return err
	}
	return held.Announce(append(lines, last)...)
}
