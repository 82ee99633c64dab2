package account

import (
	"cmp"
	"math"
	"slices"

	"github.com/papyra/papyra"
)

// Incident is what probably happened once, with all gaps that it explains: those of
// one most probable cause whose times overlap or follow each other within a minute.
type Incident struct {
	Cause  Cause   `json:"cause"`          // the most probable one
	Causes []Cause `json:"causes"`         // all that are known of any of its gaps, Cause first
	From   float64 `json:"from,omitempty"` // Unix seconds; 0 is not known
	To     float64 `json:"to,omitempty"`   // likewise, or it lasts

	Runs      []IncidentRun `json:"runs"` // in the order of the gaps, at most 100
	RunsTotal uint64        `json:"runs_total"`
	Gaps      uint64        `json:"gaps"`    // ranges
	Missing   uint64        `json:"missing"` // numbers

	// Elsewhere are the stores of other groups that were given and hold some of these
	// records.
	Elsewhere []Elsewhere `json:"elsewhere,omitempty"`
}

// IncidentRun is a run that misses records.
type IncidentRun struct {
	System string `json:"system"`
	Node   string `json:"node"`
	Run    string `json:"run"`
}

// Elsewhere is a store of another group that holds missing records.
type Elsewhere struct {
	Store   string   `json:"store"` // its name
	Groups  []string `json:"groups"`
	Records uint64   `json:"records"`
}

const (
	// incidentPause is the longest time, in microseconds, between two gaps of one
	// incident.
	incidentPause = 60 * 1e6
	// maxIncidentRuns bounds the runs that an incident names.
	maxIncidentRuns = 100
)

// timedGap is a gap with the time to which it belongs, in microseconds. from is
// MinInt64 where nothing is known.
type timedGap struct {
	*Gap
	from, to int64
}

// timeGap returns a gap with the time of what probably happened; where that has none
// of its own, the time is that between the stored neighbours.
func timeGap(g *Gap) timedGap {
	from, to := g.After, g.Before
	switch g.Causes[0] {
	case CauseDisconnection:
		from, to = g.Outages[0].From, g.Outages[len(g.Outages)-1].To
	case CauseNoSink:
		from, to = g.Downtimes[0].From, g.Downtimes[len(g.Downtimes)-1].To
	case CauseStoreForgot:
		to = g.Rollbacks[len(g.Rollbacks)-1].At
	}
	t := timedGap{g, int64(from * 1e6), int64(to * 1e6)}
	switch {
	case from == 0 && to == 0:
		t.from, t.to = math.MinInt64, math.MinInt64
	case from == 0:
		t.from = t.to
	case to == 0:
		t.to = math.MaxInt64
	}
	return t
}

// findIncidents puts gaps together by what probably happened.
func (j *judgement) findIncidents(gaps []Gap) []Incident {
	list := make([]timedGap, len(gaps))
	for i := range gaps {
		list[i] = timeGap(&gaps[i])
	}
	slices.SortStableFunc(list, func(a, b timedGap) int {
		return cmp.Or(cmp.Compare(a.Causes[0], b.Causes[0]), cmp.Compare(a.from, b.from))
	})
	others := j.otherStores()
	incidents := []Incident{}
	for len(list) > 0 {
		n, to := 1, list[0].to
		for n < len(list) && list[n].Causes[0] == list[0].Causes[0] && follows(list[n].from, to) {
			to = max(to, list[n].to)
			n++
		}
		incidents = append(incidents, newIncident(list[:n], to, others))
		list = list[n:]
	}
	slices.SortStableFunc(incidents, func(a, b Incident) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(b.Missing, a.Missing))
	})
	return incidents
}

// follows reports whether what begins at from belongs to what goes on until to.
func follows(from, to int64) bool {
	if from == math.MinInt64 || to == math.MinInt64 {
		return from == to
	}
	return to > math.MaxInt64-incidentPause || from <= to+incidentPause
}

// newIncident adds gaps up.
func newIncident(gaps []timedGap, to int64, others []*otherStore) Incident {
	in := Incident{Cause: gaps[0].Causes[0], From: seconds(gaps[0].from), To: seconds(to), Gaps: uint64(len(gaps))}
	runs := map[IncidentRun]bool{}
	// Of a stretch of which only some numbers are missing each hole is a gap.
	stretches := map[stretch]bool{}
	held := make([]uint64, len(others))
	for _, g := range gaps {
		for _, cause := range g.Causes {
			if !slices.Contains(in.Causes, cause) {
				in.Causes = append(in.Causes, cause)
			}
		}
		run := IncidentRun{g.System, g.Node, g.Run}
		if !runs[run] {
			runs[run] = true
			in.Runs = append(in.Runs, run)
		}
		switch s := (stretch{g.System, g.Run, g.Category, g.Missing, g.Of}); {
		case !g.Partly:
			in.Missing = sumOf(in.Missing, g.Count)
		case !stretches[s]:
			stretches[s] = true
			in.Missing = sumOf(in.Missing, g.Missing)
		}
		for i, o := range others {
			held[i] = sumOf(held[i], o.count(g.Gap))
		}
	}
	in.RunsTotal = uint64(len(in.Runs))
	in.Runs = in.Runs[:min(len(in.Runs), maxIncidentRuns)]
	for i, o := range others {
		if held[i] > 0 {
			in.Elsewhere = append(in.Elsewhere, Elsewhere{o.name, o.groups, held[i]})
		}
	}
	return in
}

// stretch is a part of a series of which it is not known which numbers are missing.
type stretch struct {
	system, run, category string
	missing, of           uint64
}

// otherStore is a store of another group.
type otherStore struct {
	*book
	name   string
	groups []string
}

// otherStores returns the stores that were given and are not judged.
func (j *judgement) otherStores() (list []*otherStore) {
	for i, b := range j.a.books {
		if !b.chosen {
			list = append(list, &otherStore{b, j.l.stores[i].Name, j.l.stores[i].Groups})
		}
	}
	return list
}

// count returns how many numbers of a gap the store holds.
func (o *otherStore) count(g *Gap) uint64 {
	r := o.systems[g.System][g.Run]
	if r == nil {
		return 0
	}
	s := r.series[papyra.ParseCategory(g.Category)]
	if s == nil {
		return 0
	}
	s.settle()
	return s.stored.Set().CountBetween(g.First-1, g.Last)
}
