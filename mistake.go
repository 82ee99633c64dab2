package papyra

import (
	"fmt"
	"time"
)

// farAway is how far a store's newest record may lie from the moment of a
// compaction by age before that moment, or the store, is perhaps the wrong one.
const farAway = 24 * time.Hour

// RecoverMistake returns why a recovery is perhaps meant for another file, or "": no
// line of what was scanned, or of one of its files, is a record, and the damage there
// is not only what a crash leaves of a store that had just begun.
func RecoverMistake(before *ScanReport) string {
	if before.Records == 0 {
		for class, n := range before.AnomalyCounts {
			if n > 0 && !class.LeftByCrash() {
				return "not one line of it is a record: perhaps it is no store"
			}
		}
		return ""
	}
	switch foreign := before.Foreign; len(foreign) {
	case 0:
		return ""
	case 1:
		return "not one line of " + foreign[0] + " is a record: perhaps it is no file of the store"
	default:
		return fmt.Sprintf("not one line of %s, nor of %d more, is a record: perhaps they are no files of the store", foreign[0], len(foreign)-1)
	}
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

// Mistake returns why a compaction that removes something is perhaps meant for
// another store or another moment, or "": the newest record would itself go, or, where
// an age limits something, the newest date lies more than a day from at.
func (n *NewestRecord) Mistake(r Retention, at time.Time) string {
	if n.goes {
		return "the newest record would itself go"
	}
	byAge := false
	for k := range Kind(KindCount) {
		byAge = byAge || r.For(k).Age > 0
	}
	newest := time.UnixMicro(n.time).UTC()
	if away := at.Sub(newest).Abs(); byAge && n.time > 0 && away > farAway {
		return fmt.Sprintf("ages are measured from %s, and the newest record is of %s", at.UTC().Format(time.RFC3339), newest.Format(time.RFC3339))
	}
	return ""
}
