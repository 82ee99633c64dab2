// Package doctor examines a store: whether it can work, and whether what it
// holds is whole. It puts together what the store says of itself, what a scan
// finds, and the settings that the store warns of.
//
// Each check has a name, a status, what was found and what to do; the names stay
// the same, so that programs can look for them. Nothing is changed.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/internal/unended"
)

// Options say how a store is examined. The zero Options are the default.
type Options struct {
	Now      time.Time       // by which records of the future are found; zero: they are not
	Progress papyra.Progress // of the scan
}

// Examination is what was found out about one store.
type Examination struct {
	Store string // its URL
	// Checks are in the order in which they are to be read.
	Checks []papyra.Check
	// Scan is what the scan found. It is nil where the scan failed, with ScanErr;
	// that wraps papyra.ErrNotFound where there is no store.
	Scan    *papyra.ScanReport
	ScanErr error
}

// Count returns how many checks have a status.
func (e *Examination) Count(status papyra.CheckStatus) (n int) {
	for _, c := range e.Checks {
		if c.Status == status {
			n++
		}
	}
	return n
}

// afterScan names the checks of a store that say what earlier acts left: they are
// read after what the scan found.
func afterScan(c papyra.Check) bool { return c.Name == "rejects" || c.Name == "quarantine" }

// Examine examines a store. What fails becomes a check that says so. When ctx
// has ended, what is missing is missing because of that.
func Examine(ctx context.Context, store papyra.Store, o Options) *Examination {
	e := &Examination{Store: store.URL()}
	e.addCheck("url", papyra.StatusOK, e.Store, "")
	own := store.Examine(ctx)
	for _, c := range own {
		if !afterScan(c) {
			e.Checks = append(e.Checks, c)
		}
	}
	e.Scan, e.ScanErr = store.Scan(ctx, papyra.ScanOptions{Now: o.Now, Progress: o.Progress})
	switch {
	case errors.Is(e.ScanErr, papyra.ErrNotFound):
		e.addCheck("damage", papyra.StatusSkipped, "there is no store", "")
	case e.ScanErr != nil:
		// Nothing was seen of what is stored, so nothing can be said about damage.
		e.addCheck("reading", papyra.StatusFail, e.ScanErr.Error(), unreadHint(e.ScanErr))
		e.addCheck("damage", papyra.StatusSkipped, "the store could not be read", "")
	default:
		e.addScan(e.Scan)
		e.addUnended(ctx, store)
	}
	for _, c := range own {
		if afterScan(c) {
			e.Checks = append(e.Checks, c)
		}
	}
	if errors.Is(e.ScanErr, papyra.ErrUnavailable) {
		e.addCheck("settings", papyra.StatusSkipped, "the store does not answer", "")
		return e
	}
	e.addWarnings(store.Warnings(ctx, papyra.Retention{}))
	return e
}

// Failures returns the checks that failed for another reason than what a scan finds:
// Scan and ScanErr do not tell of them.
func (e *Examination) Failures() []papyra.Check {
	if errors.Is(e.ScanErr, papyra.ErrNotFound) {
		return nil // each of them says that, or follows from it
	}
	var list []papyra.Check
	for _, c := range e.Checks {
		if c.Status == papyra.StatusFail && !slices.Contains([]string{"damage", "leftovers", "reading"}, c.Name) {
			list = append(list, c)
		}
	}
	return list
}

func (e *Examination) addCheck(name string, status papyra.CheckStatus, finding, hint string) {
	e.Checks = append(e.Checks, papyra.Check{Name: name, Status: status, Finding: finding, Hint: hint})
}

// addWarnings adds what a store says of its settings.
func (e *Examination) addWarnings(warnings []string, err error) {
	for _, warning := range warnings {
		e.addCheck("settings", papyra.StatusWarn, warning, "")
	}
	switch {
	case err != nil:
		e.addCheck("settings", papyra.StatusWarn, err.Error(), "")
	case len(warnings) == 0:
		e.addCheck("settings", papyra.StatusOK, "nothing to warn about", "")
	}
}

