package inspect

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/human"
)

// ReportInWords says in a line what a report of the pipeline tells. Of a report
// of an unknown name or form it returns the payload as it is. The line may hold
// text from elsewhere: escape it before you show it on a terminal.
func ReportInWords(rec *papyra.Record) string {
	var said string
	switch string(rec.Type) {
	case papyra.ReportPublisher:
		said = inWords(rec.Payload, publisherWords)
	case papyra.ReportSink:
		said = inWords(rec.Payload, sinkWords)
	case papyra.ReportRemoval:
		said = inWords(rec.Payload, removalWords)
	case papyra.ReportCorruptionDetected:
		said = inWords(rec.Payload, func(r *papyra.CorruptionDetected) string { return "found " + human.Counts(r.Counts) })
	case papyra.ReportRecoveryPerformed:
		said = inWords(rec.Payload, func(r *papyra.RecoveryPerformed) string {
			return endWords(&r.ActEnd) + "moved " + human.Plural(r.Moved, "damaged place", "damaged places") + ", " + human.Bytes(r.MovedBytes) + ", to " + r.Quarantine
		})
	case papyra.ReportRestore:
		said = inWords(rec.Payload, func(r *papyra.RestoreReport) string {
			return "puts back " + human.Plural(r.Records, "record", "records") + ", " + human.Bytes(r.Bytes) + ", of " + r.From
		})
	case papyra.ReportRestorePerformed:
		said = inWords(rec.Payload, func(r *papyra.RestorePerformed) string {
			why := ""
			if r.End != papyra.EndDone {
				why = r.End + " (" + r.Cause + "): "
			}
			return why + "put back " + human.Plural(r.Records, "record", "records") + ", " + human.Bytes(r.Bytes) + ", of " + r.From
		})
	case papyra.ReportStartAccepted:
		said = inWords(rec.Payload, func(r *papyra.StartAccepted) string {
			return "accepted that the store begins after " + human.Count(r.Late) + " confirmed records"
		})
	case papyra.ReportActRequested:
		said = inWords(rec.Payload, requestWords)
	case papyra.ReportCompactionPerformed:
		said = inWords(rec.Payload, func(r *papyra.CompactionPerformed) string {
			return endWords(&r.ActEnd) + human.Plural(r.RecordsBefore, "record", "records") + " became " + human.Count(r.RecordsAfter) + ", " +
				human.Bytes(r.BytesBefore) + " became " + human.Bytes(r.BytesAfter)
		})
	}
	if said == "" {
		return string(rec.Payload)
	}
	return said
}

// endWords says of an act that did not come to its end why; nothing of another.
func endWords(e *papyra.ActEnd) string {
	switch e.End {
	case papyra.EndWithdrawn:
		return "withdrawn, nothing was removed (" + e.Cause + "): "
	case papyra.EndPartial:
		return "only a part was removed (" + e.Cause + "): "
	}
	return ""
}

// inWords decodes a payload and puts it in words; "" if it has another form.
func inWords[T any](payload []byte, words func(*T) string) string {
	var r T
	if json.Unmarshal(payload, &r) != nil {
		return ""
	}
	return words(&r)
}

func publisherWords(r *papyra.PublisherReport) string {
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
		said := []string{k.Category() + " " + human.Count(c.Confirmed) + " of " + human.Count(c.Accepted) + " confirmed"}
		for _, reason := range slices.Sorted(maps.Keys(c.Dropped)) {
			if d := c.Dropped[reason]; d != nil && d.N > 0 {
				said = append(said, human.Count(d.N)+" dropped ("+string(reason)+")")
			}
		}
		for _, group := range slices.Sorted(maps.Keys(c.UnheardBy)) {
			if d := c.UnheardBy[group]; d != nil && d.N > 0 {
				said = append(said, human.Count(d.N)+" unheard by "+group)
			}
		}
		if c.Buffered > 0 {
			said = append(said, human.Count(c.Buffered)+" waiting")
		}
		if c.Unconfirmed > 0 {
			said = append(said, human.Count(c.Unconfirmed)+" of unknown fate")
		}
		if c.PayloadReplaced > 0 {
			said = append(said, human.Count(c.PayloadReplaced)+" with the payload replaced")
		}
		parts = append(parts, strings.Join(said, ", "))
	}
	return strings.Join(parts, "; ")
}

func sinkWords(r *papyra.SinkReport) string {
	parts := []string{r.State + " as " + r.Group + "/" + r.Instance, "received " + human.Count(r.Received), "stored " + human.Count(r.Stored)}
	var rejected uint64
	for _, n := range r.Rejected {
		rejected += n
	}
	for _, count := range []struct {
		name string
		n    uint64
	}{{"rejected ", rejected}, {"dropped ", r.DroppedLines}, {"answered early ", r.AnsweredEarly}, {"answers refused ", r.AnswersRefused}, {"messages lost ", r.LostMessages}, {"disconnects ", r.Disconnects}} {
		if count.n > 0 {
			parts = append(parts, count.name+human.Count(count.n))
		}
	}
	return strings.Join(parts, ", ")
}

func removalWords(r *papyra.RemovalReport) string {
	parts := []string{}
	for _, k := range papyra.Kinds() {
		if c, ok := r.Categories[k.Category()]; ok && c.Records > 0 {
			parts = append(parts, human.Count(c.Records)+" "+k.Category())
		}
	}
	if r.Damaged > 0 {
		parts = append(parts, human.Plural(r.Damaged, "damaged line", "damaged lines"))
	}
	if len(parts) == 0 {
		parts = []string{"nothing of a category"}
	}
	return r.Act + " removes " + strings.Join(parts, ", ") + " (act " + r.ID + ")"
}

func requestWords(r *papyra.ActRequested) string {
	who := r.By + " (" + r.Proven + ")"
	if r.Proven == "" {
		who = "somebody who calls himself " + r.By
	}
	return r.Verb + " was asked for by " + who + ": " + string(r.Arguments) + " (job " + r.Job + ")"
}
