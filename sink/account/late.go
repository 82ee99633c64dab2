package account

import (
	"github.com/papyra/papyra"
)

// noteAccepted notes that somebody accepted, at the time of the report, that the
// store has no earlier records.
func (b *book) noteAccepted(rec *papyra.Record) { b.accepted = max(b.accepted, rec.Time) }

// lateOf returns how many of the numbers that count as before had been confirmed
// by the first report that is left of a publisher. A receiver of the group, or of
// another one, had them before the group's first sink that is known. since is when
// that one started; a start that was accepted later is no news.
//
// The report says how many it had confirmed and not which. So those that it had
// accepted above before may all be among them.
func (l *ledger) lateOf(r *run, kind papyra.Kind, before uint64, t *tally) uint64 {
	if t.counts.Before == 0 {
		return 0
	}
	if since, _ := l.taken(r.key.system, kind); since <= l.accepted {
		return 0
	}
	first := r.earliest.of(kind)
	above := first.accepted - min(before, first.accepted)
	return min(t.counts.Before, first.confirmed-min(first.confirmed, above))
}
