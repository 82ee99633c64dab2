package maintain

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/papyra/papyra"
)

const (
	// maxSinks is of how many starts of a sink a last report is kept: the newest
	// ones, and the oldest, which says since when its group takes records.
	maxSinks = 64
	// maxPublishers is of how many runs of publishers reports are kept.
	maxPublishers = 1024
)

// told gathers what reports of publishers and sinks say that are about to be
// removed. Of each run the ends stay, as they are: its last report, which tells
// the sums and, of a sink, the group, filters and peers; and of a publisher also
// the first, which tells what was before. Of the others only the numbers that
// they name as dropped are told again, in RemovalReports.
type told struct {
	publishers map[tellerKey]*ends
	sinks      map[tellerKey]*ends
	drops      map[toldKey]*toldDrops
}

type tellerKey struct{ system, run string }

// ends are the reports of a run with the lowest and the highest number: one or
// two, in rising order.
type ends struct {
	lines [][]byte
	seqs  []uint64
	time  int64
}

type toldKey struct {
	reason                papyra.DropReason
	system, category, run string
}

type toldDrops struct {
	ranges []papyra.Range
	n      uint64       // beside them
	others papyra.Range // between which these lie; zero if that is not known
}

// add takes a report of a publisher or sink and returns the record that goes for
// good: rec, another one that it replaces, or nil. A copy goes without a word:
// what it names the one that stays names too.
func (t *told) add(rec *papyra.Record) *papyra.Record {
	own := string(rec.System) == papyra.SystemReserved
	all, most := &t.publishers, 2
	switch string(rec.Type) {
	case papyra.ReportPublisher:
		if own {
			return rec
		}
	case papyra.ReportSink:
		if !own {
			return rec
		}
		all, most = &t.sinks, 1
	default:
		return rec
	}
	if !rec.HasIdentity() {
		return rec
	}
	if *all == nil {
		*all = map[tellerKey]*ends{}
	}
	key := tellerKey{string(rec.System), string(rec.Run)}
	e := (*all)[key]
	if e == nil {
		e = &ends{time: rec.Time}
		(*all)[key] = e
	}
	i, found := slices.BinarySearch(e.seqs, rec.Seq)
	if found {
		return rec // a copy; one stays
	}
	e.lines = slices.Insert(e.lines, i, slices.Clone(rec.Line))
	e.seqs = slices.Insert(e.seqs, i, rec.Seq)
	e.time = max(e.time, rec.Time)
	if len(e.seqs) <= most {
		return nil
	}
	out := len(e.seqs) - 2
	gone := t.forget(e.lines[out])
	e.lines, e.seqs = slices.Delete(e.lines, out, out+1), slices.Delete(e.seqs, out, out+1)
	return gone
}

// forget notes the drops of a report that goes for good.
func (t *told) forget(line []byte) *papyra.Record {
	rec := &papyra.Record{}
	if papyra.ParseInto(rec, line) != nil {
		return nil // it was parsed before
	}
	if string(rec.Type) == papyra.ReportSink {
		var p papyra.SinkReport
		if json.Unmarshal(rec.Payload, &p) == nil {
			t.addDrops(p.Dropped)
		}
		return rec
	}
	var p papyra.PublisherReport
	if json.Unmarshal(rec.Payload, &p) == nil {
		for category, c := range p.Categories {
			for reason, d := range c.Dropped {
				if d != nil && len(d.Ranges) > 0 {
					// What is not named is in the sums of later reports too.
					to := t.drop(toldKey{reason, string(rec.System), category, string(rec.Run)})
					to.ranges = append(to.ranges, d.Ranges...)
				}
			}
		}
	}
	return rec
}

func (t *told) drop(key toldKey) *toldDrops {
	if t.drops == nil {
		t.drops = map[toldKey]*toldDrops{}
	}
	d := t.drops[key]
	if d == nil {
		d = &toldDrops{}
		t.drops[key] = d
	}
	if len(d.ranges) > 4*maxRanges {
		d.settle()
	}
	return d
}

// addDrops takes what sinks, or rotations before, said of drops.
func (t *told) addDrops(drops []papyra.SinkDrops) {
	for _, s := range drops {
		if s.Run == "" {
			continue // records without a number
		}
		d := t.drop(toldKey{s.Reason, s.System, s.Category, s.Run})
		d.ranges = append(d.ranges, s.Ranges...)
		named := uint64(0)
		for _, g := range s.Ranges {
			if g[0] > 0 && g[1] >= g[0] {
				named += g[1] - g[0] + 1
			}
		}
		if s.N > named {
			d.unnamed(s.N-named, s.Others)
		}
	}
}

