package main

import (
	"errors"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/inspect"
)

func (t *tool) compactCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "compact",
		Usage: "Remove the records that retention does not keep, and duplicates",
		Description: describe(`Removes for good every record that the limits do not keep. The limits apply to
each system and category by itself; ages are measured from one moment, --at. With
--dedupe it then removes exact duplicates: of the records that are left and have
the same bytes and the same number of a run, only the newest copy stays. A record
without a number has no duplicates. Give a limit, or --dedupe, or both; beside
--dedupe only limits of the command line count, none of the environment.

Before the first byte goes, what is removed is written down in the store. Kept
lines are copied as they are. Damaged lines stay where they are: recover moves
them. If the disk is full, nothing is changed.

Where the newest record would itself go, or ages are measured from a moment that lies
more than a day from it, the plan is shown and --yes is wanted.

`+heldByASink,
			[]string{
				"papyra-ctl compact --backend " + exampleStore + " --keep-age 30d --dry-run",
				"papyra-ctl compact --backend " + exampleStore + " --keep-records 100000 --keep dead_letters.keep_age=90d",
				"papyra-ctl compact --backend " + exampleStore + " --dedupe",
			},
			exit{"0", "done, or nothing to remove"},
			exit{"1", "refused: the newest record would itself go or lies far from --at, and --yes is not given; nothing was changed"},
			exit{"2", "done, and damaged lines were met and left"},
			exit{"3", "the store does not exist, the disk is full, or stdout failed"},
			exit{"4", "somebody else holds the store and does not answer, or works on it already"},
			exit{"5", "a part could not be read, or a sink does not answer"},
		),
		Flags:  withSinks(slices.Concat([]urfave.Flag{backendFlag(false)}, retentionFlags(), []urfave.Flag{dedupeFlag(), dryRunFlag(), yesFlag(), outputFlag()})),
		Action: t.verb("compact", (*call).compact),
	}
}

func dedupeFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "dedupe", Usage: "keep only the newest copy of exact duplicates"}
}

// compactResult is the JSON of a compaction.
type compactResult struct {
	papyra.CompactReport
	Backend   string                    `json:"backend,omitempty"`
	Dedupe    bool                      `json:"dedupe"`
	Streams   []inspect.StreamChange    `json:"streams"`
	Retention map[string]inspect.Limits `json:"retention"`
}

func (c *call) compact() error {
	dedupe := c.flags.Bool("dedupe")
	limits := cli.Retention
	if dedupe {
		// Whoever asks for duplicates does not think of a limit in the environment.
		limits = cli.RetentionGiven
	}
	retention, at, err := c.retention(limits)
	if err != nil {
		return err
	}
	if retention.IsZero() && !dedupe {
		return usagef("no limit is given, so there is nothing to remove: give --keep-records, --keep-age, --keep-bytes or --keep CATEGORY.LIMIT=VALUE, or --dedupe")
	}
	return c.onEach(func(store papyra.Store) error { return c.compactStore(store, retention, at, dedupe) })
}

// compactStore compacts one store.
func (c *call) compactStore(store papyra.Store, retention papyra.Retention, at time.Time, dedupe bool) error {
	before, err := c.runScan(c.ctx, store, papyra.ScanOptions{})
	if err != nil {
		return explain(store, err)
	}
	var plan *papyra.CompactReport
	report, err := c.runCompact(store, papyra.CompactOptions{
		Retention: retention, Dedupe: dedupe, At: at, DryRun: c.flags.Bool("dry-run"),
		Approve: func(p *papyra.CompactReport) error { plan = p; return c.approve(p.Mistake) },
	})
	if errors.Is(err, errRefused) {
		c.noteError(explain(store, err))
		report, err = plan, nil
		report.DryRun = true
	}
	if err != nil {
		return explain(store, err)
	}
	if report.Damaged > 0 && len(c.conditions) == 0 {
		c.noteCondition(cli.CodeAnomalies, "%s: %s left in place", store.URL(), human.Plural(report.Damaged, "damaged line was", "damaged lines were"))
	}
	if before.Incomplete {
		c.noteCondition(cli.CodeIncomplete, "%s: a part could not be read", store.URL())
	}
	result := &compactResult{
		CompactReport: *report, Dedupe: dedupe,
		Streams: inspect.StreamChanges(before.Streams, report), Retention: inspect.RetentionLimits(retention),
	}
	if result.Removed == nil {
		result.Removed = []papyra.StreamSummary{}
	}
	c.result = result
	if !c.json {
		c.showCompaction(result, cli.ShowRetention(retention))
		if report.Damaged > 0 {
			c.showNext("recover "+c.naming(store)+" --dry-run", "shows what would be moved away")
		}
	}
	return nil
}

func (c *call) runCompact(store papyra.Store, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	progress, done := c.progress("compacting")
	o.Progress = progress
	defer done()
	return store.Compact(c.ctx, o)
}

func (c *call) showCompaction(r *compactResult, retention string) {
	s := c.out
	c.showMistake(r.Mistake)
	removed, bytes := sumStreams(r.Removed)
	copies, _ := sumStreams(r.Deduped)
	what := human.Plural(removed, "record", "records") + ", " + human.Bytes(bytes)
	switch {
	case copies == removed && copies > 0:
		what = human.Plural(copies, "exact duplicate", "exact duplicates") + ", " + human.Bytes(bytes)
	case copies > 0:
		what += ", " + human.Plural(copies, "of them an exact duplicate", "of them exact duplicates")
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
	s.printf("kept by  %s, at %s UTC\n", kept, human.Seconds(r.At))
	for _, limit := range r.CompactReport.Limits {
		s.printf("%s  %s\n", s.paint(yellow, "PARTLY"), limit)
	}
	if n := r.KeptUndated; n > 0 {
		s.printf("%s  %s because their timestamps are no dates: only --keep-records and --keep-bytes limit these\n", s.paint(yellow, "NO DATE"), human.Plural(n, "record stays", "records stay"))
	}
	if r.Damaged > 0 {
		s.printf("%s  %s left in place\n", s.paint(red, "DAMAGED"), human.Plural(r.Damaged, "damaged line is", "damaged lines are"))
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
	var total inspect.StreamChange
	row := func(system, category string, ch inspect.StreamChange) {
		cells := []string{
			system, category,
			human.Count(ch.RecordsBefore), human.Count(ch.RecordsBefore - ch.RecordsAfter), human.Count(ch.RecordsAfter),
			human.Bytes(ch.BytesBefore), human.Bytes(ch.BytesAfter),
		}
		if r.Dedupe {
			cells = slices.Insert(cells, 4, human.Count(ch.Duplicates))
		}
		_ = g.addRow(cells...)
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
	_ = g.writePage()
}
