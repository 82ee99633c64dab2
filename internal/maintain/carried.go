package maintain

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/papyra/papyra"
)

// Carried gathers what reports say that are themselves about to be removed, so
// that it can be said again: what explains the absence of a record may not go
// before the run of that record has gone. The zero Carried is empty and ready.
type Carried struct {
	byAct map[string]*carriedAct
	told  told
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
	ranges   []papyra.Range
	below, n uint64
}

// Add takes what a report says, which was parsed in full. It returns the report
// that goes for good: rec; another one whose place rec takes among those that
// stay; or nil.
func (c *Carried) Add(rec *papyra.Record) (gone *papyra.Record) {
	if string(rec.Type) == papyra.ReportRemoval && string(rec.System) == papyra.SystemReserved {
		c.addRemoval(rec)
		return rec
	}
	return c.told.add(rec)
}

// Limit makes the reports that stay as they are fit into so many bytes, and
// returns those that go. What they name is carried all the same.
func (c *Carried) Limit(bytes int64) (gone []*papyra.Record) { return c.told.limit(bytes) }

// Kept returns the reports that stay, each with its newline.
func (c *Carried) Kept() [][]byte { return c.told.kept() }

func (c *Carried) addRemoval(rec *papyra.Record) {
	var p papyra.RemovalReport
	if json.Unmarshal(rec.Payload, &p) != nil {
		return // of a later version, or not ours
	}
	c.told.addDrops(p.Dropped)
	a := c.of(p.Act)
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
			to.add(&removed.Runs[i])
		}
	}
}

// of returns what acts of a kind removed.
func (c *Carried) of(kind string) *carriedAct {
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

func (c *carriedCategory) add(removed *papyra.RemovedRun) {
	key := runKey{removed.Node, removed.Run}
	r := c.runs[key]
	if r == nil {
		r = &carriedRun{}
		c.runs[key] = r
	}
	r.below = max(r.below, removed.Below)
	r.n += removed.N
	r.ranges = append(r.ranges, removed.Ranges...)
	if len(r.ranges) > 4*maxRanges {
		r.settle()
	}
}

// settle makes the ranges rising, apart from each other and at most maxRanges.
func (r *carriedRun) settle() {
	merged := mergeRanges(r.ranges)
	r.ranges = merged
	if len(merged) <= maxRanges {
		return
	}
	for _, m := range merged {
		r.n += m[1] - m[0] + 1
	}
	r.below = max(r.below, merged[len(merged)-1][1]+1)
	r.ranges = nil
}

// mergeRanges makes ranges rising and apart from each other, in place.
func mergeRanges(ranges []papyra.Range) []papyra.Range {
	slices.SortFunc(ranges, func(a, b papyra.Range) int { return cmp.Compare(a[0], b[0]) })
	merged := ranges[:0]
	for _, next := range ranges {
		if next[0] == 0 || next[1] < next[0] {
			continue // no report of ours
		}
		if last := len(merged) - 1; last >= 0 && (next[0] <= merged[last][1] || next[0] == merged[last][1]+1) {
			merged[last][1] = max(merged[last][1], next[1])
			continue
		}
		merged = append(merged, next)
	}
	return merged
}

// Runs returns how many runs are named, one that is named for several reasons as
// several.
func (c *Carried) Runs() (n int) {
	n = c.told.runs()
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
	return c.told.prune(keep)
}

// Reports returns what was gathered as reports of an act, for each of the acts
// that removed it, each a sealed line with its newline. What was dropped is in
// those of the act's own kind. There may be none.
func (c *Carried) Reports(a *Act, now time.Time) ([][]byte, error) {
	var lines [][]byte
	drops := c.told.dropped()
	if len(drops) > 0 {
		c.of(a.Kind)
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
		more, err := split(a.of(kind), &whole, now)
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
		r.settle()
		out = append(out, papyra.RemovedRun{Node: key.node, Run: key.run, Ranges: r.ranges, Below: r.below, N: r.n})
	}
	sortRuns(out)
	return out
}

func sortRuns(runs []papyra.RemovedRun) {
	slices.SortFunc(runs, func(a, b papyra.RemovedRun) int {
		return cmp.Or(cmp.Compare(a.Run, b.Run), cmp.Compare(a.Node, b.Node))
	})
}
