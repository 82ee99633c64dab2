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
	redis    []fault // of the server that all Redis stores of the run share
	workers  [][][]fault
	calm     bool          // nothing goes wrong
	theme    string        // what the run tries for certain
	stranger int           // records that somebody publishes to the wrong subject
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

// storeOf returns what an instance of the group stores into.
func (g *groupPlan) storeOf(instance string) storeKind {
	for _, w := range g.workers {
		if w.name == instance {
			return w.store
		}
	}
	return ""
}

// workerPlan is a sink of a group with its store.
type workerPlan struct {
	name    string
	store   storeKind
	files   int   // of a rotating store
	size    int   // of its files, in KiB
	process bool  // a papyra-sink of its own, otherwise a goroutine
	small   bool  // its files are on a small file system of their own
	keep    int64 // records of each stream that its compactions keep
}

// files reports whether the store is one of files.
func (w *workerPlan) filed() bool { return w.store == storeJSON || w.store == storeRotating }

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
	brokerStop   faultKind = "stop the broker"   // SIGSTOP, SIGCONT
	brokerKill   faultKind = "kill the broker"   // SIGKILL, and a new one on its port
	brokerRevoke faultKind = "revoke publishers" // their login
	redisStop    faultKind = "stop redis"        // SIGSTOP, SIGCONT
	redisKill    faultKind = "kill redis"        // SIGKILL, and again with its data
	redisForget  faultKind = "forget redis"      // the same without its data
	redisFull    faultKind = "fill redis"        // maxmemory
	redisRevoke  faultKind = "revoke redis"      // the sinks' login
	redisCut     faultKind = "cut redis"         // all connections of the sinks, at once

	sinkRestart faultKind = "restart a sink" // gracefully
	sinkKill    faultKind = "kill a sink"    // SIGKILL, of a process
	sinkStall   faultKind = "stall a store"  // nothing is appended for a while
	sinkFull    faultKind = "overrun a sink" // the same until the buffer is full, in a flood
	sinkGiveUp  faultKind = "hang a stop"    // the store does not answer until the time to stop is over
	diskFull    faultKind = "fill a disk"
	diskLimit   faultKind = "limit a file" // RLIMIT_FSIZE, of a process

	actCompact faultKind = "compact"
	actRecover faultKind = "recover" // after damage was planted
	actCopy    faultKind = "copy"

	pubCut       faultKind = "cut a publisher"       // all connections, at once
	pubSwallow   faultKind = "swallow"               // what it sends for a while, then cut
	pubPartition faultKind = "partition a publisher" // cut, and connections are refused for a while
	pubClose     faultKind = "close"                 // with all the time it needs
	pubHurry     faultKind = "close in a hurry"      // with long at most
	pubAbandon   faultKind = "abandon a publisher"   // as if its process had been killed
	pubFlood     faultKind = "flood"                 // of events, for a while
)

// host is what this machine has: plans differ by it.
type host struct{ redis, root bool }

// newPlan draws a run. Every third seed is gentle: nothing is killed or hurried,
// so that nothing may be missing. Each seed has a theme on top: so many seeds in
// a row as there are themes try everything.
func newPlan(seed uint64, has host) *plan {
	r := rand.New(rand.NewPCG(seed, 0x70617079726121))
	p := &plan{
		seed: seed, length: between(r, 700*time.Millisecond, 1500*time.Millisecond),
		flushing: []time.Duration{2 * time.Second, 150 * time.Millisecond}[r.IntN(2)],
	}
	gentle := r.IntN(3) == 0
	p.drawGroups(r, has, gentle)
	p.drawSlots(r, gentle)
	kinds := []faultKind{brokerStop, brokerStop, brokerRevoke}
	if !gentle && r.IntN(2) == 0 {
		kinds = append(kinds, brokerKill, brokerKill)
	}
	p.broker = p.draw(r, 1+r.IntN(3), kinds, 50*time.Millisecond, 400*time.Millisecond)
	t := themes()[seed%uint64(len(themes()))]
	p.theme = t.name
	if t.needs(has) {
		t.apply(p, r)
	}
	p.settle()
	if p.has(storeRedis) && !p.calm {
		kinds := []faultKind{redisStop, redisKill, redisFull, redisRevoke, redisCut}
		if !gentle {
			kinds = append(kinds, redisForget)
		}
		p.redis = p.merge(p.redis, p.draw(r, r.IntN(3), kinds, 20*time.Millisecond, 300*time.Millisecond))
	}
	return p
}

// settle takes away what cannot befall a worker as the theme has changed it.
func (p *plan) settle() {
	for g := range p.groups {
		for i := range p.groups[g].workers {
			w := &p.groups[g].workers[i]
			p.workers[g][i] = slices.DeleteFunc(p.workers[g][i], func(f fault) bool { return !w.can(f.kind) })
		}
	}
}

