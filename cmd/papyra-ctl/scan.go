package main

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/inspect"
)

func (t *tool) scanCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "scan",
		Usage: "Look at every byte of a store and name what is damaged",
		Description: describe(`Reads the whole store and changes nothing. A sink may write to it meanwhile. A
line with a right seal is not parsed, because its checksum shows that it is whole;
--full parses every line, and also finds duplicates and conflicts. Damage is what
recover would move away. Notices are no damage and never change the exit code.`,
			[]string{
				"papyra-ctl scan --backend " + exampleStore,
				"papyra-ctl scan --backend " + exampleStore + " --full --output json",
			},
			exit{"0", "clean, or notices only"},
			exit{"2", "something is damaged"},
			exit{"3", "the store does not exist, or stdout failed"},
			exit{"5", "a part could not be read: there may be more damage"},
		),
		Flags: withSinks([]urfave.Flag{
			backendFlag(true),
			&urfave.BoolFlag{Name: "full", Usage: "parse every line, also lines with a right seal"},
			outputFlag(),
		}),
		Action: t.verb("scan", (*call).scan),
	}
}

func (c *call) scan() error {
	stores, err := c.openAll()
	if err != nil {
		return err
	}
	defer closeAll(stores)
	full := c.flags.Bool("full")
	total := inspect.NewScanTotal(full)
	c.result = total
	for i, store := range stores {
		report, err := c.scanStore(store, full)
		if err != nil {
			if c.interrupted() {
				return err
			}
			c.noteError(explain(store, err))
			continue
		}
		total.AddReport(report)
		if !c.json {
			if i > 0 {
				c.out.printf("\n")
			}
			c.showScan(report)
			c.showScanNext(store, report)
		}
	}
	total.Clean = len(total.AnomalyCounts) == 0 && len(total.Stores) == len(stores)
	return nil
}

// scanStore scans one store, and notes what its result means for the exit code.
func (c *call) scanStore(store papyra.Store, full bool) (*papyra.ScanReport, error) {
	report, err := c.runScan(c.ctx, store, papyra.ScanOptions{Full: full, Now: c.now()})
	if err != nil {
		return nil, err
	}
	if n := report.Damaged(); n > 0 {
		c.noteCondition(cli.CodeAnomalies, "%s: %s", store.URL(), human.Plural(n, "damaged place", "damaged places"))
	}
	if report.Incomplete {
		c.noteCondition(cli.CodeIncomplete, "%s: a part could not be read", store.URL())
	}
	return report, nil
}

func (c *call) runScan(ctx context.Context, store papyra.Store, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	report, done := c.progress("scanning")
	o.Progress = report
	defer done()
	return store.Scan(ctx, o)
}

// showScan shows the report of one store, the verdict first.
func (c *call) showScan(r *papyra.ScanReport) {
	s := c.out
	c.showVerdict(r)
	s.printf("looked at %s in %s: %s, %s", human.Bytes(r.Bytes), human.Plural(r.Lines, "line", "lines"),
		human.Plural(r.Records, "record", "records"), human.Seals(r.Sealed, r.Records-r.Sealed-r.Unverified, r.Unverified))
	if r.Files > 1 {
		s.printf(", in %d files", r.Files)
	}
	s.printf("\n")
	if len(r.Streams) > 0 {
		s.printf("\n")
		c.showStreams(papyra.SumStreams(r.Streams))
	}
	if r.Duplicates > 0 {
		s.printf("\n%s of records that are there already; readers show them once, and compact --dedupe removes them\n", human.Plural(r.Duplicates, "exact copy", "exact copies"))
	}
	for _, limit := range r.Limits {
		s.printf("\nlower bound: %s\n", limit)
	}
	if notices := human.Counts(r.NoticeCounts); notices != "" {
		s.printf("\nnotices (nothing to do): %s\n", notices)
	}
	c.showAnomalies(r.Anomalies, r.Damaged())
}

func (c *call) showVerdict(r *papyra.ScanReport) {
	s := c.out
	n := r.Damaged()
	switch {
	case n > 0:
		s.printf("%s  %s: %s: %s\n", s.paint(red, "DAMAGED"), r.Backend, human.Plural(n, "place", "places"), human.Counts(r.AnomalyCounts))
	case r.Incomplete:
		s.printf("%s  %s: no damage in what could be read\n", s.paint(yellow, "INCOMPLETE"), r.Backend)
	default:
		s.printf("%s  %s\n", s.paint(green, "clean"), r.Backend)
	}
	if n > 0 && r.Incomplete {
		s.printf("%s  a part could not be read: there may be more\n", s.paint(yellow, "INCOMPLETE"))
	}
}

func (c *call) showStreams(streams []papyra.StreamSummary) {
	g := newGrid(c.out,
		column{title: "SYSTEM"}, column{title: "CATEGORY"},
		column{title: "RECORDS", right: true}, column{title: "SIZE", right: true},
		column{title: "OLDEST (UTC)"}, column{title: "NEWEST (UTC)"})
	for _, st := range streams {
		_ = g.addRow(st.System, st.Category, human.Count(st.Records), human.Bytes(st.Bytes), human.Seconds(st.Oldest), human.Seconds(st.Newest))
	}
	_ = g.writePage() // finish reports a failed write
}

// maxShown bounds the rows of a table that is only a part of what a verb shows.
// The JSON has all rows.
const maxShown = 20

func (c *call) showAnomalies(anomalies []papyra.Anomaly, total int64) {
	if total == 0 {
		return
	}
	c.out.printf("\n")
	g := newGrid(c.out,
		column{title: "DAMAGE", color: func(string) string { return red }}, column{title: "PLACE"},
		column{title: "LINE", right: true}, column{title: "OFFSET", right: true}, column{title: "BYTES", right: true},
		column{title: "DETAIL", cut: true})
	for i, a := range anomalies {
		if i == maxShown {
			break
		}
		place, offset := a.File, human.Count(a.Offset)
		if a.Stream != "" {
			place, offset = a.Stream+" "+a.ID, "-"
		}
		line := "-"
		if a.Line > 0 {
			line = human.Count(a.Line)
		}
		_ = g.addRow(string(a.Class), place, line, offset, human.Count(a.Length), a.Detail)
	}
	_ = g.writePage()
	if more := total - int64(min(len(anomalies), maxShown)); more > 0 {
		c.out.printf("and %s more: --output json lists them\n", human.Count(more))
	}
}

// showScanNext says what to do about what a scan found.
func (c *call) showScanNext(store papyra.Store, r *papyra.ScanReport) {
	unreadable := r.AnomalyCounts[papyra.ClassUnreadable]
	strange := r.AnomalyCounts[papyra.ClassUnexpectedFile]
	if unreadable > 0 {
		c.out.printf("\nnext: scan again as the user that owns the files; what still cannot be read is for dmesg and smartctl\n")
	}
	if strange > 0 {
		c.out.printf("\nnext: move away what stands in the place of a file: nothing of it is read or followed\n")
	}
	if r.Damaged() > unreadable+strange {
		c.showNext("recover "+c.naming(store)+" --dry-run", "shows what would be moved away")
	}
}

// showNext names the command to go on with.
func (c *call) showNext(command, effect string) {
	c.out.printf("\nnext: papyra-ctl %s\n      %s\n", command, effect)
}
