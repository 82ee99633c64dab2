package publisher

import "time"

// askAudit makes the next audit happen now. Wishes that come while one is made
// are one more audit.
func (p *Publisher) askAudit() {
	select {
	case p.auditAsked <- struct{}{}:
	default:
	}
}

// auditor calls AuditFunc until Close. It has a goroutine of its own, because
// nobody knows how long the function takes.
func (p *Publisher) auditor() {
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
