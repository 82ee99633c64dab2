package chaos

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/papyra/papyra/sink/account"
)

// world is a plan that runs.
type world struct {
	t       *testing.T
	plan    *plan
	redis   string // its address, or ""
	broker  *broker
	workers [][]*worker // by group
	slots   []*slot
}

// calmTime is how long the publishers go on after everything was repaired.
const calmTime = 60 * time.Millisecond

// live runs a plan to its end: everything has stopped.
func live(t *testing.T, p *plan, redis string) *world {
	w := &world{t: t, plan: p, redis: redis, broker: newBroker(t)}
	for g := range p.groups {
		w.workers = append(w.workers, nil)
		for i := range p.groups[g].workers {
			w.workers[g] = append(w.workers[g], newWorker(t, p, g, i, w.broker.url(), redis))
		}
	}
	if !p.sinks {
		w.startPublishers()
	}
	w.everyWorker((*worker).start)
	if p.sinks {
		w.startPublishers()
	}
	w.harm()
	w.repair()
	w.finish()
	return w
}

func (w *world) startPublishers() {
	for i := range w.plan.slots {
		w.slots = append(w.slots, newSlot(w.t, w.plan, i, w.broker.addr()))
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

// repair waits until every sink receives, and notes what the publishers had
// accepted by then: nothing that comes later may be lost.
func (w *world) repair() {
	var subs map[string]int
	whole := func() bool {
		subs = w.broker.subscriptions()
		for _, worker := range slices.Concat(w.workers...) {
			if subs[worker.name()] < worker.subscriptions() {
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(patience); !whole(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Errorf("not every sink is connected again: the broker knows %v", subs)
			break
		}
	}
	for _, slot := range w.slots {
		slot.now.calm, slot.now.calmed = slot.now.p.Stats(), true
	}
	time.Sleep(calmTime)
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
	w.broker.kill()
}

func (w *world) sources() (all []*source) {
	for _, s := range w.slots {
		all = append(all, s.all...)
	}
	return all
}

// audit balances the books of a group and returns what does not agree.
func (w *world) audit(group int) (problems []string, r *account.Result) {
	h, err := hold(w.workers[group], w.redis)
	if err != nil {
		return []string{err.Error()}, nil
	}
	var stores []account.Reader
	rotates := false
	for _, worker := range w.workers[group] {
		stores = append(stores, worker.store)
		rotates = rotates || worker.plan.store == storeRotating
	}
	r, err = account.Read(context.Background(), account.Options{Settle: -1, Gaps: true, MaxGaps: math.MaxInt32}, nil, stores...)
	if err != nil {
		return []string{err.Error()}, nil
	}
	b := &books{group: &w.plan.groups[group], destructive: w.plan.destructive(group), rotates: rotates, r: r, h: h}
	return b.check(w.sources()), r
}
