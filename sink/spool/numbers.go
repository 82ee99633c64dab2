package spool

import (
	"cmp"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
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
	n uint64
	numset.Named
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
	x.last.Add(papyra.Range{rec.Seq, rec.Seq}, maxRanges)
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
		to.Ranges = append(to.Ranges, from.Ranges...)
		to.AddOthers(from.Others)
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
		if text += perRun + 2*len(key.system) + perRange*(len(of.Ranges)+1); text > maxNamedText && len(list) > 0 {
			break
		}
		list = append(list, papyra.SpooledRun{
			System: key.system, Category: key.kind.Category(), Run: key.run, N: of.n, Ranges: of.Ranges, Others: of.Others,
		})
	}
	return list
}

// joined returns the numbers with at most limit ranges, in order.
func (r *runNumbers) joined(limit int) *runNumbers {
	var all numset.Ranges
	all.Add(r.Ranges...)
	out := &runNumbers{n: r.n, Named: numset.Named{Others: r.Others}}
	for _, g := range all.List() {
		out.Add(g, limit)
	}
	if len(out.Ranges) > 0 && out.Others[1] == 0 { // a record that came twice is one
		out.n = numset.CountRanges(out.Ranges)
	}
	return out
}
