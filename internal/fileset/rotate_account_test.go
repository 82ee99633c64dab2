package fileset_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/account"
)

// Whatever a rotation drops, an account of the store says the same of every
// number as one of a store that drops nothing, but that some of what was stored
// is removed.
func TestRotateKeepsTheAccount(t *testing.T) {
	t.Parallel()
	dropped, worlds := int64(0), 0
	rapid.Check(t, func(rt *rapid.T) {
		dir := testkit.FastDir(t)
		tb := rtb{t, rt}
		// A quarter of a file has room for the reports of all runs, so that none of them
		// is forgotten: what is then still known is less, as the format says.
		small := bound(tb, filepath.Join(dir, "small.ndjson"), 80_000, rapid.IntRange(2, 3).Draw(rt, "max_files"))
		whole := bound(tb, filepath.Join(dir, "whole.ndjson"), 1<<30, 2)
		w := &accountWorld{rt: rt, now: testrecord.Start}
		w.start()
		var appenders [2]papyra.Appender
		for round := range rapid.IntRange(5, 40).Draw(rt, "rounds") {
			lines := w.round(round)
			for i, f := range []*fixture{small, whole} {
				if appenders[i] == nil {
					appenders[i] = f.appender()
				}
				f.append(appenders[i], lines...)
				if round%10 == 9 { // a new process
					must(tb, appenders[i].Close())
					appenders[i] = nil
				}
			}
		}
		got, want := accountOf(rt, small), accountOf(rt, whole)
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("the account (-of everything +of what is left):\n%s", diff)
		}
		worlds++
		for _, r := range small.removals() {
			dropped += r.Categories["events"].Records
		}
		if err := small.Close(); err != nil {
			rt.Fatal(err)
		}
		if err := whole.Close(); err != nil {
			rt.Fatal(err)
		}
	})
	if dropped < int64(worlds) {
		t.Errorf("only %d events were dropped in %d worlds", dropped, worlds)
	}
	t.Logf("%d events dropped in %d worlds", dropped, worlds)
}

// accountOf returns what an account says, with what is removed as stored, by run
// and category.
func accountOf(rt *rapid.T, f *fixture) map[string]account.Counts {
	r, err := account.Read(rt.Context(), account.Options{}, nil, f.Store)
	if err != nil {
		rt.Fatalf("account: %v", err)
	}
	out := map[string]account.Counts{"lost " + r.Group: {}}
	for _, run := range r.Runs {
		if run.State == account.RunAct {
			continue
		}
		for _, c := range run.Categories {
			counts := c.Counts
			counts.Stored += counts.RemovedTotal()
			counts.Removed = nil
			counts.Unnamed = 0
			counts.Dropped = map[papyra.DropReason]uint64{}
			for reason, n := range c.Dropped {
				if n > 0 {
					counts.Dropped[reason] = n
				}
			}
			out[fmt.Sprint(run.System, " ", run.Run, " ", run.State, " ", c.Category, " ", c.Highest)] = counts
		}
	}
	return out
}

// accountWorld makes what a sink would store of some publishers, some of whose
// records are lost or dropped on the way.
type accountWorld struct {
	rt         *rapid.T
	now        time.Time
	runs       int
	publishers []*worldRun
	sink       *worldRun
	sinkDrops  []papyra.SinkDrops
	enc        papyra.Encoder
}

type worldRun struct {
	id      *papyra.Identity
	system  string
	began   time.Time
	seq     uint64 // events
	reports uint64
	dropped uint64 // by the publisher
	ranges  []papyra.Range
	unheard map[string]*papyra.Drops
}

func (w *accountWorld) run(system string) *worldRun {
	w.runs++
	id, err := papyra.NewIdentityRun("world", fmt.Sprintf("%016d", w.runs))
	if err != nil {
		w.rt.Fatal(err)
	}
	return &worldRun{id: id, system: system, began: w.now}
}

func (w *accountWorld) start() {
	if rapid.Bool().Draw(w.rt, "a publisher before the sink") {
		p := w.run("orders")
		p.seq = 5 // what was taken before anybody listened
		w.publishers = append(w.publishers, p)
		w.now = w.now.Add(time.Minute)
	}
	w.sink = w.run(papyra.SystemReserved)
	for range 3 {
		w.publishers = append(w.publishers, w.run("orders"))
	}
}

func (w *accountWorld) report(of *worldRun, name string, payload any) []byte {
	of.reports++
	line, err := papyra.SealedReport(of.id, of.system, of.reports, &papyra.Report{Name: name, Payload: payload, Time: w.now}, w.now)
	if err != nil {
		w.rt.Fatal(err)
	}
	return line[:len(line)-1]
}

