package maintain

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

const (
	// maxSinks is of how many starts of a sink a last report is kept: the newest
	// ones, and the oldest, which says since when its group takes records.
	maxSinks = 64
	// maxPublishers is of how many runs of publishers reports are kept.
	maxPublishers = 1024
)

// carriedReports gather what reports of publishers and sinks say that are about
// to be removed. Of each run the reports at its ends stay, as they are: the last
// one, which tells the sums and, of a sink, the group, filters and peers; and of
// a publisher also the first, which tells what was before. Of a report that
// leaves only the numbers that it names as dropped are carried on, to be said
// again in RemovalReports.
type carriedReports struct {
	publishers reportsByRun
	sinks      reportsByRun
	starts     reportsByRun // StartAccepted; the newest one stays
	drops      map[dropsKey]*carriedDrops
}

type reportsByRun map[reporterKey]*runReports

type reporterKey struct{ system, run string }

// runReports are the reports of a run that stay, in rising order.
type runReports struct {
	reports []stayingReport
	time    int64 // of the newest of them, in microseconds
}

type stayingReport struct {
	seq  uint64
	line []byte
}

// leavingReport is a report that stays no longer, and why.
type leavingReport struct {
	runs reportsByRun
	key  reporterKey
	stayingReport
	why leavingReason
}

type leavingReason string

const (
	leavesBetween  leavingReason = "it is neither the first nor the last of its run"
	leavesOldRun   leavingReason = "its run is not among the newest"
	leavesNoRoom   leavingReason = "it does not fit into the bytes that reports may take"
	leavesRunIsOut leavingReason = "no record of its run is left"
)

// addReport takes a report of a publisher or sink. It returns the record that
// goes for good: rec itself, another one whose place it takes, or nil if both
// stay. A copy goes without a word: what it names the one that stays names too.
func (c *carriedReports) addReport(rec *papyra.Record) *papyra.Record {
	var runs *reportsByRun
	own := string(rec.System) == papyra.SystemReserved
	most := 1
	switch {
	case !rec.HasIdentity():
		return rec
	case string(rec.Type) == papyra.ReportPublisher && !own:
		runs, most = &c.publishers, 2
	case string(rec.Type) == papyra.ReportSink && own:
		runs = &c.sinks
	case string(rec.Type) == papyra.ReportStartAccepted && own:
		runs = &c.starts
	default:
		return rec // it tells nothing of a run
	}
	if *runs == nil {
		*runs = reportsByRun{}
	}
	key := reporterKey{string(rec.System), string(rec.Run)}
	r := (*runs)[key]
	if r == nil {
		r = &runReports{time: rec.Time}
		(*runs)[key] = r
	}
	i, found := r.find(rec.Seq)
	if found {
		return rec
	}
	r.reports = slices.Insert(r.reports, i, stayingReport{rec.Seq, slices.Clone(rec.Line)})
	r.time = max(r.time, rec.Time)
	if len(r.reports) <= most {
		return nil
	}
	// The last one stays, and of a publisher the first.
	between := r.reports[len(r.reports)-2]
	for _, gone := range c.removeReports([]leavingReport{{*runs, key, between, leavesBetween}}) {
		return gone
	}
	return nil
}

func (r *runReports) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(r.reports, seq, func(r stayingReport, seq uint64) int { return cmp.Compare(r.seq, seq) })
}

// removeReports takes reports out, notes what they name as dropped, and returns
// them.
func (c *carriedReports) removeReports(leaving []leavingReport) (gone []*papyra.Record) {
	for _, l := range leaving {
		r := l.runs[l.key]
		if i, found := r.find(l.seq); found {
			r.reports = slices.Delete(r.reports, i, i+1)
		}
		if len(r.reports) == 0 {
			delete(l.runs, l.key)
		}
		if rec := c.noteDrops(l.line); rec != nil {
			gone = append(gone, rec)
		}
	}
	return gone
}

// noteDrops notes what a report names as dropped.
func (c *carriedReports) noteDrops(line []byte) *papyra.Record {
	rec := &papyra.Record{}
	if papyra.ParseInto(rec, line) != nil {
		return nil // it was parsed before
	}
	if string(rec.Type) == papyra.ReportSink {
		var p papyra.SinkReport
		if json.Unmarshal(rec.Payload, &p) == nil {
			c.addSinkDrops(p.Dropped)
		}
		return rec
	}
	if string(rec.Type) != papyra.ReportPublisher {
		return rec
	}
	var p papyra.PublisherReport
	if json.Unmarshal(rec.Payload, &p) == nil {
		for category, counts := range p.Categories {
			for reason, d := range counts.Dropped {
				if d != nil && len(d.Ranges) > 0 {
					// What is not named is in the sums of later reports too.
					c.dropsOf(dropsKey{reason, "", string(rec.System), category, string(rec.Run)}).ranges.Add(d.Ranges...)
				}
			}
			for group, d := range counts.UnheardBy {
				if d != nil && len(d.Ranges) > 0 {
					c.dropsOf(dropsKey{papyra.DropUnheardBy, group, string(rec.System), category, string(rec.Run)}).ranges.Add(d.Ranges...)
				}
			}
		}
	}
	return rec
}

