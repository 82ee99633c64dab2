package account_test

import (
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// A store that lost what it held is not accounted for: a publisher had its
// records confirmed before the store begins.
func TestAStoreThatLostItsBeginningStartsLate(t *testing.T) {
	p := named("orders", "a")
	begin := epoch.Add(500 * time.Second) // of the store's only sink
	sinkStarts := func(w *world) {
		w.report(0, named(papyra.SystemReserved, "sinkx"), 1, begin, papyra.ReportSink, papyra.SinkReport{State: "stopped", Group: "archive", Store: "s1"})
	}
	accepts := func(w *world, system string, at time.Time) {
		w.report(0, named(system, "acc"), 1, at, papyra.ReportStartAccepted, papyra.StartAccepted{ID: "x", Late: 1})
	}
	// reports are about 1 to accepted, of which so many are confirmed or buffered.
	reports := func(w *world, at time.Time, accepted, buffered uint64) {
		w.report(0, p, 1, at, papyra.ReportPublisher, papyra.PublisherReport{
			Uptime:     at.Sub(epoch).Seconds(),
			Categories: map[string]papyra.PublisherCategory{"events": addedUp(papyra.PublisherCategory{Accepted: accepted, Buffered: buffered})},
		})
	}
	for _, c := range []struct {
		name    string
		make    func(w *world)
		since   time.Duration
		late    uint64
		before  uint64
		verdict account.Verdict
	}{
		{"confirmed before the store begins", func(w *world) {
			sinkStarts(w)
			reports(w, begin.Add(time.Second), 500, 0)
			w.events(0, p, 501, 510)
		}, 0, 500, 500, account.StartsLate},
		{"some of them were still in the buffer", func(w *world) {
			sinkStarts(w)
			reports(w, begin.Add(time.Second), 500, 20)
			w.events(0, p, 501, 510)
		}, 0, 480, 500, account.StartsLate},
		{"some of them may be the ones that came later", func(w *world) {
			sinkStarts(w)
			reports(w, begin.Add(time.Second), 500, 450)
			w.events(0, p, 451, 510)
		}, 0, 0, 450, account.Balanced},
		{"nothing was confirmed: the broker had no receiver", func(w *world) {
			sinkStarts(w)
			reports(w, begin.Add(time.Second), 500, 500)
			w.events(0, p, 501, 510)
		}, 0, 0, 500, account.Balanced},
		{"a window after the beginning", func(w *world) {
			sinkStarts(w)
			reports(w, begin.Add(time.Second), 500, 0)
			w.events(0, p, 501, 510)
		}, 505 * time.Second, 0, 0, account.Balanced},
		{"accepted", func(w *world) {
			sinkStarts(w)
			reports(w, begin.Add(time.Second), 500, 0)
			w.events(0, p, 501, 510)
			accepts(w, papyra.SystemReserved, begin.Add(time.Minute))
		}, 0, 0, 500, account.Balanced},
		{"accepted before the store was lost again", func(w *world) {
			sinkStarts(w)
			reports(w, begin.Add(time.Second), 500, 0)
			w.events(0, p, 501, 510)
			accepts(w, papyra.SystemReserved, begin.Add(-time.Minute))
		}, 0, 500, 500, account.StartsLate},
		{"accepted by a tenant", func(w *world) {
			sinkStarts(w)
			reports(w, begin.Add(time.Second), 500, 0)
			w.events(0, p, 501, 510)
			accepts(w, "orders", begin.Add(time.Minute))
		}, 0, 500, 500, account.StartsLate},
		{"missing comes first", func(w *world) {
			sinkStarts(w)
			reports(w, begin.Add(time.Second), 500, 0)
			w.events(0, p, 503, 510)
		}, 0, 500, 500, account.Missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			c.make(w)
			o := w.options()
			if c.since > 0 {
				o.Since = epoch.Add(c.since)
			}
			r, err := w.judge(o)
			if err != nil {
				t.Fatal(err)
			}
			_, got := category(t, r, p, papyra.KindEvent)
			if got.Late != c.late || got.Before != c.before || r.Total.Late != c.late || r.Verdict != c.verdict {
				t.Errorf("got %s, %+v, want %s with %d late of %d before", r.Verdict, got, c.verdict, c.late, c.before)
			}
		})
	}
}