func (w *accountWorld) round(n int) (lines [][]byte) {
	if n == 0 {
		lines = append(lines, w.sinkReport("started"))
	}
	for i, p := range w.publishers {
		for range rapid.IntRange(0, 8).Draw(w.rt, "events") {
			w.now = w.now.Add(time.Second)
			p.seq++
			switch rapid.SampledFrom([]string{"stored", "stored", "stored", "stored", "dropped", "by the sink", "lost", "unheard"}).Draw(w.rt, "fate") {
			case "stored":
				err := w.enc.Event(p.id, p.system, &papyra.Event{Type: papyra.ActorStarted, Payload: strings.Repeat("text ", 60), Time: w.now}, nil, w.now)
				if err != nil {
					w.rt.Fatal(err)
				}
				line := w.enc.AppendLine(nil, p.seq)
				lines = append(lines, line[:len(line)-1])
			case "dropped":
				p.dropped++
				p.ranges = append(p.ranges, papyra.Range{p.seq, p.seq})
			case "by the sink":
				w.drop(p)
			case "unheard":
				group := rapid.SampledFrom([]string{"archive", "live"}).Draw(w.rt, "unheard by")
				if p.unheard == nil {
					p.unheard = map[string]*papyra.Drops{}
				}
				if p.unheard[group] == nil {
					p.unheard[group] = &papyra.Drops{}
				}
				d := p.unheard[group]
				d.N++
				d.Ranges = append(d.Ranges, papyra.Range{p.seq, p.seq})
			}
		}
		if rapid.Bool().Draw(w.rt, "report") {
			lines = append(lines, w.publisherReport(p, false))
		}
		if rapid.IntRange(0, 9).Draw(w.rt, "ends") == 0 && w.runs < 14 {
			lines = append(lines, w.publisherReport(p, true))
			w.publishers[i] = w.run("orders")
		}
	}
	switch rapid.IntRange(0, 5).Draw(w.rt, "sink") {
	case 0:
		lines = append(lines, w.sinkReport("stopped"))
		w.sink = w.run(papyra.SystemReserved)
		lines = append(lines, w.sinkReport("started"))
	case 1, 2, 3:
		lines = append(lines, w.sinkReport("running"))
	}
	return lines
}

// drop makes the sink drop the last record of a run, and remember its number or
// between which numbers it lies.
func (w *accountWorld) drop(p *worldRun) {
	i := slices.IndexFunc(w.sinkDrops, func(d papyra.SinkDrops) bool { return d.Run == p.id.Run() })
	if i < 0 {
		i = len(w.sinkDrops)
		w.sinkDrops = append(w.sinkDrops, papyra.SinkDrops{Reason: papyra.DropSinkFull, System: p.system, Category: "events", Run: p.id.Run()})
	}
	d := &w.sinkDrops[i]
	d.N++
	if rapid.IntRange(0, 3).Draw(w.rt, "unnamed") > 0 {
		d.Ranges = append(d.Ranges, papyra.Range{p.seq, p.seq})
		return
	}
	if d.Others[0] == 0 {
		d.Others[0] = p.seq
	}
	d.Others[1] = p.seq
}

func (w *accountWorld) publisherReport(p *worldRun, final bool) []byte {
	c := papyra.PublisherCategory{Accepted: p.seq, Confirmed: p.seq - p.dropped}
	if p.dropped > 0 {
		c.Dropped = map[papyra.DropReason]*papyra.Drops{papyra.DropQueueFull: {N: p.dropped, Ranges: p.ranges}}
	}
	p.ranges = nil
	for group, d := range p.unheard {
		if c.UnheardBy == nil {
			c.UnheardBy = map[string]*papyra.Drops{}
		}
		c.UnheardBy[group] = &papyra.Drops{N: d.N, Ranges: d.Ranges}
		d.Ranges = nil
	}
	return w.report(p, papyra.ReportPublisher, &papyra.PublisherReport{
		Final: final, Uptime: w.now.Sub(p.began).Seconds(), Categories: map[string]papyra.PublisherCategory{"events": c},
	})
}

func (w *accountWorld) sinkReport(state string) []byte {
	drops := w.sinkDrops
	w.sinkDrops = nil
	return w.report(w.sink, papyra.ReportSink, &papyra.SinkReport{
		State: state, Group: "archive", Instance: "one", Uptime: w.now.Sub(w.sink.began).Seconds(), Dropped: drops,
	})
}
