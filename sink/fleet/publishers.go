package fleet

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/papyra/papyra/sink/admin"
)

// The states of a row of a publisher, beside StateSilent.
const (
	StateRunning = "running"
	StateEnded   = "ended" // its last report says so
)

// How long ago something was heard of a run, in seconds.
const (
	// silentAfter: a publisher reports at least every minute, and two reports may be
	// late or lost.
	silentAfter = 150
	// endedFor and silentFor are how long a run is shown that has ended, or is silent.
	endedFor  = 600
	silentFor = 3600
)

// PublisherRow is one run of a publisher that a sink has heard of lately. Its counts are
// of all categories, since the start of the run, as its last report says.
type PublisherRow struct {
	System string  `json:"system"`
	Node   string  `json:"node"`
	Run    string  `json:"run"`
	State  string  `json:"state"`
	Age    float64 `json:"age"`    // seconds since its last report came
	Uptime float64 `json:"uptime"` // seconds, at its last report

	Accepted    uint64            `json:"accepted"`
	Confirmed   uint64            `json:"confirmed"`
	Buffered    uint64            `json:"buffered"`
	Unconfirmed uint64            `json:"unconfirmed"`  // left with unknown fate, of a run that has ended
	ConfirmedBy map[string]uint64 `json:"confirmed_by"` // by group of sinks
	UnheardBy   map[string]uint64 `json:"unheard_by"`   // given up for that group
	Dropped     map[string]uint64 `json:"dropped"`      // by reason
	Held        []Hold            `json:"held"`         // why records wait
}

// Hold says why the records of a category wait.
type Hold struct {
	Category string `json:"category"`
	Reason   string `json:"reason"`          // "unheard", "unanswered", "denied", or "group"
	Group    string `json:"group,omitempty"` // which has answered for fewer than another one
}

// HoldGroup says that one group of sinks has not answered for what another one has.
const HoldGroup = "group"

// PublisherRows returns a row for each run, by system, node and run. Of what several
// sinks heard of one the newest holds. forgotten is how many more the sinks have heard
// of than they can remember; one may be counted more than once.
func PublisherRows(answers []Answer) (rows []PublisherRow, forgotten uint64) {
	type name struct{ system, run string }
	newest := map[name]*admin.PublisherRun{}
	for i := range answers {
		if answers[i].Stats == nil {
			continue
		}
		forgotten += answers[i].Stats.RunsForgotten
		for j := range answers[i].Stats.Publishers {
			p := &answers[i].Stats.Publishers[j]
			old := newest[name{p.System, p.Run}]
			if old == nil || p.Seq > old.Seq || p.Seq == old.Seq && p.Age < old.Age {
				newest[name{p.System, p.Run}] = p
			}
		}
	}
	rows = []PublisherRow{}
	for _, p := range newest {
		if row := publisherRow(p); row.Age <= endedFor || row.State != StateEnded && row.Age <= silentFor {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b PublisherRow) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Run, b.Run))
	})
	return rows, forgotten
}

func publisherRow(p *admin.PublisherRun) PublisherRow {
	row := PublisherRow{
		System: p.System, Node: p.Node, Run: p.Run, State: StateRunning, Age: p.Age, Uptime: p.Uptime,
		ConfirmedBy: map[string]uint64{}, UnheardBy: map[string]uint64{}, Dropped: map[string]uint64{}, Held: []Hold{},
	}
	switch {
	case p.Final:
		row.State = StateEnded
	case p.Age > silentAfter:
		row.State = StateSilent
	}
	for _, category := range slices.Sorted(maps.Keys(p.Categories)) {
		c := p.Categories[category]
		row.Accepted += c.Accepted
		row.Confirmed += c.Confirmed
		row.Buffered += c.Buffered
		row.Unconfirmed += c.Unconfirmed
		addTo(row.ConfirmedBy, c.ConfirmedBy)
		addTo(row.UnheardBy, c.UnheardBy)
		addTo(row.Dropped, c.Dropped)
		if c.Held != "" {
			row.Held = append(row.Held, Hold{Category: category, Reason: c.Held})
		}
		for _, group := range behind(&c) {
			row.Held = append(row.Held, Hold{Category: category, Reason: HoldGroup, Group: group})
		}
	}
	return row
}

// behind returns the groups for which records wait: others have answered for more, by
// half of what waits at least.
func behind(c *admin.PublisherStats) (groups []string) {
	if c.Buffered == 0 {
		return nil
	}
	answered := maps.Clone(c.UnheardBy)
	if answered == nil {
		answered = map[string]uint64{}
	}
	addTo(answered, c.ConfirmedBy)
	most := uint64(0)
	for _, n := range answered {
		most = max(most, n)
	}
	for _, group := range slices.Sorted(maps.Keys(answered)) {
		if left := most - answered[group]; left > 0 && left >= c.Buffered/2 {
			groups = append(groups, group)
		}
	}
	return groups
}

func addTo(sums, more map[string]uint64) {
	for name, n := range more {
		sums[name] += n
	}
}

// AddMissingGroups adds a row for each group for which running publishers wait and of
// which no sink is known.
func AddMissingGroups(sinks []SinkRow, publishers []PublisherRow) []SinkRow {
	for i := range publishers {
		if publishers[i].State != StateRunning {
			continue
		}
		for _, h := range publishers[i].Held {
			if h.Group == "" || slices.ContainsFunc(sinks, func(r SinkRow) bool { return r.Group == h.Group }) {
				continue
			}
			sinks = append(sinks, SinkRow{Group: h.Group, State: StateSilent, Why: "publishers wait for this group, and no sink of it is known"})
		}
	}
	sortSinks(sinks)
	return sinks
}

// String says why records wait: "events: denied", "events: group live has not answered".
func (h Hold) String() string {
	if h.Group != "" {
		return h.Category + ": group " + h.Group + " has not answered"
	}
	return h.Category + ": " + strings.TrimSpace(h.Reason)
}