// addScan adds what a scan found: damage, what could not be read, leftovers, and
// clocks that are wrong.
func (e *Examination) addScan(r *papyra.ScanReport) {
	recoverHint := "papyra-ctl recover --backend " + human.ShellQuote(e.Store) + " --dry-run"
	elsewhere := []papyra.Class{papyra.ClassLeftover, papyra.ClassUnreadable, papyra.ClassUnexpectedFile}
	damage, places := map[papyra.Class]int64{}, int64(0)
	for class, n := range r.AnomalyCounts {
		if !slices.Contains(elsewhere, class) {
			damage[class] = n
			places += n
		}
	}
	switch {
	case places > 0:
		e.addCheck("damage", papyra.StatusFail, human.Plural(places, "place", "places")+": "+human.Counts(damage), recoverHint)
	case !r.Incomplete:
		e.addCheck("damage", papyra.StatusOK, fmt.Sprintf("none in %s, %s", human.Plural(r.Records, "record", "records"), human.Bytes(r.Bytes)), "")
	}
	switch {
	case r.Incomplete:
		e.addCheck("reading", papyra.StatusFail, "a part could not be read: "+firstAnomaly(r, papyra.ClassUnreadable, papyra.ClassUnexpectedFile), unreadableHint(r))
	case r.AnomalyCounts[papyra.ClassUnexpectedFile] > 0:
		e.addCheck("reading", papyra.StatusFail, firstAnomaly(r, papyra.ClassUnexpectedFile), "move it away: it is not read or followed")
	}
	if leftovers := r.AnomalyCounts[papyra.ClassLeftover]; leftovers > 0 {
		e.addCheck("leftovers", papyra.StatusFail, human.Plural(leftovers, "file", "files")+" of an act that did not finish", recoverHint)
	} else {
		e.addCheck("leftovers", papyra.StatusOK, "none", "")
	}
	if skew := r.NoticeCounts[papyra.NoticeClockSkew]; skew > 0 {
		e.addCheck("clock", papyra.StatusWarn, human.Plural(skew, "timestamp is", "timestamps are")+" no date, or more than a day ahead of this clock", "check the clocks of the nodes: papyra-ctl scan --output json names the records")
	}
}

// addUnended names the compactions that were killed after they had announced what is
// still stored. Where there are none nothing is said; what could not be read the scan
// has named.
func (e *Examination) addUnended(ctx context.Context, store papyra.Store) {
	acts, _ := unended.Find(ctx, store)
	for _, act := range acts {
		e.addCheck("acts", papyra.StatusWarn, act.String(), "the next compact ends it by what is stored: give the same command again")
	}
}

// unreadHint says what to do about a store that could not be read at all, unless the
// error says that itself.
func unreadHint(err error) string {
	var placed *papyra.StoreError
	switch {
	case errors.As(err, &placed) && placed.Hint != "":
		return ""
	case errors.Is(err, papyra.ErrUnavailable):
		return "see that the server runs and can be reached from here, and try again"
	}
	return ""
}

// unreadableHint says what to do about what could not be read. An anomaly has the
// words of the system call's error and not the error.
func unreadableHint(r *papyra.ScanReport) string {
	for _, a := range r.Anomalies {
		switch {
		case a.Class != papyra.ClassUnreadable:
		case strings.HasSuffix(a.Detail, syscall.EACCES.Error()), strings.HasSuffix(a.Detail, syscall.EPERM.Error()):
			return "run it as the user that owns the files"
		case strings.HasSuffix(a.Detail, syscall.EIO.Error()):
			return "check the disk: dmesg says more"
		}
	}
	return "try again; papyra-ctl scan names every place"
}

// firstAnomaly describes the first anomaly of one of some classes.
func firstAnomaly(r *papyra.ScanReport, classes ...papyra.Class) string {
	for _, a := range r.Anomalies {
		if slices.Contains(classes, a.Class) {
			return a.File + ": " + a.Detail
		}
	}
	return "see papyra-ctl scan"
}
