package maintain

import (
	"bytes"
	"time"

	"github.com/papyra/papyra"
)

// Keeper decides what a compaction keeps: the view at one moment, and of the
// reports what the account of the store still needs. Where there is a retention
// of reports, show it all records with Survey first; then offer them to Keep.
// Both want them from the newest to the oldest in append order.
type Keeper struct {
	views    *papyra.Views
	reports  papyra.Limits
	oldest   int64 // microseconds; older reports are expired
	survey   survey
	boundary map[string]bool // systems whose newest report that is too much was met
}

// NewKeeper returns the keeper of a compaction.
func NewKeeper(r papyra.Retention, at time.Time) *Keeper {
	k := &Keeper{
		views: papyra.NewViews(r, at), reports: r.For(papyra.KindReport),
		survey: survey{}, boundary: map[string]bool{},
	}
	if k.reports.Age > 0 {
		k.oldest = at.Add(-k.reports.Age).UnixMicro()
	}
	return k
}

// NeedsSurvey reports whether Survey must see the records before Keep does.
func (k *Keeper) NeedsSurvey() bool { return !k.reports.IsZero() }

// Survey looks at rec, the next older record, which was parsed in full.
func (k *Keeper) Survey(rec *papyra.Record) { k.survey.look(rec) }

// Keep reports whether rec, the next older record, stays.
func (k *Keeper) Keep(rec *papyra.Record) bool {
	keep := k.views.Keep(rec)
	if rec.Kind != papyra.KindReport || !k.NeedsSurvey() {
		return keep
	}
	needed := k.needed(rec)
	if !keep && k.reports.Bytes > 0 && rec.Time >= k.oldest && !k.boundary[string(rec.System)] {
		// It ends the view. Without it an older, smaller report that is needed
		// would fit into the view again.
		k.boundary[string(rec.System)] = true
		return true
	}
	return keep || needed
}

var (
	rangesMember  = []byte(`"ranges":`)
	outagesMember = []byte(`"outages":`)
	droppedMember = []byte(`"dropped":`)
)

// needed reports whether the account needs a report whatever its age: every
// RemovalReport, those that name what was dropped or when the broker was away,
// and of each run those that the survey chose.
func (k *Keeper) needed(rec *papyra.Record) bool {
	switch string(rec.Type) {
	case papyra.ReportRemoval:
		return true
	case papyra.ReportPublisher:
		if bytes.Contains(rec.Payload, rangesMember) || bytes.Contains(rec.Payload, outagesMember) {
			return true
		}
	case papyra.ReportSink:
		if bytes.Contains(rec.Payload, droppedMember) {
			return true
		}
	}
	return k.survey.chose(rec)
}
