package publisher

import "time"

// wishEvery is the least time between two audits that somebody asked for.
const wishEvery = time.Second

// askAudit asks for an audit now, or wishEvery after the last one. Requests that
// come meanwhile are answered by that one.
func (p *Publisher) askAudit() { wake(p.auditAsked) }

// runAuditor calls AuditFunc until Close, for AuditEvery and for each request. It
// has a goroutine of its own, because nobody knows how long the function takes.
func (p *Publisher) runAuditor() {
	defer close(p.auditorDone)
	var tick <-chan time.Time
	if p.auditEvery > 0 {
		t := time.NewTicker(p.auditEvery)
		defer t.Stop()
		tick = t.C
	}
	asked := p.auditAsked // nil for a while after each audit that was asked for
	rest := time.NewTimer(time.Hour)
	defer rest.Stop()
	for {
		select {
		case <-p.closing:
			return
		case <-rest.C:
			asked = p.auditAsked
			continue
		case <-tick:
		case <-asked:
			asked = nil
			rest.Reset(wishEvery)
		}
		if p.auditFunc == nil {
			continue
		}
		if guard(func() { p.Audit(p.auditFunc()) }) {
			p.auditPanics.Add(1)
		}
	}
}
