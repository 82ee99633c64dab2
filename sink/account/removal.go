package account

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/doubt"
	"github.com/papyra/papyra/internal/numset"
)

// announcement is a RemovalReport whose act may still take it back.
type announcement struct {
	rec     *papyra.Record // with what a reader of the report needs, and no line
	payload []byte
}

// withoutLine returns what is needed of the record of a report when its line is
// gone.
func withoutLine(rec *papyra.Record) *papyra.Record {
	return &papyra.Record{
		Kind: rec.Kind, System: slices.Clone(rec.System), Type: slices.Clone(rec.Type), Time: rec.Time,
		Sealed: rec.Sealed, Node: slices.Clone(rec.Node), Run: slices.Clone(rec.Run), Seq: rec.Seq,
	}
}

// holdRemoval keeps a RemovalReport until the store is read: the act's end, which
// stands behind it, may take it back. What a rotation removed or carried stands.
func (b *book) holdRemoval(own *tenant, rec *papyra.Record, p *papyra.RemovalReport) {
	if p.Carried || p.Act == papyra.ActRotate {
		b.announce(own, rec, p)
		return
	}
	if b.open == nil {
		b.open = map[string][]announcement{}
	}
	b.open[p.ID] = append(b.open[p.ID], announcement{withoutLine(rec), slices.Clone(rec.Payload)})
	b.a.charge(own, removalBytes+uint64(len(rec.Payload)))
}

// endAct enters what an act announced, or forgets it if the act has taken it back.
func (b *book) endAct(own *tenant, id string, takenBack bool) {
	list := b.open[id]
	delete(b.open, id)
	for i := range list {
		held := &list[i]
		b.a.release(own, removalBytes+uint64(len(held.payload)))
		p := &papyra.RemovalReport{}
		if !takenBack && json.Unmarshal(held.payload, p) == nil { // as it was before
			b.announce(own, held.rec, p)
		}
		held.payload = nil
	}
}

