package publisher

import "github.com/papyra/papyra"

// Stats are the numbers of a publisher since it was made, except for the
// gauges, which say so. Within each CategoryStats they are of one moment and
// exact; the categories are read one after the other.
type Stats struct {
	Events      CategoryStats
	DeadLetters CategoryStats
	Audits      CategoryStats
	Reports     CategoryStats

	// Connected is a gauge: there is a connection to a broker.
	Connected bool

	// RepliesRefused is a gauge: the broker does not let this login subscribe to
	// its inbox, so that records count as confirmed also when nobody listened.
	RepliesRefused bool

	// AuditPanics counts the calls of AuditFunc that panicked.
	AuditPanics uint64

	Errors Errors
}

// CategoryStats are the numbers of one category of records. Always
//
//	Accepted = Confirmed + Unconfirmed + Buffered + Dropped()
type CategoryStats struct {
	Accepted  uint64 // numbers taken; the highest one
	Confirmed uint64 // a server had a receiver and queued the record
	Buffered  uint64 // gauge: not confirmed yet

	// Unconfirmed were handed over when Close's time was up, and their fate is
	// unknown. It is 0 before.
	Unconfirmed uint64

	DroppedQueueFull uint64 // the buffer was full
	DroppedTooLarge  uint64 // longer than papyra.MaxPublishedLine or than the broker takes
	DroppedEncode    uint64 // a value that cannot be written
	DroppedClosed    uint64 // never handed over when Close's time was up

	Refused   uint64 // calls after Close; they take no number
	Resent    uint64 // handed over once more, each time
	Unheard   uint64 // handed over while nobody listened, each time
	Denied    uint64 // handed over and not permitted by the broker, each time
	Sanitized uint64 // invalid UTF-8 bytes that were replaced

	// BufferBytes is a gauge: memory held for records, used or free. It never
	// exceeds the configured bound.
	BufferBytes int

	// Hold is a gauge: why records wait although there is a connection.
	Hold HoldReason
}

// Dropped returns the records dropped for any reason.
func (c CategoryStats) Dropped() uint64 {
	return c.DroppedQueueFull + c.DroppedTooLarge + c.DroppedEncode + c.DroppedClosed
}

// HoldReason says why the records of a category wait although there is a
// connection. They are offered again, less often each time, at least every few
// seconds.
type HoldReason string

// The reasons to hold a category.
const (
	HoldNone    HoldReason = ""        // nothing waits without need
	HoldUnheard HoldReason = "unheard" // nobody listens: start a sink
	HoldDenied  HoldReason = "denied"  // the login may not publish to the subject: permit it
)

// Errors counts what went wrong with the connection, by cause.
type Errors struct {
	Connect     uint64 // attempts that reached no broker
	Auth        uint64 // logins refused, expired or revoked
	Permission  uint64 // subjects refused, for publishing or subscribing
	Write       uint64 // failed or timed-out writes; each ends its connection
	Other       uint64 // anything else that the broker or the client reported
	Disconnects uint64
	Reconnects  uint64
	Last        string // the latest one's text
}

// Stats returns the numbers of now. It waits for nothing but each category's
// mutex and is safe at any time, also after Close.
func (p *Publisher) Stats() Stats {
	s := Stats{
		Events:      p.lanes[papyra.KindEvent].stats(),
		DeadLetters: p.lanes[papyra.KindDeadLetter].stats(),
		Audits:      p.lanes[papyra.KindAudit].stats(),
		Reports:     p.lanes[papyra.KindReport].stats(),
		AuditPanics: p.auditPanics.Load(),
	}
	s.Errors, s.Connected, s.RepliesRefused = p.link.account()
	return s
}

func (l *lane) stats() CategoryStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := &l.count
	return CategoryStats{
		Accepted:         n.accepted,
		Confirmed:        n.confirmed,
		Buffered:         n.buffered,
		Unconfirmed:      n.unconfirmed,
		DroppedQueueFull: l.drops[dropQueueFull].n,
		DroppedTooLarge:  l.drops[dropTooLarge].n,
		DroppedEncode:    l.drops[dropEncode].n,
		DroppedClosed:    l.drops[dropClosed].n,
		Refused:          n.refused,
		Resent:           n.resent,
		Unheard:          n.unheard,
		Denied:           n.denied,
		Sanitized:        n.sanitized,
		BufferBytes:      l.mem.held,
		Hold:             l.hold.reason,
	}
}
