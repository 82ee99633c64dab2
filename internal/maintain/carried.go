package maintain

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// Carried gathers what reports say that are themselves about to be removed, so
// that it can be said again: what explains the absence of a record may not go
// before the run of that record has gone. The zero Carried is empty and ready.
type Carried struct {
	byAct   map[string]*carriedAct // what RemovalReports say
	reports carriedReports         // what the others say

	takenBack map[string]bool                    // ids of acts that removed nothing, or something else
	open      map[string][]*papyra.RemovalReport // of acts whose end was not met, by id
}

type carriedAct struct {
	damaged, damagedBytes int64
	categories            map[string]*carriedCategory
}

type carriedCategory struct {
	records, bytes int64
	runs           map[runKey]*carriedRun
}

type carriedRun struct {
	ranges   numset.Ranges
	below, n uint64
}

// Add takes what a report says, which was parsed in full. It returns the report
// that goes for good: rec; another one whose place rec takes among those that
// stay; or nil.
func (c *Carried) Add(rec *papyra.Record) (gone *papyra.Record) {
	if string(rec.System) == papyra.SystemReserved {
		switch string(rec.Type) {
		case papyra.ReportRemoval:
			c.addRemoval(rec)
			return rec
		case papyra.ReportCompactionPerformed, papyra.ReportRecoveryPerformed:
			if id, end, ok := papyra.EndOfAct(rec); ok && end.TakesBack() {
				if c.takenBack == nil {
					c.takenBack = map[string]bool{}
				}
				c.takenBack[id] = true
				delete(c.open, id)
			}
			return rec
		}
	}
	return c.reports.addReport(rec)
}

// Limit makes the reports that stay as they are fit into so many bytes, and
// returns those that go. What they name is carried all the same.
func (c *Carried) Limit(bytes int64) (gone []*papyra.Record) { return c.reports.limitReports(bytes) }

// Kept returns the reports that stay, each with its newline.
func (c *Carried) Kept() [][]byte { return c.reports.stayingLines() }

// OpenActs returns the ids of the acts that announced a removal and whose end was
// not among the reports: it stands behind them in the store, if there is one.
func (c *Carried) OpenActs() []string { return slices.Sorted(maps.Keys(c.open)) }

// Resolve says which of the open acts were taken back. The others count.
func (c *Carried) Resolve(takenBack func(id string) bool) {
	for _, id := range c.OpenActs() {
		if !takenBack(id) {
			for _, p := range c.open[id] {
				c.addAnnounced(p)
			}
		}
	}
	c.open = nil
}

// addRemoval takes a RemovalReport. One of an act that may have been taken back
// waits for Resolve.
func (c *Carried) addRemoval(rec *papyra.Record) {
	p := &papyra.RemovalReport{}
	if json.Unmarshal(rec.Payload, p) != nil {
		return // of a later version, or not ours
	}
	switch {
	case p.Carried || p.Act == papyra.ActRotate:
		c.addAnnounced(p)
	case !c.takenBack[p.ID]:
		if c.open == nil {
			c.open = map[string][]*papyra.RemovalReport{}
		}
		c.open[p.ID] = append(c.open[p.ID], p)
	}
}

func (c *Carried) addAnnounced(p *papyra.RemovalReport) {
	c.reports.addSinkDrops(p.Dropped)
	a := c.carriedAct(p.Act)
	a.damaged += p.Damaged
	a.damagedBytes += p.DamagedBytes
	for name, removed := range p.Categories {
		to := a.categories[name]
		if to == nil {
			to = &carriedCategory{runs: map[runKey]*carriedRun{}}
			a.categories[name] = to
		}
		to.records += removed.Records
		to.bytes += removed.Bytes
		for i := range removed.Runs {
			to.addRun(&removed.Runs[i])
		}
	}
}

// carriedAct returns what acts of a kind removed.
func (c *Carried) carriedAct(kind string) *carriedAct {
	if c.byAct == nil {
		c.byAct = map[string]*carriedAct{}
	}
	a := c.byAct[kind]
	if a == nil {
		a = &carriedAct{categories: map[string]*carriedCategory{}}
		c.byAct[kind] = a
	}
	return a
}

func (c *carriedCategory) addRun(removed *papyra.RemovedRun) {
	key := runKey{removed.System, removed.Node, removed.Run}
	r := c.runs[key]
	if r == nil {
		r = &carriedRun{}
		c.runs[key] = r
	}
	r.below = max(r.below, removed.Below)
	r.n = numset.AddCounts(r.n, removed.N)
	r.ranges.Add(removed.Ranges...)
	if r.ranges.Len() > 4*maxRanges {
		r.foldRanges()
	}
}

// foldRanges makes a bound and a number of the ranges if there are more than
// maxRanges.
func (r *carriedRun) foldRanges() {
	if n, bounds, folded := r.ranges.Fold(maxRanges); folded {
		r.n = numset.AddCounts(r.n, n)
		r.below = max(r.below, numset.AddCounts(bounds[1], 1))
	}
}

// Runs returns how many runs are named, one that is named for several reasons as
// several.
func (c *Carried) Runs() (n int) {
	n = c.reports.countRuns()
	for _, a := range c.byAct {
		for _, category := range a.categories {
			n += len(category.runs)
		}
	}
	return n
}

// Prune forgets the runs that keep does not want. Their counts stay. It returns
// the reports that go with them.
func (c *Carried) Prune(keep func(run string) bool) (gone []*papyra.Record) {
	for _, a := range c.byAct {
		for _, category := range a.categories {
			maps.DeleteFunc(category.runs, func(key runKey, _ *carriedRun) bool { return !keep(key.run) })
		}
	}
	return c.reports.pruneReports(keep)
}

// Reports returns what was gathered as reports of an act, for each of the acts
// that removed it, each a sealed line with its newline. What was dropped is in
// those of the act's own kind. There may be none.
func (c *Carried) Reports(a *Act, now time.Time) ([][]byte, error) {
	c.Resolve(func(string) bool { return false }) // nobody has looked for their ends
	var lines [][]byte
	drops := c.reports.sinkDrops()
	if len(drops) > 0 {
		c.carriedAct(a.Kind)
	}
	for _, kind := range slices.Sorted(maps.Keys(c.byAct)) {
		from := c.byAct[kind]
		whole := papyra.RemovalReport{Carried: true, Damaged: from.damaged, DamagedBytes: from.damagedBytes, Categories: map[string]papyra.RemovedCategory{}}
		for name, category := range from.categories {
			whole.Categories[name] = papyra.RemovedCategory{Records: category.records, Bytes: category.bytes, Runs: category.removedRuns()}
		}
		if kind == a.Kind {
			whole.Dropped = drops
		}
		more, err := splitReport(a.of(kind), &whole, now)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

func (c *carriedCategory) removedRuns() []papyra.RemovedRun {
	out := make([]papyra.RemovedRun, 0, len(c.runs))
	for key, r := range c.runs {
		r.foldRanges()
		out = append(out, papyra.RemovedRun{System: key.system, Node: key.node, Run: key.run, Ranges: r.ranges.List(), Below: r.below, N: r.n})
	}
	sortRuns(out)
	return out
}

func sortRuns(runs []papyra.RemovedRun) {
	slices.SortFunc(runs, func(a, b papyra.RemovedRun) int {
		return cmp.Or(cmp.Compare(a.Run, b.Run), cmp.Compare(a.Node, b.Node), cmp.Compare(a.System, b.System))
	})
}
