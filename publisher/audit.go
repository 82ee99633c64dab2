package publisher

import "time"

// askAudit asks for an audit now. Requests that come while one is made are
// answered by one more.
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
	for {
		select {
		case <-p.closing:
			return
		case <-tick:
		case <-p.auditAsked:
		}
		if p.auditFunc == nil {
			continue
		}
		if guard(func() { p.Audit(p.auditFunc()) }) {
			p.auditPanics.Add(1)
		}
	}
}
