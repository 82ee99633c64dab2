package papyra

import (
	"fmt"
	"time"
)

// doubtBeyond is how far a store's newest record may lie from the moment of a
// compaction by age before that moment, or the store, is perhaps the wrong one.
const doubtBeyond = 24 * time.Hour

// RecoverDoubt returns why a recovery is perhaps meant for another file, or "": no
// line of what was scanned is a record, and the damage is not only what a crash leaves
// of a store that had just begun.
func RecoverDoubt(before *ScanReport) string {
	if before.Records > 0 {
		return ""
	}
	foreign := before.Damaged()
	for _, class := range []Class{ClassTruncated, ClassNULRun, ClassLeftover} {
		foreign -= before.AnomalyCounts[class]
	}
	if foreign == 0 {
		return ""
	}
	return "not one line of it is a record: perhaps it is no store"
}

// NewestRecord is what a compaction knows about the newest record of a store, in
// append order. The zero NewestRecord is of an empty store.
type NewestRecord struct {
	time    int64 // microseconds; 0 if none has a date
	limited bool  // one was seen to which a limit applies
	goes    bool  // and the newest of these is outside the view
}

// Look notes the next older record and whether the view of the retention keeps it.
// Only what is offered first counts.
func (n *NewestRecord) Look(rec *Record, r Retention, keep bool) {
	if n.time == 0 && rec.HasDate() {
		n.time = rec.Time
	}
	if !n.limited && !r.For(rec.Kind).IsZero() {
		n.limited, n.goes = true, !keep
	}
}

// Doubt returns why a compaction that removes something is perhaps meant for
// another store or another moment, or "": the newest record would itself go, or, where
// an age limits something, the newest date lies more than a day from at.
func (n *NewestRecord) Doubt(r Retention, at time.Time) string {
	if n.goes {
		return "the newest record would itself go"
	}
	byAge := false
	for k := range Kind(KindCount) {
		byAge = byAge || r.For(k).Age > 0
	}
	newest := time.UnixMicro(n.time).UTC()
	if away := at.Sub(newest).Abs(); byAge && n.time > 0 && away > doubtBeyond {
		return fmt.Sprintf("ages are measured from %s, and the newest record is of %s", at.UTC().Format(time.RFC3339), newest.Format(time.RFC3339))
	}
	return ""
}
