package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/papyra/papyra"
)

// sayReport says in a line what a report of the pipeline tells. A report of an
// unknown name or form is shown as it is.
func sayReport(rec *papyra.Record) string {
	var said string
	switch string(rec.Type) {
	case papyra.ReportPublisher:
		said = say(rec.Payload, sayPublisher)
	case papyra.ReportSink:
		said = say(rec.Payload, saySink)
	case papyra.ReportRemoval:
		said = say(rec.Payload, sayRemoval)
	case papyra.ReportCorruptionDetected:
		said = say(rec.Payload, func(r *papyra.CorruptionDetected) string { return "found " + showClasses(r.Counts) })
	case papyra.ReportRecoveryPerformed:
		said = say(rec.Payload, func(r *papyra.RecoveryPerformed) string {
			return "moved " + plural(r.Moved, "damaged place", "damaged places") + ", " + showBytes(r.MovedBytes) + ", to " + r.Quarantine
		})
	case papyra.ReportCompactionPerformed:
		said = say(rec.Payload, func(r *papyra.CompactionPerformed) string {
			return plural(r.RecordsBefore, "record", "records") + " became " + showCount(r.RecordsAfter) + ", " +
				showBytes(r.BytesBefore) + " became " + showBytes(r.BytesAfter)
		})
	}
	if said == "" {
		return string(rec.Payload)
	}
	return said
}

// say decodes a payload and says it; "" if it has another form.
func say[T any](payload []byte, in func(*T) string) string {
	var r T
	if json.Unmarshal(payload, &r) != nil {
		return ""
	}
	return in(&r)
}

func sayPublisher(r *papyra.PublisherReport) string {
	state := "running"
	if r.Final {
		state = "final"
	}
	parts := []string{state}
	for _, k := range papyra.Kinds() {
		c, ok := r.Categories[k.Category()]
		if !ok || c.Accepted == 0 {
			continue
		}
		said := []string{k.Category() + " " + showUnsigned(c.Confirmed) + " of " + showUnsigned(c.Accepted) + " confirmed"}
		for _, reason := range slices.Sorted(maps.Keys(c.Dropped)) {
			if d := c.Dropped[reason]; d != nil && d.N > 0 {
				said = append(said, showUnsigned(d.N)+" dropped ("+string(reason)+")")
			}
		}
		if c.Buffered > 0 {
			said = append(said, showUnsigned(c.Buffered)+" waiting")
		}
		if c.Unconfirmed > 0 {
			said = append(said, showUnsigned(c.Unconfirmed)+" of unknown fate")
		}
		parts = append(parts, strings.Join(said, ", "))
	}
	return strings.Join(parts, "; ")
}

func saySink(r *papyra.SinkReport) string {
	parts := []string{r.State + " as " + r.Group + "/" + r.Instance, "received " + showUnsigned(r.Received), "stored " + showUnsigned(r.Stored)}
	var rejected uint64
	for _, n := range r.Rejected {
		rejected += n
	}
	for _, count := range []struct {
		name string
		n    uint64
	}{{"rejected ", rejected}, {"dropped ", r.DroppedLines}, {"messages lost ", r.LostMessages}, {"disconnects ", r.Disconnects}} {
		if count.n > 0 {
			parts = append(parts, count.name+showUnsigned(count.n))
		}
	}
	return strings.Join(parts, ", ")
}

func sayRemoval(r *papyra.RemovalReport) string {
	parts := []string{}
	for _, k := range papyra.Kinds() {
		if c, ok := r.Categories[k.Category()]; ok && c.Records > 0 {
			parts = append(parts, showCount(c.Records)+" "+k.Category())
		}
	}
	if r.Damaged > 0 {
		parts = append(parts, plural(r.Damaged, "damaged line", "damaged lines"))
	}
	if len(parts) == 0 {
		parts = []string{"nothing of a category"}
	}
	return r.Act + " removes " + strings.Join(parts, ", ") + " (act " + r.ID + ")"
}
