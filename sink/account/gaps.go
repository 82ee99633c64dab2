package account

import (
	"cmp"
	"math"
	"slices"

	"github.com/papyra/papyra"
)

// listGaps lists the missing ranges of a series while the list has room, counts
// them all, and asks for the times of their neighbours.
func (j *judgement) listGaps(r *judgedRun, kind papyra.Kind, s *judgedSeries) {
	before := Gap{}
	for _, sp := range s.missing {
		partly := sp.absent < sp.holes
		s.known.Holes(sp.low, sp.high, func(first, last uint64) bool {
			// assignHoles cuts a series into pieces. Two that meet are one gap.
			if !partly && !before.Partly && before.Last > 0 && before.Last+1 == first {
				before.Last, before.Count = last, last-before.First+1
				if n := len(s.gaps); n > 0 && s.gaps[n-1].First == before.First {
					s.gaps[n-1] = before
				}
				return true
			}
			j.gaps++
			before = Gap{
				System: r.key.system, Node: r.node, Run: r.key.run, Category: kind.Category(),
				First: first, Last: last, Count: last - first + 1, Causes: []Cause{},
			}
			if partly {
				before.Partly, before.Missing, before.Of = true, sp.absent, sp.holes
			}
			if j.gaps <= uint64(j.a.o.MaxGaps) {
				s.gaps = append(s.gaps, before)
			}
			return true
		})
	}
	if len(s.gaps) > 0 {
		s.times = map[uint64]int64{}
	}
	for _, g := range s.gaps {
		below, above := s.stored.Set().Neighbours(g.First)
		for _, n := range []uint64{below, above} {
			if n > 0 {
				s.times[n] = 0
			}
		}
	}
}

// explainGaps adds the gaps to a result, with the times that the second reading
// found and what happened meanwhile.
func (j *judgement) explainGaps(r *Result) {
	starts, downtimes := j.l.sinkStarts(), j.l.downtimes()
	for _, s := range j.l.sinks {
		if s.group == j.l.group {
			r.LostMessages += s.lost
			if s.last >= j.a.since {
				r.UnreadMessages += s.unread
			}
		}
	}
	for _, run := range j.runs {
		run.mergeOutages()
		for _, s := range run.series {
			if s == nil {
				continue
			}
			for _, g := range s.gaps {
				below, above := s.stored.Set().Neighbours(g.First)
				from, to := run.firstTime(), int64(math.MaxInt64)
				if t := s.times[below]; t != 0 {
					from, g.After = t, seconds(t)
				}
				if t := s.times[above]; t != 0 {
					to, g.Before = t, seconds(t)
				} else if above == 0 {
					to = run.endTime()
				}
				g.Downtimes = overlap(downtimes, from, max(from, min(to, run.takenBy(&g))))
				j.findCauses(&g, run, from, max(from, to), above == 0, starts)
				r.Gaps = append(r.Gaps, g)
			}
		}
	}
}

// firstTime is when a run began, as far as is known.
func (r *judgedRun) firstTime() int64 {
	if t := min(r.started, r.first); t != math.MaxInt64 {
		return t
	}
	return math.MinInt64
}

// takenBy is when all numbers of a gap had been taken by the last report of the
// publisher.
func (r *judgedRun) takenBy(g *Gap) int64 {
	if last := r.latest.of(papyra.ParseCategory(g.Category)); r.latest != nil && last.accepted >= g.Last {
		return r.latest.at
	}
	return math.MaxInt64
}

// endTime is when a run was certainly over: its final report, or never.
func (r *judgedRun) endTime() int64 {
	if r.final && r.last != math.MinInt64 {
		return r.last
	}
	return math.MaxInt64
}

// findCauses says what is known to have happened while the records of a gap
// were taken and shortly after.
func (j *judgement) findCauses(g *Gap, r *judgedRun, from, to int64, tail bool, starts []int64) {
	add := func(c Cause, holds bool) {
		if holds {
			g.Causes = append(g.Causes, c)
		}
	}
	last := r.latest.of(papyra.ParseCategory(g.Category))
	add(CauseUnconfirmed, r.final && last.unconfirmed > 0 && tail)
	add(CauseProcessEnd, r.state == RunEnded && tail)
	g.Outages = overlap(r.outages, from, to)
	add(CauseDisconnection, len(g.Outages) > 0)
	add(CauseNoSink, len(g.Downtimes) > 0)
	g.Rollbacks = j.l.rollbacks(from)
	add(CauseStoreForgot, len(g.Rollbacks) > 0)
	var lost, stopped, cut bool
	for _, s := range j.l.sinks {
		if s.group != j.l.group {
			continue
		}
		lost = lost || s.roseBetween(from, to, func(m *sinkMark) uint64 { return m.lost })
		cut = cut || s.roseBetween(from, to, func(m *sinkMark) uint64 { return m.disconnects })
		// It ended between its last report and the next start of any sink.
		stopped = stopped || !s.stopped && s.last < to && s.nextStart(starts) > from && s.nextStart(starts) != math.MaxInt64
	}
	add(CauseSinkLost, lost)
	add(CauseSinkStopped, stopped)
	add(CauseSinkCut, cut)
	add(CauseStoreNotGiven, len(j.l.absent) > 0)
	g.Quarantines = j.l.quarantines(g, from)
	add(CauseQuarantined, len(g.Quarantines) > 0)
	add(CauseDamage, slices.ContainsFunc(j.l.stores, func(s Store) bool { return s.Judged && s.Damaged > 0 }))
	reports := r.series[papyra.KindReport]
	add(CauseReportsLost, reports != nil && reports.counts.Missing > 0 && g.Category != papyra.KindReport.Category())
	add(CauseUnknown, len(g.Causes) == 0)
}

