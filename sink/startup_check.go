package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/papyra/papyra"
)

// StartupMode says what a sink does with its store before it opens it.
type StartupMode string

// The startup modes.
const (
	CheckIgnore  StartupMode = "ignore"          // nothing
	CheckScan    StartupMode = "scan_only"       // scan, log what is damaged, go on
	CheckFail    StartupMode = "fail_on_anomaly" // scan, do not start if anything is damaged
	CheckRecover StartupMode = "recover"         // scan, recover, scan again, do not start if anything is left
)

// Errors of a startup check.
var (
	// ErrAnomalies: CheckFail found damage.
	ErrAnomalies = errors.New("the store is damaged")
	// ErrNotClean: after CheckRecover damage is left.
	ErrNotClean = errors.New("the store is still damaged after the recovery")
)

func (m StartupMode) validate() error {
	switch m {
	case CheckIgnore, CheckScan, CheckFail, CheckRecover:
		return nil
	}
	return fmt.Errorf("unknown startup check %q: choose %s, %s, %s or %s", m, CheckIgnore, CheckScan, CheckFail, CheckRecover)
}

// CheckReport is what a startup check saw and did.
type CheckReport struct {
	Mode StartupMode `json:"mode"`
	// Before is absent where nothing was scanned: with CheckIgnore, and where
	// the store does not exist yet.
	Before *papyra.ScanReport `json:"before,omitempty"`
	// Recovered and After are there only when CheckRecover had something to do.
	Recovered *papyra.RecoverReport `json:"recovered,omitempty"`
	After     *papyra.ScanReport    `json:"after,omitempty"`
}

// StartupCheck checks a store as mode says. A store that does not exist is
// fine. The report says how far the check came, also when there is an error. The
// error wraps ErrAnomalies or ErrNotClean when damage is the reason.
func StartupCheck(ctx context.Context, m Maintainer, mode StartupMode, now time.Time, progress papyra.Progress) (*CheckReport, error) {
	r := &CheckReport{Mode: mode}
	if err := mode.validate(); err != nil {
		return r, fmt.Errorf("%w: %w", papyra.ErrConfig, err)
	}
	if mode == CheckIgnore {
		return r, nil
	}
	scan := func() (*papyra.ScanReport, error) {
		found, err := m.Scan(ctx, papyra.ScanOptions{Now: now, Progress: progress})
		if errors.Is(err, papyra.ErrNotFound) {
			return nil, nil //nolint:nilnil // nothing is there: nothing is damaged
		}
		if err != nil {
			return nil, fmt.Errorf("scan the store: %w", err)
		}
		return found, nil
	}
	var err error
	if r.Before, err = scan(); err != nil || r.Before == nil || r.Before.Clean() {
		return r, err
	}
	switch mode {
	case CheckFail:
		return r, fmt.Errorf("%w: %s: look with 'papyra-ctl scan', repair with 'papyra-ctl recover'", ErrAnomalies, describeDamage(r.Before))
	case CheckRecover:
		if r.Recovered, err = m.Recover(ctx, papyra.RecoverOptions{Now: now, Progress: progress}); err != nil {
			return r, fmt.Errorf("recover the store: %w", err)
		}
		if r.After, err = scan(); err != nil {
			return r, err
		}
		if r.After != nil && !r.After.Clean() {
			return r, fmt.Errorf("%w: %s: look with 'papyra-ctl scan'", ErrNotClean, describeDamage(r.After))
		}
	}
	return r, nil
}

// describeDamage says how much is damaged, and where first.
func describeDamage(r *papyra.ScanReport) string {
	n := r.Damaged()
	s := fmt.Sprintf("%d anomalies", n)
	if n == 1 {
		s = "1 anomaly"
	}
	if len(r.Anomalies) == 0 {
		return s
	}
	a := r.Anomalies[0]
	switch {
	case a.File != "":
		return fmt.Sprintf("%s, the first (%s) in %q at offset %d", s, a.Class, a.File, a.Offset)
	case a.Stream != "":
		return fmt.Sprintf("%s, the first (%s) in %q at %s", s, a.Class, a.Stream, a.ID)
	}
	return fmt.Sprintf("%s, the first %s", s, a.Class)
}

// maxReported bounds the places that a CorruptionDetected names.
const maxReported = 16

// checkStore runs the startup check and logs what it found. It returns the reports
// that say the same in the store, which is not open yet.
func (s *Sink) checkStore(ctx context.Context) (early []papyra.Report, err error) {
	r, err := StartupCheck(ctx, s.Maintainer(), s.config.StartupCheck, s.config.Now(), nil)
	if r.Before != nil && !r.Before.Clean() {
		s.log.Warn("the store is damaged", "found", describeDamage(r.Before), "counts", r.Before.AnomalyCounts)
		early = append(early, papyra.Report{
			Name: papyra.ReportCorruptionDetected,
			Payload: papyra.CorruptionDetected{
				Counts: r.Before.AnomalyCounts,
				First:  r.Before.Anomalies[:min(len(r.Before.Anomalies), maxReported)],
			},
		})
	}
	if r.Recovered != nil {
		s.log.Info("recovered the store", "moved", r.Recovered.Moved, "bytes", r.Recovered.MovedBytes, "quarantine", r.Recovered.Quarantine)
	}
	if err != nil {
		return nil, fmt.Errorf("check the store before the start: %w", err)
	}
	return early, nil
}

// warningsWithin is how long a sink waits for the warnings of its store.
const warningsWithin = 3 * time.Second

// logStoreWarnings logs under which settings of the store it may keep less than
// its operator expects.
func (s *Sink) logStoreWarnings(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, warningsWithin)
	defer cancel()
	warnings, err := s.backend.Warnings(ctx, s.config.Retention)
	for _, text := range warnings {
		s.log.Warn("the store may keep less than expected", "warning", text)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		s.log.Warn("the store could not be asked for settings under which it keeps less than expected", "error", err)
	}
}
