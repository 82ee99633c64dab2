package account

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/doubt"
	"github.com/papyra/papyra/internal/numset"
)

// runKey names a run. A run belongs to one system; two that claim the same run
// are two.
type runKey struct{ system, run string }

// book is what one store says.
type book struct {
	a      *Account
	chosen bool // it belongs to the group that is judged

	systems map[string]map[string]*run // by system and run
	last    *run                       // of the record before

	sinks    map[string]*sinkRun             // by run
	removals map[string]map[string]*removals // by system, "" where it is not named, and run
	doubts   doubts
	announced
	// open are RemovalReports, by the id of their act, that the act's end may still
	// take back.
	open map[string][]announcement

	unended    []Unended
	recoveries []recovery // that moved damaged lines; only with Options.Gaps
	loose      map[noteID]looseDrops

	spools map[string]*spoolFacts // by the id of the spool: what was said of it last

	accepted int64 // the time of the newest StartAccepted, in microseconds; MinInt64 for none

	records, unsealed, unknown, unreadable uint64
	damaged                                int64
	problem                                string // what could not be read
}

// run is what a store says of one run.
type run struct {
	of     *tenant
	key    runKey
	node   string
	series [papyra.KindCount]*series

	first, last int64 // timestamps, in microseconds
	started     int64 // by its reports; MaxInt64 if they do not say
	reports     uint64

	earliest, latest *reportFacts // of the PublisherReports, by their number; nil for none
	final            bool
	gone             bool // nothing but its removal is known
	outages          []papyra.Outage
}

// reportFacts are the numbers of one PublisherReport.
type reportFacts struct {
	seq        uint64
	at         int64
	categories [papyra.KindCount]reportedCategory
}

// reportedCategory is a papyra.PublisherCategory without its drops.
type reportedCategory struct {
	accepted, confirmed, resent, buffered, unconfirmed, replaced uint64
}

// of returns what a report said of a category, nothing if there is no report.
func (f *reportFacts) of(kind papyra.Kind) reportedCategory {
	if f == nil {
		return reportedCategory{}
	}
	return f.categories[kind]
}

// series is what a store says of one run and category.
type series struct {
	stored  numset.Counted // what records bear whose seal verifies; after settle, also what others bear
	charged uint64         // bytes of stored
	// rewritten are those that records bear whose seal does not verify any more; nil
	// for none.
	rewritten  *numset.Counted
	unverified *numset.Set // those of rewritten that are not in stored, after settle
	reach
	drops map[papyra.DropReason]*drops
	// unheard is what the sinks of a group did not answer for, by group, until it is
	// known which group is judged; nil for none.
	unheard map[string]*drops
	// spooled are those that wait in spools; nil for none. It is filled when the books
	// are joined.
	spooled *spooled
	quiet   *[len(publisherReasons)]uint64 // up to these numbers a report knew of no drop; nil for none
}

// reach is how far the numbers of a series are known to go; 0 where nothing is
// known.
type reach struct {
	highest uint64 // the highest number that anything names
	settled uint64 // the highest one that was certainly taken before Account.cutoff
	base    uint64 // the highest one that was certainly taken before Account.since
}

// raise makes r go at least as far as another one.
func (r *reach) raise(to reach) {
	r.highest, r.settled, r.base = max(r.highest, to.highest), max(r.settled, to.settled), max(r.base, to.base)
}

// drops is what was dropped of a series for one reason.
type drops struct {
	named numset.Set        // by ranges
	marks []mark            // by a publisher: numbers beside the ranges
	more  map[noteID]others // by sinks: those beyond the ranges, by report
}

// mark is what a publisher's report counts: when it had accepted so many records,
// n of all of them had been dropped.
type mark struct{ accepted, n uint64 }

// others are n numbers above low and not above high, which no range names.
type others struct{ low, high, n uint64 }

// noteID names a report: its run and its number.
type noteID struct {
	run string
	seq uint64
}

