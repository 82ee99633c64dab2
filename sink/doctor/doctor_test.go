package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/memory"
	"github.com/papyra/papyra/sink/doctor"
)

func Example() {
	m := memory.New(nil)
	m.Plant([]byte(`{"kind":"event","system_id":"orders","actor_address":"orders:1","event_type":"ActorStarted","payload":{},"timestamp":1700000000.5}`))
	m.Plant([]byte("no record"))
	e := doctor.Examine(context.Background(), m.Open(), doctor.Options{})
	for _, c := range e.Checks {
		fmt.Println(c.Status, c.Name+":", c.Finding)
		if c.Hint != "" {
			fmt.Println("   to do:", c.Hint)
		}
	}
	// Output:
	// ok url: memory:
	// fail damage: 1 place: 1 corrupted
	//    to do: papyra-ctl recover --backend memory: --dry-run
	// ok leftovers: none
	// ok settings: nothing to warn about
}

// patient is a store that says of itself what a test wants.
type patient struct {
	papyra.Store
	own      []papyra.Check
	report   *papyra.ScanReport
	scanErr  error
	warnings []string
	warnErr  error
}

func (p patient) URL() string                            { return "json:/srv/a b" }
func (p patient) Examine(context.Context) []papyra.Check { return p.own }

func (p patient) Scan(_ context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	if o.Now != now {
		return nil, errors.New("another now")
	}
	return p.report, p.scanErr
}

func (p patient) Warnings(context.Context, papyra.Retention) ([]string, error) {
	return p.warnings, p.warnErr
}

var now = time.Unix(1_700_000_000, 0)

const recoverHint = " | papyra-ctl recover --backend 'json:/srv/a b' --dry-run"

