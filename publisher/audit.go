package publisher

import (
	"time"

	"github.com/papyra/papyra"
)

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
func (p *Publisher) auditor(every time.Duration, count func() papyra.Audit) {
	defer close(p.auditorDone)
	var tick <-chan time.Time
	if every > 0 {
		t := time.NewTicker(every)
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
		if count == nil {
			continue
		}
		if guard(func() { p.Audit(count()) }) {
			p.auditPanics.Add(1)
		}
	}
}
