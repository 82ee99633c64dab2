package account

import (
	"cmp"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/doubt"
)

// Doubt is a kind of report of one system that the account does not believe.
// Such a report has no effect, but for its own number.
type Doubt struct {
	System  string `json:"system"`
	Why     Why    `json:"why"`
	Reports uint64 `json:"reports"` // how many there are, copies too
	// The lowest of them, by run and number.
	Report string `json:"report"`
	Run    string `json:"run"`
	Seq    uint64 `json:"seq"`
}

// Why says why a report is not believed. The list is closed.
type Why string

// What makes a report not believed.
const (
	WhyUnsealed Why = "not_sealed"     // its checksum does not say that it is as it was written
	WhySystem   Why = "wrong_system"   // a report of this name belongs to another system
	WhyRanges   Why = doubt.Ranges     // its ranges make no sense, or are wider than the count beside them
	WhyDropped  Why = doubt.Dropped    // it dropped more than it accepted
	WhySum      Why = doubt.Sum        // its counts do not add up to what it accepted
	WhyRate     Why = doubt.Rate       // it accepted more than a process can
	WhyRemoved  Why = "removed"        // it names more numbers than its act removed records
	WhyUnknown  Why = "unknown_reason" // a drop reason of a newer version, perhaps: only that entry is passed over
)

// Text says in half a line why, for people.
func (w Why) Text() string {
	switch w {
	case WhyUnsealed:
		return "their checksum was not verified"
	case WhySystem:
		return "another system writes reports of this name"
	case WhyRanges:
		return "their ranges are wider than their counts"
	case WhyDropped:
		return "they dropped more than they accepted"
	case WhySum:
		return "their counts do not add up"
	case WhyRate:
		return "they accepted more than a process can"
	case WhyRemoved:
		return "they name more than their act removed"
	case WhyUnknown:
		return "a drop reason that this version does not know: perhaps one of a newer version"
	}
	return string(w)
}

// maxDoubts bounds the systems and reasons that are told apart. Reports beyond
// it are only counted.
const maxDoubts = 1000

type doubtKey struct {
	system string
	why    Why
}

// doubts are kinds of reports that are not believed.
type doubts struct {
	byKind map[doubtKey]*Doubt
	others uint64 // reports of kinds beyond maxDoubts
}

// doubt notes that a report is not believed.
func (b *book) doubt(rec *papyra.Record, why Why) {
	d := Doubt{System: string(rec.System), Why: why, Reports: 1, Report: string(rec.Type), Run: string(rec.Run), Seq: rec.Seq}
	b.doubts.addDoubt(&d)
}

func (ds *doubts) addDoubt(d *Doubt) {
	key := doubtKey{d.System, d.Why}
	known := ds.byKind[key]
	switch {
	case known != nil:
		n := sumOf(known.Reports, d.Reports)
		if compareExamples(d, known) < 0 {
			*known = *d
		}
		known.Reports = n
	case len(ds.byKind) >= maxDoubts:
		ds.others = sumOf(ds.others, d.Reports)
	default:
		if ds.byKind == nil {
			ds.byKind = map[doubtKey]*Doubt{}
		}
		kept := *d
		ds.byKind[key] = &kept
	}
}

func compareExamples(a, b *Doubt) int {
	return cmp.Or(cmp.Compare(a.Run, b.Run), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Report, b.Report))
}

func (ds *doubts) absorb(from *doubts) {
	for _, d := range from.byKind {
		ds.addDoubt(d)
	}
	ds.others = sumOf(ds.others, from.others)
}

// list returns the doubts by system, and how many reports they are of.
func (ds *doubts) list() (list []Doubt, reports uint64) {
	reports = ds.others
	for _, d := range ds.byKind {
		list = append(list, *d)
		reports = sumOf(reports, d.Reports)
	}
	slices.SortFunc(list, func(a, b Doubt) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Why, b.Why))
	})
	return list, reports
}

// knownReason reports whether this version knows a drop reason. It notes a doubt
// of the report if not.
func (b *book) knownReason(rec *papyra.Record, reason papyra.DropReason) bool {
	known := slices.Contains(reasonOrder, reason) && reason != papyra.DropUnheardBy // that is said of a group
	if !known {
		b.doubt(rec, WhyUnknown)
	}
	return known
}
