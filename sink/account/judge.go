package account

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// maxCompared bounds the repeated numbers whose copies are compared, at four
// bytes each. Beyond it repeated numbers count as duplicates, and a note says
// so: a store that was given together with its own copy repeats everything.
const maxCompared = 64 << 20

// judgement is the balance of all series, and what a second reading adds.
type judgement struct {
	a        *Account
	l        *ledger
	runs     []*judgedRun
	byKey    map[runKey]*judgedRun
	gaps     uint64 // in all
	compared uint64
	again    bool // the second reading was made
	replaced uint64
	notes    []string
}

type judgedRun struct {
	*run
	state  RunState
	series [papyra.KindCount]*judgedSeries
}

type judgedSeries struct {
	*series
	tally
	gaps     []Gap
	versions *versions
	times    map[uint64]int64 // of the neighbours of gaps; 0 until they are met
}

func newJudgement(a *Account, l *ledger) *judgement {
	j := &judgement{a: a, l: l, byKey: map[runKey]*judgedRun{}, notes: []string{}}
	l.enterRemovals()
	l.enterSpools()
	for r := range l.runs {
		if a.outsideWindow(r) || a.only != "" && r.key.system != a.only {
			continue
		}
		jr := &judgedRun{run: r, state: j.runState(r)}
		for kind, s := range r.series {
			if s == nil || s.highest <= s.base {
				continue
			}
			removed := l.removedOf(r, papyra.Kind(kind))
			bounds := l.boundsOf(r, removed, papyra.Kind(kind), jr.state == RunOpen)
			js := &judgedSeries{series: s, tally: balance(s, removed, bounds)}
			js.counts.Late = l.lateOf(r, papyra.Kind(kind), bounds.before, &js.tally)
			jr.series[kind] = js
		}
		if jr.series != [papyra.KindCount]*judgedSeries{} {
			j.runs = append(j.runs, jr)
			j.byKey[r.key] = jr
		}
	}
	slices.SortFunc(j.runs, func(a, b *judgedRun) int {
		return cmp.Or(cmp.Compare(a.key.system, b.key.system), cmp.Compare(a.node, b.node),
			cmp.Compare(a.first, b.first), cmp.Compare(a.key.run, b.key.run))
	})
	return j
}

// outsideWindow reports whether all that a run said was before the window.
func (a *Account) outsideWindow(r *run) bool {
	return a.beforeWindow(r.first) && a.beforeWindow(r.last)
}

// beforeWindow reports whether a time is a date before the window.
func (a *Account) beforeWindow(at int64) bool { return at >= papyra.MinDate*1e6 && at < a.since }

// runState says what is known of the end of a run.
func (j *judgement) runState(r *run) RunState {
	at := j.a.o.At
	switch {
	case r.final:
		return RunClosed
	case r.gone:
		return RunGone
	case r.key.system == papyra.SystemReserved && j.l.sinks[r.key.run] == nil:
		return RunAct
	case !at.IsZero() && r.last != math.MinInt64 && r.last >= at.Add(-silence).UnixMicro():
		return RunOpen
	}
	return RunEnded
}

// prepareSecond prepares for a second reading and says what it needs.
func (j *judgement) prepareSecond() (q papyra.Query, again bool) {
	nodes := map[string]bool{}
	kinds := map[papyra.Kind]bool{}
	for _, r := range j.runs {
		for kind, s := range r.series {
			if s == nil {
				continue
			}
			j.countCopies(s)
			if j.a.o.Gaps {
				j.listGaps(r, papyra.Kind(kind), s)
			}
			if s.versions != nil || len(s.times) > 0 {
				nodes[r.node], kinds[papyra.Kind(kind)] = true, true
			}
		}
	}
	if len(kinds) == 0 {
		return papyra.Query{}, false
	}
	q = papyra.Query{Duplicates: true}
	if j.a.only != "" {
		q.Systems = []string{j.a.only}
	}
	for _, k := range papyra.Kinds() {
		if kinds[k] {
			q.Kinds = append(q.Kinds, k)
		}
	}
	// A long list of nodes costs the stores more than it saves.
	if len(nodes) <= 16 {
		for node := range nodes {
			q.Nodes = append(q.Nodes, node)
		}
		slices.Sort(q.Nodes)
	}
	return q, true
}

// countCopies counts the copies of a series, and prepares to compare them.
func (j *judgement) countCopies(s *judgedSeries) {
	repeated := s.stored.Repeated()
	if repeated.IsEmpty() {
		return
	}
	s.counts.Duplicates = s.stored.Added() - s.stored.Set().Count()
	n := repeated.Count()
	if j.compared+n > maxCompared {
		j.notes = append(j.notes, "too many records lie in the stores twice to be compared: some that are called duplicates may be conflicts")
		return
	}
	j.compared += n
	s.versions = newVersions(repeated)
}

// revisit looks at a record of the second reading.
func (j *judgement) revisit(rec *papyra.Record) {
	j.again = true
	r := j.byKey[runKey{string(rec.System), string(rec.Run)}]
	if r == nil || rec.Kind == papyra.KindUnknown {
		return
	}
	s := r.series[rec.Kind]
	if s == nil {
		return
	}
	if t, ok := s.times[rec.Seq]; ok && t == 0 {
		s.times[rec.Seq] = rec.Time
	}
	if s.versions != nil && rec.Seq > s.base {
		s.versions.seeCopy(rec.Seq, maphash.Bytes(j.a.seed, rec.Canonical()))
	}
}

