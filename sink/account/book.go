package account

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// runKey names a run. A run belongs to one system; two that claim the same run
// are two.
type runKey struct{ system, run string }

// book is what one store says.
type book struct {
	a      *Account
	chosen bool // it belongs to the group that is judged

	runs map[runKey]*run
	last *run // of the record before

	sinks    map[string]*sinkRun // by run
	removals map[string]*removals
	doubts   doubts
	announced
	// open are RemovalReports, by the id of their act, that the act's end may still
	// take back.
	open map[string][]announcement

	recoveries []recovery // that moved damaged lines; only with Options.Gaps
	loose      map[noteID]looseDrops

	accepted int64 // the time of the newest StartAccepted, in microseconds; MinInt64 for none

	records, unsealed, unknown, unreadable uint64
	damaged                                int64
	problem                                string // what could not be read
}

// run is what a store says of one run.
type run struct {
	key    runKey
	node   string
	series [papyra.KindCount]*series

	first, last int64 // timestamps, in microseconds
	started     int64 // by its reports; MaxInt64 if they do not say
	reports     uint64

	earliest, latest reportFacts // of the PublisherReports, by their number
	final            bool
	outages          []papyra.Outage
}

// reportFacts are the numbers of one PublisherReport.
type reportFacts struct {
	seq        uint64 // 0 for none
	at         int64
	categories [papyra.KindCount]papyra.PublisherCategory // without Dropped
}

