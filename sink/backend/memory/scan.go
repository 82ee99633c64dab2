package memory

import (
	"context"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
)

// Scan scans the pinned entries, and shows the reports to see, unless it is nil.
func (p *pinned) Scan(o papyra.ScanOptions, see func(*papyra.Record)) (*papyra.ScanReport, error) {
	var (
		tally      judge.Tally
		findings   = judge.NewFindings(o)
		identities *judge.Identities
		total, _   = p.Size()
		done       int64
	)
	if o.Full {
		identities = judge.NewIdentities(1)
	}
	err := p.each(func(rec *papyra.Record, e entry) {
		tally.Lines++
		done += int64(len(e.line)) + 1
		if o.Progress != nil && tally.Lines%1024 == 0 {
			o.Progress(done, total)
		}
		place := papyra.Anomaly{ID: e.id(), Length: int64(len(e.line))}
		verdict, damage := judge.Line(rec, e.line, o.Full)
		switch verdict {
		case judge.Valid:
			tally.Add(rec)
			identities.Add(rec)
			findings.Look(rec, place)
			if see != nil && rec.Kind == papyra.KindReport {
				see(rec)
			}
		case judge.Blank:
			tally.Blank++
		case judge.Damaged:
			tally.Damaged++
			place.Class, place.Detail = damage.Class, damage.Detail
			findings.Damage(place)
		}
	})
	if err != nil {
		return nil, err
	}
	report := judge.Report(p.s.URL(), &tally, findings)
	report.Bytes = done
	if !o.Full {
		return report, nil
	}
	return report, p.compare(identities.Repeated(), report, o)
}

// ScanAgain scans what is stored now.
func (p *pinned) ScanAgain(o papyra.ScanOptions) (*papyra.ScanReport, error) {
	return p.s.pin(p.ctx).Scan(o, nil)
}

// compare looks for duplicates and conflicts among the records whose identity
// occurs more than once.
func (p *pinned) compare(repeated *judge.Repeated, report *papyra.ScanReport, o papyra.ScanOptions) error {
	if repeated.None() {
		return nil
	}
	conflicts := judge.NewFindings(o)
	err := p.each(func(rec *papyra.Record, e entry) {
		if verdict, _ := judge.Line(rec, e.line, false); verdict == judge.Valid && repeated.Conflict(rec) {
			conflicts.Notice(papyra.Anomaly{Class: papyra.NoticeConflict, ID: e.id(), Length: int64(len(e.line)), Detail: judge.ConflictDetail(rec)})
		}
	})
	conflicts.AddTo(report)
	report.Duplicates, report.Limits = repeated.Result()
	return err
}

// each visits the entries from the oldest to the newest until the call has to
// end. rec is scratch memory.
func (p *pinned) each(visit func(rec *papyra.Record, e entry)) error {
	var rec papyra.Record
	for i, e := range p.entries {
		if i%1024 == 0 && p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		visit(&rec, e)
	}
	return nil
}
