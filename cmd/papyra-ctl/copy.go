package main

import (
	"errors"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/transfer"
)

func (t *tool) copyCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "copy",
		Usage: "Copy a store into another, of any kind, and verify it",
		Description: describe(`Copies every valid line as it is, also exact duplicates, each system and category
in its append order. Then it reads the target back: every stream must have the
count and the SHA-256 of the source. Damaged lines are counted and not copied. The
source is not changed.

To resume an interrupted copy, give the same command again. Of each stream the
target may hold nothing, or the beginning of the source's stream, which is not
copied again. A target that holds anything else is refused and not changed. So is
a rotating target whose bound would drop records. Records that are written to the
source meanwhile may be left out; the next copy takes them.

No sink may hold the target meanwhile. A target on Redis cannot be held: make sure
that nobody else writes under its prefix.`,
			[]string{
				"papyra-ctl copy --from " + exampleStore + " --to redis://127.0.0.1/0 --dry-run",
				"papyra-ctl copy --from " + exampleStore + " --to 'rotating:/srv/papyra/records?max_bytes=1GB&max_files=20'",
			},
			exit{"0", "copied and verified, or nothing to copy"},
			exit{"2", "done, and damaged lines were met and left"},
			exit{"3", "the source does not exist, the disk is full, the target differs, or stdout failed"},
			exit{"4", "somebody else holds the target"},
			exit{"5", "a part could not be read; the rest is copied"},
			exit{"64", "the target holds something else"},
			exit{"78", "the bound of a rotating target would drop records"},
		),
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "from", EnvVars: []string{"PAPYRA_FROM"}, Usage: "the store that is copied, a `URL` such as json:PATH"},
			&urfave.StringFlag{Name: "to", EnvVars: []string{"PAPYRA_TO"}, Usage: "the store that takes the copy, a `URL`"},
			dryRunFlag(),
			outputFlag(),
		},
		Action: t.verbOn("copy", func(flags *urfave.Context) ([]string, error) {
			from, to := flags.String("from"), flags.String("to")
			if from == "" || to == "" {
				return nil, usagef("copy needs two stores: give --from URL and --to URL")
			}
			return []string{from, to}, nil
		}, (*call).copy),
	}
}

func (c *call) copy() error {
	from, to := c.urls[0], c.urls[1]
	source, err := c.openStore("--from", from)
	if err != nil {
		return err
	}
	defer closeAll([]papyra.Store{source})
	target, err := c.openStore("--to", to)
	if err != nil {
		return err
	}
	defer closeAll([]papyra.Store{target})
	if backend.Overlap(from, to) {
		return usagef("--from and --to name the same store")
	}

	report, err := c.runCopy(source, target)
	if report != nil && (err == nil || len(report.Streams) > 0) {
		c.result = report
	}
	if err != nil {
		if report != nil && report.Copied > 0 && !report.DryRun {
			c.messages = append(c.messages, fmt.Sprintf("%s copied before it ended, not verified", human.Plural(report.Copied, "record was", "records were")))
			if c.interrupted() {
				c.messages = append(c.messages, "the same command goes on from there")
			}
		}
		return explainCopy(err)
	}
	c.noteCopy(report)
	if !c.json {
		c.showCopy(report)
	}
	return nil
}

func (c *call) runCopy(source, target papyra.Store) (*transfer.Report, error) {
	var (
		step     transfer.Step
		progress papyra.Progress
		done     = func() {}
	)
	defer func() { done() }()
	return transfer.Run(c.ctx, source, target, transfer.Options{
		DryRun: c.flags.Bool("dry-run"),
		Progress: func(now transfer.Step, n, total int64) {
			if now != step {
				done()
				step = now
				progress, done = c.progress(string(now))
			}
			if progress != nil {
				progress(n, total)
			}
		},
	})
}

// explainCopy adds to an error what the operator can do about it, unless the error
// says that already. The error names the store.
func explainCopy(err error) error {
	var placed *papyra.StoreError
	if errors.Is(err, papyra.ErrNotFound) && (!errors.As(err, &placed) || placed.Hint == "") {
		return fmt.Errorf("%w (check the URL; nothing was created)", err)
	}
	return err
}

func (c *call) noteCopy(r *transfer.Report) {
	if r.Damaged > 0 {
		c.noteCondition(cli.CodeAnomalies, "%s: %s not copied", r.Source, human.Plural(r.Damaged, "damaged line was", "damaged lines were"))
	}
	if r.TargetDamaged > 0 {
		c.noteCondition(cli.CodeAnomalies, "%s: %s of an interrupted copy left", r.Target, human.Plural(r.TargetDamaged, "torn line is", "torn lines are"))
	}
	if r.Incomplete {
		c.noteCondition(cli.CodeIncomplete, "%s: a part could not be read", r.Source)
	}
}

func (c *call) showCopy(r *transfer.Report) {
	s := c.out
	what := human.Plural(r.Copied, "record", "records") + ", " + human.Bytes(r.CopiedBytes)
	switch {
	case r.DryRun && r.Copied == 0:
		s.printf("%s  %s: nothing to copy, it holds everything\n", s.paint(yellow, "dry run"), r.Target)
	case r.DryRun:
		s.printf("%s  %s: would copy %s; nothing was changed\n", s.paint(yellow, "dry run"), r.Target, what)
	case r.Copied == 0:
		s.printf("%s  %s: nothing to copy, it holds everything; verified\n", s.paint(green, "done"), r.Target)
	default:
		s.printf("%s  %s: copied %s; verified\n", s.paint(green, "done"), r.Target, what)
	}
	if r.Present > 0 && r.Copied > 0 {
		s.printf("resumed  %s, %s of an earlier copy were there\n", human.Plural(r.Present, "record", "records"), human.Bytes(r.PresentBytes))
	}
	if r.Incomplete {
		s.printf("%s  a part of %s could not be read\n", s.paint(red, "INCOMPLETE"), r.Source)
	}
	if r.Damaged > 0 {
		s.printf("%s  %s: %s not copied\n", s.paint(red, "DAMAGED"), r.Source, human.Plural(r.Damaged, "damaged line was", "damaged lines were"))
	}
	if r.TargetDamaged > 0 {
		s.printf("%s  %s: %s of an interrupted copy left\n", s.paint(red, "DAMAGED"), r.Target, human.Plural(r.TargetDamaged, "torn line is", "torn lines are"))
	}
	if len(r.Streams) > 0 {
		s.printf("\n")
		copied := "COPIED"
		if r.DryRun {
			copied = "TO COPY"
		}
		g := newGrid(s,
			column{title: "SYSTEM"}, column{title: "CATEGORY"},
			column{title: "RECORDS", right: true}, column{title: copied, right: true}, column{title: "SIZE", right: true},
			column{title: "SHA-256", cut: true})
		for _, st := range r.Streams {
			_ = g.addRow(st.System, st.Category, human.Count(st.Records), human.Count(st.Copied), human.Bytes(st.Bytes), st.SHA256)
		}
		_ = g.writePage()
	}
	if r.Damaged > 0 {
		c.showNext("recover --backend "+human.ShellQuote(r.Source)+" --dry-run", "shows what would be moved away")
	}
	if r.TargetDamaged > 0 {
		c.showNext("recover --backend "+human.ShellQuote(r.Target), "moves away what is torn")
	}
}
