package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// watch reads the stores while everything goes on.
type watch struct {
	stop chan struct{}
	wg   sync.WaitGroup

	// most is, by group, how many numbers of a series were stored or removed at
	// any time: what is in a store leaves it only with a report.
	most []map[seriesKey]uint64
}

func (w *world) startWatch() *watch {
	o := &watch{stop: make(chan struct{})}
	for range w.workers {
		o.most = append(o.most, map[seriesKey]uint64{})
	}
	r := rand.New(rand.NewPCG(w.plan.seed, 0x77617463))
	began := time.Now()
	o.wg.Go(func() {
		for {
			select {
			case <-o.stop:
				return
			case <-time.After(between(r, 30*time.Millisecond, 250*time.Millisecond)):
			}
			group := r.IntN(len(w.workers))
			for _, problem := range w.look(o, group, began) {
				w.t.Errorf("looked at group %s meanwhile: %s", w.plan.groups[group].name, problem)
			}
			w.scan(w.workers[group][r.IntN(len(w.workers[group]))])
		}
	})
	return o
}

func (o *watch) end() {
	close(o.stop)
	o.wg.Wait()
}

// look takes the account of a group while records are on their way.
func (w *world) look(o *watch, group int, began time.Time) (problems []string) {
	r, err := account.Read(context.Background(), account.Options{At: time.Now()}, nil, w.readers(group)...)
	if r == nil {
		return []string{err.Error()}
	}
	if !passing(err) {
		problems = append(problems, err.Error())
	}
	w.tally.add("watch: accounts", 1)
	for i := range r.Runs {
		run := &r.Runs[i]
		for j := range run.Categories {
			c := &run.Categories[j]
			if sum := c.Stored + c.DroppedTotal() + c.RemovedTotal() + c.Filtered + c.Before + c.Pending + c.Missing; sum != c.Accepted {
				problems = append(problems, fmt.Sprintf("%s %s %s: %+v adds up to %d", run.System, run.Run, c.Category, c, sum))
			}
			// Everything is younger than what counts as missing.
			if c.Missing > 0 && time.Since(began) < account.DefaultSettle {
				problems = append(problems, fmt.Sprintf("%s %s %s: missing before its time: %+v", run.System, run.Run, c.Category, c))
			}
			if err == nil {
				key := seriesKey{run.System, run.Run, papyra.ParseCategory(c.Category)}
				o.most[group][key] = max(o.most[group][key], c.Stored+c.RemovedTotal())
			}
		}
	}
	return problems
}

// passing reports whether an error is one of a store that is away, or not there
// yet.
func passing(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if !passing(e) {
				return false
			}
		}
		return true
	}
	return err == nil || errors.Is(err, papyra.ErrNotFound) || errors.Is(err, papyra.ErrUnavailable)
}

// scan looks for damage where none can be.
func (w *world) scan(worker *worker) {
	r, err := worker.store.Scan(context.Background(), papyra.ScanOptions{Now: time.Now()})
	if err != nil {
		if !passing(err) {
			w.t.Errorf("scan %s meanwhile: %v", worker.name(), err)
		}
		return
	}
	w.tally.add("watch: scans", 1)
	group := 0
	for g := range w.plan.groups {
		if w.workers[g][0].group == worker.group {
			group = g
		}
	}
	if !r.Clean() && !r.Incomplete && !w.plan.suffers(group, actRecover) && !w.plan.destructive(group) && !w.plan.suffers(group, diskFull) && !w.plan.suffers(group, diskLimit) {
		w.t.Errorf("scan %s meanwhile: damage %v, first %+v", worker.name(), r.AnomalyCounts, r.Anomalies[0])
	}
}

// seen checks that the account of the end knows all that was seen before.
func (b *books) seen() {
	if b.destructive {
		return
	}
	// Of a run that is known by its removal only the system is not.
	known := map[seriesKey]uint64{}
	for key, c := range b.series {
		known[seriesKey{"", key.run, key.kind}] += c.Stored + c.RemovedTotal()
	}
	for key, n := range b.world.watched.most[b.index] {
		if at := known[seriesKey{"", key.run, key.kind}]; at < n {
			b.problem("%v: %d were stored or removed at one time, and at the end %d are", key, n, at)
		}
	}
}
