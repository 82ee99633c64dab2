package sink

import (
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// A quantile lies in the bucket in which so many records are.
func TestLagQuantiles(t *testing.T) {
	m := newLagMeter()
	m.addRecords(50, 1500*time.Microsecond) // up to 2 ms
	m.addRecords(49, 40*time.Millisecond)   // up to 50 ms
	m.addRecords(1, 6*time.Hour)            // beyond the last bound
	m.addRecords(0, time.Second)
	l := m.snapshot()
	if l.Count() != 100 {
		t.Errorf("Count() = %d, want 100", l.Count())
	}
	for _, c := range []struct{ q, from, to float64 }{{0, .001, .001}, {.5, .002, .002}, {.6, .02, .05}, {.99, .05, .05}, {1, 10000, 10000}} {
		if got := l.Quantile(c.q); got < c.from || got > c.to {
			t.Errorf("Quantile(%v) = %v, want %v to %v", c.q, got, c.from, c.to)
		}
	}
	m.addRecords(3, -time.Second)
	later := m.snapshot()
	if news := later.without(l); news.Count() != 3 || news.Quantile(1) != .001 || news.Sum != 0 {
		t.Errorf("what came since is %v, want 3 records within a millisecond", news)
	}
	if none := (&Lag{}).Quantile(.5); none != 0 {
		t.Errorf("Quantile of nothing = %v, want 0", none)
	}
}

// The samples of a batch speak for all of it, without an allocation; what the store did
// not take, the sink's own reports, and lines without a date do not count.
func TestLagProbe(t *testing.T) {
	src := testrecord.New(3)
	stream := papyra.Stream{System: "orders", Kind: papyra.KindEvent}
	var b papyra.Batch
	lines := src.Events(100)
	for _, line := range lines {
		b.Append(b.StreamIndex(stream), line)
	}
	rec, err := papyra.Parse(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	now := rec.Timestamp().Add(time.Hour)
	p := lagProbe{meter: newLagMeter()}
	count := func(stored int) uint64 {
		before := p.meter.snapshot()
		p.take(&b)
		p.count(stored, now)
		after := p.meter.snapshot().without(before)
		return after.Count()
	}
	if got := count(100); got != 100 {
		t.Errorf("of 100 stored lines %d are counted", got)
	}
	if l := p.meter.snapshot(); l.Quantile(.5) < 2000 || l.Quantile(.5) > 5000 {
		t.Errorf("records of an hour ago have a lag of %v s", l.Quantile(.5))
	}
	if got := count(0); got != 0 {
		t.Errorf("nothing is stored, and %d lines are counted", got)
	}
	if got := count(30); got == 0 || got > 60 {
		t.Errorf("30 of 100 lines are stored, and %d are counted", got)
	}
	if allocs := testing.AllocsPerRun(100, func() { p.take(&b); p.count(100, now) }); allocs != 0 {
		t.Errorf("a sample allocates %v times", allocs)
	}
	b.Reset()
	b.Append(b.StreamIndex(papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport}), lines[0])
	b.Append(b.StreamIndex(stream), []byte(`{"kind":"event","system_id":"orders","actor_address":"a","event_type":"X","payload":{},"timestamp":12.5}`))
	if got := count(2); got != 0 {
		t.Errorf("%d lines are counted that have no lag", got)
	}
}

// Rates are of the last ten seconds, lags of the last minute; since is when the sink
// became ready or ceased to be.
func TestVitalsOfSamples(t *testing.T) {
	began, clock := time.Now(), time.Unix(1_700_000_000, 0)
	m := newLagMeter()
	at := func(second int) vitalSample {
		m.addRecords(1, time.Second)
		// One line a second at first, then 11.
		n := uint64(second + 10*max(second-90, 0))
		return vitalSample{at: began.Add(time.Duration(second) * time.Second), received: 2 * n, stored: n, pending: int(n) * 100, spooled: -int64(n), lag: m.snapshot()}
	}
	var v vitals
	var to Vitals
	for second := range 100 {
		v.add(at(second), second >= 40, clock.Add(time.Duration(second)*time.Second))
	}
	v.compare(at(100), &to)
	if to.Received != 22 || to.Stored != 11 || to.PendingGrowth != 1100 || to.SpoolGrowth != -11 {
		t.Errorf("rates are %v, %v, %v, %v, want 22, 11, 1100, -11", to.Received, to.Stored, to.PendingGrowth, to.SpoolGrowth)
	}
	if n := to.Lag.Count(); n < 59 || n > 62 {
		t.Errorf("the lag is of %d records, want those of a minute", n)
	}
	if want := clock.Add(40 * time.Second); !to.Since.Equal(want) {
		t.Errorf("since %v, want %v", to.Since, want)
	}
	if len(v.samples) > 62 {
		t.Errorf("%d samples are kept", len(v.samples))
	}
}