// series is what a store says of one run and category.
type series struct {
	stored numset.Counted
	// unverified are those of stored that no record bears whose seal verifies.
	unverified numset.Set
	reach
	drops map[papyra.DropReason]*drops
	quiet [4]uint64 // for each of publisherReasons: up to this number a report knew of no drop
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

// removals is what acts removed of one run, whose system they do not name.
type removals struct {
	node   string
	byAct  [papyra.KindCount]map[string]*numset.Set
	below  [papyra.KindCount]map[noteID]below
	latest int64
	known  [papyra.KindCount]reach
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
	return &book{a: a, chosen: true, accepted: math.MinInt64, runs: map[runKey]*run{}, sinks: map[string]*sinkRun{}, removals: map[string]*removals{}}
}

func (b *book) addRecord(rec *papyra.Record) {
	b.records++
	switch {
	case rec.Kind == papyra.KindUnknown:
		b.unknown++
		return
	case !rec.HasIdentity():
		b.unsealed++
		return
	}
	r := b.runOf(rec)
	s := r.seriesOf(rec.Kind)
	s.addStored(rec)
	b.a.noteTaken(&s.reach, rec.Seq, rec.Time, rec.Kind == papyra.KindReport)
	r.first, r.last = min(r.first, rec.Time), max(r.last, rec.Time)
	if rec.Kind == papyra.KindReport {
		b.addReport(r, rec) // a copy of a report that was met before says nothing new
	}
}

// addStored enters the number of a stored record.
func (s *series) addStored(rec *papyra.Record) {
	switch {
	case !rec.Sealed && !s.stored.Contains(rec.Seq):
		s.unverified.Add(rec.Seq)
	case rec.Sealed && !s.unverified.IsEmpty():
		s.unverified.Remove(rec.Seq)
	}
	s.stored.Add(rec.Seq)
}

func (b *book) runOf(rec *papyra.Record) *run {
	if r := b.last; r != nil && r.key.run == string(rec.Run) && r.key.system == string(rec.System) {
		return r
	}
	r := b.runs[runKey{string(rec.System), string(rec.Run)}]
	if r == nil {
		r = b.openRun(runKey{string(rec.System), string(rec.Run)})
	}
	if r.node == "" {
		r.node = string(rec.Node)
	}
	b.last = r
	return r
}

func (b *book) openRun(key runKey) *run {
	r := b.runs[key]
	if r == nil {
		r = &run{key: key, first: math.MaxInt64, last: math.MinInt64, started: math.MaxInt64}
		b.runs[key] = r
	}
	return r
}

// seriesOf returns what is known of a category of the run.
func (r *run) seriesOf(kind papyra.Kind) *series {
	if r.series[kind] == nil {
		r.series[kind] = &series{}
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
		if why := implausible(rec, &p); why != "" {
			b.doubt(rec, why)
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
			b.holdRemoval(rec, &p)
		}
	case papyra.ReportCompactionPerformed, papyra.ReportRecoveryPerformed:
		if id, end, ok := papyra.EndOfAct(rec); !ok {
			b.unreadable++
		} else if end.TakesBack() {
			delete(b.open, id)
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
	facts := reportFacts{seq: rec.Seq, at: rec.Time}
	for name, c := range p.Categories {
		kind := papyra.ParseCategory(name)
		if kind == papyra.KindUnknown || c.Accepted > maxSeq {
			continue
		}
		s := r.seriesOf(kind)
		b.a.noteTaken(&s.reach, c.Accepted, rec.Time, true)
		for reason, d := range c.Dropped {
			if d != nil && d.N > 0 && b.knownReason(rec, reason) {
				b.a.nameDropped(s, r.key.system, reason, d.Ranges, rec.Time)
				s.dropsFor(reason).addMark(mark{c.Accepted, d.N})
			}
		}
		for i, reason := range publisherReasons {
			if d := c.Dropped[reason]; d == nil || d.N == 0 {
				s.quiet[i] = max(s.quiet[i], c.Accepted)
			}
		}
		c.Dropped = nil
		facts.categories[kind] = c
	}
	if r.earliest.seq == 0 || rec.Seq < r.earliest.seq {
		r.earliest = facts
	}
	if rec.Seq > r.latest.seq {
		r.latest = facts
	}
	if b.a.o.Gaps {
		r.outages = append(r.outages, p.Outages...)
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
		if n, ok := widthOf(d.Ranges); !ok || n > d.N {
			b.doubt(rec, WhyRanges)
			continue
		}
		if !b.knownReason(rec, d.Reason) {
			continue
		}
		to := b.openRun(runKey{d.System, d.Run}).seriesOf(kind)
		named := b.a.nameDropped(to, d.System, d.Reason, d.Ranges, rec.Time)
		if d.N > named {
			dropped := to.dropsFor(d.Reason)
			if dropped.more == nil {
				dropped.more = map[noteID]others{}
			}
			o := others{n: d.N - named, high: maxSeq}
			if low, high := d.Others[0], d.Others[1]; low >= 1 && high >= low {
				o.low, o.high = low-1, high
				b.a.noteTaken(&to.reach, high, rec.Time, true)
			}
			dropped.more[noteID{string(rec.Run), rec.Seq}] = o
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

// announcement is a RemovalReport whose act may still take it back.
type announcement struct {
	rec    papyra.Record // without its bytes
	report *papyra.RemovalReport
}

// holdRemoval keeps a RemovalReport until the store is read: the act's end, which
// stands behind it, may take it back. What a rotation removed or carried stands.
func (b *book) holdRemoval(rec *papyra.Record, p *papyra.RemovalReport) {
	if p.Carried || p.Act == papyra.ActRotate {
		b.announce(rec, p)
		return
	}
	if b.open == nil {
		b.open = map[string][]announcement{}
	}
	b.open[p.ID] = append(b.open[p.ID], announcement{papyra.Record{
		Kind: rec.Kind, System: slices.Clone(rec.System), Type: slices.Clone(rec.Type), Time: rec.Time,
		Sealed: rec.Sealed, Node: slices.Clone(rec.Node), Run: slices.Clone(rec.Run), Seq: rec.Seq,
	}, p})
}

// announceOpen enters what no act has taken back, after the last record.
func (b *book) announceOpen() {
	for _, id := range slices.Sorted(maps.Keys(b.open)) {
		for i := range b.open[id] {
			b.announce(&b.open[id][i].rec, b.open[id][i].report)
		}
	}
	b.open = nil
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
		for _, g := range c.Runs {
			r := b.removals[g.Run]
			if r == nil {
				r = &removals{}
				b.removals[g.Run] = r
			}
			if r.node == "" {
				r.node = g.Node
			}
			r.latest = max(r.latest, rec.Time)
			r.addRun(b.a, kind, p, &g, rec)
		}
	}
}

// addRun enters what a report says of one run. A dedupe removes copies of records
// of which another one stays: that tells how far the run has come, and never
// explains why a number is stored nowhere.
func (r *removals) addRun(a *Account, kind papyra.Kind, p *papyra.RemovalReport, g *papyra.RemovedRun, rec *papyra.Record) {
	explains := p.Act != papyra.ActDedupe
	known := &r.known[kind]
	var unnamed uint64
	for _, ranges := range g.Ranges {
		if !a.affordRange(ranges) {
			if ranges[1] >= ranges[0] && ranges[1] <= maxSeq {
				unnamed = max(unnamed, ranges[1])
			}
			continue
		}
		if explains {
			r.removedBy(kind, p.Act).AddRange(ranges[0], ranges[1])
		}
		a.noteTaken(known, ranges[1], rec.Time, true)
	}
	cut := below{p.Act, g.Below, g.N}
	if cut.below == 0 && unnamed > 0 {
		cut.below = unnamed + 1
	}
	if cut.below > 1 && cut.below <= maxSeq {
		if cut.n == 0 {
			cut.n = cut.below - 1
		}
		if r.below[kind] == nil {
			r.below[kind] = map[noteID]below{}
		}
		if explains {
			r.below[kind][noteID{string(rec.Run), rec.Seq}] = cut
		}
		a.noteTaken(known, cut.below-1, rec.Time, true)
	}
}

// removedBy returns the set of the numbers that an act removed.
func (r *removals) removedBy(kind papyra.Kind, act string) *numset.Set {
	if r.byAct[kind] == nil {
		r.byAct[kind] = map[string]*numset.Set{}
	}
	set := r.byAct[kind][act]
	if set == nil {
		set = &numset.Set{}
		r.byAct[kind][act] = set
	}
	return set
}

// publisherReasons are the reasons that a publisher's reports count.
var publisherReasons = [4]papyra.DropReason{papyra.DropQueueFull, papyra.DropTooLarge, papyra.DropEncode, papyra.DropClosed}

// sortMarks puts the marks of several reports and stores in order.
func (d *drops) sortMarks() {
	slices.SortFunc(d.marks, func(a, b mark) int {
		return cmp.Or(cmp.Compare(a.accepted, b.accepted), cmp.Compare(a.n, b.n))
	})
}