// sinkRun is one start of a sink.
type sinkRun struct {
	group, instance, store string
	filters                []string
	peers                  map[papyra.Peer]int64 // when it named each for the last time, in microseconds
	started, last          int64                 // microseconds
	latest                 uint64
	stopped                bool
	lost                   uint64            // messages, in all
	unread                 uint64            // of lost those that were left at its end
	rejected               uint64            // lines, by its latest report
	rollbacks              []papyra.Rollback // likewise
	marks                  []sinkMark        // when its counters of trouble rose; only with Options.Gaps
}

// removals is what acts removed of one run.
type removals struct {
	node   string
	kinds  [papyra.KindCount]*removedKind
	latest int64
}

// removedKind is what acts removed of one category of a run.
type removedKind struct {
	known reach
	acts  []removedBy
	below map[noteID]below
}

// removedBy is what acts of one kind removed, as far as it is named.
type removedBy struct {
	act     string
	numbers numset.Set
}

// recovery is an act that moved damaged lines away. Whose they were nobody can
// say.
type recovery struct {
	act   string
	at    int64
	lines int64
}

// below is what an act removed of a run without naming it: n numbers below one.
type below struct {
	act      string
	below, n uint64
}

func newBook(a *Account) *book {
	return &book{
		a: a, chosen: true, accepted: math.MinInt64,
		systems: map[string]map[string]*run{}, sinks: map[string]*sinkRun{}, removals: map[string]map[string]*removals{}, spools: map[string]*spoolFacts{},
	}
}

func (b *book) addRecord(rec *papyra.Record) {
	b.records++
	if only := b.a.only; only != "" && string(rec.System) != only && string(rec.System) != papyra.SystemReserved {
		return
	}
	switch {
	case rec.Kind == papyra.KindUnknown:
		b.unknown++
		return
	case !rec.HasIdentity():
		b.unsealed++
		return
	}
	r := b.runOf(rec)
	if r == nil {
		return
	}
	s := r.seriesOf(b.a, rec.Kind)
	s.addStored(rec)
	if s.added()%weighEvery == 0 {
		s.weigh(b.a, r.of)
	}
	b.a.noteTaken(&s.reach, rec.Seq, rec.Time, rec.Kind == papyra.KindReport)
	r.first, r.last = min(r.first, rec.Time), max(r.last, rec.Time)
	if rec.Kind == papyra.KindReport {
		b.addReport(r, rec) // a copy of a report that was met before says nothing new
	}
}

// addStored enters the number of a stored record.
func (s *series) addStored(rec *papyra.Record) {
	if rec.Sealed {
		s.stored.Add(rec.Seq)
		return
	}
	if s.rewritten == nil {
		s.rewritten = &numset.Counted{}
	}
	s.rewritten.Add(rec.Seq)
}

// added returns how many records were entered.
func (s *series) added() uint64 {
	if s.rewritten == nil {
		return s.stored.Added()
	}
	return s.stored.Added() + s.rewritten.Added()
}

// numbers returns the numbers that any record bears. It is not to be changed.
func (s *series) numbers() *numset.Set {
	if s.rewritten == nil {
		return s.stored.Set()
	}
	both := s.stored.Set().Clone()
	both.Union(s.rewritten.Set())
	return both
}

// settle counts what only rewritten records bear as stored, and keeps apart which
// these are. Nothing is added afterwards.
func (s *series) settle() {
	if s.rewritten == nil {
		return
	}
	s.unverified = s.rewritten.Set().Clone()
	s.unverified.Subtract(s.stored.Set())
	s.stored.Absorb(s.rewritten)
	s.rewritten = nil
}

// weigh charges what the numbers that were met take by now.
func (s *series) weigh(a *Account, t *tenant) {
	now := s.stored.Bytes()
	if s.rewritten != nil {
		now += s.rewritten.Bytes()
	}
	if now > s.charged {
		a.charge(t, now-s.charged)
		s.charged = now
	}
}

