package backendtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

var errNo = errors.New("not approved")

// unapproved scans a store, tries an act that is not approved, and makes sure that
// nothing of it was written.
func unapproved(t *testing.T, b papyra.Store, act func() error) {
	t.Helper()
	scan := scanStore(t, b, papyra.ScanOptions{})
	if err := act(); !errors.Is(err, errNo) {
		t.Errorf("got %v, want the error of Approve", err)
	}
	if diff := cmp.Diff(scan, scanStore(t, b, papyra.ScanOptions{})); diff != "" {
		t.Errorf("an act that was not approved changed the store (-before +after):\n%s", diff)
	}
}

func recoverApproved(t *testing.T, m Medium) {
	ctx := context.Background()
	b := open(t, m)
	store(t, b, testrecord.Batch())
	asks := func(want bool) {
		t.Helper()
		dry := recoverStore(t, b, papyra.RecoverOptions{DryRun: true})
		unapproved(t, b, func() error {
			_, err := b.Recover(ctx, papyra.RecoverOptions{Approve: func(plan *papyra.RecoverReport) error {
				if plan.Before == nil || plan.Before.Clean() || plan.Mistake != dry.Mistake || (plan.Mistake != "") != want {
					t.Errorf("the plan %+v, want damage in Before and a reason to ask: %v", plan, want)
				}
				return errNo
			}})
			return err
		})
	}
	// What a crash leaves of a store that had just begun is no reason to ask.
	m.Plant(t, testrecord.New(1).Event()[:40])
	asks(false)
	for i := range 3 {
		m.Plant(t, fmt.Appendf(nil, "an entry %d of something else", i))
	}
	asks(true)
	if r := recoverStore(t, b, papyra.RecoverOptions{Approve: func(*papyra.RecoverReport) error { return nil }}); r.Moved != 4 || r.Mistake == "" {
		t.Errorf("approved: %+v, want 4 places moved, and why", r)
	}
	m.Plant(t, []byte("junk"))
	store(t, b, testrecord.Batch(testrecord.New(2).Event()))
	asks(false)
	recoverStore(t, b, papyra.RecoverOptions{})
	if _, err := b.Recover(ctx, papyra.RecoverOptions{Approve: func(*papyra.RecoverReport) error { return errNo }}); err != nil {
		t.Errorf("a recovery with nothing to do was not approved: %v", err)
	}
}

func compactApproved(t *testing.T, m Medium) {
	b := open(t, m)
	lines := testrecord.New(1).Events(20) // a second apart
	store(t, b, testrecord.Batch(lines...))
	last := testrecord.Start.Add(19 * time.Second)
	of := func(l papyra.Limits) papyra.Retention { return papyra.Retention{General: l} }
	for name, c := range map[string]struct {
		retention papyra.Retention
		at        time.Time
		asks      bool
	}{
		"by number, years later":        {keep(5), last.AddDate(9, 0, 0), false},
		"by age, at once":               {keepAge(10 * time.Second), last, false},
		"by age, nearly a day later":    {keepAge(24*time.Hour - time.Minute + 5*time.Second), last.Add(24*time.Hour - time.Minute), false},
		"by age, more than a day later": {of(papyra.Limits{Age: 48 * time.Hour, Records: 3}), last.Add(25 * time.Hour), true},
		"by age, more than a day ago":   {of(papyra.Limits{Age: time.Hour, Records: 3}), last.Add(-25 * time.Hour), true},
		"the newest goes":               {keepAge(time.Hour), last.Add(2 * time.Hour), true},
		"no record fits":                {of(papyra.Limits{Bytes: 1}), last, true},
		"nothing goes":                  {of(papyra.Limits{Age: time.Hour * 999}), last.Add(99 * time.Hour), false},
	} {
		dry := compact(t, b, papyra.CompactOptions{Retention: c.retention, At: c.at, DryRun: true})
		if (dry.Mistake != "") != c.asks {
			t.Errorf("%s: the reason to ask is %q, want one: %v", name, dry.Mistake, c.asks)
		}
		if dry.RecordsBefore == dry.RecordsAfter {
			continue
		}
		unapproved(t, b, func() error {
			_, err := b.Compact(context.Background(), papyra.CompactOptions{Retention: c.retention, At: c.at, Approve: func(plan *papyra.CompactReport) error {
				plan.DryRun = true
				if diff := cmp.Diff(dry, plan); diff != "" {
					t.Errorf("%s: the plan is another one than that of a dry run (-dry +plan):\n%s", name, diff)
				}
				return errNo
			}})
			return err
		})
	}
	// A report that stays beside them says nothing about the records to which the
	// limits apply; a library goes on without an approval.
	report := testrecord.New(3).Line("orders", papyra.KindReport, "")
	store(t, b, testrecord.Batch(report))
	if r := compact(t, b, papyra.CompactOptions{Retention: keepAge(time.Nanosecond), At: last.Add(time.Hour)}); r.Mistake == "" || r.RecordsAfter != 1 {
		t.Errorf("got %+v, want a reason to ask, and nothing left but the report", r)
	}
}
