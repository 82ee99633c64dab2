package account

import (
	"cmp"
	"maps"

	"github.com/papyra/papyra"
)

// absorb adds what the book of another store of the group says. Parts of other
// become parts of b, so that other must not be used afterwards; the same holds for
// the parts' own absorb.
func (b *book) absorb(other *book) {
	for system, runs := range other.systems {
		if b.systems[system] == nil {
			b.systems[system] = runs
		} else {
			absorbEach(b.systems[system], runs, (*run).absorb)
		}
	}
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
	b.absorbSpools(other)
	b.unended = append(b.unended, other.unended...)
	b.recoveries = append(b.recoveries, other.recoveries...)
	if b.loose == nil {
		b.loose = other.loose
	} else {
		maps.Copy(b.loose, other.loose)
	}
	for system, runs := range other.removals {
		if b.removals[system] == nil {
			b.removals[system] = runs
		} else {
			absorbEach(b.removals[system], runs, (*removals).absorb)
		}
	}
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

// absorbKinds adds what other has of each kind, by absorb where both have it.
func absorbKinds[V any](to, other *[papyra.KindCount]*V, absorb func(known, from *V)) {
	for kind, from := range other {
		switch {
		case from == nil:
		case to[kind] == nil:
			to[kind] = from
		default:
			absorb(to[kind], from)
		}
	}
}

func (r *run) absorb(from *run) {
	r.node = cmp.Or(r.node, from.node)
	absorbKinds(&r.series, &from.series, (*series).absorb)
	r.first, r.last, r.started = min(r.first, from.first), max(r.last, from.last), min(r.started, from.started)
	r.reports += from.reports
	r.final = r.final || from.final
	if r.earliest == nil || from.earliest != nil && from.earliest.seq < r.earliest.seq {
		r.earliest = from.earliest
	}
	if r.latest == nil || from.latest != nil && from.latest.seq > r.latest.seq {
		r.latest = from.latest
	}
	r.outages = append(r.outages, from.outages...)
}

func (s *series) absorb(from *series) {
	s.stored.Absorb(&from.stored)
	if s.rewritten == nil {
		s.rewritten = from.rewritten
	} else if from.rewritten != nil {
		s.rewritten.Absorb(from.rewritten)
	}
	s.raise(from.reach)
	if s.quiet == nil {
		s.quiet = from.quiet
	} else if from.quiet != nil {
		for i, n := range from.quiet {
			s.quiet[i] = max(s.quiet[i], n)
		}
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

func (r *removals) absorb(from *removals) {
	r.node = cmp.Or(r.node, from.node)
	r.latest = max(r.latest, from.latest)
	absorbKinds(&r.kinds, &from.kinds, (*removedKind).absorb)
}

func (r *removedKind) absorb(from *removedKind) {
	for i := range from.acts {
		r.removedBy(from.acts[i].act).Union(&from.acts[i].numbers)
	}
	if r.below == nil {
		r.below = from.below
	} else {
		maps.Copy(r.below, from.below)
	}
	r.known.raise(from.known)
}
