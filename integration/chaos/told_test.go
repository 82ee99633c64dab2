package chaos

import (
	"encoding/json"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// told is what the pipeline's own reports in the stores of a group say, read
// without the code that accounts for it.
type told struct {
	group   string
	dropped map[seriesKey]map[papyra.DropReason][]papyra.Range // by sinks, with numbers
	counts  map[string]map[papyra.DropReason]uint64            // by instance, with and without
	removed map[string]map[papyra.Kind][]papyra.Range          // by run
}

func newTold(group string) told {
	return told{
		group:   group,
		dropped: map[seriesKey]map[papyra.DropReason][]papyra.Range{},
		counts:  map[string]map[papyra.DropReason]uint64{},
		removed: map[string]map[papyra.Kind][]papyra.Range{},
	}
}

// add takes a report and says whether it could be read.
func (t *told) add(rec *papyra.Record) bool {
	switch string(rec.Type) {
	case papyra.ReportSink:
		var r papyra.SinkReport
		if json.Unmarshal(rec.Payload, &r) != nil {
			return false
		}
		for _, d := range r.Dropped {
			of := t.counts[string(rec.Node)]
			if of == nil {
				of = map[papyra.DropReason]uint64{}
				t.counts[string(rec.Node)] = of
			}
			of[d.Reason] += d.N
			key := seriesKey{d.System, d.Run, papyra.ParseCategory(d.Category)}
			if t.dropped[key] == nil {
				t.dropped[key] = map[papyra.DropReason][]papyra.Range{}
			}
			t.dropped[key][d.Reason] = append(t.dropped[key][d.Reason], d.Ranges...)
		}
	case papyra.ReportRemoval:
		var r papyra.RemovalReport
		if json.Unmarshal(rec.Payload, &r) != nil {
			return false
		}
		for _, d := range r.Dropped { // named by reports that a rotation removed
			if d.Group != "" && d.Group != t.group {
				continue
			}
			key := seriesKey{d.System, d.Run, papyra.ParseCategory(d.Category)}
			if t.dropped[key] == nil {
				t.dropped[key] = map[papyra.DropReason][]papyra.Range{}
			}
			t.dropped[key][d.Reason] = append(t.dropped[key][d.Reason], d.Ranges...)
		}
		for category, c := range r.Categories {
			kind := papyra.ParseCategory(category)
			for _, run := range c.Runs {
				if t.removed[run.Run] == nil {
					t.removed[run.Run] = map[papyra.Kind][]papyra.Range{}
				}
				t.removed[run.Run][kind] = append(t.removed[run.Run][kind], run.Ranges...)
			}
		}
	}
	return true
}

// The order in which reasons claim a number.
var (
	publisherReasons = []papyra.DropReason{papyra.DropQueueFull, papyra.DropTooLarge, papyra.DropEncode, papyra.DropClosed}
	sinkReasons      = []papyra.DropReason{papyra.DropSinkFull, papyra.DropSinkStopped, papyra.DropSinkRejected}
)

// explained counts a run's numbers one by one, by what is stored and what the
// reports name, and compares that with the account.
func (b *books) explained(run *account.Run) {
	for i := range run.Categories {
		c := &run.Categories[i]
		key := seriesKey{run.System, run.Run, papyra.ParseCategory(c.Category)}
		at := make([]string, c.Highest+1) // what claims each number
		claim := func(what string, ranges []papyra.Range) {
			for _, g := range ranges {
				for seq := g[0]; seq <= min(g[1], c.Highest); seq++ {
					if at[seq] == "" {
						at[seq] = what
					}
				}
			}
		}
		for seq := range b.h.of(key.system, key.run, key.kind).lines {
			if seq <= c.Highest {
				at[seq] = "stored"
			}
		}
		for _, reason := range publisherReasons {
			claim(string(reason), b.h.named[key][reason])
			claim(string(reason), b.h.told.dropped[key][reason])
		}
		claim("removed", b.h.told.removed[key.run][key.kind])
		for _, reason := range sinkReasons {
			claim(string(reason), b.h.told.dropped[key][reason])
		}
		claim(string(papyra.DropUnheardBy), b.h.unheard[b.group.name][key])
		claim(string(papyra.DropUnheardBy), b.h.told.dropped[key][papyra.DropUnheardBy])
		n := map[string]uint64{}
		for _, what := range at[1:] {
			n[what]++
		}
		open := c.Unnamed + c.Missing + c.Pending + c.Filtered + c.Before
		unnamed := c.RemovedTotal() - min(n["removed"], c.RemovedTotal())
		for _, reason := range slices.Concat(publisherReasons, sinkReasons, []papyra.DropReason{papyra.DropUnheardBy}) {
			if c.Dropped[reason] < n[string(reason)] {
				b.problem("%s %s %s: %d dropped as %s, and %d of them have names", run.System, run.Run, c.Category, c.Dropped[reason], reason, n[string(reason)])
			}
			unnamed += c.Dropped[reason] - min(n[string(reason)], c.Dropped[reason])
		}
		if n["stored"] != c.Stored || n[""] != open || unnamed != c.Unnamed {
			b.problem("%s %s %s: counted one by one: %v, want %d without an explanation of their own and %d unnamed; the account says %+v",
				run.System, run.Run, c.Category, n, open, unnamed, *c)
		}
	}
}

// sinks checks what the sinks' reports say of their drops against the numbers of
// the sinks that ran in the test's own process.
func (b *books) sinks() {
	for i := range b.r.Runs {
		if run := &b.r.Runs[i]; run.System == papyra.SystemReserved || run.System == "" {
			for j := range run.Categories {
				b.own += run.Categories[j].RemovedTotal()
			}
		}
	}
	for _, w := range b.world.workers[b.index] {
		sum := map[papyra.DropReason]uint64{}
		for i, s := range w.past {
			if s.Received != s.Stored+s.RejectedTotal()+s.DroppedTotal()+uint64(s.Pending) || s.Pending > 0 || s.LostMessages > 0 {
				b.problem("%s, start %d: the sink's numbers do not add up: %+v", w.name(), i, s)
			}
			for reason, n := range s.Dropped {
				sum[reason] += n
			}
			// Only sealed lines have numbers, and all that were sent here are sealed.
			sum[papyra.DropSinkRejected] += s.RejectedTotal()
		}
		for _, reason := range sinkReasons {
			said := b.h.told.counts[w.plan.name][reason]
			b.world.tally.add("dropped: "+string(reason), max(said, sum[reason]))
			switch {
			case w.plan.process:
				if said > 0 {
					b.problem("%s reports %d as %s: its buffer is large", w.name(), said, reason)
				}
			case said > sum[reason] || said < sum[reason] && !b.destructive && b.own == 0:
				b.problem("%s reports %d dropped as %s, want %d", w.name(), said, reason, sum[reason])
			case said < sum[reason]:
				b.silent += sum[reason] - said
			}
		}
	}
}
