package acts

import (
	"bytes"
	"time"

	"github.com/papyra/papyra"
)

// Keeper decides what a compaction keeps: the view at one moment, and of the
// reports what the account of the store still needs. Offer it the records from
// the newest to the oldest in append order.
type Keeper struct {
	views   *papyra.Views
	reports papyra.Limits
	oldest  int64 // microseconds; older reports are expired
	// runs has the highest number of a PublisherReport that was met of each run. A
	// rotation may have put an older one behind the last.
	runs map[string]uint64

	boundary map[string]bool // systems whose newest report that is too much was met
}

// NewKeeper returns the keeper of a compaction.
func NewKeeper(r papyra.Retention, at time.Time) *Keeper {
	k := &Keeper{
		views: papyra.NewViews(r, at), reports: r.For(papyra.KindReport),
		runs: map[string]uint64{}, boundary: map[string]bool{},
	}
	if k.reports.Age > 0 {
		k.oldest = at.Add(-k.reports.Age).UnixMicro()
	}
	return k
}

// NeedsReports reports whether Keep looks at the Type and Payload of reports,
// which [papyra.ParseSealed] does not fill.
func (k *Keeper) NeedsReports() bool { return !k.reports.IsZero() }

// Keep reports whether rec, the next older record, stays.
func (k *Keeper) Keep(rec *papyra.Record) bool {
	keep := k.views.Keep(rec)
	if rec.Kind != papyra.KindReport || !k.NeedsReports() {
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
	droppedMember = []byte(`"dropped":`)
)

// needed reports whether the account needs a report whatever its age: every
// RemovalReport, the last PublisherReport of each run, and those that name what
// was dropped.
func (k *Keeper) needed(rec *papyra.Record) bool {
	switch string(rec.Type) {
	case papyra.ReportRemoval:
		return true
	case papyra.ReportPublisher:
		run := string(rec.System) + "\x00" + string(rec.Run)
		if last, met := k.runs[run]; !met || rec.Seq > last {
			k.runs[run] = rec.Seq
			return true
		}
		if bytes.Contains(rec.Payload, rangesMember) {
			return true
		}
	case papyra.ReportSink:
		if bytes.Contains(rec.Payload, droppedMember) {
			return true
		}
	}
	return false
}