// runOf returns the run of a record, nil if its system is not judged.
func (b *book) runOf(rec *papyra.Record) *run {
	if r := b.last; r != nil && r.key.run == string(rec.Run) && r.key.system == string(rec.System) {
		return r
	}
	r := b.systems[string(rec.System)][string(rec.Run)]
	if r == nil {
		if r = b.openRun(rec.System, string(rec.Run)); r == nil {
			return nil
		}
	}
	if r.node == "" {
		r.node = string(rec.Node)
	}
	b.last = r
	return r
}

// openRun returns a run, which it begins if it is new, and nil if its system is
// not judged.
func (b *book) openRun(system []byte, id string) *run {
	if r := b.systems[string(system)][id]; r != nil {
		return r
	}
	t := b.a.tenantOf(system)
	if t == nil {
		return nil
	}
	r := &run{of: t, key: runKey{t.name, id}, first: math.MaxInt64, last: math.MinInt64, started: math.MaxInt64}
	if b.systems[t.name] == nil {
		b.systems[t.name] = map[string]*run{}
	}
	b.systems[t.name][id] = r
	b.a.charge(t, runBytes)
	if t.closed {
		return nil
	}
	return r
}

// runs are all runs, in no order.
func (b *book) runs(yield func(*run) bool) {
	for _, byRun := range b.systems {
		for _, r := range byRun {
			if !yield(r) {
				return
			}
		}
	}
}

// seriesOf returns what is known of a category of the run.
func (r *run) seriesOf(a *Account, kind papyra.Kind) *series {
	if r.series[kind] == nil {
		r.series[kind] = &series{}
		a.charge(r.of, seriesBytes)
	}
	return r.series[kind]
}

// noteTaken notes that the number n had been taken at a time. Only a report with a
// date may say that this was before the window: the time of another record is what
// its runtime claims.
func (a *Account) noteTaken(s *reach, n uint64, at int64, reported bool) {
	if n > maxSeq {
		return
	}
	s.highest = max(s.highest, n)
	if at <= a.cutoff {
		s.settled = max(s.settled, n)
	}
	if reported && a.beforeWindow(at) {
		s.base = max(s.base, n)
	}
}

// addReport enters what a report says, if it is to be believed: a sealed one of
// the system that writes such reports, which says nothing that cannot be. One
// that cannot be read is counted.
func (b *book) addReport(r *run, rec *papyra.Record) {
	own := string(rec.System) == papyra.SystemReserved
	switch kind := string(rec.Type); {
	case kind != papyra.ReportPublisher && kind != papyra.ReportSink && kind != papyra.ReportRemoval && kind != papyra.ReportStartAccepted &&
		kind != papyra.ReportCompactionPerformed && kind != papyra.ReportRecoveryPerformed:
		return
	case (kind == papyra.ReportPublisher) == own:
		b.doubt(rec, WhySystem)
		return
	case !rec.Sealed:
		b.doubt(rec, WhyUnsealed)
		return
	}
	var err error
	switch string(rec.Type) {
	case papyra.ReportStartAccepted:
		b.noteAccepted(rec)
	case papyra.ReportPublisher:
		var p papyra.PublisherReport
		if err = json.Unmarshal(rec.Payload, &p); err != nil {
			break
		}
		if why := doubt.Publisher(rec, &p); why != "" {
			b.doubt(rec, Why(why))
		} else {
			b.publisherReport(r, rec, &p)
		}
	case papyra.ReportSink:
		var p papyra.SinkReport
		if err = json.Unmarshal(rec.Payload, &p); err == nil {
			b.sinkReport(r, rec, &p)
		}
	case papyra.ReportRemoval:
		var p papyra.RemovalReport
		if err = json.Unmarshal(rec.Payload, &p); err == nil {
			b.holdRemoval(r.of, rec, &p)
		}
	case papyra.ReportCompactionPerformed, papyra.ReportRecoveryPerformed:
		if id, end, ok := papyra.EndOfAct(rec); !ok {
			b.unreadable++
		} else {
			b.endAct(r.of, id, end.TakesBack())
		}
	}
	if err != nil {
		b.unreadable++
	}
}

