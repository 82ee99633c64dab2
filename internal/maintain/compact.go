package maintain

import (
	"context"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/unended"
)

// Compact removes what is outside the view at o.At, and duplicates if o says so:
//
//  1. survey: only with a retention of reports, see which of them the account needs
//  2. look: from the newest line back, mark what is outside the view
//  3. look again: only if identities occur twice, mark copies among what stays
//  4. prepare: write the first of the new files, where the store has files
//  5. announce: append the RemovalReports and make them durable
//  6. remove: exactly the marked lines
//  7. end: append how it ended
//
// An earlier compaction that never said how it ended is ended between 3 and 4, by
// what is left of its announcement.
//
// Nothing is removed before the announcement is durable, and a crash after it
// leaves a store of which the same command removes the rest. An act that fails or
// is interrupted after its announcement takes it back: what is stored of it then
// says that nothing was removed, or what was. Appends of the
// store's own appender go on meanwhile. Damaged lines stay where they are. The
// counts of the report leave out what was appended since the beginning, the act's
// own reports among it.
func Compact(ctx context.Context, m Medium, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	if err := checkCompaction(o); err != nil {
		return nil, err
	}
	held, ctx, end, err := begin(ctx, m, !o.DryRun)
	if err != nil {
		return nil, err
	}
	defer end()
	// The view of a store of which a part is missing is not the view.
	if err := held.Incomplete("compact"); err != nil {
		return nil, err
	}
	c := &compacting{m: m, held: held, ctx: ctx, options: o, count: newCompaction(o), marks: held.NewMarks()}
	if err := c.look(); err != nil {
		return nil, err
	}
	report := c.count.report(m.URL())
	if !o.DryRun {
		if err := endOthers(c.ctx, m, held, &c.unended); err != nil {
			return nil, err
		}
	}
	if c.count.removesNothing() {
		c.progress.finish()
		return report, nil
	}
	if report.Groups, err = c.touchedGroups(); err != nil {
		return nil, err
	}
	if !o.DryRun {
		if o.Approve != nil {
			if err := o.Approve(report); err != nil {
				return nil, err
			}
		}
		if err := c.remove(report); err != nil {
			return nil, err
		}
	}
	c.progress.finish()
	return report, nil
}

