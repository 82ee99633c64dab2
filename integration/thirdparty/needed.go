package shelf

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/papyra/papyra"
)

// neededReports are the reports that a compaction leaves although the limits of
// reports would have them go, because the account would be another one without
// them:
//
//   - every RemovalReport, and every RecoveryPerformed;
//   - a report of a publisher or sink that names records, an outage or a peer,
//     which no other report says again;
//   - of each run the first and the last report, and those two between which a
//     count of trouble rose: the account charges the rise to the numbers between
//     them.
//
// Show it every record with survey, then choose, then ask with keep from the
// newest record to the oldest.
type neededReports struct {
	limits papyra.Limits
	oldest int64 // microseconds; older reports are not in the view
	runs   map[reporter][]state
	needed map[reporter]map[uint64]bool
	ended  map[string]bool // systems whose view a report that stays has ended
}

type reporter struct{ system, run string }

// state is what a report says of trouble.
type state struct {
	seq    uint64
	counts string
	names  bool
}

func newNeededReports(o papyra.CompactOptions) *neededReports {
	n := &neededReports{
		limits: o.Retention.For(papyra.KindReport),
		runs:   map[reporter][]state{}, needed: map[reporter]map[uint64]bool{}, ended: map[string]bool{},
	}
	if n.limits.Age > 0 {
		n.oldest = o.At.Add(-n.limits.Age).UnixMicro()
	}
	return n
}

// limited reports whether any report goes at all.
func (n *neededReports) limited() bool { return !n.limits.IsZero() }

func (n *neededReports) survey(rec *papyra.Record) {
	if st, ok := stateOf(rec); ok {
		of := reporter{string(rec.System), string(rec.Run)}
		n.runs[of] = append(n.runs[of], st)
	}
}

// stateOf reads a PublisherReport or SinkReport.
func stateOf(rec *papyra.Record) (st state, ok bool) {
	if rec.Kind != papyra.KindReport || !rec.HasIdentity() {
		return st, false
	}
	st.seq = rec.Seq
	switch string(rec.Type) {
	case papyra.ReportPublisher:
		var p papyra.PublisherReport
		if json.Unmarshal(rec.Payload, &p) != nil {
			return st, false
		}
		var counts []string
		for category, c := range p.Categories {
			for reason, d := range c.Dropped {
				if d != nil && d.N > 0 {
					counts = append(counts, fmt.Sprintf("%q %q %d", category, reason, d.N))
					st.names = st.names || len(d.Ranges) > 0
				}
			}
		}
		for _, c := range p.Categories {
			for _, d := range c.UnheardBy {
				st.names = st.names || d != nil && len(d.Ranges) > 0
			}
		}
		slices.Sort(counts)
		st.counts, st.names = strings.Join(counts, ","), st.names || len(p.Outages) > 0
	case papyra.ReportSink:
		var p papyra.SinkReport
		if json.Unmarshal(rec.Payload, &p) != nil {
			return st, false
		}
		st.counts, st.names = fmt.Sprint(p.LostMessages, p.Disconnects), len(p.Dropped) > 0 || len(p.Peers) > 0
	default:
		return st, false
	}
	return st, true
}

// choose ends the survey.
func (n *neededReports) choose() {
	for of, states := range n.runs {
		slices.SortFunc(states, func(a, b state) int { return cmp.Compare(a.seq, b.seq) })
		numbers := map[uint64]bool{states[0].seq: true, states[len(states)-1].seq: true}
		for i, st := range states {
			if st.names {
				numbers[st.seq] = true
			}
			if i > 0 && states[i-1].counts != st.counts {
				numbers[states[i-1].seq], numbers[st.seq] = true, true
			}
		}
		n.needed[of] = numbers
	}
	n.runs = nil
}

// keep decides about the next older record, of which inView says whether the view
// holds it.
func (n *neededReports) keep(rec *papyra.Record, inView bool) bool {
	if inView || rec.Kind != papyra.KindReport {
		return inView
	}
	if n.limits.Bytes > 0 && (rec.Time >= n.oldest || !rec.HasDate()) && !n.ended[string(rec.System)] {
		// This one ended the view: it did not fit. Without it a smaller one that is
		// older, and stays because it is needed, would fit.
		n.ended[string(rec.System)] = true
		return true
	}
	switch string(rec.Type) {
	case papyra.ReportRemoval, papyra.ReportStartAccepted, papyra.ReportActRequested, papyra.ReportRecoveryPerformed:
		return true
	}
	return n.needed[reporter{string(rec.System), string(rec.Run)}][rec.Seq]
}
