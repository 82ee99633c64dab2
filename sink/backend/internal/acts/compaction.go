package acts

import (
	"fmt"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/internal/scan"
)

// CheckCompaction returns an error that wraps papyra.ErrUsage if o does not say
// what to remove.
func CheckCompaction(o papyra.CompactOptions) error {
	if err := o.Retention.Validate(); err != nil {
		return fmt.Errorf("%w: %w", papyra.ErrUsage, err)
	}
	if o.Retention.IsZero() {
		return fmt.Errorf("compact needs at least one of keep_records, keep_age and keep_bytes: %w", papyra.ErrUsage)
	}
	if o.At.IsZero() {
		return fmt.Errorf("compact needs the moment at which it looks: %w", papyra.ErrUsage)
	}
	return nil
}

// Compaction decides line by line, from the newest to the oldest, what a
// compaction keeps, and counts.
type Compaction struct {
	Removal Removal // what goes

	options papyra.CompactOptions
	keeper  *Keeper
	counts  map[papyra.Class]int64
	records int64
	damaged int64
	bytes   int64
}

// NewCompaction begins one. The options were checked.
func NewCompaction(o papyra.CompactOptions) *Compaction {
	return &Compaction{options: o, keeper: NewKeeper(o.Retention, o.At), counts: map[papyra.Class]int64{}}
}

// Keep reports whether the next older line stays. size is its length in the
// store, rec is scratch memory.
func (c *Compaction) Keep(rec *papyra.Record, line []byte, size int64) bool {
	verdict, damage := scan.Line(rec, line, true)
	return c.Judged(rec, verdict, damage, size)
}

// Judged is Keep for a line that was judged.
func (c *Compaction) Judged(rec *papyra.Record, verdict scan.Verdict, damage *papyra.LineError, size int64) bool {
	c.bytes += size
	switch verdict {
	case scan.Damaged:
		c.damaged++
		c.counts[damage.Class]++
		return true
	case scan.Blank:
		return true
	}
	c.records++
	if c.keeper.Keep(rec) {
		return true
	}
	c.Removal.Add(rec)
	return false
}

// Report returns what was counted.
func (c *Compaction) Report(backend string) *papyra.CompactReport {
	r := &papyra.CompactReport{
		Backend: backend, DryRun: c.options.DryRun, At: float64(c.options.At.UnixMicro()) / 1e6,
		RecordsBefore: c.records, RecordsAfter: c.records - c.Removal.Records(),
		BytesBefore: c.bytes, BytesAfter: c.bytes - c.Removal.Bytes(),
		Removed: c.Removal.Streams(), Damaged: c.damaged,
	}
	if c.damaged > 0 {
		r.Counts = c.counts
	}
	return r
}

// Performed returns the report that says in the store how the compaction ended.
func Performed(r *papyra.CompactReport) *papyra.CompactionPerformed {
	return &papyra.CompactionPerformed{
		ID: r.Act, RecordsBefore: r.RecordsBefore, RecordsAfter: r.RecordsAfter, BytesBefore: r.BytesBefore, BytesAfter: r.BytesAfter,
	}
}
