package main

import (
	"fmt"
	"strings"

	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/account"
)

// absentPlace says whose a store is that was not given, and where: "a2 (host eu-2,
// json:/var/lib/papyra/records.ndjson)".
func absentPlace(a *account.Absent) string {
	var place []string
	if a.Host != "" {
		place = append(place, "host "+a.Host)
	}
	if a.URL != "" {
		place = append(place, a.URL)
	}
	if len(place) == 0 {
		return a.Instance
	}
	return a.Instance + " (" + strings.Join(place, ", ") + ")"
}

// causeTexts say in half a line what probably happened.
var causeTexts = map[account.Cause]string{
	account.CauseUnconfirmed:   "handed over when the publisher closed, and never confirmed",
	account.CauseProcessEnd:    "the process ended without a word",
	account.CauseDisconnection: "the publisher lost its broker: what that had queued is gone",
	account.CauseNoSink:        "no sink of the group ran",
	account.CauseStoreForgot:   "the store forgot what it held",
	account.CauseSinkLost:      "a sink's client threw messages away",
	account.CauseSinkStopped:   "a sink ended without a word",
	account.CauseSinkCut:       "a sink lost its broker",
	account.CauseStoreNotGiven: "perhaps in a store of the group that was not given",
	account.CauseQuarantined:   "perhaps moved away as damaged by a recovery",
	account.CauseDamage:        "perhaps in damaged lines of a store: scan it",
	account.CauseReportsLost:   "the reports that might say it are missing too",
	account.CauseUnknown:       "nothing is known",
}

// showIncidents lists what probably happened to missing records.
func (c *call) showIncidents(r *account.Result) {
	if len(r.Incidents) == 0 {
		return
	}
	s := c.out
	s.printf("\n")
	g := newGrid(s, column{title: "PROBABLY"}, column{title: "FROM (UTC)"}, column{title: "TO (UTC)"}, column{title: "RUNS", right: true},
		column{title: "RANGES", right: true}, column{title: "MISSING", right: true}, column{title: "WHICH RUNS, AND WHAT HAPPENED", cut: true})
	elsewhere := map[string]uint64{}
	var stores []string
	for i := range r.Incidents {
		in := &r.Incidents[i]
		_ = g.addRow(string(in.Cause), human.Seconds(in.From), human.Seconds(in.To), human.Count(in.RunsTotal),
			human.Count(in.Gaps), human.Count(in.Missing), incidentWords(in)) // finish reports a failed write
		for _, e := range in.Elsewhere {
			place := fmt.Sprintf("%s (group %s)", e.Store, strings.Join(e.Groups, ", "))
			if elsewhere[place] == 0 {
				stores = append(stores, place)
			}
			elsewhere[place] += e.Records
		}
	}
	_ = g.writePage()
	if more := r.GapsTotal - min(r.GapsTotal, countGaps(r)); more > 0 {
		s.printf("and %s more ranges\n", human.Count(more))
	}
	for _, place := range stores {
		s.printf("held elsewhere: %s of the missing %s in %s\n", human.Count(elsewhere[place]), isAre(elsewhere[place]), place)
	}
}

func isAre(n uint64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// countGaps returns how many ranges the incidents hold.
func countGaps(r *account.Result) (n uint64) {
	for i := range r.Incidents {
		n += r.Incidents[i].Gaps
	}
	return n
}

// incidentWords says of an incident which runs it concerns, what happened, and what
// else may have: "orders eu-1 k3f9…, and 5 more runs: no sink of the group ran; perhaps
// also damage".
func incidentWords(in *account.Incident) string {
	first := in.Runs[0]
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s %s", orDash(first.System), orDash(first.Node), first.Run)
	if more := in.RunsTotal - 1; more > 0 {
		text.WriteString(", and " + human.Plural(int64(more), "more run", "more runs"))
	}
	text.WriteString(": " + causeTexts[in.Cause])
	for i, cause := range in.Causes[1:] {
		if i == 0 {
			text.WriteString("; perhaps also ")
		} else {
			text.WriteString(", ")
		}
		text.WriteString(string(cause))
	}
	for _, e := range in.Elsewhere {
		fmt.Fprintf(&text, "; %s in %s", human.Count(e.Records), e.Store)
	}
	return text.String()
}
