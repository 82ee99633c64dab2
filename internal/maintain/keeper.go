package maintain

import (
	"bytes"
	"time"

	"github.com/papyra/papyra"
)

// Keeper decides which records a compaction keeps: those in the view at one
// moment, and the reports that the account of the store still needs.
//
// Where NeedsSurvey says so, which is where reports have a retention, call Survey
// with every record before the first Keep. Both want the records from the newest
// to the oldest in append order.
type Keeper struct {
	views     *papyra.Views
	reports   papyra.Limits
	oldest    int64 // microseconds; older reports are expired
	survey    survey
	viewEnded map[string]bool // systems of which a report beyond the limit of bytes was kept
	doubted   doubtedRoom
}

// NewKeeper returns the keeper of a compaction.
func NewKeeper(r papyra.Retention, at time.Time) *Keeper {
	k := &Keeper{
		views: papyra.NewViews(r, at), reports: r.For(papyra.KindReport),
		survey: survey{}, viewEnded: map[string]bool{},
	}
	if k.reports.Age > 0 {
		k.oldest = at.Add(-k.reports.Age).UnixMicro()
	}
	return k
}

// KeptUndated returns how many records stay only because they have no date.
func (k *Keeper) KeptUndated() int64 { return k.views.KeptUndated() }

// NeedsSurvey reports whether Survey must see the records before Keep does.
func (k *Keeper) NeedsSurvey() bool { return !k.reports.IsZero() }

// Survey looks at rec, the next older record, which was parsed in full.
func (k *Keeper) Survey(rec *papyra.Record) { k.survey.addReport(rec) }

// Keep reports whether rec, the next older record, stays.
func (k *Keeper) Keep(rec *papyra.Record) bool {
	keep := k.views.Keep(rec)
	if rec.Kind != papyra.KindReport || !k.NeedsSurvey() {
		return keep
	}
	if !keep && k.reports.Bytes > 0 && (rec.Time >= k.oldest || !rec.HasDate()) && !k.viewEnded[string(rec.System)] {
		// This is the newest report that does not fit into the bytes of the view,
		// and so it ends the view. If it went, an older and smaller report that is
		// kept for the account would fit into the view, and readers would see it.
		k.viewEnded[string(rec.System)] = true
		return true
	}
	return keep || k.accountNeeds(rec)
}

var (
	rangesMember  = []byte(`"ranges":`)
	outagesMember = []byte(`"outages":`)
	droppedMember = []byte(`"dropped":`)
)

// accountNeeds reports whether the account needs a report whatever its age: it
// is a RemovalReport or the end of an act, a StartAccepted, or names what was dropped or
// when the broker was away, or the survey found it. Nobody ever believes a report
// without a seal, or of a system that does not write such reports. Of those that
// cannot be true, as far as this version knows, the newest stay.
func (k *Keeper) accountNeeds(rec *papyra.Record) bool {
	kind := string(rec.Type)
	own := string(rec.System) == papyra.SystemReserved
	if !rec.HasIdentity() || own == (kind == papyra.ReportPublisher) {
		return false
	}
	switch kind {
	case papyra.ReportRemoval, papyra.ReportStartAccepted, papyra.ReportActRequested, papyra.ReportCompactionPerformed, papyra.ReportRecoveryPerformed:
		return true // an end lives as long as its announcement
	case papyra.ReportPublisher:
		if k.survey.isDoubted(rec) {
			return k.doubted.take(rec)
		}
		if bytes.Contains(rec.Payload, rangesMember) || bytes.Contains(rec.Payload, outagesMember) {
			return true
		}
	case papyra.ReportSink:
		if bytes.Contains(rec.Payload, droppedMember) {
			return true
		}
	}
	return k.survey.mustStay(rec)
}

// doubtedRoom is the room for reports that cannot be true: what is in them may mean
// something to a later version.
type doubtedRoom struct {
	bySystem map[string]int
	all      int
}

const (
	maxDoubtedOfSystem = 256 << 10 // bytes
	maxDoubted         = 16 << 20
)

// take takes the room of a report, if there is enough.
func (d *doubtedRoom) take(rec *papyra.Record) bool {
	size := len(rec.Line) + 1
	if d.bySystem[string(rec.System)]+size > maxDoubtedOfSystem || d.all+size > maxDoubted {
		return false
	}
	if d.bySystem == nil {
		d.bySystem = map[string]int{}
	}
	d.bySystem[string(rec.System)] += size
	d.all += size
	return true
}
