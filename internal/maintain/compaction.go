package maintain

import (
	"fmt"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
)

// CheckCompaction returns an error that wraps papyra.ErrUsage if o does not say
// what to remove.
func CheckCompaction(o papyra.CompactOptions) error {
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

// Compaction decides line by line, from the newest to the oldest, what a
// compaction keeps, and counts. Where duplicates go too, it wants to see what it
// kept a second time, in the same order: see Repeats.
type Compaction struct {
	Expired Removal // what goes because the view does not hold it
	Copies  Removal // of the rest, what goes as an exact duplicate

	options papyra.CompactOptions
	keeper  *Keeper
	counts  map[papyra.Class]int64
	records int64
	damaged int64
	bytes   int64

	identities    *judge.Identities // nil unless duplicates go
	copies        *judge.Copies     // after Repeats
	reportsSpared bool              // copies of reports are left
}

// NewCompaction begins one. The options were checked.
func NewCompaction(o papyra.CompactOptions) *Compaction {
	c := &Compaction{options: o, keeper: NewKeeper(o.Retention, o.At), counts: map[papyra.Class]int64{}}
	if o.Dedupe {
		c.identities = judge.NewIdentities(1)
	}
	return c
}

// NeedsSurvey reports whether Survey must see every line before Keep does.
func (c *Compaction) NeedsSurvey() bool { return c.keeper.NeedsSurvey() }

// Survey looks at a line that was judged, in the order of Keep.
func (c *Compaction) Survey(rec *papyra.Record, verdict judge.Verdict) {
	if verdict == judge.Valid {
		c.keeper.Survey(rec)
	}
}

// Keep reports whether the view keeps the next older line. size is its length in
// the store, rec is scratch memory.
func (c *Compaction) Keep(rec *papyra.Record, line []byte, size int64) bool {
	verdict, damage := judge.Line(rec, line, true)
	return c.Judged(rec, verdict, damage, size)
}

// Judged is Keep for a line that was judged.
func (c *Compaction) Judged(rec *papyra.Record, verdict judge.Verdict, damage *papyra.LineError, size int64) bool {
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
	if c.keeper.Keep(rec) {
		c.identities.Add(rec)
		return true
	}
	c.Expired.Add(rec)
	return false
}

// Repeats ends the first look. It reports whether a second one, again from the
// newest line to the oldest and only at those that Keep kept, may find
// duplicates.
func (c *Compaction) Repeats() bool {
	if c.identities == nil {
		return false
	}
	c.copies, c.identities = c.identities.Copies(), nil
	return !c.copies.None()
}

// Suspect reports whether a kept record, which may have been judged by its seal
// alone, is to be judged in full and given to Copy.
func (c *Compaction) Suspect(rec *papyra.Record) bool { return c.copies.Suspect(rec) }

// Copy reports whether the next older suspect goes, because a newer copy stays.
func (c *Compaction) Copy(rec *papyra.Record) bool {
	if !c.copies.Copy(rec) {
		return false
	}
	if rec.Kind == papyra.KindReport && c.keeper.NeedsSurvey() {
		// In its place an older report, which stays beyond the limits because the
		// account needs it, would come into the view.
		c.reportsSpared = true
		return false
	}
	c.Copies.Add(rec)
	return true
}

// Nothing reports whether nothing goes.
func (c *Compaction) Nothing() bool { return c.Expired.Records()+c.Copies.Records() == 0 }

// Reports returns the RemovalReports of the act, as [Removal.Reports] does: of
// what the view does not hold, and of the duplicates.
func (c *Compaction) Reports(a *Act, now time.Time) (lines [][]byte, err error) {
	for _, part := range []struct {
		kind    string
		removal *Removal
	}{{papyra.ActCompact, &c.Expired}, {papyra.ActDedupe, &c.Copies}} {
		if part.removal.Records() == 0 {
			continue
		}
		more, err := part.removal.Reports(a.of(part.kind), now)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

// Report returns what was counted.
func (c *Compaction) Report(backend string) *papyra.CompactReport {
	r := &papyra.CompactReport{
		Backend: backend, DryRun: c.options.DryRun, At: float64(c.options.At.UnixMicro()) / 1e6,
		RecordsBefore: c.records, RecordsAfter: c.records - c.Expired.Records() - c.Copies.Records(),
		BytesBefore: c.bytes, BytesAfter: c.bytes - c.Expired.Bytes() - c.Copies.Bytes(),
		Removed: papyra.SumStreams(c.Expired.Streams(), c.Copies.Streams()), Damaged: c.damaged,
	}
	if c.damaged > 0 {
		r.Counts = c.counts
	}
	if c.copies != nil {
		r.Deduped = c.Copies.Streams()
		r.Limits = c.copies.Limits()
	}
	if c.reportsSpared {
		r.Limits = append(r.Limits, "duplicates: those of reports stay while reports have a limit of their own: compact again without it")
	}
	return r
}

// Performed returns the report that says in the store how the compaction ended.
func Performed(r *papyra.CompactReport) *papyra.CompactionPerformed {
	return &papyra.CompactionPerformed{
		ID: r.Act, RecordsBefore: r.RecordsBefore, RecordsAfter: r.RecordsAfter, BytesBefore: r.BytesBefore, BytesAfter: r.BytesAfter,
	}
}
