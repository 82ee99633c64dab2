package spool

import (
	"cmp"
	"slices"

	"github.com/papyra/papyra"
)

const (
	// maxRuns and maxRanges bound what is remembered of one segment: the runs and
	// categories, and the ranges of each. Beyond them numbers are counted only.
	maxRuns   = 1024
	maxRanges = 256

	// The same for what Waiting names: a report must be shorter than a publisher's
	// line.
	maxNamedRuns   = 512
	maxNamedRanges = 2048
	maxNamedText   = 128 << 10
)

// runKey is one run and category.
type runKey struct {
	system string
	kind   papyra.Kind
	run    string
}

// numbers says which records wait. The zero numbers are none.
type numbers struct {
	byRun map[runKey]*runNumbers
	last  *runNumbers // that of key
	key   runKey
}

// runNumbers are numbers of one run and category.
type runNumbers struct {
	n      uint64
	ranges []papyra.Range
	others papyra.Range // the lowest and highest that found no place in ranges; 0 for none
}

// addRecord notes a record, if it has a number.
func (x *numbers) addRecord(rec *papyra.Record) {
	if !rec.HasIdentity() {
		return
	}
	if x.last == nil || x.key.kind != rec.Kind || x.key.run != string(rec.Run) || x.key.system != string(rec.System) {
		key := runKey{string(rec.System), rec.Kind, string(rec.Run)}
		of := x.byRun[key]
		if of == nil {
			if len(x.byRun) >= maxRuns {
				return
			}
			if x.byRun == nil {
				x.byRun = map[runKey]*runNumbers{}
			}
			of = &runNumbers{}
			x.byRun[key] = of
		}
		x.last, x.key = of, key
	}
	x.last.n++
	x.last.addRange(papyra.Range{rec.Seq, rec.Seq}, maxRanges)
}

// addRange joins numbers to the last range, or begins another.
func (r *runNumbers) addRange(g papyra.Range, limit int) {
	switch last := len(r.ranges) - 1; {
	case last >= 0 && r.ranges[last][1]+1 == g[0]:
		r.ranges[last][1] = g[1]
	case len(r.ranges) < limit:
		r.ranges = append(r.ranges, g)
	default:
		r.addOthers(g)
	}
}

// addOthers widens others.
func (r *runNumbers) addOthers(g papyra.Range) {
	if g[1] == 0 {
		return
	}
	if r.others[0] == 0 {
		r.others[0] = g[0]
	}
	r.others = papyra.Range{min(r.others[0], g[0]), max(r.others[1], g[1])}
}

// sum adds up what several segments hold.
type sum map[runKey]*runNumbers

func (s sum) addNumbers(x *numbers) {
	for key, from := range x.byRun {
		to := s[key]
		if to == nil {
			to = &runNumbers{}
			s[key] = to
		}
		to.n += from.n
		to.ranges = append(to.ranges, from.ranges...)
		to.addOthers(from.others)
	}
}

// list returns what a report can name: the runs of which the most waits, each with
// its first ranges.
func (s sum) list() (list []papyra.SpooledRun) {
	keys := make([]runKey, 0, len(s))
	for key := range s {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b runKey) int {
		return cmp.Or(cmp.Compare(s[b].n, s[a].n), cmp.Compare(a.system, b.system), cmp.Compare(a.run, b.run), cmp.Compare(a.kind, b.kind))
	})
	keys = keys[:min(len(keys), maxNamedRuns)]
	each := max(1, min(maxNamedRanges/max(len(keys), 1), maxRanges))
	text := 0
	for _, key := range keys {
		of := s[key].joined(each)
		const perRun, perRange = 120, 44 // names and braces; two numbers of 20 digits
		if text += perRun + 2*len(key.system) + perRange*(len(of.ranges)+1); text > maxNamedText && len(list) > 0 {
			break
		}
		list = append(list, papyra.SpooledRun{
			System: key.system, Category: key.kind.Category(), Run: key.run, N: of.n, Ranges: of.ranges, Others: of.others,
		})
	}
	return list
}

// joined returns the numbers with at most limit ranges, in order.
func (r *runNumbers) joined(limit int) *runNumbers {
	out := &runNumbers{n: r.n, others: r.others}
	all := slices.Clone(r.ranges)
	slices.SortFunc(all, func(a, b papyra.Range) int { return cmp.Compare(a[0], b[0]) })
	var last papyra.Range
	for _, g := range all {
		if last[1] > 0 && g[0] <= last[1] { // a record that came twice
			if g[1] <= last[1] {
				continue
			}
			g[0] = last[1] + 1
		}
		last = g
		out.addRange(g, limit)
	}
	if len(out.ranges) > 0 && out.others[1] == 0 {
		out.n = 0
		for _, g := range out.ranges {
			out.n += g[1] - g[0] + 1
		}
	}
	return out
}
