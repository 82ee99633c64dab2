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
		Usage: "Remove the records that retention does not keep, and duplicates",
		Description: describe(`Removes for good what is outside the limits, for each system and category by
itself, all at one moment. With --dedupe it then removes exact duplicates: of the
records that are left with the same bytes and number of a run the newest copy
stays; one without a number is none. A limit or --dedupe must be given. What is
removed is written down in the store before the first byte goes; kept lines are
copied as they are. Damaged lines stay where they are: recover moves them. On a
full disk nothing is changed.

The store must not be held by a sink meanwhile.`,
			[]string{
				"papyra-ctl compact --backend " + exampleStore + " --keep-age 30d --dry-run",
				"papyra-ctl compact --backend " + exampleStore + " --keep-records 100000 --keep dead_letters.keep_age=90d",
				"papyra-ctl compact --backend " + exampleStore + " --dedupe",
			},
			exit{"0", "done, or nothing to remove"},
			exit{"2", "done, and damaged lines were met and left"},
			exit{"3", "the store does not exist, the disk is full, or stdout failed"},
			exit{"4", "somebody else holds the store"},
			exit{"5", "a part could not be read"},
		),
		Flags:  slices.Concat([]urfave.Flag{backendFlag(false)}, retentionFlags(), []urfave.Flag{dedupeFlag(), dryRunFlag(), outputFlag()}),
		Action: t.verb("compact", (*call).compact),
	}
}

func dedupeFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "dedupe", Usage: "of exact duplicates keep only the newest copy"}
}

// compactResult is the JSON of a compaction.
type compactResult struct {
	papyra.CompactReport
	Backend   string                `json:"backend,omitempty"`
	Dedupe    bool                  `json:"dedupe"`
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
	Duplicates    int64  `json:"duplicates,omitempty"` // removed as such
}

func (c *call) compact() error {
	retention, at, err := c.retention()
	if err != nil {
		return err
	}
	dedupe := c.flags.Bool("dedupe")
	if retention.IsZero() && !dedupe {
		return usagef("no limit is given, so there is nothing to remove: give --keep-records, --keep-age, --keep-bytes or --keep CATEGORY.LIMIT=VALUE, or --dedupe")
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
	report, err := c.runCompact(store, papyra.CompactOptions{Retention: retention, Dedupe: dedupe, At: at, DryRun: c.flags.Bool("dry-run")})
	if err != nil {
		return explain(store, err)
	}
	if report.Damaged > 0 {
		c.note(cli.CodeAnomalies, "%s: %s left in place", store.URL(), plural(report.Damaged, "damaged line was", "damaged lines were"))
	}
	if before.Incomplete {
		c.note(cli.CodeIncomplete, "%s: a part could not be read", store.URL())
	}
	result := &compactResult{
		CompactReport: *report, Dedupe: dedupe,
		Streams: streamChanges(before.Streams, report), Retention: retentionJSON(retention),
	}
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
func streamChanges(before []papyra.StreamSummary, report *papyra.CompactReport) []streamChange {
	sortStreams(before)
	of := func(list []papyra.StreamSummary, b *papyra.StreamSummary) (s papyra.StreamSummary) {
		if i := slices.IndexFunc(list, func(o papyra.StreamSummary) bool { return o.System == b.System && o.Category == b.Category }); i >= 0 {
			s = list[i]
		}
		return s
	}
	out := []streamChange{}
	for i := range before {
		b := &before[i]
		removed := of(report.Removed, b)
		out = append(out, streamChange{
			System: b.System, Category: b.Category, RecordsBefore: b.Records, RecordsAfter: b.Records - removed.Records,
			BytesBefore: b.Bytes, BytesAfter: b.Bytes - removed.Bytes, Duplicates: of(report.Deduped, b).Records,
		})
	}
	return out
}

func (c *call) showCompaction(r *compactResult, retention string) {
	s := c.out
	removed, bytes := sumStreams(r.Removed)
	copies, _ := sumStreams(r.Deduped)
	what := plural(removed, "record", "records") + ", " + showBytes(bytes)
	switch {
	case copies == removed && copies > 0:
		what = plural(copies, "exact duplicate", "exact duplicates") + ", " + showBytes(bytes)
	case copies > 0:
		what += ", " + plural(copies, "of them an exact duplicate", "of them exact duplicates")
	}
	backend := r.CompactReport.Backend
	switch {
	case removed == 0:
		s.printf("%s  %s: nothing to remove\n", s.paint(green, "done"), backend)
	case r.DryRun:
		s.printf("%s  %s: would remove %s; nothing was changed\n", s.paint(yellow, "dry run"), backend, what)
	default:
		s.printf("%s  %s: removed %s\n", s.paint(green, "done"), backend, what)
	}
	kept := "each numbered record once"
	switch {
	case !r.Dedupe:
		kept = retention
	case retention != "":
		kept = retention + ", then each numbered record once"
	}
	s.printf("kept by  %s, at %s UTC\n", kept, showSeconds(r.At))
	for _, limit := range r.CompactReport.Limits {
		s.printf("%s  %s\n", s.paint(yellow, "PARTLY"), limit)
	}
	if r.Damaged > 0 {
		s.printf("%s  %s left in place\n", s.paint(red, "DAMAGED"), plural(r.Damaged, "damaged line is", "damaged lines are"))
	}
	c.showStreamChanges(r)
	c.showGroupLosses(r.CompactReport.Groups, r.DryRun)
}

func sumStreams(streams []papyra.StreamSummary) (records, bytes int64) {
	for _, st := range streams {
		records += st.Records
		bytes += st.Bytes
	}
	return records, bytes
}

func (c *call) showStreamChanges(r *compactResult) {
	if len(r.Streams) == 0 {
		return
	}
	s := c.out
	s.printf("\n")
	columns := []column{
		{title: "SYSTEM"}, {title: "CATEGORY"},
		{title: "BEFORE", right: true}, {title: "REMOVED", right: true}, {title: "AFTER", right: true},
		{title: "SIZE BEFORE", right: true}, {title: "AFTER", right: true},
	}
	if r.Dedupe {
		columns = slices.Insert(columns, 4, column{title: "DUPLICATES", right: true})
	}
	g := newGrid(s, columns...)
	var total streamChange
	row := func(system, category string, ch streamChange) {
		cells := []string{
			system, category,
			showCount(ch.RecordsBefore), showCount(ch.RecordsBefore - ch.RecordsAfter), showCount(ch.RecordsAfter),
			showBytes(ch.BytesBefore), showBytes(ch.BytesAfter),
		}
		if r.Dedupe {
			cells = slices.Insert(cells, 4, showCount(ch.Duplicates))
		}
		_ = g.add(cells...)
	}
	for _, ch := range r.Streams {
		row(ch.System, ch.Category, ch)
		total.RecordsBefore += ch.RecordsBefore
		total.RecordsAfter += ch.RecordsAfter
		total.BytesBefore += ch.BytesBefore
		total.BytesAfter += ch.BytesAfter
		total.Duplicates += ch.Duplicates
	}
	if len(r.Streams) > 1 {
		row("total", "", total)
	}
	_ = g.end()
}
