package publisher

import (
	"time"

	"github.com/papyra/papyra"
)

// quietReports is how many times less often a publisher reports while nothing
// changes.
const quietReports = 6

// maxWaiting bounds the reports that wait to be sent: during a long outage more
// of them would tell nothing that the next one does not.
const maxWaiting = 16

// reporter writes the PublisherReports of a run into the lane of reports. Only
// the sender uses it.
type reporter struct {
	p     *Publisher
	enc   papyra.Encoder
	every time.Duration
	last  time.Time // of the last report, or the start
	state reportState
}

// reportState is what makes a report worth sending when it changes: not what
// the reports themselves move.
type reportState struct {
	counts  [papyra.KindCount]counts
	dropped [papyra.KindCount]uint64
	outages uint64
}

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
		l.mu.Unlock()
	}
	errors, _, _ := p.link.account()
	s.outages = errors.Disconnects + errors.Reconnects
	return s
}

// due writes a report if it is time, gives unneeded memory back, and returns
// when to come again.
func (r *reporter) due(now time.Time) time.Time {
	next := r.last.Add(r.every)
	if now.Before(next) {
		return next
	}
	if waiting, _ := r.p.lanes[papyra.KindReport].waiting(); waiting >= maxWaiting {
		return now.Add(r.every)
	}
	state := r.p.reportState()
	if state == r.state {
		if quiet := r.last.Add(quietReports * r.every); now.Before(quiet) {
			return earlier(quiet, now.Add(r.every))
		}
	}
	r.state, r.last = state, now
	r.write(false)
	for _, l := range r.p.background {
		l.trim()
	}
	return now.Add(r.every)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// write puts a report into the lane of reports. The ranges that it carries are
// forgotten only when it is there.
func (r *reporter) write(final bool) {
	lane := r.p.lanes[papyra.KindReport]
	payload := papyra.PublisherReport{
		Final:      final,
		Uptime:     time.Since(r.p.started).Seconds(),
		Categories: make(map[string]papyra.PublisherCategory, len(r.p.background)),
		Outages:    r.p.link.outagesSince(),
	}
	for _, l := range r.p.background {
		payload.Categories[l.kind.Category()] = l.account()
	}
	err := r.encode(&payload)
	if limit := r.p.sender.limit; err == nil && limit > 0 && r.enc.Len(lane.accepted()+1) > limit {
		// Ranges that the broker would not take are worth less than the numbers.
		for _, c := range payload.Categories {
			for _, d := range c.Dropped {
				d.Ranges = nil
			}
		}
		payload.Outages = nil
		err = r.encode(&payload)
	}
	if !lane.addOwn(&r.enc, err) {
		return
	}
	for _, l := range r.p.background {
		l.reported(payload.Categories[l.kind.Category()])
	}
	r.p.link.outagesReported(payload.Outages)
}

func (r *reporter) encode(payload *papyra.PublisherReport) error {
	report := papyra.Report{Name: papyra.ReportPublisher, Payload: payload}
	return r.enc.Report(r.p.id, r.p.system, &report, r.p.now())
}

// account returns the lane's part of a report. No memory is made while callers
// may wait for the mutex.
func (l *lane) account() papyra.PublisherCategory {
	var (
		count counts
		drops [dropReasons]papyra.Drops
	)
	room := make([]papyra.Range, 0, dropReasons*maxRanges)
	l.mu.Lock()
	count = l.count
	for i := range l.drops {
		drops[i], room = l.drops[i].report(room)
	}
	l.mu.Unlock()
	c := papyra.PublisherCategory{
		Accepted:    count.accepted,
		Confirmed:   count.confirmed,
		Resent:      count.resent,
		Buffered:    count.buffered,
		Unconfirmed: count.unconfirmed,
	}
	for i := range drops {
		if drops[i].N > 0 {
			if c.Dropped == nil {
				c.Dropped = map[papyra.DropReason]*papyra.Drops{}
			}
			c.Dropped[dropNames[i]] = &drops[i]
		}
	}
	return c
}

// reported forgets the ranges that a report carries.
func (l *lane) reported(c papyra.PublisherCategory) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, name := range dropNames {
		if d := c.Dropped[name]; d != nil {
			l.drops[i].reported(d)
		}
	}
}
