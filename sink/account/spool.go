package account

import (
	"cmp"
	"maps"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/doubt"
	"github.com/papyra/papyra/internal/numset"
)

// maxSpools is of how many spools a store's reports are believed.
const maxSpools = 4096

// spoolFacts is what the newest report says of one spool.
type spoolFacts struct {
	group, instance string
	at              int64 // microseconds
	seq             uint64
	spool           papyra.SinkSpool
}

// isNewer reports whether f was said later than another.
func (f *spoolFacts) isNewer(than *spoolFacts) bool {
	return than == nil || f.at > than.at || f.at == than.at && f.seq > than.seq
}

// spooled are the numbers of a series that wait in spools.
type spooled struct {
	named numset.Set
	more  []others // those that no range names
}

// budgets returns how many numbers wait that no range names, and where they lie.
func (s *spooled) budgets(highest uint64) (out []budget) {
	for _, o := range s.more {
		out = append(out, budget{low: o.low, high: min(o.high, highest), n: o.n, spooled: true})
	}
	return out
}

// addSpooled counts numbers that wait in a spool.
func (c *Counts) addSpooled(n uint64) {
	c.Pending = sumOf(c.Pending, n)
	c.Spooled = sumOf(c.Spooled, n)
}

// noteSpool keeps what a sink says of its spool, if nothing newer is known.
func (b *book) noteSpool(rec *papyra.Record, p *papyra.SinkReport) {
	if p.Spool == nil || papyra.CheckName("spool", p.Spool.ID) != nil {
		return
	}
	f := &spoolFacts{group: p.Group, instance: p.Instance, at: rec.Time, seq: rec.Seq, spool: *p.Spool}
	known := b.spools[f.spool.ID]
	if !f.isNewer(known) || known == nil && len(b.spools) >= maxSpools {
		return
	}
	for i := range f.spool.Waiting {
		w := &f.spool.Waiting[i]
		if n, ok := doubt.Width(w.Ranges); !ok || n > w.N {
			b.doubt(rec, WhyRanges)
			return
		}
	}
	b.spools[f.spool.ID] = f
}

// absorbSpools keeps of each spool what was said last.
func (b *book) absorbSpools(other *book) {
	for id, f := range other.spools {
		if f.isNewer(b.spools[id]) {
			b.spools[id] = f
		}
	}
}

// enterSpools enters the numbers that wait in the spools of the group.
func (l *ledger) enterSpools() {
	for _, f := range l.spools {
		if f.group != l.group {
			continue
		}
		for i := range f.spool.Waiting {
			l.enterSpooled(f, &f.spool.Waiting[i])
		}
	}
}

func (l *ledger) enterSpooled(f *spoolFacts, w *papyra.SpooledRun) {
	kind := papyra.ParseCategory(w.Category)
	if w.Run == "" || kind == papyra.KindUnknown || l.a.only != "" && w.System != l.a.only {
		return
	}
	run := l.openRun([]byte(w.System), w.Run)
	if run == nil {
		return
	}
	s := run.seriesOf(l.a, kind)
	if s.spooled == nil {
		s.spooled = &spooled{}
	}
	named := l.a.nameRanges(s, &s.spooled.named, run.of, w.Ranges, f.at)
	l.a.charge(run.of, rangeBytes)
	if w.N > named {
		s.spooled.more = append(s.spooled.more, l.a.unnamed(s, w.N-named, w.Others, f.at))
	}
}

// listSpools returns the spools of the group in which something waits.
func (l *ledger) listSpools() (list []Spool) {
	for _, id := range slices.Sorted(maps.Keys(l.spools)) {
		f := l.spools[id]
		if f.group != l.group || f.spool.Records == 0 {
			continue
		}
		list = append(list, Spool{
			ID: id, Instance: f.instance, Dir: f.spool.Dir, Records: f.spool.Records, Since: f.spool.Since, At: seconds(f.at),
		})
	}
	slices.SortStableFunc(list, func(a, b Spool) int { return cmp.Compare(a.Instance, b.Instance) })
	return list
}
