package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/papyra/papyra"
)

// plan is a run: all that the seed decides.
type plan struct {
	seed     uint64
	length   time.Duration // of the schedule
	groups   []groupPlan
	slots    []slotPlan
	sinks    bool    // start before the publishers
	broker   []fault // in the order of their times, as all lists of faults
	workers  [][][]fault
	flushing time.Duration // nats.FlusherTimeout of the publishers
}

// groupPlan is a sink group.
type groupPlan struct {
	name    string
	kinds   []papyra.Kind // what it takes; empty: everything
	workers []workerPlan
}

// takes reports whether the group receives a kind.
func (g *groupPlan) takes(kind papyra.Kind) bool {
	return len(g.kinds) == 0 || kind == papyra.KindReport || slices.Contains(g.kinds, kind)
}

// workerPlan is a sink of a group with its store.
type workerPlan struct {
	name    string
	store   storeKind
	files   int  // of a rotating store
	size    int  // of its files, in KiB
	process bool // a papyra-sink of its own, otherwise a goroutine
}

type storeKind string

const (
	storeJSON     storeKind = "json"
	storeRotating storeKind = "rotating"
	storeMemory   storeKind = "memory"
	storeRedis    storeKind = "redis"
)

// slotPlan is a place for a publisher. When one is closed or abandoned there,
// the next one, of the same system, takes its place.
type slotPlan struct {
	system  string
	events  int // bytes of its buffers
	reports int
	every   time.Duration // between reports
	faults  []fault
}

// fault is something that goes wrong at a time, for a while.
type fault struct {
	at   time.Duration
	kind faultKind
	long time.Duration
}

type faultKind string

// The faults. Those of destructive take records with them that nobody reports.
const (
	brokerStop   faultKind = "stop"   // SIGSTOP, SIGCONT
	brokerKill   faultKind = "kill"   // SIGKILL, and a new one on its port
	brokerRevoke faultKind = "revoke" // the publishers' login

	sinkRestart faultKind = "restart" // gracefully
	sinkKill    faultKind = "kill -9" // of a process

	pubCut       faultKind = "cut"              // all connections, at once
	pubSwallow   faultKind = "swallow"          // what it sends for a while, then cut
	pubPartition faultKind = "partition"        // cut, and connections are refused for a while
	pubClose     faultKind = "close"            // with all the time it needs
	pubHurry     faultKind = "close in a hurry" // with long at most
	pubAbandon   faultKind = "abandon"          // as if its process had been killed
)

// newPlan draws a run. Every third seed is gentle: nothing is killed or hurried,
// so that nothing may be missing.
func newPlan(seed uint64, redis bool) *plan {
	r := rand.New(rand.NewPCG(seed, 0x70617079726121))
	p := &plan{
		seed: seed, length: between(r, 700*time.Millisecond, 1500*time.Millisecond),
		flushing: []time.Duration{2 * time.Second, 150 * time.Millisecond}[r.IntN(2)],
	}
	gentle := seed%3 == 0
	p.drawGroups(r, redis, gentle)
	p.drawSlots(r, gentle)
	kinds := []faultKind{brokerStop, brokerStop, brokerRevoke}
	if !gentle && r.IntN(2) == 0 {
		kinds = append(kinds, brokerKill, brokerKill)
	}
	p.broker = p.draw(r, 1+r.IntN(3), kinds, 50*time.Millisecond, 400*time.Millisecond)
	return p
}