func TestExamine(t *testing.T) {
	own := []papyra.Check{
		{Name: "lock", Status: papyra.StatusOK, Finding: "free"},
		{Name: "rejects", Status: papyra.StatusWarn, Finding: "5 B", Hint: "look"},
		{Name: "quarantine", Status: papyra.StatusOK, Finding: "nothing"},
		{Name: "spool", Status: papyra.StatusFail, Finding: "full"}, // of a store that wraps another
	}
	for _, tc := range []struct {
		name string
		p    patient
		want []string // status name: finding | hint
	}{
		{
			"what a store says stands around what the scan found",
			patient{own: own, report: &papyra.ScanReport{Records: 3, Bytes: 700}},
			[]string{
				"ok url: json:/srv/a b", "ok lock: free", "fail spool: full", "ok damage: none in 3 records, 700 B", "ok leftovers: none",
				"warn rejects: 5 B | look", "ok quarantine: nothing", "ok settings: nothing to warn about",
			},
		},
		{
			"no store",
			patient{scanErr: fmt.Errorf("open: %w", papyra.ErrNotFound)},
			[]string{"ok url: json:/srv/a b", "skipped damage: there is no store", "ok settings: nothing to warn about"},
		},
		{
			"a store that cannot be reached",
			patient{scanErr: papyra.ErrUnavailable, warnErr: papyra.ErrUnavailable},
			[]string{
				"ok url: json:/srv/a b",
				"fail reading: " + papyra.ErrUnavailable.Error() + " | see that the server runs and can be reached from here, and try again",
				"skipped damage: the store could not be read", "skipped settings: the store does not answer",
			},
		},
		{
			"a store that says itself why it does not answer",
			patient{scanErr: &papyra.StoreError{Op: "scan", Path: "s", Offset: -1, Hint: "log in", Err: papyra.ErrUnavailable}},
			[]string{
				"ok url: json:/srv/a b", "fail reading: scan s: " + papyra.ErrUnavailable.Error() + ": log in",
				"skipped damage: the store could not be read", "skipped settings: the store does not answer",
			},
		},
		{
			"a store that cannot be read at all",
			patient{scanErr: errors.New("input/output error")},
			[]string{
				"ok url: json:/srv/a b", "fail reading: input/output error",
				"skipped damage: the store could not be read", "ok settings: nothing to warn about",
			},
		},
		{
			"damage, leftovers and clocks",
			patient{
				report: &papyra.ScanReport{
					AnomalyCounts: map[papyra.Class]int64{papyra.ClassCorrupted: 1, papyra.ClassTruncated: 2, papyra.ClassLeftover: 1},
					NoticeCounts:  map[papyra.Class]int64{papyra.NoticeClockSkew: 1},
				},
				warnings: []string{"w1", "w2"},
			},
			[]string{
				"ok url: json:/srv/a b", "fail damage: 3 places: 2 truncated, 1 corrupted" + recoverHint,
				"fail leftovers: 1 file of an act that did not finish" + recoverHint,
				"warn clock: 1 timestamp is no date, or more than a day ahead of this clock | check the clocks of the nodes: papyra-ctl scan --output json names the records",
				"warn settings: w1", "warn settings: w2",
			},
		},
		{
			"a part cannot be read",
			patient{report: &papyra.ScanReport{
				Incomplete:    true,
				AnomalyCounts: map[papyra.Class]int64{papyra.ClassUnreadable: 1},
				Anomalies:     []papyra.Anomaly{{Class: papyra.ClassUnreadable, File: "b", Detail: "permission denied"}},
			}},
			[]string{
				"ok url: json:/srv/a b", "fail reading: a part could not be read: b: permission denied | run it as the user that owns the files",
				"ok leftovers: none", "ok settings: nothing to warn about",
			},
		},
		{
			"something else in the place of a file",
			patient{report: &papyra.ScanReport{AnomalyCounts: map[papyra.Class]int64{papyra.ClassUnexpectedFile: 1}}},
			[]string{
				"ok url: json:/srv/a b", "ok damage: none in 0 records, 0 B",
				"fail reading: see papyra-ctl scan | move it away: it is not read or followed",
				"ok leftovers: none", "ok settings: nothing to warn about",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := doctor.Examine(t.Context(), tc.p, doctor.Options{Now: now})
			var got []string
			failed := 0
			for _, c := range e.Checks {
				line := fmt.Sprintf("%s %s: %s", c.Status, c.Name, c.Finding)
				if c.Hint != "" {
					line += " | " + c.Hint
				}
				if strings.HasPrefix(line, "fail") {
					failed++
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("checks (-want +got):\n%s", diff)
			}
			if e.Count(papyra.StatusFail) != failed {
				t.Errorf("%d checks failed, want %d", e.Count(papyra.StatusFail), failed)
			}
			if !errors.Is(e.ScanErr, tc.p.scanErr) || e.Scan != tc.p.report {
				t.Errorf("scan %v, %v, want those of the store", e.Scan, e.ScanErr)
			}
		})
	}
}

// What to do about a part that cannot be read depends on why.
func TestExamineHintOfWhatCannotBeRead(t *testing.T) {
	for detail, want := range map[string]string{
		"open /srv/b: permission denied":               "run it as the user that owns the files",
		"operation not permitted":                      "run it as the user that owns the files",
		"input/output error":                           "check the disk: dmesg says more",
		"the file became shorter while it was read":    "try again; papyra-ctl scan names every place",
		"dial tcp 127.0.0.1:1: connection refused: it": "try again; papyra-ctl scan names every place",
	} {
		report := &papyra.ScanReport{Incomplete: true, Anomalies: []papyra.Anomaly{
			{Class: papyra.ClassCorrupted, Detail: "permission denied"},
			{Class: papyra.ClassUnreadable, File: "b", Detail: detail},
		}}
		for _, c := range doctor.Examine(t.Context(), patient{report: report}, doctor.Options{Now: now}).Checks {
			if c.Name == "reading" && c.Hint != want {
				t.Errorf("%s: got the hint %q, want %q", detail, c.Hint, want)
			}
		}
	}
}

// Read returns no record.
func (patient) Read(context.Context, papyra.Query, func(*papyra.Record, papyra.Place) error) (int64, error) {
	return 0, nil
}