// versions tells exact copies of records from conflicts.
type versions struct {
	of    *numset.Set
	first []uint32            // hash of the first copy of each number, by its rank; 0 for none yet
	more  map[uint64][]uint32 // other versions, by number

	exact, conflicts uint64
}

func newVersions(repeated *numset.Set) *versions {
	return &versions{of: repeated, first: make([]uint32, repeated.Count()), more: map[uint64][]uint32{}}
}

// seeCopy looks at a copy of a record.
func (v *versions) seeCopy(seq, hash uint64) {
	if !v.of.Contains(seq) {
		return
	}
	h := uint32(hash) | 1 // 31 bits tell two versions apart; 0 means none
	first := &v.first[v.of.Position(seq)]
	switch {
	case *first == 0:
		*first = h
	case *first == h || slices.Contains(v.more[seq], h):
		v.exact++
	default:
		v.conflicts++
		v.more[seq] = append(v.more[seq], h)
	}
}

func (j *judgement) result() *Result {
	r := &Result{
		Group: j.l.group, Verdict: Balanced, Runs: []Run{}, Gaps: []Gap{}, Incidents: []Incident{},
		Stores: j.l.stores, Absent: j.l.absent, GapsTotal: j.gaps,
		System: j.a.only, Settle: max(j.a.o.Settle, 0).Seconds(), At: unix(j.a.o.At), Since: unix(j.a.o.Since),
	}
	r.Total.addCounts(&Counts{})
	for _, jr := range j.runs {
		run := Run{
			System: jr.key.system, Node: jr.node, Run: jr.key.run, State: jr.state, Reports: jr.reports,
			Started: seconds(min(jr.started, jr.first)), Last: seconds(jr.last),
		}
		for kind, s := range jr.series {
			if s == nil {
				continue
			}
			run.Categories = append(run.Categories, j.category(s, papyra.Kind(kind), jr.latest))
			c := &run.Categories[len(run.Categories)-1].Counts
			r.Total.addCounts(c)
			switch {
			case c.Missing > 0:
				r.Verdict = Missing
			case c.Late > 0 && r.Verdict == Balanced:
				r.Verdict = StartsLate
			}
		}
		r.Runs = append(r.Runs, run)
	}
	j.explainGaps(r)
	r.Incidents = j.findIncidents(r.Gaps)
	if r.UnreadMessages > 0 {
		r.Verdict = Missing
	}
	r.TooLarge, r.TooLargeTotal = j.a.closedSystems()
	r.TooManySystems = j.a.more
	if r.TooLargeTotal > 0 || r.TooManySystems || len(r.Absent) > 0 || slices.ContainsFunc(r.Stores, func(s Store) bool { return s.Judged && s.Incomplete }) {
		r.Verdict = Incomplete
	}
	r.Unjudged = j.l.unjudged()
	r.Doubts, r.DoubtsTotal = j.l.doubts.list()
	r.Unended = j.l.unended
	r.Spools = j.l.listSpools()
	r.Notes = j.allNotes()
	return r
}

func (j *judgement) category(s *judgedSeries, kind papyra.Kind, latest *reportFacts) Category {
	c := Category{Category: kind.Category(), First: s.base + 1, Highest: s.highest}
	c.addCounts(&s.counts)
	if v := s.versions; v != nil && j.again {
		c.Duplicates, c.Conflicts = v.exact, v.conflicts
	}
	if latest != nil {
		p := latest.of(kind)
		c.Reported = &Reported{
			At: seconds(latest.at), Accepted: p.accepted, Confirmed: p.confirmed,
			Resent: p.resent, Buffered: p.buffered, Unconfirmed: p.unconfirmed,
			PayloadReplaced: p.replaced,
		}
		j.replaced = sumOf(j.replaced, p.replaced)
	}
	return c
}

// allNotes says what a reader of the account should know beside the numbers.
func (j *judgement) allNotes() []string {
	notes := j.notes
	if len(j.l.takers) == 0 {
		notes = append(notes, "no store holds a report of a sink: the group and its filters are not known, so that nothing counts as filtered")
	}
	if j.replaced > 0 {
		notes = append(notes, fmt.Sprintf("payloads that their publisher could not encode: %d; payload_error stands in their place and says why", j.replaced))
	}
	for i := range j.l.unended {
		notes = append(notes, j.l.unended[i].String())
	}
	seen := map[string]string{}
	for _, s := range j.l.stores {
		for _, id := range s.IDs {
			if other, ok := seen[id]; ok && s.Judged {
				notes = append(notes, other+" and "+s.Name+" are one store or copies of it: each record in both counts as a duplicate")
			}
			seen[id] = s.Name
		}
	}
	return notes
}

// seconds is microseconds as reports show them; 0 for a time that is not known.
func seconds(micros int64) float64 {
	if micros == math.MaxInt64 || micros == math.MinInt64 {
		return 0
	}
	return float64(micros) / 1e6
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return seconds(t.UnixMicro())
}