func (p *plan) drawGroups(r *rand.Rand, redis, gentle bool) {
	groups := 1 + r.IntN(2)
	p.sinks = groups > 1 || r.IntN(3) > 0 // of two groups none may be late
	kill := !gentle && r.IntN(3) > 0
	for g := range groups {
		gp := groupPlan{name: []string{"archive", "live"}[g]}
		if g > 0 {
			gp.kinds = [][]papyra.Kind{nil, {papyra.KindEvent}, {papyra.KindAudit, papyra.KindDeadLetter}}[r.IntN(3)]
		}
		p.workers = append(p.workers, nil)
		for w := range 1 + r.IntN(3) {
			wp := workerPlan{name: fmt.Sprintf("w%d", w), files: 2 + r.IntN(4), size: 32 << r.IntN(4)}
			stores := []storeKind{storeJSON, storeRotating, storeMemory}
			if redis {
				stores = append(stores, storeRedis)
			}
			wp.store = stores[r.IntN(len(stores))]
			wp.process = wp.store != storeMemory && r.IntN(3) == 0
			var kinds []faultKind
			// While one group listens and another does not, its records are gone:
			// the first worker of each stays.
			if groups == 1 || w > 0 {
				kinds = append(kinds, sinkRestart)
			}
			if kill && wp.process {
				kinds = append(kinds, sinkKill, sinkKill)
			}
			gp.workers = append(gp.workers, wp)
			p.workers[g] = append(p.workers[g], p.draw(r, r.IntN(3), kinds, 0, 300*time.Millisecond))
		}
		p.groups = append(p.groups, gp)
	}
}

func (p *plan) drawSlots(r *rand.Rand, gentle bool) {
	for range 2 + r.IntN(2) {
		s := slotPlan{
			system: []string{"orders", "billing", "größe 1"}[r.IntN(3)],
			events: (64 << 10) << r.IntN(4), reports: (64 << 10) << r.IntN(5),
			every: between(r, 30*time.Millisecond, 300*time.Millisecond),
		}
		kinds := []faultKind{pubCut, pubSwallow, pubPartition, pubClose}
		if !gentle {
			kinds = append(kinds, pubHurry, pubAbandon)
		}
		s.faults = p.draw(r, r.IntN(4), kinds, 0, 150*time.Millisecond)
		p.slots = append(p.slots, s)
	}
}

// draw draws n faults over the length of the schedule.
func (p *plan) draw(r *rand.Rand, n int, kinds []faultKind, least, most time.Duration) (list []fault) {
	if len(kinds) == 0 {
		return nil
	}
	for range n {
		list = append(list, fault{
			at: between(r, p.length/20, p.length), kind: kinds[r.IntN(len(kinds))], long: between(r, least, most),
		})
	}
	slices.SortFunc(list, func(a, b fault) int { return int(a.at - b.at) })
	return list
}

// between returns whole milliseconds, so that a schedule can be read.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return (least + time.Duration(r.Int64N(int64(most-least)+1))).Truncate(time.Millisecond)
}

// destructive reports whether the schedule takes records away from a group that
// nobody can report: the broker or one of its sinks is killed.
func (p *plan) destructive(group int) bool {
	kills := func(kind faultKind) func(fault) bool { return func(f fault) bool { return f.kind == kind } }
	if slices.ContainsFunc(p.broker, kills(brokerKill)) {
		return true
	}
	return slices.ContainsFunc(p.workers[group], func(w []fault) bool { return slices.ContainsFunc(w, kills(sinkKill)) })
}

// String is the schedule for people.
func (p *plan) String() string {
	var b strings.Builder
	list := func(faults []fault) {
		for _, f := range faults {
			fmt.Fprintf(&b, " | %v %s %v", f.at, f.kind, f.long)
		}
		fmt.Fprintln(&b)
	}
	first := "publishers"
	if p.sinks {
		first = "sinks"
	}
	fmt.Fprintf(&b, "seed %d: %v, the %s first, flusher timeout %v\n", p.seed, p.length, first, p.flushing)
	fmt.Fprint(&b, "broker")
	list(p.broker)
	for g, gp := range p.groups {
		fmt.Fprintf(&b, "group %s takes %v\n", gp.name, gp.kinds)
		for w, wp := range gp.workers {
			fmt.Fprintf(&b, "  %s: %s", wp.name, wp.store)
			if wp.store == storeRotating {
				fmt.Fprintf(&b, " of %d files of %d KiB", wp.files, wp.size)
			}
			if wp.process {
				fmt.Fprint(&b, ", a process")
			}
			list(p.workers[g][w])
		}
	}
	for i, s := range p.slots {
		fmt.Fprintf(&b, "publishers of slot %d: %q, buffers of %d KiB and %d KiB for reports, which come every %v", i, s.system, s.events>>10, s.reports>>10, s.every)
		list(s.faults)
	}
	return b.String()
}