// addSinkDrops takes what sinks, or rotations before, said of drops.
func (c *carriedReports) addSinkDrops(drops []papyra.SinkDrops) {
	for _, s := range drops {
		if s.Run == "" {
			continue // records without a number
		}
		d := c.dropsOf(dropsKey{s.Reason, s.Group, s.System, s.Category, s.Run})
		d.ranges.Add(s.Ranges...)
		if named := numset.CountRanges(s.Ranges); s.N > named {
			d.addUnnamed(s.N-named, s.Others)
		}
	}
}

// limitReports makes what stays fit into so many bytes, and returns the records
// that go. Whoever is younger stays: first the sinks, then the last reports of
// publishers. Of their first ones the oldest stay: they tell what runs had done
// before the store's group began, which younger runs did not see.
func (c *carriedReports) limitReports(bytes int64) []*papyra.Record {
	return c.removeReports(c.reportsOverLimit(bytes))
}

func (c *carriedReports) reportsOverLimit(bytes int64) (leaving []leavingReport) {
	// stays takes the room of a report, if there is enough.
	stays := func(r stayingReport) bool {
		need := int64(len(r.line)) + 1
		if need > bytes {
			return false
		}
		bytes -= need
		return true
	}
	for n, key := range c.starts.newestFirst() {
		report := c.starts[key].reports[0]
		switch {
		case n > 0:
			leaving = append(leaving, leavingReport{c.starts, key, report, leavesOldRun})
		case !stays(report):
			leaving = append(leaving, leavingReport{c.starts, key, report, leavesNoRoom})
		}
	}
	sinks := c.sinks.newestFirst()
	if len(sinks) > maxSinks { // the oldest one takes the last place
		oldest := sinks[len(sinks)-1]
		sinks = slices.Insert(sinks[:len(sinks)-1], maxSinks-1, oldest)
	}
	for n, key := range sinks {
		report := c.sinks[key].reports[0]
		switch {
		case n >= maxSinks:
			leaving = append(leaving, leavingReport{c.sinks, key, report, leavesOldRun})
		case !stays(report):
			leaving = append(leaving, leavingReport{c.sinks, key, report, leavesNoRoom})
		}
	}
	var twoReports []reporterKey // of whose first one nothing is decided yet
	for n, key := range c.publishers.newestFirst() {
		reports := c.publishers[key].reports
		why := leavesOldRun
		if n < maxPublishers {
			if stays(reports[len(reports)-1]) {
				if len(reports) > 1 {
					twoReports = append(twoReports, key)
				}
				continue
			}
			why = leavesNoRoom
		}
		for _, report := range reports {
			leaving = append(leaving, leavingReport{c.publishers, key, report, why})
		}
	}
	for _, key := range slices.Backward(twoReports) {
		if first := c.publishers[key].reports[0]; !stays(first) {
			leaving = append(leaving, leavingReport{c.publishers, key, first, leavesNoRoom})
		}
	}
	return leaving
}

// newestFirst returns the runs by the time of their newest report.
func (runs reportsByRun) newestFirst() []reporterKey {
	return slices.SortedFunc(maps.Keys(runs), func(a, b reporterKey) int {
		return cmp.Or(cmp.Compare(runs[b].time, runs[a].time), cmp.Compare(a.run, b.run), cmp.Compare(a.system, b.system))
	})
}

// pruneReports removes what is about runs of publishers that keep does not want.
func (c *carriedReports) pruneReports(keep func(run string) bool) []*papyra.Record {
	var leaving []leavingReport
	for key, r := range c.publishers {
		if !keep(key.run) {
			for _, report := range r.reports {
				leaving = append(leaving, leavingReport{c.publishers, key, report, leavesRunIsOut})
			}
		}
	}
	gone := c.removeReports(leaving)
	maps.DeleteFunc(c.drops, func(key dropsKey, _ *carriedDrops) bool { return !keep(key.run) })
	return gone
}

// countRuns returns how many runs of publishers are named, some of them twice.
func (c *carriedReports) countRuns() int { return len(c.publishers) + len(c.drops) }

// stayingLines returns the reports that stay, each with its newline, the oldest
// first.
func (c *carriedReports) stayingLines() (lines [][]byte) {
	for _, runs := range []reportsByRun{c.starts, c.sinks, c.publishers} {
		keys := runs.newestFirst()
		slices.Reverse(keys)
		for _, key := range keys {
			for _, report := range runs[key].reports {
				lines = append(lines, append(slices.Clone(report.line), '\n'))
			}
		}
	}
	return lines
}
