package admin

import (
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// statsArgs are the arguments of VerbStats.
type statsArgs struct {
	Publishers bool `json:"publishers,omitempty"` // the runs of publishers too
}

// PublisherRun is what a sink heard last of one run of a publisher.
type PublisherRun struct {
	System     string                    `json:"system"`
	Node       string                    `json:"node"`
	Run        string                    `json:"run"`
	Seq        uint64                    `json:"seq"` // of the report; of several sinks the highest is the newest
	Age        float64                   `json:"age"` // seconds since the report came
	Final      bool                      `json:"final"`
	Uptime     float64                   `json:"uptime"`
	Categories map[string]PublisherStats `json:"categories"`
}

// PublisherStats are the counts of one category of a run; see papyra.PublisherCategory.
type PublisherStats struct {
	Accepted    uint64            `json:"accepted"`
	Confirmed   uint64            `json:"confirmed"`
	Buffered    uint64            `json:"buffered"`
	Unconfirmed uint64            `json:"unconfirmed,omitempty"`
	Held        string            `json:"held,omitempty"`
	Dropped     map[string]uint64 `json:"dropped,omitempty"`
	ConfirmedBy map[string]uint64 `json:"confirmed_by,omitempty"`
	UnheardBy   map[string]uint64 `json:"unheard_by,omitempty"`
}

func publisherRuns(list []sink.PublisherRun, now time.Time) []PublisherRun {
	out := make([]PublisherRun, 0, len(list))
	for i := range list {
		r := &list[i]
		run := PublisherRun{
			System: r.System, Node: r.Node, Run: r.Run, Seq: r.Seq, Age: max(now.Sub(r.Heard).Seconds(), 0),
			Final: r.Report.Final, Uptime: r.Report.Uptime, Categories: map[string]PublisherStats{},
		}
		for _, kind := range papyra.Kinds() {
			if c, ok := r.Report.Categories[kind.Category()]; ok {
				run.Categories[kind.Category()] = publisherStats(&c)
			}
		}
		out = append(out, run)
	}
	return out
}

func publisherStats(c *papyra.PublisherCategory) PublisherStats {
	return PublisherStats{
		Accepted: c.Accepted, Confirmed: c.Confirmed, Buffered: c.Buffered, Unconfirmed: c.Unconfirmed, Held: clip(c.Held, 64),
		Dropped: numbersOf(c.Dropped), ConfirmedBy: c.ConfirmedBy, UnheardBy: numbersOf(c.UnheardBy),
	}
}

// numbersOf returns how many were dropped, by reason or group.
func numbersOf[K ~string](drops map[K]*papyra.Drops) map[string]uint64 {
	var out map[string]uint64
	for name, d := range drops {
		if d != nil && d.N > 0 {
			if out == nil {
				out = map[string]uint64{}
			}
			out[string(name)] = d.N
		}
	}
	return out
}
