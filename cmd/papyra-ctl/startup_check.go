package main

import (
	"context"
	"errors"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/inspect"
)

func (t *tool) startupCheckCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "startup-check",
		Usage: "Decide whether a sink may start on a store, for ExecStartPre and init containers",
		Description: describe(`Prints one line, and exits 0 when the sink may start. --mode says what it does
with the store:

   ignore           nothing: it does not look at the store
   scan_only        scans, tells what is damaged, and lets the sink start
   fail_on_anomaly  scans, and refuses when anything is damaged (exit 1)
   recover          scans, moves damage into quarantine, and scans again

A store that does not exist is an error, because a mistyped path must not look
healthy. Give --allow-missing for the first start.`,
			[]string{
				"papyra-ctl startup-check --backend " + exampleStore + " --mode recover --allow-missing",
				"ExecStartPre=papyra-ctl startup-check --mode fail_on_anomaly --backend " + exampleStore,
			},
			exit{"0", "the sink may start"},
			exit{"1", "refused: something is damaged, with --mode fail_on_anomaly; or no line is a record, with --mode recover and without --yes"},
			exit{"2", "damage is left after --mode recover"},
			exit{"3", "the store does not exist, the disk is full, or stdout failed"},
			exit{"4", "somebody else holds the store, with --mode recover"},
			exit{"5", "a part could not be read"},
		),
		Flags: []urfave.Flag{
			backendFlag(false),
			&urfave.StringFlag{Name: "mode", EnvVars: []string{"PAPYRA_STARTUP_CHECK"}, Value: "fail_on_anomaly", Usage: "`MODE`: ignore, scan_only, fail_on_anomaly or recover"},
			&urfave.BoolFlag{Name: "allow-missing", EnvVars: []string{"PAPYRA_ALLOW_MISSING"}, Usage: "accept a store that does not exist yet"},
			quarantineDirFlag(),
			dryRunFlag(),
			yesFlag(),
			outputFlag(),
		},
		Action: t.verb("startup-check", (*call).startupCheck),
	}
}

// startupResult is the JSON of a startup check.
type startupResult struct {
	Mode          string                 `json:"mode"`
	MayStart      bool                   `json:"may_start"`
	Exists        bool                   `json:"exists"` // false also with mode ignore, which does not look
	Records       int64                  `json:"records"`
	Damaged       int64                  `json:"damaged"` // places, at the end
	AnomalyCounts map[papyra.Class]int64 `json:"anomaly_counts"`
	Incomplete    bool                   `json:"incomplete"`
	DryRun        bool                   `json:"dry_run"`
	Moved         int64                  `json:"moved"`
	MovedBytes    int64                  `json:"moved_bytes"`
	Quarantine    string                 `json:"quarantine,omitempty"`
}

func (c *call) startupCheck() error {
	mode := c.flags.String("mode")
	dir, err := c.quarantineDir()
	if err != nil {
		return err
	}
	switch {
	case !slices.Contains([]sink.StartupMode{sink.CheckIgnore, sink.CheckScan, sink.CheckFail, sink.CheckRecover}, sink.StartupMode(mode)):
		return usagef("--mode %q: give ignore, scan_only, fail_on_anomaly or recover", mode)
	case mode != "recover" && c.flags.IsSet("quarantine-dir") && !cli.FromEnvironment(c.flags, "quarantine-dir"):
		return usagef("--quarantine-dir is for --mode recover")
	case mode != "recover" && c.flags.Bool("dry-run"):
		return usagef("--dry-run is for --mode recover: the other modes change nothing")
	}
	store, err := c.openOne()
	if err != nil {
		return err
	}
	defer closeAll([]papyra.Store{store})
	result := &startupResult{Mode: mode, DryRun: c.flags.Bool("dry-run"), AnomalyCounts: map[papyra.Class]int64{}}
	c.result = result
	progress, done := c.progress("checking")
	report, err := sink.StartupCheck(c.ctx, quarantineIn{store, c, dir, result.DryRun}, sink.StartupMode(mode), c.now(), progress)
	done()
	result.fill(report)
	anomalies := errors.Is(err, sink.ErrAnomalies) || errors.Is(err, sink.ErrNotClean) || errors.Is(err, errRefused)
	if err != nil && !anomalies {
		return explain(store, err)
	}
	if mode != string(sink.CheckIgnore) && !result.Exists && !c.flags.Bool("allow-missing") {
		return explain(store, papyra.ErrNotFound)
	}
	c.noteStartup(store, result, err)
	obstacle := ""
	if mode != string(sink.CheckIgnore) && result.Exists {
		obstacle = c.noteObstacle(store)
	}
	result.MayStart = c.exitCode() == cli.CodeOK
	if !c.json {
		c.showStartup(store, result, err)
		if obstacle != "" {
			c.out.printf("%s  %s: %s\n", c.out.paint(red, "REFUSED"), store.URL(), obstacle)
		}
	}
	return nil
}