// announceOpen enters what acts without an end announced, after the last record.
func (b *book) announceOpen() {
	b.findUnended()
	for _, id := range slices.Sorted(maps.Keys(b.open)) {
		b.endAct(b.a.tenants[papyra.SystemReserved], id, false)
	}
}

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
func (b *book) announce(own *tenant, rec *papyra.Record, p *papyra.RemovalReport) {
	id := noteID{string(rec.Run), rec.Seq}
	if b.announced.seen[id] {
		return
	}
	if b.announced.seen == nil {
		b.announced.seen, b.announced.left = map[noteID]bool{}, map[actKey]uint64{}
	}
	b.announced.seen[id] = true
	b.a.charge(own, 4*rangeBytes)
	for category, c := range p.Categories {
		if c.Records > 0 {
			key := actKeyOf(p, category)
			b.announced.left[key] = sumOf(b.announced.left[key], uint64(c.Records))
		}
	}
	if b.chargeRemoval(p, false) {
		b.removalReport(rec, p)
		return
	}
	b.a.charge(own, removalBytes+2*uint64(len(rec.Payload)))
	b.announced.waiting = append(b.announced.waiting, waitingRemoval{withoutLine(rec), p})
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
			n, ok := doubt.Width(g.Ranges)
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

func (b *book) removalReport(rec *papyra.Record, p *papyra.RemovalReport) {
	b.sinkDrops(rec, p.Dropped)
	if b.a.o.Gaps && p.Act == papyra.ActRecover && p.Damaged > 0 {
		b.recoveries = append(b.recoveries, recovery{p.ID, rec.Time, p.Damaged})
	}
	for category, c := range p.Categories {
		kind := papyra.ParseCategory(category)
		if kind == papyra.KindUnknown {
			continue
		}
		for i := range c.Runs {
			g := &c.Runs[i]
			r, t := b.removalsOf(g)
			if r == nil {
				continue
			}
			if r.node == "" {
				r.node = g.Node
			}
			r.latest = max(r.latest, rec.Time)
			if r.kinds[kind] == nil {
				r.kinds[kind] = &removedKind{}
				b.a.charge(t, removalBytes)
			}
			r.kinds[kind].addRun(b.a, p.Act, g, rec)
			b.a.charge(t, rangeBytes*uint64(len(g.Ranges)))
		}
	}
}

// removalsOf returns what acts removed of a run, nil if its system is not judged.
// Reports of older versions do not name it.
func (b *book) removalsOf(g *papyra.RemovedRun) (*removals, *tenant) {
	t := b.a.tenantOf([]byte(g.System))
	if t == nil {
		return nil, nil
	}
	byRun := b.removals[t.name]
	if byRun == nil {
		byRun = map[string]*removals{}
		b.removals[t.name] = byRun
	}
	r := byRun[g.Run]
	if r == nil {
		r = &removals{}
		byRun[g.Run] = r
		b.a.charge(t, removalBytes)
	}
	return r, t
}

// addRun enters what a report says of one run. A dedupe removes copies of records
// of which another one stays: that tells how far the run has come, and never
// explains why a number is stored nowhere.
func (r *removedKind) addRun(a *Account, act string, g *papyra.RemovedRun, rec *papyra.Record) {
	explains := act != papyra.ActDedupe
	for _, ranges := range g.Ranges {
		if ranges[0] < 1 || ranges[1] < ranges[0] || ranges[1] > maxSeq {
			continue
		}
		if explains {
			r.removedBy(act).AddRange(ranges[0], ranges[1])
		}
		a.noteTaken(&r.known, ranges[1], rec.Time, true)
	}
	if g.Below <= 1 || g.Below > maxSeq {
		return
	}
	cut := below{act, g.Below, g.N}
	if cut.n == 0 {
		cut.n = cut.below - 1
	}
	if explains {
		if r.below == nil {
			r.below = map[noteID]below{}
		}
		r.below[noteID{string(rec.Run), rec.Seq}] = cut
	}
	a.noteTaken(&r.known, cut.below-1, rec.Time, true)
}

// removedBy returns the set of the numbers that an act removed.
func (r *removedKind) removedBy(act string) *numset.Set {
	for i := range r.acts {
		if r.acts[i].act == act {
			return &r.acts[i].numbers
		}
	}
	r.acts = append(r.acts, removedBy{act: act})
	return &r.acts[len(r.acts)-1].numbers
}

// removedOf returns what acts removed of a run and category: those that name its
// system, and those that name none.
func (l *ledger) removedOf(r *run, kind papyra.Kind) (out []*removedKind) {
	for _, system := range slices.Compact([]string{"", r.key.system}) {
		if rm := l.removals[system][r.key.run]; rm != nil && rm.kinds[kind] != nil {
			out = append(out, rm.kinds[kind])
		}
	}
	return out
}

// enterRemovals adds what removals know to the runs. One that does not name the
// system of a run counts for each run of that name, and where there is none it
// opens one without a system.
func (l *ledger) enterRemovals() {
	for _, system := range slices.Sorted(maps.Keys(l.removals)) {
		if system == "" {
			continue
		}
		for id, rm := range l.removals[system] {
			if r := l.systems[system][id]; r != nil {
				l.enterRemoval(r, rm)
			} else {
				l.openGone(system, id, rm)
			}
		}
	}
	unnamed := l.removals[""]
	found := map[string]bool{}
	for r := range l.runs {
		if rm := unnamed[r.key.run]; rm != nil {
			found[r.key.run] = true
			l.enterRemoval(r, rm)
		}
	}
	for id, rm := range unnamed {
		if !found[id] {
			l.openGone("", id, rm)
		}
	}
}

func (l *ledger) enterRemoval(r *run, rm *removals) {
	r.node = cmp.Or(r.node, rm.node)
	for kind, removed := range rm.kinds {
		if removed != nil && removed.known.highest > 0 {
			r.seriesOf(l.a, papyra.Kind(kind)).raise(removed.known)
		}
	}
}

// openGone opens a run of which nothing but its removal is known.
func (l *ledger) openGone(system, id string, rm *removals) {
	if l.a.only != "" && system != l.a.only {
		return
	}
	r := l.openRun([]byte(system), id)
	if r == nil {
		return
	}
	r.gone = true
	l.forgetful = l.forgetful || ofPipeline(system) && rm.kinds[papyra.KindReport] != nil && rm.kinds[papyra.KindReport].known.highest > 0
	l.enterRemoval(r, rm)
}
