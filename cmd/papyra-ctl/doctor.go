package main

import (
	"slices"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/doctor"
)

func (t *tool) doctorCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "doctor",
		Usage: "Check a store and what it needs: place, rights, lock, space, damage",
		Description: describe(`Looks at everything that can keep a store from working: the URL, the file and its
rights, the directory, who holds the lock, free space, damage, files that an
interrupted act left, rejected lines, quarantined bytes. Each check says ok, warn
or FAIL, what was found, and what to do. Nothing is changed.

--mode chooses the exit code for damage: 2 with scan_only (the default), 1 with
fail_on_anomaly, 0 with ignore. Any other FAIL is 1, and 69 where the store does not
answer: then nothing is known about damage. Warnings never change the exit code.`,
			[]string{
				"papyra-ctl doctor --backend " + exampleStore,
				"papyra-ctl doctor --backend " + exampleStore + " --mode fail_on_anomaly --output json",
			},
			exit{"0", "nothing is wrong, or warnings only"},
			exit{"1", "a check failed that is not about damage, such as space; damage, with --mode fail_on_anomaly"},
			exit{"2", "damage"},
			exit{"3", "the store does not exist, or stdout failed"},
			exit{"5", "a part could not be read"},
		),
		Flags: withSinks([]urfave.Flag{
			backendFlag(true),
			&urfave.StringFlag{Name: "mode", EnvVars: []string{"PAPYRA_DOCTOR_MODE"}, Value: "scan_only", Usage: "the exit code for damage, `MODE`: ignore (0), scan_only (2) or fail_on_anomaly (1)"},
			outputFlag(),
		}),
		Action: t.verb("doctor", (*call).doctor),
	}
}

// doctorResult is the JSON of doctor.
type doctorResult struct {
	Mode     string        `json:"mode"`
	Healthy  bool          `json:"healthy"` // no check failed
	Warnings int           `json:"warnings"`
	Checks   []doctorCheck `json:"checks"`
}

// doctorCheck is a check of one of several stores.
type doctorCheck struct {
	Backend string `json:"backend"`
	papyra.Check
}

func (c *call) doctor() error {
	mode := c.flags.String("mode")
	if !slices.Contains([]string{"ignore", "scan_only", "fail_on_anomaly"}, mode) {
		return usagef("--mode %q: give ignore, scan_only or fail_on_anomaly", mode)
	}
	stores, err := c.openAll()
	if err != nil {
		return err
	}
	defer closeAll(stores)
	result := &doctorResult{Mode: mode, Healthy: true, Checks: []doctorCheck{}}
	c.result = result
	for i, store := range stores {
		progress, done := c.progress("scanning")
		e := doctor.Examine(c.ctx, store, doctor.Options{Now: c.now(), Progress: progress})
		done()
		c.noteExamination(e, mode)
		if c.interrupted() {
			return c.ctx.Err()
		}
		result.Healthy = result.Healthy && e.Count(papyra.StatusFail) == 0
		result.Warnings += e.Count(papyra.StatusWarn)
		for _, check := range e.Checks {
			result.Checks = append(result.Checks, doctorCheck{e.Store, check})
		}
		if !c.json {
			if i > 0 {
				c.out.printf("\n")
			}
			c.showExamination(e)
		}
	}
	return nil
}

// noteExamination notes what an examination means for the exit code.
func (c *call) noteExamination(e *doctor.Examination, mode string) {
	for _, check := range e.Failures() {
		c.noteCondition(cli.CodeRefused, "%s: %s: %s", e.Store, check.Name, check.Finding)
	}
	if e.Scan == nil {
		c.noteCondition(cli.ExitCode(e.ScanErr), "%s: %v", e.Store, e.ScanErr)
		return
	}
	if e.Scan.Incomplete {
		c.noteCondition(cli.CodeIncomplete, "%s: a part could not be read", e.Store)
	}
	if n := e.Scan.Damaged(); n > 0 && mode != "ignore" {
		code := cli.CodeAnomalies
		if mode == "fail_on_anomaly" {
			code = cli.CodeRefused
		}
		c.noteCondition(code, "%s: %s", e.Store, human.Plural(n, "damaged place", "damaged places"))
	}
}

// showExamination shows the checks of one store, the verdict first.
func (c *call) showExamination(e *doctor.Examination) {
	s := c.out
	failed, warned := e.Count(papyra.StatusFail), e.Count(papyra.StatusWarn)
	switch {
	case failed > 0:
		s.printf("%s  %s: %s\n\n", s.paint(red, "FAIL"), e.Store, human.Plural(int64(failed), "check failed", "checks failed"))
	case warned > 0:
		s.printf("%s  %s: %s\n\n", s.paint(yellow, "warn"), e.Store, human.Plural(int64(warned), "warning", "warnings"))
	default:
		s.printf("%s  %s\n\n", s.paint(green, "ok"), e.Store)
	}
	g := newGrid(s, column{title: "STATE", color: statusColor}, column{title: "CHECK"}, column{title: "FOUND", cut: true})
	for _, check := range e.Checks {
		_ = g.addRow(statusWord(check.Status), check.Name, check.Finding)
	}
	_ = g.writePage()
	heading := "\nto do:\n"
	for _, check := range e.Checks {
		if check.Hint != "" && check.Status != papyra.StatusOK {
			s.printf("%s  %s: %s\n", raw(heading), check.Name, check.Hint)
			heading = ""
		}
	}
}

// statusWord returns the word for a status in a table.
func statusWord(status papyra.CheckStatus) string {
	if status == papyra.StatusFail {
		return "FAIL" // it must be easy to find
	}
	return string(status)
}

func statusColor(word string) string {
	return map[string]string{"ok": green, "warn": yellow, "FAIL": red, "skipped": faint}[word]
}
