package account

import (
	"slices"

	"github.com/papyra/papyra"
)

// actKey names one category of an act. Carried reports of acts of one kind share
// one without an id.
type actKey struct {
	act, id string
	kind    papyra.Kind
}

// announced are the RemovalReports of a book. A long one is several, of which the
// first one has the number of the records and all together name them. So what one
// names is charged to the records of its act, and no act explains more numbers
// than it removed records.
type announced struct {
	seen    map[noteID]bool
	left    map[actKey]uint64 // records that no report has named yet
	waiting []waitingRemoval  // those that came before the records of their act
}

type waitingRemoval struct {
	rec *papyra.Record // with what a reader of the report needs, and no line
	p   *papyra.RemovalReport
}

// announce enters a RemovalReport, now or in settleRemovals.
func (b *book) announce(rec *papyra.Record, p *papyra.RemovalReport) {
	id := noteID{string(rec.Run), rec.Seq}
	if b.announced.seen[id] {
		return
	}
	if b.announced.seen == nil {
		b.announced.seen, b.announced.left = map[noteID]bool{}, map[actKey]uint64{}
	}
	b.announced.seen[id] = true
	for category, c := range p.Categories {
		if c.Records > 0 {
			key := actKeyOf(p, category)
			b.announced.left[key] = sumOf(b.announced.left[key], uint64(c.Records))
		}
	}
	if b.chargeRemoval(p, false) {
		b.a.foldWide(p)
		b.removalReport(rec, p)
		return
	}
	b.announced.waiting = append(b.announced.waiting, waitingRemoval{&papyra.Record{
		Kind: rec.Kind, System: slices.Clone(rec.System), Type: slices.Clone(rec.Type), Time: rec.Time,
		Sealed: rec.Sealed, Node: slices.Clone(rec.Node), Run: slices.Clone(rec.Run), Seq: rec.Seq,
	}, p})
}

// settleRemovals enters the reports that waited, after the last record. A rotation
// may have removed the first report of an act and carried its number on, and then
// the others are charged to what was carried.
func (b *book) settleRemovals() {
	for _, w := range b.announced.waiting {
		if !b.chargeRemoval(w.p, false) && !b.chargeRemoval(w.p, true) {
			b.doubt(w.rec, WhyRemoved)
			continue
		}
		b.a.foldWide(w.p)
		b.removalReport(w.rec, w.p)
	}
	b.announced.waiting = nil
}

func actKeyOf(p *papyra.RemovalReport, category string) actKey {
	key := actKey{p.Act, p.ID, papyra.ParseCategory(category)}
	if p.Carried {
		key.id = ""
	}
	return key
}

// chargeRemoval charges the numbers that a report names to the records of its
// act, or to those that are carried. It returns false, and charges nothing, if
// there are not enough. Where a report does not say how many numbers it removed
// below one, these are as many as are left.
func (b *book) chargeRemoval(p *papyra.RemovalReport, carried bool) bool {
	left := map[actKey]uint64{}
	for category, c := range p.Categories {
		key := actKeyOf(p, category)
		if key.kind == papyra.KindUnknown {
			continue
		}
		if carried {
			key.id = ""
		}
		var need uint64
		open := false
		for i := range c.Runs {
			g := &c.Runs[i]
			n, ok := widthOf(g.Ranges)
			if !ok {
				return false
			}
			need = sumOf(need, n, g.N)
			open = open || g.Below > 1 && g.N == 0
		}
		have := b.announced.left[key]
		if need > have || open && need == have {
			return false
		}
		left[key] = have - need
	}
	for category, c := range p.Categories {
		key := actKeyOf(p, category)
		if carried {
			key.id = ""
		}
		if _, ok := left[key]; !ok {
			continue
		}
		for i := range c.Runs {
			if g := &c.Runs[i]; g.Below > 1 && g.N == 0 {
				g.N = min(g.Below-1, left[key])
				left[key] -= g.N
			}
		}
		b.announced.left[key] = left[key]
	}
	return true
}

// foldWide replaces ranges for which there is no memory by their number, so that
// they explain no more than they are wide.
func (a *Account) foldWide(p *papyra.RemovalReport) {
	room := uint64(max(maxContainers-a.containers[papyra.SystemReserved], 0))
	for _, c := range p.Categories {
		for i := range c.Runs {
			g := &c.Runs[i]
			g.Ranges = slices.DeleteFunc(g.Ranges, func(r papyra.Range) bool {
				if cost := containersOf(r); cost <= room {
					room -= cost
					return false
				}
				g.Below, g.N = max(g.Below, r[1]+1), sumOf(g.N, r[1]-r[0]+1)
				return true
			})
		}
	}
}
