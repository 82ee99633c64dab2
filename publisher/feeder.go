package publisher

import "time"

const (
	// feedEvery is how often the feeder looks after the lanes once a caller has
	// woken it, and feedFor how long it goes on after the last one that wanted
	// memory. Waking it costs a caller microseconds; while the broker is down,
	// one in a few hundred would have to.
	feedEvery = time.Millisecond
	feedFor   = 100 * time.Millisecond
)

// feeder makes memory for the lanes, so that their callers seldom need to.
func (p *Publisher) feeder() {
	defer close(p.feederDone)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-p.hungry:
		case <-p.closing:
			return
		}
		for last := time.Now(); time.Since(last) < feedFor; {
			if p.feed() {
				last = time.Now()
			}
			timer.Reset(feedEvery)
			select {
			case <-timer.C:
			case <-p.closing:
				return
			}
		}
		// A caller that still saw the flag woke nobody.
		p.feeding.Store(false)
		if p.feed() && p.feeding.CompareAndSwap(false, true) {
			wake(p.hungry)
		}
	}
}

// feed gives every lane what it wants, and reports whether one wanted any.
func (p *Publisher) feed() (fed bool) {
	for _, l := range p.background {
		if l.refill() {
			fed = true
		}
	}
	return fed
}
