package main

import (
	"errors"
	"os"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
)

func (t *tool) recoverCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "recover",
		Usage: "Move damage out of a store, every byte of it into quarantine",
		Description: describe(`Moves everything that scan calls damaged into a new quarantine directory, on Redis
into a quarantine stream, and scans again. No byte is lost: the kept and the quarantined bytes together are the
original. Undamaged records stay as they are. After a crash run it again: it
finishes what was begun. A file of which no line is a record is moved only with --yes.

With --mode repair the quarantine lies beside the store. With --mode quarantine it
lies in --quarantine-dir, which may be on another file system. The default is
repair, or quarantine when --quarantine-dir is given.

`+heldByASink,
			[]string{
				"papyra-ctl recover --backend " + exampleStore + " --dry-run",
				"papyra-ctl recover --backend " + exampleStore + " --mode quarantine --quarantine-dir /srv/quarantine",
			},
			exit{"0", "clean now, or nothing was damaged"},
			exit{"1", "refused: no line of a file is a record, and --yes is not given; nothing was changed"},
			exit{"2", "damage is left; with --dry-run: something would be moved"},
			exit{"3", "the store does not exist, the disk is full, or stdout failed"},
			exit{"4", "somebody else holds the store and does not answer, or works on it already"},
			exit{"5", "a part could not be read, or a sink does not answer"},
		),
		Flags: withSinks([]urfave.Flag{
			backendFlag(false),
			&urfave.StringFlag{Name: "mode", EnvVars: []string{"PAPYRA_RECOVER_MODE"}, Usage: "where damage goes, `MODE`: repair (beside the store; the default without --quarantine-dir) or quarantine (into --quarantine-dir)"},
			quarantineDirFlag(),
			dryRunFlag(),
			yesFlag(),
			outputFlag(),
		}),
		Action: t.verb("recover", (*call).recover),
	}
}

func quarantineDirFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "quarantine-dir", EnvVars: []string{"PAPYRA_QUARANTINE_DIR"}, Usage: "`DIR` that takes the damaged bytes; it is made if it does not exist"}
}

// recoverResult is the JSON of a recovery.
type recoverResult struct {
	Mode  string `json:"mode"`
	Clean bool   `json:"clean"` // at the end
	papyra.RecoverReport
	Backend string `json:"backend,omitempty"`
}

func (c *call) recover() error {
	mode, dir, err := c.recoverPlace()
	if err != nil {
		return err
	}
	switch {
	case mode == "" && dir == "":
		mode = "repair"
	case mode == "":
		mode = "quarantine"
	case mode != "repair" && mode != "quarantine":
		return usagef("--mode %q: give repair or quarantine", mode)
	case mode == "quarantine" && dir == "":
		return usagef("--mode quarantine needs --quarantine-dir DIR, the directory that takes the damaged bytes")
	case mode == "repair" && dir != "":
		return usagef("--mode repair keeps the damaged bytes beside the store: leave --quarantine-dir out, or give --mode quarantine")
	}
	return c.onEach(func(store papyra.Store) error { return c.recoverStore(store, mode, dir) })
}

// recoverStore recovers one store.
func (c *call) recoverStore(store papyra.Store, mode, dir string) error {
	o := papyra.RecoverOptions{
		QuarantineDir: dir, DryRun: c.flags.Bool("dry-run"), Now: c.now(),
		Approve: func(plan *papyra.RecoverReport) error { return c.approve(plan.Mistake) },
	}
	report, err := c.runRecover(store, o)
	refused := err
	if errors.Is(err, errRefused) {
		o.DryRun = true
		report, err = c.runRecover(store, o)
	}
	if err != nil {
		return explain(store, err)
	}
	clean := false
	if refused == nil {
		clean = c.noteRecovery(store, report)
	} else {
		c.noteError(explain(store, refused))
	}
	c.result = &recoverResult{Mode: mode, Clean: clean, RecoverReport: *report}
	if !c.json {
		c.showRecovery(report)
		if report.DryRun && report.Moved > 0 && refused == nil {
			c.showNext("recover "+c.naming(store)+recoverFlags(dir), "moves it")
		}
	}
	return nil
}

