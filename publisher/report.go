package publisher

import (
	"time"

	"github.com/papyra/papyra"
)

// quietReports is how many times less often a publisher reports while nothing
// changes.
const quietReports = 6

// maxWaiting bounds the reports that wait to be sent. More of them during a long
// outage would tell nothing that the next one does not.
const maxWaiting = 16

// reporter makes the PublisherReports of a run and puts them into the lane of
// reports. Only the sender uses it.
type reporter struct {
	p     *Publisher
	enc   papyra.Encoder
	every time.Duration
	last  time.Time // of the last report, or the start
	state reportState
}

// reportState is what makes a report worth sending when it changes. The counts of
// the reports themselves are not in it.
type reportState struct {
	counts  [papyra.KindCount]laneCounts
	dropped [papyra.KindCount]uint64
	unheard [papyra.KindCount]uint64
	outages uint64
}

// reportState returns the state of now.
func (p *Publisher) reportState() (s reportState) {
	for _, l := range p.lanes {
		if l == nil {
			continue
		}
		l.mu.Lock()
		if l.kind != papyra.KindReport {
			s.counts[l.kind] = l.count
		}
		for i := range l.drops {
			s.dropped[l.kind] += l.drops[i].n
		}
		for i := range l.unheardBy {
			s.unheard[l.kind] += l.unheardBy[i].n
		}
		l.mu.Unlock()
	}
	var st Stats
	p.link.fillStats(&st)
	s.outages = st.Errors.Disconnects + st.Errors.Reconnects
	return s
}

// reportIfDue writes a report if it is time, and then gives back memory that is
// not needed. It returns when to call it again.
func (r *reporter) reportIfDue(now time.Time) time.Time {
	next := r.last.Add(r.every)
	if now.Before(next) {
		return next
	}
	if r.p.lanes[papyra.KindReport].unsentRecords() >= maxWaiting {
		return now.Add(r.every)
	}
	state := r.p.reportState()
	if state == r.state {
		if quiet := r.last.Add(quietReports * r.every); now.Before(quiet) {
			return earlier(quiet, now.Add(r.every))
		}
	}
	r.state, r.last = state, now
	r.writeReport(false)
	for _, l := range r.p.background {
		l.trimMemory()
	}
	return now.Add(r.every)
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// writeReport puts a report into the lane of reports. If there is no room for it,
// the ranges that it names are kept for the next one.
func (r *reporter) writeReport(final bool) {
	lane := r.p.lanes[papyra.KindReport]
	payload := papyra.PublisherReport{
		Final:      final,
		Uptime:     time.Since(r.p.started).Seconds(),
		Categories: make(map[string]papyra.PublisherCategory, len(r.p.background)),
		Outages:    r.p.link.outagesForReport(),
	}
	for _, l := range r.p.background {
		payload.Categories[l.kind.Category()] = l.categoryReport(r.p.sender.groups)
	}
	err := r.encodeReport(&payload)
	if limit := r.p.sender.messageLimit; err == nil && limit > 0 && r.enc.Len(lane.accepted()+1) > limit {
		// The broker would refuse the whole report, so leave the ranges out.
		for _, c := range payload.Categories {
			for _, d := range c.Dropped {
				d.Ranges = nil
			}
			for _, d := range c.UnheardBy {
				d.Ranges = nil
			}
		}
		payload.Outages = nil
		err = r.encodeReport(&payload)
	}
	if !lane.recordOwn(&r.enc, err) {
		return
	}
	for _, l := range r.p.background {
		l.forgetReported(payload.Categories[l.kind.Category()], r.p.sender.groups)
	}
	r.p.link.forgetOutages(payload.Outages)
}

func (r *reporter) encodeReport(payload *papyra.PublisherReport) error {
	report := papyra.Report{Name: papyra.ReportPublisher, Payload: payload}
	return r.enc.Report(r.p.id, r.p.system, &report, r.p.now())
}

// categoryReport returns the lane's part of a report. It allocates nothing while
// record calls may wait for the mutex.
func (l *lane) categoryReport(known *groups) papyra.PublisherCategory {
	var (
		count       laneCounts
		drops       [dropReasons]papyra.Drops
		unheard     [maxGroups]papyra.Drops
		confirmedBy [maxGroups]uint64
	)
	room := make([]papyra.Range, 0, (dropReasons+len(known.list))*maxRanges)
	l.mu.Lock()
	count, confirmedBy = l.count, l.confirmedBy
	held := l.hold.reason
	for i := range known.list {
		unheard[i], room = l.unheardBy[i].forReport(room)
	}
	for i := range l.drops {
		drops[i], room = l.drops[i].forReport(room)
	}
	l.mu.Unlock()
	c := papyra.PublisherCategory{
		Accepted:    count.accepted,
		Confirmed:   count.confirmed,
		Resent:      count.resent,
		Buffered:    count.buffered,
		Unconfirmed: count.unconfirmed,
		Held:        string(held),

		PayloadReplaced: count.replaced,
	}
	for i := range drops {
		if drops[i].N > 0 {
			if c.Dropped == nil {
				c.Dropped = map[papyra.DropReason]*papyra.Drops{}
			}
			c.Dropped[dropNames[i]] = &drops[i]
		}
	}
	for i, g := range known.list {
		if confirmedBy[i] > 0 {
			if c.ConfirmedBy == nil {
				c.ConfirmedBy = map[string]uint64{}
			}
			c.ConfirmedBy[g.name] = confirmedBy[i]
		}
		if unheard[i].N > 0 {
			if c.UnheardBy == nil {
				c.UnheardBy = map[string]*papyra.Drops{}
			}
			c.UnheardBy[g.name] = &unheard[i]
		}
	}
	return c
}

// forgetReported forgets the ranges that a report names.
func (l *lane) forgetReported(c papyra.PublisherCategory, known *groups) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, g := range known.list {
		if d := c.UnheardBy[g.name]; d != nil {
			l.unheardBy[i].forgetReported(d)
		}
	}
	for i, name := range dropNames {
		if d := c.Dropped[name]; d != nil {
			l.drops[i].forgetReported(d)
		}
	}
}
