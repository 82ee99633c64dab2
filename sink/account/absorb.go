package account

import (
	"cmp"
	"maps"

	"github.com/papyra/papyra/internal/numset"
)

// absorb adds what the book of another store of the group says. Parts of other
// become parts of b, so that other must not be used afterwards; the same holds for
// the parts' own absorb.
func (b *book) absorb(other *book) {
	absorbEach(b.runs, other.runs, (*run).absorb)
	for id, from := range other.sinks {
		to := b.sinks[id]
		if to == nil {
			b.sinks[id] = from
			continue
		}
		if from.latest > to.latest {
			from, to = to, from
			b.sinks[id] = to
		}
		to.started, to.last = min(to.started, from.started), max(to.last, from.last)
		to.stopped = to.stopped || from.stopped
		to.lost = max(to.lost, from.lost)
		to.unread = max(to.unread, from.unread)
		for peer, at := range from.peers {
			to.notePeer(peer, at)
		}
		to.marks = append(to.marks, from.marks...)
	}
	b.recoveries = append(b.recoveries, other.recoveries...)
	if b.loose == nil {
		b.loose = other.loose
	} else {
		maps.Copy(b.loose, other.loose)
	}
	absorbEach(b.removals, other.removals, (*removals).absorb)
	b.doubts.absorb(&other.doubts)
	b.accepted = max(b.accepted, other.accepted)
}

// absorbEach adds what other has under each key, by absorb where both have it.
func absorbEach[K comparable, V any](to, other map[K]V, absorb func(known, from V)) {
	for key, from := range other {
		if known, ok := to[key]; ok {
			absorb(known, from)
		} else {
			to[key] = from
		}
	}
}

func (r *run) absorb(from *run) {
	r.node = cmp.Or(r.node, from.node)
	for kind, s := range from.series {
		switch {
		case s == nil:
		case r.series[kind] == nil:
			r.series[kind] = s
		default:
			r.series[kind].absorb(s)
		}
	}
	r.first, r.last, r.started = min(r.first, from.first), max(r.last, from.last), min(r.started, from.started)
	r.reports += from.reports
	r.final = r.final || from.final
	if r.earliest.seq == 0 || from.earliest.seq > 0 && from.earliest.seq < r.earliest.seq {
		r.earliest = from.earliest
	}
	if from.latest.seq > r.latest.seq {
		r.latest = from.latest
	}
	r.outages = append(r.outages, from.outages...)
}

func (s *series) absorb(from *series) {
	s.absorbUnverified(from)
	s.stored.Absorb(&from.stored)
	s.raise(from.reach)
	for i, n := range from.quiet {
		s.quiet[i] = max(s.quiet[i], n)
	}
	for reason, d := range from.drops {
		to := s.dropsFor(reason)
		to.named.Union(&d.named)
		to.marks = append(to.marks, d.marks...)
		for id, n := range d.more {
			if to.more == nil {
				to.more = map[noteID]others{}
			}
			to.more[id] = n
		}
	}
}

// absorbUnverified must come before stored is absorbed.
func (s *series) absorbUnverified(from *series) {
	if s.unverified.IsEmpty() && from.unverified.IsEmpty() {
		return
	}
	verified, more := s.stored.Set().Clone(), from.stored.Set().Clone()
	verified.Subtract(&s.unverified)
	more.Subtract(&from.unverified)
	s.unverified.Union(&from.unverified)
	s.unverified.Subtract(verified)
	s.unverified.Subtract(more)
}

func (r *removals) absorb(from *removals) {
	r.node = cmp.Or(r.node, from.node)
	r.latest = max(r.latest, from.latest)
	for kind := range from.byAct {
		for act, set := range from.byAct[kind] {
			if r.byAct[kind] == nil {
				r.byAct[kind] = map[string]*numset.Set{}
			}
			if have := r.byAct[kind][act]; have != nil {
				have.Union(set)
			} else {
				r.byAct[kind][act] = set
			}
		}
		for id, cut := range from.below[kind] {
			if r.below[kind] == nil {
				r.below[kind] = map[noteID]below{}
			}
			r.below[kind][id] = cut
		}
		r.known[kind].raise(from.known[kind])
	}
}
