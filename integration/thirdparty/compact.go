package shelf

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/papyra/papyra"
)

// Compact replaces the books that hold something outside the view at o.At, or
// duplicates if o says so. It looks from the newest line to the oldest, and does
// not touch books that are added meanwhile.
func (s *Shelf) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	if err := o.Retention.Validate(); err != nil {
		return nil, fmt.Errorf("compact: %w: %w", papyra.ErrUsage, err)
	}
	if o.At.IsZero() || o.Retention.IsZero() && !o.Dedupe {
		return nil, fmt.Errorf("compact: give a moment, and a limit or that duplicates go: %w", papyra.ErrUsage)
	}
	ctx, end, err := s.beginAct(ctx, o.DryRun)
	if err != nil {
		return nil, err
	}
	defer end()
	books, err := s.list()
	if err != nil {
		return nil, err
	}
	c := newCompaction(s, o)
	defer c.changes.drop()
	if c.reports.limited() {
		for _, name := range books {
			if err := c.survey(ctx, name); err != nil {
				return nil, err
			}
		}
		c.reports.choose()
	}
	looked := s.progress(o.Progress, books)
	for _, name := range slices.Backward(books) {
		if err := c.book(ctx, name); err != nil {
			return nil, err
		}
		looked(name)
	}
	slices.Reverse(c.changes.books)
	report := c.finish()
	if gone, _ := c.gone.total(""); gone == 0 || o.DryRun {
		return report, nil
	}
	if o.Approve != nil {
		if err := o.Approve(report); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil { // from here on the act is carried out
		return nil, context.Cause(ctx)
	}
	a := newAct(time.Now())
	report.Act = a.id
	var removals []*papyra.RemovalReport
	if len(c.expired.streams) > 0 {
		removals = append(removals, c.expired.reports(papyra.ActCompact, a.id)...)
	}
	if len(c.doubles.streams) > 0 {
		removals = append(removals, c.doubles.reports(papyra.ActDedupe, a.id)...)
	}
	pause, err := s.carryOut(a, removals, c.changes, papyra.ReportCompactionPerformed, &papyra.CompactionPerformed{
		ID: a.id, RecordsBefore: report.RecordsBefore, RecordsAfter: report.RecordsAfter,
		BytesBefore: report.BytesBefore, BytesAfter: report.BytesAfter,
		ActEnd: papyra.ActEnd{End: papyra.EndDone},
	})
	report.Pause = papyra.Duration(pause)
	return report, err
}

// compaction decides about each line.
type compaction struct {
	reader
	s       *Shelf
	o       papyra.CompactOptions
	views   *papyra.Views
	newest  papyra.NewestRecord
	reports *neededReports
	met     copies
	spared  bool // copies of reports stay

	report           *papyra.CompactReport
	gone             tally
	expired, doubles *removal
	changes          *changes
}

func newCompaction(s *Shelf, o papyra.CompactOptions) *compaction {
	return &compaction{
		s: s, o: o, views: papyra.NewViews(o.Retention, o.At), reports: newNeededReports(o),
		gone: tally{}, expired: newRemoval(), doubles: newRemoval(), changes: &changes{s: s},
		report: &papyra.CompactReport{Backend: s.URL(), DryRun: o.DryRun, At: float64(o.At.UnixMicro()) / 1e6},
	}
}

func (c *compaction) survey(ctx context.Context, name string) error {
	list, err := c.s.entries(ctx, name)
	var rec papyra.Record
	for _, e := range list {
		if blank, damage := c.judge(&rec, e.text); !blank && damage == nil {
			c.reports.survey(&rec)
		}
	}
	return err
}

// book looks at a book and writes its replacement if something of it goes.
func (c *compaction) book(ctx context.Context, name string) error {
	list, err := c.s.entries(ctx, name)
	if err != nil {
		return err
	}
	var (
		rec   papyra.Record
		stays [][]byte
	)
	for _, e := range slices.Backward(list) {
		c.report.BytesBefore += int64(len(e.raw))
		blank, damage := c.judge(&rec, e.text)
		switch {
		case damage != nil:
			c.report.Damaged++
			if c.report.Counts == nil {
				c.report.Counts = map[papyra.Class]int64{}
			}
			c.report.Counts[damage.Class]++
		case !blank && !c.keep(&rec):
			continue
		}
		stays = append(stays, e.raw)
	}
	if len(stays) == len(list) || c.o.DryRun {
		return nil
	}
	slices.Reverse(stays)
	return c.changes.prepare(name, stays)
}

// keep decides about the next older record.
func (c *compaction) keep(rec *papyra.Record) bool {
	c.report.RecordsBefore++
	kept := c.reports.keep(rec, c.views.Keep(rec))
	c.newest.Look(rec, c.o.Retention, kept)
	if !kept {
		c.expired.add(rec)
		c.gone.add(rec)
		return false
	}
	if !c.o.Dedupe || !c.met.again(rec) {
		return true
	}
	if rec.Kind == papyra.KindReport && c.reports.limited() {
		// In its place an older report, which stays beyond the limits because the
		// account needs it, would come into the view.
		c.spared = true
		return true
	}
	c.doubles.add(rec)
	c.gone.add(rec)
	return false
}

func (c *compaction) finish() *papyra.CompactReport {
	r := c.report
	records, bytes := c.gone.total("")
	r.RecordsAfter, r.BytesAfter = r.RecordsBefore-records, r.BytesBefore-bytes
	r.Removed = c.gone.list()
	r.KeptUndated = c.views.KeptUndated()
	if len(c.expired.streams) > 0 {
		r.Mistake = c.newest.Mistake(c.o.Retention, c.o.At)
	}
	if c.o.Dedupe {
		r.Deduped = c.doubles.streams.list()
	}
	if c.met.full {
		r.Limits = append(r.Limits, fmt.Sprintf("duplicates: only the newest %d sealed records are remembered", maxSeen))
	}
	if c.spared {
		r.Limits = append(r.Limits, "duplicates: those of reports stay while reports have a limit: compact again without it")
	}
	return r
}
