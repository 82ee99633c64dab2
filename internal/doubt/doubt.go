// Package doubt knows which reports cannot be true, whoever wrote them. Nothing
// believes such a report, and it need not be kept for an account.
package doubt

import (
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// What cannot be true of a report.
const (
	Ranges  = "ranges"  // its ranges make no sense, or are wider than the count beside them
	Dropped = "dropped" // it dropped more than it accepted
	Sum     = "sum"     // its counts do not add up to what it accepted
	Rate    = "rate"    // it accepted more than a process can
)

const (
	// maxSeq is the highest number that a seal can hold.
	maxSeq = 9_999_999_999_999_999_999
	// maxRate is how many records a second no process accepts, over its uptime and
	// startSeconds more.
	maxRate      = 100_000_000
	startSeconds = 60
)

// Publisher says what cannot be true of a PublisherReport, "" if all can.
func Publisher(rec *papyra.Record, p *papyra.PublisherReport) string {
	// Nobody runs for longer than since 1970.
	uptime := min(max(p.Uptime, 0), float64(rec.Time)/1e6)
	most := uint64(min((uptime+startSeconds)*maxRate, maxSeq))
	for name, c := range p.Categories {
		if papyra.ParseCategory(name) == papyra.KindUnknown {
			continue
		}
		var dropped uint64
		for _, d := range c.Dropped {
			if d == nil {
				continue
			}
			if n, ok := Width(d.Ranges); !ok || n > d.N {
				return Ranges
			}
			dropped = numset.AddCounts(dropped, d.N)
		}
		for _, d := range c.UnheardBy {
			if d == nil {
				continue
			}
			switch n, ok := Width(d.Ranges); {
			case !ok || n > d.N:
				return Ranges
			case d.N > c.Accepted:
				return Dropped
			}
		}
		sum := dropped
		for _, n := range []uint64{c.Confirmed, c.Unconfirmed, c.Buffered} {
			sum = numset.AddCounts(sum, n)
		}
		switch {
		case c.Accepted > most:
			return Rate
		case dropped > c.Accepted:
			return Dropped
		case sum != c.Accepted:
			return Sum
		}
	}
	return ""
}

// Width returns how many numbers ranges hold, and false if one of them is no range
// of numbers.
func Width(ranges []papyra.Range) (n uint64, ok bool) {
	for _, g := range ranges {
		if g[0] < 1 || g[1] < g[0] || g[1] > maxSeq {
			return 0, false
		}
		n = numset.AddCounts(n, g[1]-g[0]+1)
	}
	return n, true
}
