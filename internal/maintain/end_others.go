package maintain

import (
	"context"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/unended"
)

// abandonedAfter is how old an announcement must be on a store where somebody else may
// be at work on it right now: no act takes so long.
const abandonedAfter = 24 * time.Hour

// endOthers says of earlier compactions that never said how they ended, and of which
// announced numbers are stored, what became of them: withdrawn where all are stored,
// otherwise partial, with what is gone. One of which nothing is stored is done, as
// it is without a word; one that did not name all its numbers stays as it is, and
// what it announced explains.
func endOthers(ctx context.Context, m Medium, held Held, acts *unended.Acts) error {
	if !acts.Any() {
		return nil
	}
	// A pass of its own: the streams of a server need not be in one order.
	if err := eachRecord(ctx, held, acts.See); err != nil {
		return err
	}
	var lines [][]byte
	for _, act := range acts.List() {
		if !act.Comparable || act.Left.Records == 0 || !held.Alone() && m.Now().UnixMicro()-act.At < abandonedAfter.Microseconds() {
			continue
		}
		more, err := endOther(act, m.Now())
		if err != nil {
			return err
		}
		lines = append(lines, more...)
	}
	if len(lines) == 0 {
		return nil
	}
	return held.Announce(lines...)
}

// endOther returns the reports that end an act of somebody else.
func endOther(act *unended.Act, now time.Time) (lines [][]byte, err error) {
	const cause = "it was killed, or was an older version's: this is what a later act found"
	performed := papyra.CompactionPerformed{
		ID: act.ID, RecordsBefore: act.Announced.Records, RecordsAfter: act.Left.Records,
		BytesBefore: act.Announced.Bytes, BytesAfter: act.Left.Bytes, ActEnd: papyra.ActEnd{End: papyra.EndPartial, Cause: cause},
	}
	really := New(papyra.ActCompact, now)
	gone := act.Gone()
	if gone == nil {
		performed.End = papyra.EndWithdrawn
	} else {
		performed.ReplacedBy = really.ID
		if lines, err = splitReport(really, gone, now); err != nil {
			return nil, err
		}
	}
	last, err := really.Line(papyra.ReportCompactionPerformed, &performed, now)
	return append(lines, last), err
}

// eachRecord shows every record to see.
func eachRecord(ctx context.Context, held Held, see func(*papyra.Record)) error {
	var rec papyra.Record
	lines := 0
	return held.Backward(nil, Expired, func(l Line) (bool, error) {
		if lines++; lines%checkEvery == 0 && ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if verdict, _ := l.Judge(&rec, true); verdict == judge.Valid {
			see(&rec)
		}
		return false, nil
	})
}