// quarantineIn is a store whose Recover uses the options that the flags give.
type quarantineIn struct {
	papyra.Maintainer
	c      *call
	dir    string
	dryRun bool
}

// Recover is Recover of the store with the options of the flags.
func (q quarantineIn) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	o.QuarantineDir, o.DryRun = q.dir, q.dryRun
	o.Approve = func(plan *papyra.RecoverReport) error { return q.c.approve(plan.Mistake) }
	return q.Maintainer.Recover(ctx, o)
}

func (r *startupResult) fill(report *sink.CheckReport) {
	last := report.Before
	if report.After != nil {
		last = report.After
	}
	if last != nil {
		r.Exists = true
		r.Records, r.Damaged, r.Incomplete = last.Records, last.Damaged(), last.Incomplete
		inspect.AddCounts(r.AnomalyCounts, last.AnomalyCounts)
	}
	if rec := report.Recovered; rec != nil {
		r.Moved, r.MovedBytes, r.Quarantine = rec.Moved, rec.MovedBytes, rec.Quarantine
	}
}

func (c *call) noteStartup(store papyra.Store, r *startupResult, err error) {
	places := human.Plural(r.Damaged, "damaged place", "damaged places")
	switch {
	case errors.Is(err, sink.ErrAnomalies):
		c.noteCondition(cli.CodeRefused, "%s: %s", store.URL(), places)
	case errors.Is(err, sink.ErrNotClean):
		c.noteCondition(cli.CodeAnomalies, "%s: %s left", store.URL(), places)
	case errors.Is(err, errRefused):
		c.noteError(explain(store, err))
	}
	if r.Incomplete {
		c.noteCondition(cli.CodeIncomplete, "%s: a part could not be read", store.URL())
	}
}

// noteObstacle notes and returns what a sink would not start with though the records
// are whole: files that cannot be rotated.
func (c *call) noteObstacle(store papyra.Store) string {
	for _, check := range store.Examine(c.ctx) {
		if check.Name == "replace" && check.Status == papyra.StatusFail {
			found := check.Finding + ": " + check.Hint
			c.noteCondition(cli.CodeConfig, "%s: %s", store.URL(), found)
			return found
		}
	}
	return ""
}

// showStartup prints the one line that the check is for.
func (c *call) showStartup(store papyra.Store, r *startupResult, err error) {
	line := func(color, verdict, format string, args ...any) {
		c.out.printf("%s  %s: ", c.out.paint(color, verdict), store.URL())
		c.out.printf(format+"\n", args...)
	}
	places := human.Plural(r.Damaged, "damaged place", "damaged places")
	moved := human.Plural(r.Moved, "damaged place", "damaged places")
	classes := human.Counts(r.AnomalyCounts)
	switch {
	case r.Mode == string(sink.CheckIgnore):
		line(yellow, "not checked", "the store was not looked at")
	case !r.Exists:
		line(green, "ok", "does not exist yet, the sink will make it")
	case r.Incomplete:
		line(red, "INCOMPLETE", "a part could not be read: %s, %s", places, classes)
	case errors.Is(err, errRefused):
		line(red, "REFUSED", "%s: %s; next: papyra-ctl recover --backend %s --dry-run", places, classes, human.ShellQuote(store.URL()))
	case errors.Is(err, sink.ErrAnomalies):
		line(red, "REFUSED", "%s: %s; next: papyra-ctl recover --backend %s --dry-run", places, classes, human.ShellQuote(store.URL()))
	case r.DryRun && r.Moved > 0:
		line(yellow, "dry run", "would move %s: %s; nothing was changed", moved, classes)
	case errors.Is(err, sink.ErrNotClean):
		line(red, "DAMAGED", "moved %s to %s; %s left: %s", moved, absolute(r.Quarantine), places, classes)
	case r.Moved > 0:
		line(green, "recovered", "moved %s to %s", moved, absolute(r.Quarantine))
	case r.Damaged > 0:
		line(red, "DAMAGED", "%s: %s; the sink may start all the same", places, classes)
	default:
		line(green, "clean", "%s", human.Plural(r.Records, "record", "records"))
	}
}
