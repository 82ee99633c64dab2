package maintain

import (
	"fmt"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
)

// checkCompaction returns an error that wraps papyra.ErrUsage if o does not say
// what to remove.
func checkCompaction(o papyra.CompactOptions) error {
	if err := o.Retention.Validate(); err != nil {
		return fmt.Errorf("%w: %w", papyra.ErrUsage, err)
	}
	if o.Retention.IsZero() && !o.Dedupe {
		return fmt.Errorf("compact needs at least one of keep_records, keep_age and keep_bytes, or to remove duplicates: %w", papyra.ErrUsage)
	}
	if o.At.IsZero() {
		return fmt.Errorf("compact needs the moment at which it looks: %w", papyra.ErrUsage)
	}
	return nil
}

// compaction decides line by line, from the newest to the oldest, what a
// compaction keeps, and counts. Where duplicates go too, it wants to see what it
// kept a second time, in the same order: see repeats.
type compaction struct {
	parts [PartCount]Removal // what goes, by reason

	options papyra.CompactOptions
	keeper  *Keeper
	counts  map[papyra.Class]int64
	newest  papyra.NewestRecord
	records int64
	damaged int64
	bytes   int64

	identities    *judge.Identities // nil unless duplicates go
	copies        *judge.Copies     // after Repeats
	reportsSpared bool              // copies of reports are left
}

// newCompaction begins one. The options were checked.
func newCompaction(o papyra.CompactOptions) *compaction {
	c := &compaction{options: o, keeper: NewKeeper(o.Retention, o.At), counts: map[papyra.Class]int64{}}
	if o.Dedupe {
		c.identities = judge.NewIdentities(1)
	}
	return c
}

// needsSurvey reports whether surveyLine must see every line before keepLine does.
func (c *compaction) needsSurvey() bool { return c.keeper.NeedsSurvey() }

// surveyLine looks at a line that was judged, in the order of keepLine.
func (c *compaction) surveyLine(rec *papyra.Record, verdict judge.Verdict) {
	if verdict == judge.Valid {
		c.keeper.Survey(rec)
	}
}

// keepLine reports whether the view keeps the next older line, which was judged.
// size is its length in the store.
func (c *compaction) keepLine(rec *papyra.Record, verdict judge.Verdict, damage *papyra.LineError, size int64) bool {
	c.bytes += size
	switch verdict {
	case judge.Damaged:
		c.damaged++
		c.counts[damage.Class]++
		return true
	case judge.Blank:
		return true
	}
	c.records++
	keep := c.keeper.Keep(rec)
	c.newest.Look(rec, c.options.Retention, keep)
	if keep {
		c.identities.Add(rec)
		return true
	}
	c.parts[Expired].Add(rec)
	return false
}

// repeats ends the first look. It reports whether a second one, again from the
// newest line to the oldest and only at those that keepLine kept, may find
// duplicates.
func (c *compaction) repeats() bool {
	if c.identities == nil {
		return false
	}
	c.copies, c.identities = c.identities.Copies(), nil
	return !c.copies.None()
}

// isSuspect reports whether a kept record, which may have been judged by its seal
// alone, is to be judged in full and given to isCopy.
func (c *compaction) isSuspect(rec *papyra.Record) bool { return c.copies.Suspect(rec) }

// isCopy reports whether the next older suspect goes, because a newer copy stays.
func (c *compaction) isCopy(rec *papyra.Record) bool {
	if !c.copies.Copy(rec) {
		return false
	}
	if rec.Kind == papyra.KindReport && c.keeper.NeedsSurvey() {
		// In its place an older report, which stays beyond the limits because the
		// account needs it, would come into the view.
		c.reportsSpared = true
		return false
	}
	c.parts[Copies].Add(rec)
	return true
}

// removesNothing reports whether nothing goes.
func (c *compaction) removesNothing() bool {
	return c.parts[Expired].Records()+c.parts[Copies].Records() == 0
}

// reports returns the RemovalReports of the act, as [Removal.Reports] does: of
// what the view does not hold, and of the duplicates.
func (c *compaction) reports(a *Act, now time.Time) (lines [][]byte, err error) {
	for part, kind := range [PartCount]string{Expired: papyra.ActCompact, Copies: papyra.ActDedupe} {
		if c.parts[part].Records() == 0 {
			continue
		}
		more, err := c.parts[part].Reports(a.of(kind), now)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

// report returns what was counted.
func (c *compaction) report(backend string) *papyra.CompactReport {
	expired, copies := &c.parts[Expired], &c.parts[Copies]
	r := &papyra.CompactReport{
		Backend: backend, DryRun: c.options.DryRun, At: float64(c.options.At.UnixMicro()) / 1e6,
		RecordsBefore: c.records, RecordsAfter: c.records - expired.Records() - copies.Records(),
		BytesBefore: c.bytes, BytesAfter: c.bytes - expired.Bytes() - copies.Bytes(),
		Removed: papyra.SumStreams(expired.Streams(), copies.Streams()), Damaged: c.damaged,
		KeptUndated: c.keeper.KeptUndated(),
	}
	if c.damaged > 0 {
		r.Counts = c.counts
	}
	if expired.Records() > 0 {
		r.Mistake = c.newest.Mistake(c.options.Retention, c.options.At)
	}
	if c.copies != nil {
		r.Deduped = copies.Streams()
		r.Limits = c.copies.Limits()
	}
	if c.reportsSpared {
		r.Limits = append(r.Limits, "duplicates: those of reports stay while reports have a limit of their own: compact again without it")
	}
	return r
}
