package maintain

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/papyra/papyra"
)

// survey finds the reports of each run without which the account of a store
// would be another: the first and the last, those between which a count of
// trouble rose, and the last that names a sink's peers. A count that does not
// say which records it means is charged to the numbers between the two reports
// that differ by it, and so both must stay.
//
// Its memory grows with the number of runs and of such reports.
type survey map[surveyKey]*surveyed

type surveyKey struct{ system, run string }

// surveyed is what is known of a run's PublisherReports or SinkReports.
type surveyed struct {
	first, last uint64 // the lowest and the highest number
	peers       uint64 // the highest that names peers, 0 for none
	turns       *roaring64.Bitmap

	newer uint64            // the one met before
	print [sha256.Size]byte // of its counts
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

// ofRun reports whether rec is a report that says how a run goes.
func ofRun(rec *papyra.Record) bool {
	if rec.Kind != papyra.KindReport || !rec.HasIdentity() {
		return false
	}
	if string(rec.System) == papyra.SystemReserved {
		return string(rec.Type) == papyra.ReportSink
	}
	return string(rec.Type) == papyra.ReportPublisher
}

func (s survey) look(rec *papyra.Record) {
	if !ofRun(rec) {
		return
	}
	var t troubles
	if json.Unmarshal(rec.Payload, &t) != nil {
		return // it says nothing to an account either
	}
	counts := t.print()
	r := s[surveyKey{string(rec.System), string(rec.Run)}]
	if r == nil {
		r = &surveyed{first: rec.Seq, last: rec.Seq, newer: rec.Seq, print: counts, turns: roaring64.New()}
		s[surveyKey{string(rec.System), string(rec.Run)}] = r
	}
	r.first, r.last = min(r.first, rec.Seq), max(r.last, rec.Seq)
	if len(t.Peers) > 0 {
		r.peers = max(r.peers, rec.Seq)
	}
	// The counts of reports in order can only be equal if those of all between
	// them are. Of reports out of order that cannot be said.
	if rec.Seq != r.newer && (counts != r.print || rec.Seq > r.newer) {
		r.turns.Add(rec.Seq)
		r.turns.Add(r.newer)
	}
	r.newer, r.print = rec.Seq, counts
}

// chose reports whether rec must stay.
func (s survey) chose(rec *papyra.Record) bool {
	if !ofRun(rec) {
		return false
	}
	r := s[surveyKey{string(rec.System), string(rec.Run)}]
	return r != nil && (rec.Seq == r.first || rec.Seq == r.last || rec.Seq == r.peers || r.turns.Contains(rec.Seq))
}

// print is the same for the same counts, and for no others.
func (t *troubles) print() [sha256.Size]byte {
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