// overlap returns those of a list that overlap the time from one moment to
// another.
func overlap(list []papyra.Outage, from, to int64) (out []papyra.Outage) {
	for _, o := range list {
		begin, end := int64(o.From*1e6), int64(o.To*1e6)
		if o.To == 0 {
			end = math.MaxInt64 // it lasted when it was last reported
		}
		if begin <= to && end >= from {
			out = append(out, o)
		}
	}
	return out
}

// quarantines returns the recoveries that may have moved the records of a gap:
// they came after its first record was taken, and moved at least as many lines as
// are missing.
func (l *ledger) quarantines(g *Gap, from int64) (out []Quarantine) {
	missing := g.Count
	if g.Partly {
		missing = min(g.Missing, g.Count)
	}
	for _, r := range l.recoveries {
		if r.at >= from && uint64(r.lines) >= missing {
			out = append(out, Quarantine{Act: r.act, At: seconds(r.at), Lines: r.lines})
		}
	}
	slices.SortFunc(out, func(a, b Quarantine) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Act, b.Act)) })
	return slices.Compact(out) // a store may be given with its copy
}

// rollbacks returns when the group's stores were found to have forgotten records,
// after a moment.
func (l *ledger) rollbacks(from int64) (out []papyra.Rollback) {
	for _, s := range l.sinks {
		for _, r := range s.rollbacks {
			if s.group == l.group && r.At >= float64(from)/1e6 {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(a, b papyra.Rollback) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Stored, b.Stored))
	})
	return out
}

// downtimes returns the times since the first sink of the group in which none
// ran, as far as the reports say. A sink that ended without a final report counts
// as running until its last report if a later start has its store or its name, and
// otherwise for ever.
func (l *ledger) downtimes() (out []papyra.Outage) {
	var runs []*sinkRun
	for _, s := range l.sinks {
		if s.group == l.group {
			runs = append(runs, s)
		}
	}
	slices.SortFunc(runs, func(a, b *sinkRun) int { return cmp.Compare(a.started, b.started) })
	up := int64(math.MaxInt64) // until when one ran
	for i, s := range runs {
		if i == 0 || s.started > up {
			if i > 0 {
				out = append(out, papyra.Outage{From: seconds(up), To: seconds(s.started)})
			}
			up = s.last
		}
		up = max(up, s.endTime(runs[i+1:]))
	}
	if up != math.MaxInt64 {
		out = append(out, papyra.Outage{From: seconds(up)})
	}
	return out
}

// endTime returns when a sink ended, given those that started later.
func (s *sinkRun) endTime(later []*sinkRun) int64 {
	if s.stopped || slices.ContainsFunc(later, func(o *sinkRun) bool {
		return o.started >= s.last && (o.instance == s.instance || o.store != "" && o.store == s.store)
	}) {
		return s.last
	}
	return math.MaxInt64
}

// mergeOutages makes one outage of each that was reported twice, first without
// its end.
func (r *run) mergeOutages() {
	slices.SortFunc(r.outages, func(a, b papyra.Outage) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(b.To, a.To))
	})
	r.outages = slices.CompactFunc(r.outages, func(a, b papyra.Outage) bool { return a.From == b.From })
}

// sinkMark is what a sink had counted at a time.
type sinkMark struct {
	at                int64
	lost, disconnects uint64
}

// addMark notes a report. Of reports that say the same only the first and the
// last are kept.
func (s *sinkRun) addMark(m sinkMark) {
	same := func(o sinkMark) bool { return o.lost == m.lost && o.disconnects == m.disconnects }
	if n := len(s.marks); n > 1 && same(s.marks[n-1]) && same(s.marks[n-2]) {
		s.marks = s.marks[:n-1]
	}
	s.marks = append(s.marks, m)
}

// roseBetween reports whether a counter of a sink rose between two times.
func (s *sinkRun) roseBetween(from, to int64, count func(*sinkMark) uint64) bool {
	var before sinkMark
	for i := range s.marks {
		m := &s.marks[i]
		if m.at >= from && count(m) > count(&before) && before.at <= to {
			return true
		}
		before = *m
	}
	return false
}

// sinkStarts returns when sinks of the group started, in order.
func (l *ledger) sinkStarts() (starts []int64) {
	for _, s := range l.sinks {
		if s.group == l.group {
			starts = append(starts, s.started)
			slices.SortFunc(s.marks, func(a, b sinkMark) int { return cmp.Compare(a.at, b.at) })
		}
	}
	slices.Sort(starts)
	return starts
}

// nextStart returns the first start after a sink's last report, or MaxInt64.
func (s *sinkRun) nextStart(starts []int64) int64 {
	if i, _ := slices.BinarySearch(starts, s.last); i < len(starts) {
		return starts[i]
	}
	return math.MaxInt64
}