// recoverPlace reads the flags that say where damage goes. The command line wins
// over the environment, which may be meant for another command.
func (c *call) recoverPlace() (mode, dir string, err error) {
	mode = c.flags.String("mode")
	if dir, err = c.quarantineDir(); err != nil || mode != "repair" || dir == "" {
		return mode, dir, err
	}
	switch {
	case cli.FromEnvironment(c.flags, "quarantine-dir"):
		dir = ""
	case cli.FromEnvironment(c.flags, "mode"):
		mode = "quarantine"
	}
	return mode, dir, nil
}

func (c *call) quarantineDir() (string, error) {
	dir := c.flags.String("quarantine-dir")
	if err := human.CheckPath(dir); err != nil {
		return "", usagef("--quarantine-dir %q: %v", dir, err)
	}
	return dir, nil
}

func recoverFlags(dir string) string {
	if dir == "" {
		return ""
	}
	return " --mode quarantine --quarantine-dir " + human.ShellQuote(dir)
}

func (c *call) runRecover(store papyra.Store, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	progress, done := c.progress("recovering")
	o.Progress = progress
	defer done()
	return store.Recover(c.ctx, o)
}

// noteRecovery notes the damage that a recovery left, and reports whether the
// store is clean.
func (c *call) noteRecovery(store papyra.Store, r *papyra.RecoverReport) bool {
	last := r.After
	if last == nil { // a dry run, or nothing to do
		last = r.Before
	}
	if last == nil {
		return true
	}
	if n := last.Damaged(); n > 0 {
		c.noteCondition(cli.CodeAnomalies, "%s: %s left", store.URL(), human.Plural(n, "damaged place", "damaged places"))
	}
	if last.Incomplete {
		c.noteCondition(cli.CodeIncomplete, "%s: a part could not be read", store.URL())
	}
	return last.Clean() && !last.Incomplete
}

// absolute returns a path as an absolute one, because whoever reads it does not
// know the working directory. What is no path, such as the quarantine stream of a
// Redis store, stays as it is.
func absolute(path string) string {
	if _, err := os.Lstat(path); err != nil {
		return path
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func (c *call) showMistake(mistake string) {
	if mistake != "" {
		c.out.printf("%s  %s\n", c.out.paint(yellow, "MISTAKE?"), mistake)
	}
}

func (c *call) showRecovery(r *papyra.RecoverReport) {
	s := c.out
	c.showMistake(r.Mistake)
	places := human.Plural(r.Moved, "damaged place", "damaged places")
	switch {
	case r.Moved == 0 && (r.Before == nil || r.Before.Clean()):
		s.printf("%s  %s: nothing to recover%s\n", s.paint(green, "clean"), r.Backend, human.EndedLines(r.Ended))
	case r.DryRun:
		s.printf("%s  %s: would move %s, %s; nothing was changed\n", s.paint(yellow, "dry run"), r.Backend, places, human.Plural(r.MovedBytes, "byte", "bytes"))
	case r.After != nil && r.After.Clean():
		s.printf("%s  %s: moved %s, %s\n", s.paint(green, "recovered"), r.Backend, places, human.Plural(r.MovedBytes, "byte", "bytes"))
	default:
		s.printf("%s  %s: moved %s, %s; some is left\n", s.paint(red, "DAMAGED"), r.Backend, places, human.Plural(r.MovedBytes, "byte", "bytes"))
	}
	if r.Quarantine != "" {
		s.printf("quarantine   %s\n", absolute(r.Quarantine))
	}
	if r.After != nil {
		s.printf("kept         %s, %s\n", human.Plural(r.After.Records, "record", "records"), human.Bytes(r.After.Bytes))
	}
	if r.DryRun && r.Before != nil {
		s.printf("would keep   %s\n", human.Plural(r.Before.Records, "record", "records"))
	}
	switch {
	case r.After != nil && r.After.Clean() && !r.After.Incomplete:
		s.printf("second scan  %s\n", s.paint(green, "clean"))
	case r.After != nil:
		s.printf("second scan  ")
		c.showVerdict(r.After)
		c.showAnomalies(r.After.Anomalies, r.After.Damaged())
		c.showGroupLosses(r.Groups, r.DryRun)
		return
	}
	if r.Before != nil {
		c.showAnomalies(r.Before.Anomalies, r.Before.Damaged())
	}
	c.showGroupLosses(r.Groups, r.DryRun)
}
