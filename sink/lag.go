package sink

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/papyra/papyra"
)

// Lag says how long records took from their own timestamp until the store had them, or
// the spool where there is one. It counts records; a few of each append were looked at
// and speak for the others. One with a timestamp later than the sink's clock took no
// time, and one without a date is not counted.
type Lag struct {
	Bounds []float64 // upper bounds of the buckets, in seconds
	Counts []uint64  // records in each bucket, and in one more those beyond the last bound
	Sum    float64   // seconds of all records
}

// lagBounds are 1, 2 and 5 of each power of ten, from a millisecond to three hours.
func lagBounds() []float64 {
	return []float64{
		.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000,
	}
}

// Count returns how many records were counted.
func (l *Lag) Count() (n uint64) {
	for _, c := range l.Counts {
		n += c
	}
	return n
}

// Quantile returns within which time, in seconds, the share q of the records was stored,
// as exactly as the buckets say it. It is the last bound where that was longer, and 0
// without records. q is from 0 to 1.
func (l *Lag) Quantile(q float64) float64 {
	all := l.Count()
	if all == 0 {
		return 0
	}
	rank, before, lower := q*float64(all), 0.0, 0.0
	for i, bound := range l.Bounds {
		n := float64(l.Counts[i])
		if n > 0 && before+n >= rank {
			return lower + (bound-lower)*max(rank-before, 0)/n
		}
		before, lower = before+n, bound
	}
	return lower
}

// without returns what was counted since it was old.
func (l Lag) without(old Lag) Lag {
	l.Counts = slices.Clone(l.Counts)
	for i := range old.Counts {
		l.Counts[i] -= old.Counts[i]
	}
	l.Sum -= old.Sum
	return l
}

// lagMeter counts how long records took. The writer counts, anybody may read.
type lagMeter struct {
	bounds []float64
	counts []atomic.Uint64
	micros atomic.Uint64
}

func newLagMeter() *lagMeter {
	bounds := lagBounds()
	return &lagMeter{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// addRecords counts n records that took so long.
func (m *lagMeter) addRecords(n int, took time.Duration) {
	took = max(took, 0)
	i, _ := slices.BinarySearch(m.bounds, took.Seconds())
	m.counts[i].Add(uint64(n))
	m.micros.Add(uint64(n) * uint64(took.Microseconds()))
}

// snapshot returns what was counted so far.
func (m *lagMeter) snapshot() Lag {
	l := Lag{Bounds: m.bounds, Counts: make([]uint64, len(m.counts)), Sum: float64(m.micros.Load()) / 1e6}
	for i := range m.counts {
		l.Counts[i] = m.counts[i].Load()
	}
	return l
}

// Lag returns how long the records took that were stored since the start.
func (s *Sink) Lag() Lag { return s.lag.snapshot() }

// lagSamples is how many lines of an append are looked at, at most.
const lagSamples = 4

// lagProbe has the times of a few lines of a batch, which are gone when the store has
// them. The writer keeps one; taking a sample allocates nothing.
type lagProbe struct {
	meter  *lagMeter
	parser papyra.Parser
	rec    papyra.Record

	n     int // samples
	lines int // of the batch
	at    [lagSamples]int
	times [lagSamples]int64 // microseconds since 1970
}

// take looks at a batch before it is handed to the store. The sink's own reports, and
// lines without a date, are no samples.
func (p *lagProbe) take(b *papyra.Batch) {
	p.n, p.lines = 0, b.Len()
	samples := min(p.lines, lagSamples)
	for i := range samples {
		at := i * p.lines / samples
		line, stream := b.Line(at)
		if stream.System == papyra.SystemReserved || !p.parser.Sealed(&p.rec, line) && papyra.ParseInto(&p.rec, line) != nil || !p.rec.HasDate() {
			continue
		}
		p.at[p.n], p.times[p.n] = at, p.rec.Time
		p.n++
	}
}

// count counts the samples among the first stored lines of the batch. Each speaks for
// its share of the lines.
func (p *lagProbe) count(stored int, now time.Time) {
	if p.n == 0 {
		return
	}
	share := max(p.lines/min(p.lines, lagSamples), 1)
	for i := range p.n {
		if p.at[i] < stored {
			p.meter.addRecords(share, time.Duration(now.UnixMicro()-p.times[i])*time.Microsecond)
		}
	}
	p.n = 0
}