// begin waits for the act's turn and pins the store. end releases both.
func begin(ctx context.Context, m Medium, change bool) (held Held, within context.Context, end func(), err error) {
	within, over, err := m.Life().Begin(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	done, err := m.Life().takeTurn(within)
	if err != nil {
		over()
		return nil, nil, nil, err
	}
	held, err = m.Pin(within, Purpose{Act: true, Change: change})
	if err != nil {
		done()
		over()
		return nil, nil, nil, err
	}
	return held, within, func() { held.Release(); done(); over() }, nil
}

// compacting is one run of Compact.
type compacting struct {
	m        Medium
	held     Held
	ctx      context.Context
	options  papyra.CompactOptions
	count    *compaction
	marks    Marks
	progress *progress
	unended  unended.Acts // earlier ones
	rec      papyra.Record
}

// look marks what goes.
func (c *compacting) look() error {
	passes := int64(1) // and that of remove
	if !c.options.DryRun {
		passes++
	}
	survey := c.count.needsSurvey()
	if survey {
		passes++
	}
	c.progress = newProgress(c.options.Progress, c.held, passes)
	if survey {
		if err := c.each(nil, Expired, func(l Line) bool {
			verdict, _ := l.Judge(&c.rec, true)
			c.count.surveyLine(&c.rec, verdict)
			return false
		}); err != nil {
			return err
		}
	}
	if err := c.each(c.marks, Expired, func(l Line) bool {
		verdict, damage := l.Judge(&c.rec, true)
		if verdict == judge.Valid {
			c.unended.AddReport(&c.rec)
		}
		return !c.count.keepLine(&c.rec, verdict, damage, l.Size())
	}); err != nil {
		return err
	}
	if !c.count.repeats() {
		return nil
	}
	c.progress.passes++
	return c.each(c.marks, Copies, func(l Line) bool {
		// Most are told apart by what stands in their seals.
		if verdict, _ := l.Judge(&c.rec, false); verdict != judge.Valid || !c.count.isSuspect(&c.rec) {
			return false
		}
		verdict, _ := l.Judge(&c.rec, true)
		return verdict == judge.Valid && c.count.isCopy(&c.rec)
	})
}

// each asks about each line, from the newest to the oldest, whether it goes.
func (c *compacting) each(marks Marks, part Part, goes func(l Line) bool) error {
	lines := 0
	err := c.held.Backward(marks, part, func(l Line) (bool, error) {
		if lines++; lines%checkEvery == 0 && c.ctx.Err() != nil {
			return false, context.Cause(c.ctx)
		}
		c.progress.addLine(l.Size())
		return goes(l), nil
	})
	if err != nil {
		return err
	}
	return c.held.Incomplete("compact")
}

// touchedGroups tells of each part which consumer groups lose entries, and
// returns them together.
func (c *compacting) touchedGroups() (all []papyra.RemovedGroup, err error) {
	for part := range PartCount {
		removal := &c.count.parts[part]
		if removal.Groups, err = c.held.TouchedGroups(c.marks, part); err != nil {
			return nil, err
		}
		all = addGroups(all, removal.Groups)
	}
	return all, nil
}

// remove announces what goes, removes it, and says how that ended.
func (c *compacting) remove(report *papyra.CompactReport) error {
	act := New(papyra.ActCompact, c.m.Now())
	lines, err := c.count.reports(act, c.m.Now())
	if err != nil {
		return err
	}
	e, err := announce(c.m, c.held, lines, func() error { return c.held.Prepare(c.marks, c.progress.addBytes) })
	if err != nil {
		return err
	}
	defer e.free()
	report.Act = act.ID
	performed := papyra.CompactionPerformed{
		ID: act.ID, RecordsBefore: report.RecordsBefore, RecordsAfter: report.RecordsAfter,
		BytesBefore: report.BytesBefore, BytesAfter: report.BytesAfter,
	}
	var pause time.Duration
	changed := false
	if err = e.err; err == nil {
		pause, changed, err = c.held.Remove(c.marks, c.progress.addBytes)
	}
	report.Pause = papyra.Duration(pause)
	if err == nil {
		performed.End = papyra.EndDone
		return e.end(act, papyra.ReportCompactionPerformed, &performed)
	}
	return e.fail(c.ctx, err, func(held Held) error { return c.takeBack(held, act, &performed, changed, err) })
}

// takeBack says of an act that failed what it has removed, if anything.
func (c *compacting) takeBack(held Held, act *Act, performed *papyra.CompactionPerformed, changed bool, why error) error {
	performed.End, performed.Cause = papyra.EndWithdrawn, why.Error()
	performed.RecordsAfter, performed.BytesAfter = performed.RecordsBefore, performed.BytesBefore
	var lines [][]byte
	if changed {
		for part := range PartCount {
			var left Removal
			if err := held.VisitLeft(c.marks, part, func(l Line) {
				if verdict, _ := l.Judge(&c.rec, true); verdict == judge.Valid {
					left.Add(&c.rec)
				}
			}); err != nil {
				return err // what is announced explains
			}
			c.count.parts[part].subtract(&left)
		}
	}
	if changed && !c.count.removesNothing() {
		really := New(papyra.ActCompact, c.m.Now())
		var err error
		if lines, err = c.count.reports(really, c.m.Now()); err != nil {
			return err
		}
		done := c.count.report("")
		performed.End, performed.ReplacedBy = papyra.EndPartial, really.ID
		performed.RecordsAfter, performed.BytesAfter = done.RecordsAfter, done.BytesAfter
	}
	last, err := act.Line(papyra.ReportCompactionPerformed, performed, c.m.Now())
	if err != nil {
		return err
	}
	return held.Announce(append(lines, last)...)
}
