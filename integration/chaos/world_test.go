package chaos

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink/account"
)

// world is a plan that runs.
type world struct {
	t       *testing.T
	plan    *plan
	redis   *redisServer // nil without a store that needs it
	broker  *broker
	storm   atomic.Bool // every publisher records a flood
	tally   *tally
	watched *watch
	others  *stranger   // nil without one
	workers [][]*worker // by group
	slots   []*slot
}

// calmTime is how long the publishers go on after everything was repaired.
const calmTime = 60 * time.Millisecond

// live runs a plan to its end: everything has stopped.
func live(t *testing.T, p *plan, count *tally) *world {
	w := &world{t: t, plan: p, broker: newBroker(t), tally: count}
	w.broker.done = w.did
	if p.has(storeRedis) {
		w.redis = newRedis(t)
		w.redis.done = w.did
		w.redis.forgot = func() {
			for g := range p.groups {
				if p.groups[g].has(storeRedis) {
					w.reached(g)
				}
			}
		}
	}
	for g := range p.groups {
		w.workers = append(w.workers, nil)
		for i := range p.groups[g].workers {
			w.workers[g] = append(w.workers[g], newWorker(w, g, i))
		}
	}
	if !p.sinks {
		w.startPublishers()
	}
	w.everyWorker((*worker).start)
	if p.sinks {
		w.startPublishers()
	}
	w.broker.killed = func() {
		for g := range w.workers {
			w.reached(g)
		}
	}
	for g := range w.workers {
		for _, worker := range w.workers[g] {
			worker.killed = func() {
				await(w.t, "the broker to notice a dead sink", func() bool {
					subs := w.broker.subscriptions()
					return subs != nil && subs[worker.name()] == 0
				})
				w.reached(g)
			}
		}
	}
	w.watched = w.startWatch()
	w.harm()
	w.repair()
	w.finish()
	w.watched.end()
	return w
}

// release lets go of what a run knows, which is much where a thousand follow each
// other.
func (w *world) release() { w.workers, w.slots, w.watched = nil, nil, nil }

// did counts a fault that is over.
func (w *world) did(kind faultKind) { w.tally.add("fault: "+string(kind), 1) }

func (w *world) startPublishers() {
	for i := range w.plan.slots {
		w.slots = append(w.slots, newSlot(w.t, w.plan, i, w.broker.Addr(), &w.storm, w.did))
	}
}

// everyWorker does something to all workers at once.
func (w *world) everyWorker(do func(*worker)) {
	var wg sync.WaitGroup
	for _, worker := range slices.Concat(w.workers...) {
		wg.Go(func() { do(worker) })
	}
	wg.Wait()
}

// harm runs the schedule. The faults of one thing come one after the other, also
// where the last one took longer than was planned.
func (w *world) harm() {
	began := time.Now()
	var wg sync.WaitGroup
	run := func(faults []fault, harm func(fault)) {
		wg.Go(func() {
			for _, f := range faults {
				time.Sleep(time.Until(began.Add(f.at)))
				harm(f)
			}
		})
	}
	run(w.plan.broker, w.broker.harm)
	if w.redis != nil {
		run(w.plan.redis, w.redis.harm)
	}
	if w.plan.stranger > 0 {
		wg.Go(func() { w.others = newStranger(w) })
	}
	for g := range w.workers {
		for i, worker := range w.workers[g] {
			run(w.plan.workers[g][i], worker.harm)
		}
	}
	for i, slot := range w.slots {
		run(w.plan.slots[i].faults, slot.harm)
	}
	time.Sleep(w.plan.length)
	wg.Wait()
}

// reached notes that a group may lose what was accepted up to now.
func (w *world) reached(group int) {
	for _, slot := range w.slots {
		slot.reached(group)
	}
}

// repair waits until every sink receives: nothing that comes later may be lost.
func (w *world) repair() {
	await(w.t, "every sink to be connected again", func() bool {
		subs := w.broker.subscriptions()
		for _, worker := range slices.Concat(w.workers...) {
			if subs[worker.name()] < worker.subscriptions() {
				return false
			}
		}
		return true
	})
	// A lonely group has its records held while none of its sinks is there. Of
	// two the one that is there takes them, and they are lost to the other.
	for g := range w.workers {
		if len(w.workers) > 1 && w.plan.destructive(g) {
			w.reached(g)
		}
	}
	time.Sleep(calmTime)
}

// await waits on any goroutine.
func await(t *testing.T, what string, ok func() bool) {
	if !testkit.Wait(ok) {
		t.Errorf("waited in vain for %s", what)
	}
}

// finish closes the publishers, then the sinks, then the broker: what is on its
// way arrives.
func (w *world) finish() {
	var wg sync.WaitGroup
	for _, slot := range w.slots {
		wg.Go(func() {
			slot.leave(slot.now)
			slot.closing.Wait()
		})
	}
	wg.Wait()
	w.everyWorker((*worker).stop)
	w.broker.Kill()
}

func (w *world) sources() (all []*source) {
	for _, s := range w.slots {
		all = append(all, s.all...)
	}
	return all
}

// audit balances the books of a group and returns what does not agree.
func (w *world) audit(group int) (problems []string, r *account.Result) {
	h, err := hold(w.workers[group])
	if err != nil {
		return []string{err.Error()}, nil
	}
	r, err = account.Read(context.Background(), account.Options{Settle: -1, Gaps: true, MaxGaps: math.MaxInt32}, nil, w.readers(group)...)
	if err != nil {
		return []string{err.Error()}, nil
	}
	b := &books{world: w, index: group, group: &w.plan.groups[group], destructive: w.plan.destructive(group), r: r, h: h}
	b.forgets = holds(w.plan.redis, redisForget) || w.plan.suffers(group, sinkKill)
	return b.check(w.sources()), r
}

func (w *world) readers(group int) (stores []account.Reader) {
	for _, worker := range w.workers[group] {
		stores = append(stores, worker.store)
	}
	return stores
}