// can reports whether a fault may befall such a worker.
func (w *workerPlan) can(kind faultKind) bool {
	switch kind {
	case sinkKill:
		return w.process
	case sinkStall, sinkFull, sinkGiveUp, actCopy:
		return !w.process
	case diskLimit:
		return w.process && w.filed()
	case diskFull:
		return w.small
	}
	return true
}

// has reports whether a store is of a kind.
func (p *plan) has(kind storeKind) bool {
	return slices.ContainsFunc(p.groups, func(g groupPlan) bool { return g.has(kind) })
}

func (g *groupPlan) has(kind storeKind) bool {
	return slices.ContainsFunc(g.workers, func(w workerPlan) bool { return w.store == kind })
}

func (p *plan) drawGroups(r *rand.Rand, has host, gentle bool) {
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
			wp := workerPlan{name: fmt.Sprintf("w%d", w), files: 2 + r.IntN(4), size: 128 << r.IntN(3), keep: 20 + r.Int64N(500)}
			stores := []storeKind{storeJSON, storeRotating, storeMemory}
			if has.redis {
				stores = append(stores, storeRedis)
			}
			wp.store = stores[r.IntN(len(stores))]
			wp.process = wp.store != storeMemory && r.IntN(3) == 0
			wp.small = wp.filed() && has.root && r.IntN(4) == 0
			// While one group listens and another does not, its records are gone:
			// the first worker of each stays.
			kinds := wp.faults(groups == 1 || w > 0)
			if kill && wp.process {
				kinds = append(kinds, sinkKill, sinkKill)
			}
			gp.workers = append(gp.workers, wp)
			p.workers[g] = append(p.workers[g], p.draw(r, r.IntN(3), kinds, 0, 300*time.Millisecond))
		}
		p.groups = append(p.groups, gp)
	}
}

// faults are what may befall a worker that is not killed; down says whether it
// may be away for a while.
func (w *workerPlan) faults(down bool) (kinds []faultKind) {
	if down {
		kinds = append(kinds, sinkRestart, sinkRestart, actRecover)
	}
	if down || !w.process {
		kinds = append(kinds, actCompact)
	}
	if !w.process {
		kinds = append(kinds, sinkStall)
	}
	if w.process && w.filed() {
		kinds = append(kinds, diskLimit)
	}
	if w.small {
		kinds = append(kinds, diskFull)
	}
	return kinds
}

func (p *plan) drawSlots(r *rand.Rand, gentle bool) {
	for range 2 + r.IntN(2) {
		s := slotPlan{
			system: []string{"orders", "billing", "größe 1"}[r.IntN(3)],
			events: (64 << 10) << r.IntN(4), reports: (64 << 10) << r.IntN(5),
			every: between(r, 30*time.Millisecond, 300*time.Millisecond),
		}
		kinds := []faultKind{pubCut, pubSwallow, pubPartition, pubClose, pubFlood}
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
	return p.merge(list, nil)
}

// merge puts two lists of faults into one.
func (p *plan) merge(a, b []fault) []fault {
	list := slices.Concat(a, b)
	slices.SortStableFunc(list, func(a, b fault) int { return int(a.at - b.at) })
	return list
}

// between returns whole milliseconds, so that a schedule can be read.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return (least + time.Duration(r.Int64N(int64(most-least)+1))).Truncate(time.Millisecond)
}

// destructive reports whether the schedule takes records away from a group that
// nobody can report: the broker or one of its sinks is killed, or its store
// forgets.
func (p *plan) destructive(group int) bool {
	if holds(p.broker, brokerKill) || holds(p.redis, redisForget) && p.groups[group].has(storeRedis) {
		return true
	}
	return p.suffers(group, sinkKill)
}

// suffers reports whether a fault befalls any worker of a group.
func (p *plan) suffers(group int, kind faultKind) bool {
	return slices.ContainsFunc(p.workers[group], func(w []fault) bool { return holds(w, kind) })
}

func holds(list []fault, kind faultKind) bool {
	return slices.ContainsFunc(list, func(f fault) bool { return f.kind == kind })
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
	fmt.Fprintf(&b, "seed %d, %s: %v, the %s first, flusher timeout %v, %d records of a stranger\n", p.seed, p.theme, p.length, first, p.flushing, p.stranger)
	fmt.Fprint(&b, "broker")
	list(p.broker)
	fmt.Fprint(&b, "redis")
	list(p.redis)
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
			if wp.small {
				fmt.Fprint(&b, ", on a small disk")
			}
			fmt.Fprintf(&b, ", compacted to %d", wp.keep)
			list(p.workers[g][w])
		}
	}
	for i, s := range p.slots {
		fmt.Fprintf(&b, "publishers of slot %d: %q, buffers of %d KiB and %d KiB for reports, which come every %v", i, s.system, s.events>>10, s.reports>>10, s.every)
		list(s.faults)
	}
	return b.String()
}
