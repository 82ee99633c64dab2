package main

import (
	"slices"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/sink"
)

func (t *tool) compactCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "compact",
		Usage: "Remove the records that retention does not keep",
		Description: describe(`Removes for good what is outside the limits, for each system and category by
itself, all at one moment. At least one limit must be given. What is removed is
written down in the store before the first byte goes; kept lines are copied as
they are. Damaged lines stay where they are: recover moves them. On a full disk
nothing is changed.

The store must not be held by a sink meanwhile.`,
			[]string{
				"papyra-ctl compact --backend " + exampleStore + " --keep-age 30d --dry-run",
				"papyra-ctl compact --backend " + exampleStore + " --keep-records 100000 --keep dead_letters.keep_age=90d",
			},
			exit{"0", "done, or nothing to remove"},
			exit{"2", "done, and damaged lines were met and left"},
			exit{"3", "the store does not exist, the disk is full, or stdout failed"},
			exit{"4", "somebody else holds the store"},
			exit{"5", "a part could not be read"},
		),
		Flags:  slices.Concat([]urfave.Flag{backendFlag(false)}, retentionFlags(), []urfave.Flag{dryRunFlag(), outputFlag()}),
		Action: t.verb("compact", (*call).compact),
	}
}

// compactResult is the JSON of a compaction.
type compactResult struct {
	papyra.CompactReport
	Backend   string                `json:"backend,omitempty"`
	Streams   []streamChange        `json:"streams"`
	Retention map[string]limitsJSON `json:"retention"`
}

// streamChange is one stream before and after.
type streamChange struct {
	System        string `json:"system"`
	Category      string `json:"category"`
	RecordsBefore int64  `json:"records_before"`
	RecordsAfter  int64  `json:"records_after"`
	BytesBefore   int64  `json:"bytes_before"`
	BytesAfter    int64  `json:"bytes_after"`
}

func (c *call) compact() error {
	retention, at, err := c.retention()
	if err != nil {
		return err
	}
	if retention.IsZero() {
		return usagef("no limit is given, so there is nothing to remove: give --keep-records, --keep-age, --keep-bytes or --keep CATEGORY.LIMIT=VALUE")
	}
	store, err := c.openOne()
	if err != nil {
		return err
	}
	defer closeAll([]sink.Backend{store})

	before, err := c.runScan(c.ctx, store, papyra.ScanOptions{})
	if err != nil {
		return explain(store, err)
	}
	report, err := c.runCompact(store, papyra.CompactOptions{Retention: retention, At: at, DryRun: c.flags.Bool("dry-run")})
	if err != nil {
		return explain(store, err)
	}
	if report.Damaged > 0 {
		c.note(cli.CodeAnomalies, "%s: %s left in place", store.URL(), plural(report.Damaged, "damaged line was", "damaged lines were"))
	}
	if before.Incomplete {
		c.note(cli.CodeIncomplete, "%s: a part could not be read", store.URL())
	}
	result := &compactResult{CompactReport: *report, Streams: streamChanges(before.Streams, report.Removed), Retention: retentionJSON(retention)}
	if result.Removed == nil {
		result.Removed = []papyra.StreamSummary{}
	}
	c.result = result
	if !c.json {
		c.showCompaction(result, cli.ShowRetention(retention))
		if report.Damaged > 0 {
			c.showNext("recover --backend "+shellQuote(store.URL())+" --dry-run", "shows what would be moved away")
		}
	}
	return nil
}

func (c *call) runCompact(store sink.Backend, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	progress, done := c.progress("compacting")
	o.Progress = progress
	defer done()
	return store.Compact(c.ctx, o)
}

// streamChanges sets what was removed against what the scan before found. The
// reports that the compaction itself appends are not in it.
func streamChanges(before, removed []papyra.StreamSummary) []streamChange {
	sortStreams(before)
	out := []streamChange{}
	for _, b := range before {
		ch := streamChange{b.System, b.Category, b.Records, b.Records, b.Bytes, b.Bytes}
		for _, r := range removed {
			if r.System == b.System && r.Category == b.Category {
				ch.RecordsAfter -= r.Records
				ch.BytesAfter -= r.Bytes
			}
		}
		out = append(out, ch)
	}
	return out
}

func (c *call) showCompaction(r *compactResult, retention string) {
	s := c.out
	removed, bytes := int64(0), int64(0)
	for _, st := range r.Removed {
		removed += st.Records
		bytes += st.Bytes
	}
	what := plural(removed, "record", "records") + ", " + showBytes(bytes)
	backend := r.CompactReport.Backend
	switch {
	case removed == 0:
		s.printf("%s  %s: nothing to remove\n", s.paint(green, "done"), backend)
	case r.DryRun:
		s.printf("%s  %s: would remove %s; nothing was changed\n", s.paint(yellow, "dry run"), backend, what)
	default:
		s.printf("%s  %s: removed %s\n", s.paint(green, "done"), backend, what)
	}
	s.printf("kept by  %s, at %s UTC\n", retention, showSeconds(r.At))
	if r.Damaged > 0 {
		s.printf("%s  %s left in place\n", s.paint(red, "DAMAGED"), plural(r.Damaged, "damaged line is", "damaged lines are"))
	}
	if len(r.Streams) == 0 {
		return
	}
	s.printf("\n")
	g := newGrid(s,
		column{title: "SYSTEM"}, column{title: "CATEGORY"},
		column{title: "BEFORE", right: true}, column{title: "REMOVED", right: true}, column{title: "AFTER", right: true},
		column{title: "SIZE BEFORE", right: true}, column{title: "AFTER", right: true})
	var total streamChange
	row := func(system, category string, ch streamChange) {
		_ = g.add(system, category,
			showCount(ch.RecordsBefore), showCount(ch.RecordsBefore-ch.RecordsAfter), showCount(ch.RecordsAfter),
			showBytes(ch.BytesBefore), showBytes(ch.BytesAfter))
	}
	for _, ch := range r.Streams {
		row(ch.System, ch.Category, ch)
		total.RecordsBefore += ch.RecordsBefore
		total.RecordsAfter += ch.RecordsAfter
		total.BytesBefore += ch.BytesBefore
		total.BytesAfter += ch.BytesAfter
	}
	if len(r.Streams) > 1 {
		row("total", "", total)
	}
	_ = g.end()
}