func (d *toldDrops) unnamed(n uint64, between papyra.Range) {
	switch {
	case d.n == 0:
		d.others = between
	case d.others[0] == 0 || between[0] == 0:
		d.others = papyra.Range{}
	default:
		d.others = papyra.Range{min(d.others[0], between[0]), max(d.others[1], between[1])}
	}
	d.n += n
}

// settle makes the ranges rising, apart from each other and at most maxRanges.
func (d *toldDrops) settle() {
	d.ranges = mergeRanges(d.ranges)
	if len(d.ranges) <= maxRanges {
		return
	}
	n := uint64(0)
	for _, g := range d.ranges {
		n += g[1] - g[0] + 1
	}
	d.unnamed(n, papyra.Range{d.ranges[0][0], d.ranges[len(d.ranges)-1][1]})
	d.ranges = nil
}

// limit forgets what does not fit into so many bytes, and returns the records
// that go with that. The oldest go first.
func (t *told) limit(bytes int64) (gone []*papyra.Record) {
	sinks, publishers := newest(t.sinks), newest(t.publishers)
	if len(sinks) > maxSinks {
		sinks = slices.Insert(sinks[:len(sinks)-1], maxSinks-1, sinks[len(sinks)-1])
	}
	forget := func(all map[tellerKey]*ends, key tellerKey) { // the oldest of its lines
		e := all[key]
		if rec := t.forget(e.lines[0]); rec != nil {
			gone = append(gone, rec)
		}
		e.lines, e.seqs = slices.Delete(e.lines, 0, 1), slices.Delete(e.seqs, 0, 1)
		if len(e.lines) == 0 {
			delete(all, key)
		}
	}
	fits := func(line []byte) bool {
		if int64(len(line))+1 > bytes {
			return false
		}
		bytes -= int64(len(line)) + 1
		return true
	}
	for n, key := range sinks {
		if n >= maxSinks || !fits(t.sinks[key].lines[0]) {
			forget(t.sinks, key)
		}
	}
	// The last reports of all runs, before the first one of any.
	for n, key := range publishers {
		if lines := t.publishers[key].lines; n >= maxPublishers || !fits(lines[len(lines)-1]) {
			for len(t.publishers[key].lines) > 1 {
				forget(t.publishers, key)
			}
			forget(t.publishers, key)
		}
	}
	for _, key := range publishers {
		if e := t.publishers[key]; e != nil && len(e.lines) > 1 && !fits(e.lines[0]) {
			forget(t.publishers, key)
		}
	}
	return gone
}

// newest returns the keys by the time of their last report, the newest first.
func newest(all map[tellerKey]*ends) []tellerKey {
	return slices.SortedFunc(maps.Keys(all), func(a, b tellerKey) int {
		return cmp.Or(cmp.Compare(all[b].time, all[a].time), cmp.Compare(a.run, b.run), cmp.Compare(a.system, b.system))
	})
}

// prune forgets the runs of publishers that keep does not want.
func (t *told) prune(keep func(run string) bool) (gone []*papyra.Record) {
	for key, e := range t.publishers {
		if !keep(key.run) {
			for _, line := range e.lines {
				if rec := t.forget(line); rec != nil {
					gone = append(gone, rec)
				}
			}
			delete(t.publishers, key)
		}
	}
	maps.DeleteFunc(t.drops, func(key toldKey, _ *toldDrops) bool { return !keep(key.run) })
	return gone
}

// runs returns how many runs of publishers are named, some of them twice.
func (t *told) runs() int { return len(t.publishers) + len(t.drops) }

// kept returns the reports that stay, each with its newline, the oldest first.
func (t *told) kept() (lines [][]byte) {
	for _, all := range []map[tellerKey]*ends{t.sinks, t.publishers} {
		keys := newest(all)
		slices.Reverse(keys)
		for _, key := range keys {
			for _, line := range all[key].lines {
				lines = append(lines, append(slices.Clone(line), '\n'))
			}
		}
	}
	return lines
}

// dropped returns the numbers that were dropped, in a fixed order.
func (t *told) dropped() []papyra.SinkDrops {
	out := make([]papyra.SinkDrops, 0, len(t.drops))
	for key, d := range t.drops {
		d.settle()
		n := d.n
		for _, g := range d.ranges {
			n += g[1] - g[0] + 1
		}
		out = append(out, papyra.SinkDrops{
			Reason: key.reason, System: key.system, Category: key.category, Run: key.run,
			N: n, Ranges: d.ranges, Others: d.others,
		})
	}
	slices.SortFunc(out, func(a, b papyra.SinkDrops) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Category, b.Category),
			cmp.Compare(a.Run, b.Run), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}