func (b *book) publisherReport(r *run, rec *papyra.Record, p *papyra.PublisherReport) {
	r.reports++
	r.final = r.final || p.Final
	r.started = min(r.started, rec.Time-int64(p.Uptime*1e6))
	facts := &reportFacts{seq: rec.Seq, at: rec.Time}
	for name, c := range p.Categories {
		kind := papyra.ParseCategory(name)
		if kind == papyra.KindUnknown || c.Accepted > maxSeq {
			continue
		}
		s := r.seriesOf(b.a, kind)
		b.a.noteTaken(&s.reach, c.Accepted, rec.Time, true)
		for reason, d := range c.Dropped {
			if d != nil && d.N > 0 && b.knownReason(rec, reason) {
				to := s.dropsFor(reason)
				b.a.nameRanges(s, &to.named, r.of, d.Ranges, rec.Time)
				to.addMark(mark{c.Accepted, d.N})
				b.a.charge(r.of, rangeBytes)
			}
		}
		for group, d := range c.UnheardBy {
			if d != nil && d.N > 0 {
				to := s.unheardBy(b.a, r.of, group)
				b.a.nameRanges(s, &to.named, r.of, d.Ranges, rec.Time)
				to.addMark(mark{c.Accepted, d.N})
			}
		}
		if s.quiet == nil {
			s.quiet = &[len(publisherReasons)]uint64{}
		}
		for i, reason := range publisherReasons {
			if d := c.Dropped[reason]; d == nil || d.N == 0 {
				s.quiet[i] = max(s.quiet[i], c.Accepted)
			}
		}
		facts.categories[kind] = reportedCategory{c.Accepted, c.Confirmed, c.Resent, c.Buffered, c.Unconfirmed, c.PayloadReplaced}
	}
	if r.earliest == nil || rec.Seq < r.earliest.seq {
		r.earliest = facts
	}
	if r.latest == nil || rec.Seq > r.latest.seq {
		r.latest = facts
	}
	if b.a.o.Gaps {
		r.outages = append(r.outages, p.Outages...)
		b.a.charge(r.of, rangeBytes*uint64(len(p.Outages)))
	}
}

// dropsFor returns what was dropped for a reason.
func (s *series) dropsFor(reason papyra.DropReason) *drops {
	if s.drops == nil {
		s.drops = map[papyra.DropReason]*drops{}
	}
	d := s.drops[reason]
	if d == nil {
		d = &drops{}
		s.drops[reason] = d
	}
	return d
}

// unheardBy returns what the sinks of a group did not answer for.
func (s *series) unheardBy(a *Account, t *tenant, group string) *drops {
	d := s.unheard[group]
	if d == nil {
		if s.unheard == nil {
			s.unheard = map[string]*drops{}
		}
		d = &drops{}
		s.unheard[group] = d
	}
	a.charge(t, rangeBytes)
	return d
}

// chooseUnheard makes drops of what the sinks of the group did not answer for, and
// forgets that of other groups.
func (b *book) chooseUnheard(group string) {
	for r := range b.runs {
		for _, s := range r.series {
			if s == nil {
				continue
			}
			if d := s.unheard[group]; d != nil {
				if s.drops == nil {
					s.drops = map[papyra.DropReason]*drops{}
				}
				s.drops[papyra.DropUnheardBy] = d
			}
			s.unheard = nil
		}
	}
}

