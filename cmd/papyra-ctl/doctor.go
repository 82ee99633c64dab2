package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/sink"
)

func (t *tool) doctorCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "doctor",
		Usage: "Check a store and what it needs: place, rights, lock, space, damage",
		Description: describe(`Looks at everything that keeps a store from working: the URL, the file and its
rights, the directory, who holds the lock, free space, damage, files that an
interrupted act left, rejected lines, quarantined bytes. Each check says ok,
warn or FAIL and what to do. Nothing is changed.

--mode says what damage means for the exit code: scan_only 2 (the default),
fail_on_anomaly 1, ignore 0. Warnings never change it.`,
			[]string{
				"papyra-ctl doctor --backend " + exampleStore,
				"papyra-ctl doctor --backend " + exampleStore + " --mode fail_on_anomaly --output json",
			},
			exit{"0", "nothing is wrong, or warnings only"},
			exit{"1", "damage, with --mode fail_on_anomaly"},
			exit{"2", "damage"},
			exit{"3", "the store does not exist, or stdout failed"},
			exit{"5", "a part could not be read"},
		),
		Flags: []urfave.Flag{
			backendFlag(true),
			&urfave.StringFlag{Name: "mode", EnvVars: []string{"PAPYRA_DOCTOR_MODE"}, Value: "scan_only", Usage: "what damage means, `MODE`: ignore, scan_only or fail_on_anomaly"},
			outputFlag(),
		},
		Action: t.verb("doctor", (*call).doctor),
	}
}

// The states of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "FAIL"
	checkSkip = "skipped"
)

// check is one thing that doctor looked at.
type check struct {
	Backend string `json:"backend"`
	Name    string `json:"name"`
	State   string `json:"state"` // ok, warn, fail, skipped
	Finding string `json:"finding"`
	Hint    string `json:"hint,omitempty"` // what to do
}

// doctorResult is the JSON of doctor.
type doctorResult struct {
	Mode     string  `json:"mode"`
	Healthy  bool    `json:"healthy"` // no check failed
	Warnings int     `json:"warnings"`
	Checks   []check `json:"checks"`
}

// examination collects the checks of one store.
type examination struct {
	c      *call
	store  sink.Backend
	checks []check
}

func (e *examination) add(name, state, finding, hint string) {
	e.checks = append(e.checks, check{e.store.URL(), name, state, finding, hint})
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
	result := &doctorResult{Mode: mode, Healthy: true, Checks: []check{}}
	c.result = result
	for i, store := range stores {
		e := &examination{c: c, store: store}
		e.examine(mode)
		if c.interrupted() {
			return c.ctx.Err()
		}
		for _, ch := range e.checks {
			switch ch.State {
			case checkFail:
				result.Healthy = false
			case checkWarn:
				result.Warnings++
			}
			ch.State = strings.ToLower(ch.State)
			result.Checks = append(result.Checks, ch)
		}
		if !c.json {
			if i > 0 {
				c.out.printf("\n")
			}
			c.showChecks(store, e.checks)
		}
	}
	return nil
}

func (e *examination) examine(mode string) {
	e.add("url", checkOK, e.store.URL(), "")
	if reject := e.store.RejectFile(); reject != "" {
		p := newPlace(reject)
		e.file(p)
		e.directory(p)
		e.lock(p)
		e.space(p)
		e.scan(mode)
		e.rejects(p)
		e.quarantine(p)
	} else {
		e.scan(mode)
	}
	e.settings()
}

// settings asks the store itself under which of its settings it may keep less
// than its operator expects.
func (e *examination) settings() {
	warnings, err := e.store.Warnings(e.c.ctx, papyra.Retention{})
	for _, warning := range warnings {
		e.add("settings", checkWarn, warning, "")
	}
	switch {
	case err != nil:
		e.add("settings", checkWarn, err.Error(), "")
	case len(warnings) == 0:
		e.add("settings", checkOK, "nothing to warn about", "")
	}
}

