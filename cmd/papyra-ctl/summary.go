package main

import (
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/inspect"
)

func (t *tool) summaryCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "summary",
		Usage: "Count what is stored, for each system and category, and list the runs",
		Description: describe(`Counts the records of every system and category, with their size and their first
and last time. It lists the runs: each is one start of a publisher, with the node
it ran on and the highest number it gave in each category. Exact duplicates count
once. With retention flags it counts only what a compaction with the same flags
would keep.

It also says how many records compactions, recoveries and rotations have removed
so far. That is left out when a flag chooses a time, a system or a node, or limits
the reports: the reports about removals do not tell these apart.

On Redis it lists the consumer groups that other programs have on the streams,
with what is pending and what is not delivered yet. Nothing is changed.`,
			[]string{
				"papyra-ctl inspect summary --backend " + exampleStore,
				"papyra-ctl inspect summary --backend " + exampleStore + " --since 1d --system orders",
			}, inspectCodes()...),
		Flags: withSinks(slices.Concat([]urfave.Flag{backendFlag(true)}, timeFlags(), []urfave.Flag{
			&urfave.StringSliceFlag{Name: "system", Usage: "only records of the system with this id, `SYSTEM`; may be given more than once"},
			&urfave.StringSliceFlag{Name: "node", Usage: "only records whose publisher ran on this `NODE`; may be given more than once"},
		}, retentionFlags(), []urfave.Flag{outputFlag()})),
		Action: t.verb("inspect summary", (*call).summary),
	}
}

func (c *call) summary() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	stores, err := c.openAll()
	if err != nil {
		return err
	}
	defer closeAll(stores)
	progress, done := c.progress("counting")
	result, sources, err := inspect.Summarize(c.ctx, stores, q, progress)
	done()
	if err != nil {
		return err
	}
	c.noteSources(sources)
	failed := 0
	for _, s := range sources {
		if s.GroupsErr != nil {
			c.noteError(explain(s.Store, s.GroupsErr))
		}
		if s.Err != nil {
			failed++
		}
	}
	c.result = result
	if !c.json && (failed < len(sources) || result.Records > 0) {
		c.showSummary(result, cli.ShowRetention(q.Retention))
	}
	return nil
}

func (c *call) showSummary(r *inspect.Summary, retention string) {
	s := c.out
	s.printf("%s, %s, in %s; %s\n",
		human.Plural(r.Records, "record", "records"), human.Bytes(r.Bytes), human.Plural(int64(len(r.Streams)), "stream", "streams"),
		human.Seals(r.Sealed, r.Unsealed, r.Unverified))
	if retention == "" {
		retention = "none given: everything is counted"
	}
	s.printf("retention: %s\n", retention)
	if len(r.Streams) == 0 {
		return
	}
	s.printf("\n")
	g := newGrid(s,
		column{title: "SYSTEM"}, column{title: "CATEGORY"},
		column{title: "RECORDS", right: true}, column{title: "UNSEALED", right: true}, column{title: "SIZE", right: true},
		column{title: "OLDEST (UTC)"}, column{title: "NEWEST (UTC)"})
	for _, st := range r.Streams {
		_ = g.addRow(st.System, st.Category, human.Count(st.Records), human.Count(st.Unsealed), human.Bytes(st.Bytes), human.Seconds(st.Oldest), human.Seconds(st.Newest))
	}
	_ = g.writePage()
	if n := r.PayloadReplaced; n > 0 {
		s.printf("\nof %s the publisher could not encode the payload: payload_error stands in its place\n", human.Plural(n, "record", "records"))
	}
	c.showRemoved(r.Removed)
	for i := range r.Unended {
		s.printf("%s\n", &r.Unended[i])
	}
	c.showRuns(r)
	c.showGroups(r.Groups)
}

func (c *call) showRuns(r *inspect.Summary) {
	if len(r.Runs) == 0 {
		return
	}
	c.out.printf("\nruns, with the highest number seen in each category:\n")
	columns := []column{{title: "SYSTEM"}, {title: "NODE"}, {title: "RUN"}}
	for _, k := range papyra.Kinds() {
		title := strings.TrimPrefix(strings.ToUpper(k.Category()), "DEAD_")
		columns = append(columns, column{title: title, right: true})
	}
	columns = append(columns, column{title: "FIRST (UTC)"}, column{title: "LAST (UTC)"})
	g := newGrid(c.out, columns...)
	for i, run := range r.Runs {
		if i == maxShown {
			break
		}
		cells := []string{run.System, run.Node, run.Run}
		for _, k := range papyra.Kinds() {
			cell := "-"
			if n := run.Highest[k.Category()]; n > 0 {
				cell = strconv.FormatUint(n, 10)
			}
			cells = append(cells, cell)
		}
		_ = g.addRow(append(cells, human.Briefly(run.Oldest), human.Briefly(run.Newest))...)
	}
	_ = g.writePage()
	if more := len(r.Runs) - maxShown; more > 0 {
		c.out.printf("and %s more: --output json lists them\n", human.Count(int64(more)))
	}
	if r.RunsOmitted > 0 {
		c.out.printf("%s of further runs are not listed\n", human.Plural(r.RunsOmitted, "record", "records"))
	}
}

func (c *call) showRemoved(list []inspect.RemovedCount) {
	if len(list) == 0 {
		return
	}
	c.out.printf("\nremoved so far:\n")
	g := newGrid(c.out, column{title: "ACT"}, column{title: "CATEGORY"}, column{title: "RECORDS", right: true}, column{title: "SIZE", right: true})
	for _, r := range list {
		_ = g.addRow(r.Act, r.Category, human.Count(r.Records), human.Bytes(r.Bytes))
	}
	_ = g.writePage()
}
