package sink

import (
	"context"
	"sync"
	"time"
)

// Vitals say how a sink is doing now, beside the counts of its Stats.
type Vitals struct {
	Now time.Time // by the sink's clock
	// Since is about when the sink became ready, or ceased to be: see Sink.Ready.
	Since time.Time
	// LastError is what last went wrong with the broker or the store, "" for nothing
	// since the start, and LastErrorAt when. It stays when everything works again.
	LastError   string
	LastErrorAt time.Time

	// Received and Stored are lines a second, of the last ten seconds.
	Received, Stored float64
	// PendingGrowth and SpoolGrowth say by how many bytes a second the buffer and the
	// spool fill, of the last ten seconds; they are negative while it is getting less.
	PendingGrowth, SpoolGrowth float64
	// Lag is that of the records of the last minute.
	Lag Lag
}

const (
	vitalsEvery = time.Second      // between two samples
	rateOver    = 10 * time.Second // what rates are taken over
	lagOver     = time.Minute      // what lags are taken over
)

// vitals keeps samples of the sink's numbers, from which rates are made. It has a
// goroutine of its own, because the writer waits while the store does not answer. It is
// safe for concurrent use.
type vitals struct {
	mu      sync.Mutex
	samples []vitalSample // oldest first, of lagOver at most
	ready   bool
	since   time.Time
}

// vitalSample are the numbers of one moment.
type vitalSample struct {
	at               time.Time // with the monotonic clock
	received, stored uint64
	pending          int
	spooled          int64
	lag              Lag
}

// sample returns the numbers of now.
func (s *Sink) sample() vitalSample {
	v := vitalSample{at: time.Now(), lag: s.lag.snapshot(), spooled: s.spool.Load().Status().Bytes}
	totals := s.buffer.totals()
	_, v.pending = s.buffer.pending()
	v.received, v.stored = totals.received, totals.stored
	return v
}

// keepVitals takes samples until ctx ends.
func (s *Sink) keepVitals(ctx context.Context) {
	tick := time.NewTicker(vitalsEvery)
	defer tick.Stop()
	for {
		s.vitals.add(s.sample(), s.Ready() == nil, s.config.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// add adds a sample and forgets those that are too old.
func (v *vitals) add(sample vitalSample, ready bool, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.since.IsZero() || ready != v.ready {
		v.ready, v.since = ready, now
	}
	old := 0
	for old < len(v.samples) && sample.at.Sub(v.samples[old].at) > lagOver {
		old++
	}
	v.samples = append(v.samples[:copy(v.samples, v.samples[old:])], sample)
}

// compare tells what happened up to a sample.
func (v *vitals) compare(now vitalSample, to *Vitals) {
	v.mu.Lock()
	defer v.mu.Unlock()
	to.Since, to.Lag = v.since, now.lag
	if len(v.samples) == 0 {
		return
	}
	to.Lag = now.lag.without(v.samples[0].lag)
	old := &v.samples[0]
	for i := range v.samples {
		if now.at.Sub(v.samples[i].at) < rateOver {
			break
		}
		old = &v.samples[i]
	}
	seconds := now.at.Sub(old.at).Seconds()
	if seconds < vitalsEvery.Seconds()/2 {
		return // too short to say anything
	}
	to.Received = float64(now.received-old.received) / seconds
	to.Stored = float64(now.stored-old.stored) / seconds
	to.PendingGrowth = float64(now.pending-old.pending) / seconds
	to.SpoolGrowth = float64(now.spooled-old.spooled) / seconds
}

// Vitals returns how the sink is doing now. It may be called at any time, and is quick.
func (s *Sink) Vitals() Vitals {
	v := Vitals{Now: s.config.Now()}
	s.vitals.compare(s.sample(), &v)
	v.LastError, v.LastErrorAt = s.health.lastTrouble()
	return v
}
