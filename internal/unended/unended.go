// Package unended finds acts that announced what they remove and never said how
// they ended: they were killed, or were an older version's. It compares what they
// announced with what is still stored.
package unended

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// Acts are such acts of one store. Give it every report of the store, then every
// record, in any order. The zero Acts are ready.
type Acts struct {
	byID  map[string]*Act
	ended map[string]bool
	runs  map[runKey][]*removed
}

// Act is one compaction without an end.
type Act struct {
	ID string
	At int64 // of the announcement, in microseconds
	// Announced is what it announced, with the runs; Left of it is still stored.
	// Removed duplicates are not in it: of each another copy stays.
	Announced, Left Counts
	// Comparable is false where the act did not name all that it removes.
	Comparable bool

	runs       []*removed
	byCategory map[string]Counts
}

// maxRanges is how many ranges a report names of one run.
const maxRanges = 4096

// Counts are lines and their bytes with newlines.
type Counts struct{ Records, Bytes int64 }

// runKey names a run of a category; system is "" where that is not known.
type runKey struct {
	kind        papyra.Kind
	system, run string
}

// removed is what an act announced of one run.
type removed struct {
	act           *Act
	key           runKey
	node          string
	numbers, left numset.Set
	lines         Counts // that are left
}

// AddReport looks at a record that may be an announcement or an end.
func (a *Acts) AddReport(rec *papyra.Record) {
	if rec.Kind != papyra.KindReport || !rec.Sealed || string(rec.System) != papyra.SystemReserved {
		return
	}
	if id, _, ok := papyra.EndOfAct(rec); ok {
		if a.ended == nil {
			a.ended = map[string]bool{}
		}
		a.ended[id] = true
		delete(a.byID, id)
		return
	}
	if string(rec.Type) != papyra.ReportRemoval {
		return
	}
	var p papyra.RemovalReport
	if json.Unmarshal(rec.Payload, &p) != nil || p.Act != papyra.ActCompact || p.Carried || a.ended[p.ID] {
		return
	}
	act := a.byID[p.ID]
	if act == nil {
		if a.byID == nil {
			a.byID, a.runs = map[string]*Act{}, map[runKey][]*removed{}
		}
		act = &Act{ID: p.ID, At: rec.Time, Comparable: true, byCategory: map[string]Counts{}}
		a.byID[p.ID] = act
	}
	for category, c := range p.Categories {
		act.Announced.Records += c.Records
		act.Announced.Bytes += c.Bytes
		sum := act.byCategory[category]
		act.byCategory[category] = Counts{sum.Records + c.Records, sum.Bytes + c.Bytes}
		kind := papyra.ParseCategory(category)
		for i := range c.Runs {
			g := &c.Runs[i]
			r := &removed{act: act, key: runKey{kind, g.System, g.Run}, node: g.Node}
			for _, numbers := range g.Ranges {
				r.numbers.AddRange(numbers[0], numbers[1])
			}
			act.Comparable = act.Comparable && g.Below == 0 && kind != papyra.KindUnknown
			act.runs = append(act.runs, r)
			a.runs[r.key] = append(a.runs[r.key], r)
		}
	}
}

// Any reports whether there is an act without an end.
func (a *Acts) Any() bool { return len(a.byID) > 0 }

// See looks at a stored record.
func (a *Acts) See(rec *papyra.Record) {
	if len(a.byID) == 0 || !rec.HasIdentity() {
		return
	}
	for _, system := range [2]string{string(rec.System), ""} {
		for _, r := range a.runs[runKey{rec.Kind, system, string(rec.Run)}] {
			if a.byID[r.act.ID] == r.act && r.numbers.Contains(rec.Seq) {
				size := int64(len(rec.Line)) + 1
				r.left.Add(rec.Seq)
				r.lines.Records++
				r.lines.Bytes += size
				r.act.Left.Records++
				r.act.Left.Bytes += size
			}
		}
	}
}

// List returns the acts without an end, the oldest first.
func (a *Acts) List() []*Act {
	list := make([]*Act, 0, len(a.byID))
	for _, act := range a.byID {
		list = append(list, act)
	}
	slices.SortFunc(list, func(a, b *Act) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID)) })
	return list
}

// Stored returns those of the acts of which announced numbers are still stored.
func (a *Acts) Stored() []*Act {
	return slices.DeleteFunc(a.List(), func(act *Act) bool { return act.Left.Records == 0 })
}

// String says for people what is known of the act.
func (act *Act) String() string {
	return Describe(act.ID, act.Announced.Records, act.Left.Records)
}

// Describe says for people what is known of an act without an end.
func Describe[N int64 | uint64](id string, announced, stored N) string {
	return fmt.Sprintf("compaction %s announced %d records and does not say how it ended: %d of them are still stored", id, announced, stored)
}

// Gone returns what the act removed: what it announced and is not stored any more.
// It is nil if nothing is gone.
func (act *Act) Gone() *papyra.RemovalReport {
	p := papyra.RemovalReport{Categories: map[string]papyra.RemovedCategory{}}
	for category, n := range act.byCategory {
		p.Categories[category] = papyra.RemovedCategory{Records: max(n.Records, 0), Bytes: max(n.Bytes, 0)}
	}
	found := false
	for _, r := range act.runs {
		category := r.key.kind.Category()
		c := p.Categories[category]
		c.Records, c.Bytes = max(c.Records-r.lines.Records, 0), max(c.Bytes-r.lines.Bytes, 0)
		gone := r.numbers.Clone()
		gone.Subtract(&r.left)
		if !gone.IsEmpty() {
			found = true
			run := papyra.RemovedRun{System: r.key.system, Node: r.node, Run: r.key.run}
			if ranges, ok := gone.Ranges(maxRanges); ok {
				run.Ranges = ranges
			} else {
				run.Below, run.N = numset.AddCounts(gone.Max(), 1), gone.Count()
			}
			c.Runs = append(c.Runs, run)
		}
		p.Categories[category] = c
	}
	if !found {
		return nil
	}
	return &p
}

// Reader is what is needed of a store; every papyra.Store is one.
type Reader interface {
	Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error)
}

// Find returns the acts of a store of which announced numbers are still stored. It
// reads the reports, and where an act has no end once more everything.
func Find(ctx context.Context, store Reader) ([]*Act, error) {
	var acts Acts
	if _, err := store.Read(ctx, papyra.Query{
		Kinds: []papyra.Kind{papyra.KindReport}, Systems: []string{papyra.SystemReserved},
		Types: []string{papyra.ReportRemoval, papyra.ReportCompactionPerformed, papyra.ReportRecoveryPerformed},
	}, func(rec *papyra.Record, _ papyra.Place) error {
		acts.AddReport(rec)
		return nil
	}); err != nil || !acts.Any() {
		return nil, err
	}
	_, err := store.Read(ctx, papyra.Query{Duplicates: true}, func(rec *papyra.Record, _ papyra.Place) error {
		acts.See(rec)
		return nil
	})
	return acts.Stored(), err
}