// scan looks for damage and decides about the exit code.
func (e *examination) scan(mode string) {
	report, err := e.c.runScan(e.c.ctx, e.store, papyra.ScanOptions{Now: e.c.now()})
	if errors.Is(err, papyra.ErrNotFound) {
		e.c.note(cli.ExitCode(err), "%s: %v", e.store.URL(), err)
		e.add("damage", checkSkip, "there is no store", "")
		return
	}
	if err != nil {
		e.c.note(cli.ExitCode(err), "%s: %v", e.store.URL(), err)
		e.add("damage", checkFail, err.Error(), "")
		return
	}
	leftovers := report.AnomalyCounts[papyra.ClassLeftover]
	elsewhere := []papyra.Class{papyra.ClassLeftover, papyra.ClassUnreadable, papyra.ClassUnexpectedFile}
	damage := map[papyra.Class]int64{}
	n := int64(0)
	for class, count := range report.AnomalyCounts {
		if !slices.Contains(elsewhere, class) {
			damage[class] = count
			n += count
		}
	}
	switch {
	case n > 0:
		e.add("damage", checkFail, plural(n, "place", "places")+": "+showClasses(damage), e.recoverHint())
	case report.Incomplete:
	default:
		e.add("damage", checkOK, fmt.Sprintf("none in %s, %s", plural(report.Records, "record", "records"), showBytes(report.Bytes)), "")
	}
	if report.Incomplete {
		e.c.note(cli.CodeIncomplete, "%s: a part could not be read", e.store.URL())
		e.add("reading", checkFail, "a part could not be read: "+first(report, papyra.ClassUnreadable, papyra.ClassUnexpectedFile), "run it as the user that owns the files")
	}
	if strange := report.AnomalyCounts[papyra.ClassUnexpectedFile]; strange > 0 && !report.Incomplete {
		e.add("reading", checkFail, first(report, papyra.ClassUnexpectedFile), "move it away: it is not read or followed")
	}
	if leftovers > 0 {
		e.add("leftovers", checkFail, plural(leftovers, "file", "files")+" of an act that did not finish", e.recoverHint())
	} else {
		e.add("leftovers", checkOK, "none", "")
	}
	if skew := report.NoticeCounts[papyra.NoticeClockSkew]; skew > 0 {
		e.add("clock", checkWarn, plural(skew, "record is", "records are")+" more than a day ahead of this clock", "check the clocks of the nodes: papyra-ctl scan names the records")
	}
	if n := damagedPlaces(report); n > 0 {
		switch mode {
		case "fail_on_anomaly":
			e.c.note(cli.CodeRefused, "%s: %s", e.store.URL(), plural(n, "damaged place", "damaged places"))
		case "scan_only":
			e.c.note(cli.CodeAnomalies, "%s: %s", e.store.URL(), plural(n, "damaged place", "damaged places"))
		}
	}
}

func (e *examination) recoverHint() string {
	return "papyra-ctl recover --backend " + shellQuote(e.store.URL()) + " --dry-run"
}

// first describes the first anomaly of one of some classes.
func first(r *papyra.ScanReport, classes ...papyra.Class) string {
	for _, a := range r.Anomalies {
		if slices.Contains(classes, a.Class) {
			return a.File + ": " + a.Detail
		}
	}
	return "see papyra-ctl scan"
}

func (c *call) showChecks(store sink.Backend, checks []check) {
	s := c.out
	failed, warned := 0, 0
	for _, ch := range checks {
		switch ch.State {
		case checkFail:
			failed++
		case checkWarn:
			warned++
		}
	}
	switch {
	case failed > 0:
		s.printf("%s  %s: %s\n\n", s.paint(red, "FAIL"), store.URL(), plural(int64(failed), "check failed", "checks failed"))
	case warned > 0:
		s.printf("%s  %s: %s\n\n", s.paint(yellow, "warn"), store.URL(), plural(int64(warned), "warning", "warnings"))
	default:
		s.printf("%s  %s\n\n", s.paint(green, "ok"), store.URL())
	}
	color := func(state string) string {
		return map[string]string{checkOK: green, checkWarn: yellow, checkFail: red, checkSkip: faint}[state]
	}
	g := newGrid(s, column{title: "STATE", color: color}, column{title: "CHECK"}, column{title: "FOUND", cut: true})
	for _, ch := range checks {
		_ = g.add(ch.State, ch.Name, ch.Finding)
	}
	_ = g.end()
	heading := "\nto do:\n"
	for _, ch := range checks {
		if ch.Hint != "" && ch.State != checkOK {
			s.printf("%s  %s: %s\n", raw(heading), ch.Name, ch.Hint)
			heading = ""
		}
	}
}
