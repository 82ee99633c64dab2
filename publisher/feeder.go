package publisher

import "time"

const (
	// feedEvery is how often the feeder looks at the lanes once a caller has woken
	// it. feedFor is how long it goes on after a lane last wanted memory. To wake
	// it costs a caller microseconds. If it slept at once, then about one call in
	// a few hundred would have to wake it while the broker is down.
	feedEvery = time.Millisecond
	feedFor   = 100 * time.Millisecond
)

// runFeeder makes memory for the lanes until Close, so that record calls seldom
// have to.
func (p *Publisher) runFeeder() {
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
			if p.feedLanes() {
				last = time.Now()
			}
			timer.Reset(feedEvery)
			select {
			case <-timer.C:
			case <-p.closing:
				return
			}
		}
		// A caller that still saw feeding set has woken nobody, so look once more.
		p.feeding.Store(false)
		if p.feedLanes() && p.feeding.CompareAndSwap(false, true) {
			wake(p.hungry)
		}
	}
}

// feedLanes gives every lane the chunks that it wants, and reports whether one
// wanted any.
func (p *Publisher) feedLanes() (fed bool) {
	for _, l := range p.background {
		if l.refillMemory() {
			fed = true
		}
	}
	return fed
}
