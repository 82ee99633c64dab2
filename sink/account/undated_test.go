package account_test

import (
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// A window of time leaves nothing out because of a time that is no date: it is not
// known that a report, or the last record of a run, was before the window.
func TestWindowAndTimesThatAreNoDates(t *testing.T) {
	p := named("orders", "a")
	uptime := time.Unix(888, 0)
	since := now.Add(-time.Minute)
	for _, c := range []struct {
		name             string
		at               time.Time // of the report
		accepted, missed uint64
	}{
		{"a report from before the window", since.Add(-time.Hour), 2, 0},
		{"a report without a date", uptime, 12, 2},
	} {
		w := newWorld(t, 1)
		w.sink(0, "archive", 1, now.Add(-time.Hour), papyra.SinkReport{})
		for seq := uint64(1); seq <= 10; seq++ {
			if seq != 4 && seq != 5 {
				w.put(0, p, papyra.KindEvent, seq, uptime, "")
			}
		}
		w.report(0, p, 1, c.at, papyra.ReportPublisher, papyra.PublisherReport{Uptime: 100,
			Categories: map[string]papyra.PublisherCategory{"events": {Accepted: 10, Confirmed: 10}}})
		for seq := uint64(11); seq <= 12; seq++ {
			w.put(0, p, papyra.KindEvent, seq, uptime, "")
		}
		o := w.options()
		o.Since = since
		r, err := w.judge(o)
		if err != nil {
			t.Fatal(err)
		}
		_, got := category(t, r, p, papyra.KindEvent)
		if got.Accepted != c.accepted || got.Missing != c.missed {
			t.Errorf("%s: %+v; want %d accepted, %d missing", c.name, got.Counts, c.accepted, c.missed)
		}
	}
}
