package publisher

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

func TestReportsTellTheAccount(t *testing.T) {
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{ReportEvery: 20 * time.Millisecond})
	p.Started(someActor)
	p.Event(unkeepable)
	p.Event(unkeepable)
	p.Started(someActor)
	p.Event(unkeepable)
	latest := func() (last papyra.PublisherReport) {
		if all := r.allReports(); len(all) > 0 {
			last = all[len(all)-1]
		}
		return last
	}
	await(t, "a report tells everything", func() bool { return latest().Categories["events"].Confirmed == 2 })
	// A range of drops is named in one report, their number in all.
	told, n := 0, uint64(0)
	for _, report := range r.allReports() {
		events := report.Categories["events"]
		sum := events.Confirmed + events.Buffered + events.Unconfirmed
		for _, d := range events.Dropped {
			sum += d.N
		}
		if events.Accepted != sum {
			t.Errorf("report does not add up: %+v", events)
		}
		if d := events.Dropped[papyra.DropEncode]; d != nil {
			told += len(d.Ranges)
			n = d.N
		}
	}
	if told != 2 || n != 3 {
		t.Errorf("got %d ranges and the number %d, want [2,3] and [5,5] once, and 3", told, n)
	}
	if last := latest(); last.Final || last.Uptime <= 0 || len(last.Categories) != 4 {
		t.Errorf("got report %+v, want all four categories, an uptime and no end", last)
	}
}

func TestReportsAreRareWhileNothingChanges(t *testing.T) {
	r := &reporter{p: connect(t, "nats://127.0.0.1:1", Config{}), every: 10 * time.Second}
	start := time.Now()
	r.last = start
	reports := func() uint64 { return r.p.lanes[papyra.KindReport].accepted() }
	var at []time.Duration
	next := r.reportIfDue(start)
	for next.Sub(start) < 200*time.Second {
		if next.Sub(start) == 150*time.Second {
			r.p.Started(someActor)
		}
		n, now := reports(), next
		if next = r.reportIfDue(now); reports() > n {
			at = append(at, now.Sub(start)/time.Second)
		}
		if !next.After(now) || next.Sub(now) > 10*time.Second {
			t.Fatalf("at %v: next look at %v, want it later and within 10 s", now.Sub(start), next.Sub(start))
		}
	}
	// Without a change there is a report every 60 s; a change is told at the next
	// look.
	want := []time.Duration{60, 120, 150}
	if len(at) != len(want) {
		t.Fatalf("got reports at seconds %v, want %v", at, want)
	}
	for i := range at {
		if at[i] != want[i] {
			t.Fatalf("got reports at seconds %v, want %v", at, want)
		}
	}
}

// A report that finds no room keeps its ranges for the next one.
func TestRangesSurviveAReportThatWasDropped(t *testing.T) {
	p, err := newPublisher("nats://127.0.0.1:1", Config{System: "orders"}) // no feeder makes room meanwhile
	if err != nil {
		t.Fatal(err)
	}
	r := &reporter{p: p, every: time.Second}
	p.Event(unkeepable)
	reports := p.lanes[papyra.KindReport]
	bound := reports.mem.bound
	reports.mem.bound = 0
	r.writeReport(false)
	if got := p.Stats().Reports; got.DroppedQueueFull != 1 {
		t.Fatalf("got %+v, want the report dropped", got)
	}
	reports.mem.bound = bound
	r.writeReport(false)
	if got := p.Stats().Reports; got.Buffered != 1 {
		t.Fatalf("got %+v, want the report buffered", got)
	}
	if left := p.lanes[papyra.KindEvent].drops[dropEncode].ranges; len(left) != 0 {
		t.Errorf("got ranges %v left, want none after a report took them", left)
	}
}

// A report that is too long for the broker is written without ranges.
func TestReportFitsTheBrokersLimit(t *testing.T) {
	p := connect(t, "nats://127.0.0.1:1", Config{})
	for range 200 {
		p.Event(unkeepable)
		p.Started(someActor)
	}
	p.sender.messageLimit = 1200
	r := &reporter{p: p, every: time.Second}
	r.writeReport(false)
	c := p.lanes[papyra.KindReport].open
	if c == nil || len(c.buf) > 1200 || len(c.buf) == 0 {
		t.Fatalf("got report %v, want one of at most 1200 bytes", c)
	}
}

func TestAudits(t *testing.T) {
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())

	t.Run("periodic", func(t *testing.T) {
		p := connect(t, s.ClientURL(), Config{
			System:     "periodic",
			AuditEvery: 5 * time.Millisecond,
			AuditFunc:  func() papyra.Audit { return papyra.Audit{TotalActors: 7} },
		})
		await(t, "audits come", func() bool { return p.Stats().Audits.Confirmed >= 3 })
	})

	t.Run("on request", func(t *testing.T) {
		var calls atomic.Int64
		p := connect(t, s.ClientURL(), Config{
			System: "on request", // encoded in the subject
			AuditFunc: func() papyra.Audit {
				if calls.Add(1) == 1 {
					panic("no")
				}
				return papyra.Audit{TotalActors: 8}
			},
		})
		p.Started(someActor)
		await(t, "publisher is connected", func() bool { return p.Stats().Events.Confirmed == 1 })
		ask := func() {
			if err := r.nc.Publish(papyra.AuditSubject("on request"), nil); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		await(t, "the panic is counted", func() bool { return p.Stats().AuditPanics == 1 })
		ask()
		await(t, "the audit is there", func() bool { return p.Stats().Audits.Confirmed == 1 })
	})

	t.Run("nobody counts", func(t *testing.T) {
		p := connect(t, s.ClientURL(), Config{System: "silent"})
		p.Started(someActor)
		await(t, "publisher is connected", func() bool { return p.Stats().Events.Confirmed == 1 })
		if err := r.nc.Publish(papyra.AuditSubject("silent"), nil); err != nil {
			t.Fatal(err)
		}
		p.Started(someActor)
		await(t, "publisher goes on", func() bool { return p.Stats().Events.Confirmed == 2 })
		if n := p.Stats().Audits.Accepted; n != 0 {
			t.Errorf("got %d audits, want none", n)
		}
	})
}
