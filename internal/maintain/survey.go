package maintain

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/doubt"
	"github.com/papyra/papyra/internal/numset"
)

// survey finds the reports that an account of the store cannot do without. Of
// each run these are:
//
//   - the first and the last one;
//
//   - the last one that names the peers of a sink;
//
//   - each two that follow each other and differ in a count of trouble. A count
//     says how many records were dropped and not which: the account charges them
//     to the numbers between the two reports, and so both must stay.
//
//     report         1   2   3   4   5   6   7
//     queue_full n   0   0   0   9   9   9   9
//     stays          x       x   x           x
//
// Its memory grows with the number of runs and of such reports.
type survey map[surveyKey]*surveyedRun

type surveyKey struct{ system, run string }

// surveyedRun is what is known of a run's PublisherReports or SinkReports, by
// their numbers.
type surveyedRun struct {
	first, last uint64     // the lowest and the highest
	peers       uint64     // the highest that names peers, 0 for none
	turns       numset.Set // those whose counts differ from those of a neighbour
	doubted     numset.Set // those that cannot be true; nothing else is said of them

	before      uint64            // the one that was met before this one
	fingerprint [sha256.Size]byte // of its counts
}

// troubles are the counts of a report that only ever grow.
type troubles struct {
	Categories map[string]struct {
		Dropped map[string]struct {
			N uint64 `json:"n"`
		} `json:"dropped"`
	} `json:"categories"`
	Peers        []json.RawMessage `json:"peers"`
	LostMessages uint64            `json:"lost_messages"`
	Disconnects  uint64            `json:"disconnects"`
}

// isRunReport reports whether rec is a report that says how a run goes.
func isRunReport(rec *papyra.Record) bool {
	if rec.Kind != papyra.KindReport || !rec.HasIdentity() {
		return false
	}
	if string(rec.System) == papyra.SystemReserved {
		return string(rec.Type) == papyra.ReportSink
	}
	return string(rec.Type) == papyra.ReportPublisher
}

// addReport looks at the next older record.
func (s survey) addReport(rec *papyra.Record) {
	if !isRunReport(rec) {
		return
	}
	var t troubles
	if json.Unmarshal(rec.Payload, &t) != nil {
		return // it says nothing to an account either
	}
	key := surveyKey{string(rec.System), string(rec.Run)}
	if string(rec.Type) == papyra.ReportPublisher {
		var p papyra.PublisherReport
		if json.Unmarshal(rec.Payload, &p) != nil || doubt.Publisher(rec, &p) != "" {
			if s[key] == nil {
				s[key] = &surveyedRun{}
			}
			s[key].doubted.Add(rec.Seq)
			return
		}
	}
	counts := t.fingerprint()
	r := s[key]
	if r == nil {
		r = &surveyedRun{}
		s[key] = r
	}
	if r.last == 0 {
		r.first, r.last, r.before, r.fingerprint = rec.Seq, rec.Seq, rec.Seq, counts
	}
	r.first, r.last = min(r.first, rec.Seq), max(r.last, rec.Seq)
	if len(t.Peers) > 0 {
		r.peers = max(r.peers, rec.Seq)
	}
	// Counts never fall. So if two reports that come in order have equal counts,
	// those between them have the same. Of two that come out of order that cannot
	// be said, and both stay.
	if rec.Seq != r.before && (counts != r.fingerprint || rec.Seq > r.before) {
		r.turns.Add(rec.Seq)
		r.turns.Add(r.before)
	}
	r.before, r.fingerprint = rec.Seq, counts
}

// mustStay reports whether rec is one of those reports.
func (s survey) mustStay(rec *papyra.Record) bool {
	if !isRunReport(rec) {
		return false
	}
	r := s[surveyKey{string(rec.System), string(rec.Run)}]
	return r != nil && (rec.Seq == r.first || rec.Seq == r.last || rec.Seq == r.peers || r.turns.Contains(rec.Seq))
}

// isDoubted reports whether rec is a report that cannot be true.
func (s survey) isDoubted(rec *papyra.Record) bool {
	r := s[surveyKey{string(rec.System), string(rec.Run)}]
	return r != nil && r.doubted.Contains(rec.Seq)
}

// fingerprint is the same for the same counts, and for no others.
func (t *troubles) fingerprint() [sha256.Size]byte {
	text := fmt.Appendf(nil, "%d %d", t.LostMessages, t.Disconnects)
	for _, category := range slices.Sorted(maps.Keys(t.Categories)) {
		dropped := t.Categories[category].Dropped
		for _, reason := range slices.Sorted(maps.Keys(dropped)) {
			if n := dropped[reason].N; n > 0 {
				text = fmt.Appendf(text, " %q %q %d", category, reason, n)
			}
		}
	}
	return sha256.Sum256(text)
}