// addMark notes a report. Of reports that say the same only the first and the
// last are kept.
func (d *drops) addMark(m mark) {
	n := len(d.marks)
	if n > 1 && d.marks[n-1].n == m.n && d.marks[n-2].n == m.n && d.marks[n-2].accepted <= m.accepted && d.marks[n-1].accepted <= m.accepted {
		d.marks = d.marks[:n-1]
	}
	d.marks = append(d.marks, m)
}

func (b *book) sinkReport(r *run, rec *papyra.Record, p *papyra.SinkReport) {
	s := b.sinks[string(rec.Run)]
	if s == nil {
		s = &sinkRun{started: math.MaxInt64, last: math.MinInt64}
		b.sinks[string(rec.Run)] = s
	}
	if rec.Seq >= s.latest {
		s.latest = rec.Seq
		s.group, s.instance, s.filters = p.Group, p.Instance, p.Filters
		s.stopped = p.State == "stopped"
		s.rejected, s.rollbacks = sum(p.Rejected), p.RolledBack
		if p.Store != "" {
			s.store = p.Store
		}
	}
	for _, peer := range p.Peers {
		s.notePeer(peer, rec.Time)
	}
	s.started = min(s.started, rec.Time-int64(p.Uptime*1e6))
	s.last = max(s.last, rec.Time)
	r.final = r.final || p.State == "stopped"
	s.lost = max(s.lost, p.LostMessages)
	s.unread = max(s.unread, p.Unread)
	if b.a.o.Gaps {
		s.addMark(sinkMark{rec.Time, p.LostMessages, p.Disconnects})
	}
	b.sinkDrops(rec, p.Dropped)
	b.noteSpool(rec, p)
}

// sinkDrops enters what a report names as dropped: of a sink, or of a rotation
// that says again what removed reports said.
func (b *book) sinkDrops(rec *papyra.Record, list []papyra.SinkDrops) {
	b.noteLoose(rec, list)
	for _, d := range list {
		kind := papyra.ParseCategory(d.Category)
		if d.Run == "" || kind == papyra.KindUnknown {
			continue // records without a number
		}
		if n, ok := doubt.Width(d.Ranges); !ok || n > d.N {
			b.doubt(rec, WhyRanges)
			continue
		}
		unheard := d.Reason == papyra.DropUnheardBy && d.Group != ""
		if !unheard && !b.knownReason(rec, d.Reason) {
			continue
		}
		run := b.openRun([]byte(d.System), d.Run)
		if run == nil {
			continue
		}
		to := run.seriesOf(b.a, kind)
		var dropped *drops
		if unheard {
			dropped = to.unheardBy(b.a, run.of, d.Group)
		} else {
			dropped = to.dropsFor(d.Reason)
		}
		named := b.a.nameRanges(to, &dropped.named, run.of, d.Ranges, rec.Time)
		if d.N > named {
			if dropped.more == nil {
				dropped.more = map[noteID]others{}
			}
			dropped.more[noteID{string(rec.Run), rec.Seq}] = b.a.unnamed(to, d.N-named, d.Others, rec.Time)
			b.a.charge(run.of, 4*rangeBytes)
		}
	}
}

// notePeer notes that a sink knew at a time of another's store.
func (s *sinkRun) notePeer(p papyra.Peer, at int64) {
	if p.Store == "" {
		return
	}
	if s.peers == nil {
		s.peers = map[papyra.Peer]int64{}
	}
	if last, known := s.peers[p]; !known || at > last {
		s.peers[p] = at
	}
}

// publisherReasons are the reasons that a publisher's reports count.
var publisherReasons = [4]papyra.DropReason{papyra.DropQueueFull, papyra.DropTooLarge, papyra.DropEncode, papyra.DropClosed}

// sortMarks puts the marks of several reports and stores in order.
func (d *drops) sortMarks() {
	slices.SortFunc(d.marks, func(a, b mark) int {
		return cmp.Or(cmp.Compare(a.accepted, b.accepted), cmp.Compare(a.n, b.n))
	})
}
