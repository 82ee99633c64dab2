package inspect

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/papyra/papyra"
)

// RemovedCount is what acts of one name have removed of one category, as the
// RemovalReports say.
type RemovedCount struct {
	Act string `json:"act"` // "other" for acts of a later version
	// Category may also be "unknown", for records of a kind of a later version,
	// and "damaged", for lines of no category.
	Category string `json:"category"`
	Records  int64  `json:"records"`
	Bytes    int64  `json:"bytes"`
}

const (
	actOther        = "other"
	categoryDamaged = "damaged"
)

// removedSum adds RemovalReports up. Those that are carried count too: what they
// repeat is no longer in the store. An act that was taken back does not count; one
// that was killed counts whole, as its report was written before.
type removedSum struct {
	counts    map[removedKey]*RemovedCount
	announced map[string][]*papyra.RemovalReport // by the id of their act
	takenBack map[string]bool                    // of acts with an end
}

func newRemovedSum() removedSum {
	return removedSum{map[removedKey]*RemovedCount{}, map[string][]*papyra.RemovalReport{}, map[string]bool{}}
}

// removedKey has few values, whatever the reports say.
type removedKey struct{ act, category string }

// addReport adds a record if it is a RemovalReport, or the end of an act.
func (s removedSum) addReport(rec *papyra.Record) {
	if rec.Kind != papyra.KindReport || string(rec.System) != papyra.SystemReserved {
		return
	}
	switch string(rec.Type) {
	case papyra.ReportRemoval:
		r := &papyra.RemovalReport{}
		if json.Unmarshal(rec.Payload, r) != nil {
			return // of another form: inspect reports shows it as it is
		}
		if r.Carried || r.Act == papyra.ActRotate {
			s.addRemoval(r)
			return
		}
		s.announced[r.ID] = append(s.announced[r.ID], r)
	case papyra.ReportCompactionPerformed, papyra.ReportRecoveryPerformed:
		if id, end, ok := papyra.EndOfAct(rec); ok {
			s.takenBack[id] = s.takenBack[id] || end.TakesBack()
		}
	}
}

func (s removedSum) addRemoval(r *papyra.RemovalReport) {
	act := r.Act
	if !slices.Contains([]string{papyra.ActCompact, papyra.ActDedupe, papyra.ActRecover, papyra.ActRotate}, act) {
		act = actOther
	}
	for name, c := range r.Categories {
		s.addCount(act, papyra.ParseCategory(name).Category(), c.Records, c.Bytes)
	}
	s.addCount(act, categoryDamaged, r.Damaged, r.DamagedBytes)
}

func (s removedSum) addCount(act, category string, records, bytes int64) {
	if records <= 0 && bytes <= 0 {
		return
	}
	key := removedKey{act, category}
	c := s.counts[key]
	if c == nil {
		c = &RemovedCount{Act: act, Category: category}
		s.counts[key] = c
	}
	c.Records += max(records, 0)
	c.Bytes += max(bytes, 0)
}

// open reports whether a compaction never said how it ended.
func (s removedSum) open() bool {
	for id, reports := range s.announced {
		if _, ended := s.takenBack[id]; !ended && slices.ContainsFunc(reports, func(r *papyra.RemovalReport) bool { return r.Act == papyra.ActCompact }) {
			return true
		}
	}
	return false
}

// list returns the counts by act, the categories in their usual order and what
// was damaged last.
func (s removedSum) list() (list []RemovedCount) {
	for id, reports := range s.announced {
		if !s.takenBack[id] {
			for _, r := range reports {
				s.addRemoval(r)
			}
		}
	}
	clear(s.announced)
	for _, c := range s.counts {
		list = append(list, *c)
	}
	rank := func(c RemovedCount) int {
		if c.Category == categoryDamaged {
			return 1
		}
		return 0
	}
	slices.SortFunc(list, func(a, b RemovedCount) int {
		return cmp.Or(cmp.Compare(a.Act, b.Act), cmp.Compare(rank(a), rank(b)), papyra.CompareCategories(a.Category, b.Category))
	})
	return list
}
