package publisher

import (
	"time"

	"github.com/papyra/papyra"
)

// Stats are the numbers of a publisher since it was made. Some are gauges, which
// their comments say. The numbers of one CategoryStats are exact and of one
// moment; the categories are read one after the other.
type Stats struct {
	Events      CategoryStats
	DeadLetters CategoryStats
	Audits      CategoryStats
	Reports     CategoryStats

	// Connected is a gauge: whether there is a connection to a broker.
	Connected bool

	// RepliesRefused is a gauge: whether the broker refuses this login the
	// subscription to its inbox. Then records count as confirmed also when nobody
	// listened.
	RepliesRefused bool

	// AnswersRefused is a gauge: whether the broker refuses this login the answers of
	// sinks. Then records count as confirmed when a server has queued them for somebody.
	AnswersRefused bool

	// NoHeaders is a gauge: whether the broker has no headers (before 2.2, or with
	// no_header_support). Such a broker does not tell when nobody listens, so that
	// records count as confirmed also then.
	NoHeaders bool

	// AuditPanics counts the calls of AuditFunc that panicked.
	AuditPanics uint64

	Errors Errors
}

// CategoryStats are the numbers of one category of records. Always
//
//	Accepted = Confirmed + Unconfirmed + Buffered + Dropped()
type CategoryStats struct {
	Accepted  uint64 // records that took a number; also the highest number
	Confirmed uint64 // every group of sinks answered, or what [Publisher.Groups] says
	Buffered  uint64 // gauge: not confirmed yet

	// Unconfirmed were handed over before Close's time was up, and nothing says
	// whether a server has them. It is 0 until then.
	Unconfirmed uint64

	DroppedQueueFull uint64 // the buffer was full
	DroppedTooLarge  uint64 // longer than papyra.MaxPublishedLine or than the broker takes
	DroppedEncode    uint64 // a payload that cannot be encoded, of a record that does not fit even without it
	DroppedClosed    uint64 // no server can have it, and Close's time was up

	Refused   uint64 // calls after Close; they take no number
	Resent    uint64 // handed over once more; counted each time
	Unheard   uint64 // handed over while nobody listened; counted each time
	Denied    uint64 // handed over and not permitted by the broker; counted each time
	Sanitized uint64 // invalid UTF-8 bytes that were replaced

	// PayloadReplaced counts records that were taken into the buffer with the reason
	// in the place of their payload, because that cannot be encoded.
	PayloadReplaced uint64

	// BufferBytes is a gauge: memory held for records, used or free. It never
	// exceeds the configured bound.
	BufferBytes int

	// Hold is a gauge: why records wait although there is a connection.
	Hold HoldReason
}

// GroupStats are the numbers of one group of sinks, of all categories.
type GroupStats struct {
	Group      string
	Configured bool // it is one of Config.Groups

	// Confirmed counts the records that it has answered for. Unheard counts those for
	// which it had not, when their place was needed or time was up: they count as
	// Confirmed in their category, and PublisherReports name them.
	Confirmed, Unheard uint64

	Answered time.Time     // gauge: its last answer; zero if none came
	Silent   time.Duration // gauge: for how long it has owed an answer
	// Left is a gauge: whether it has owed an answer for 10 s and more. Copies for it
	// are kept only while nothing else needs their place, and Close does not wait for it.
	Left bool
	// Forgotten is a gauge: whether it has owed an answer for 10 min, while others
	// answered. Nothing is kept for it until it answers again.
	Forgotten bool
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
	HoldNone    HoldReason = ""        // there is no reason to wait
	HoldUnheard HoldReason = "unheard" // nobody listens: start a sink
	// HoldUnanswered says that somebody listens, but no sink answers any more. It ends
	// with an answer, and after 10 s.
	HoldUnanswered HoldReason = "unanswered"
	HoldDenied     HoldReason = "denied" // the login may not publish to the subject: permit it
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
	Last        string // text of the latest error
}

// Stats returns the numbers of now. It waits only for mutexes that are held for
// moments, whatever the broker does, and is safe at any time, also after Close.
func (p *Publisher) Stats() Stats {
	s := Stats{
		Events:      p.lanes[papyra.KindEvent].stats(),
		DeadLetters: p.lanes[papyra.KindDeadLetter].stats(),
		Audits:      p.lanes[papyra.KindAudit].stats(),
		Reports:     p.lanes[papyra.KindReport].stats(),
		AuditPanics: p.auditPanics.Load(),
	}
	p.link.fillStats(&s)
	return s
}

// Groups returns what is known of the groups of sinks: those that have answered, and the
// configured ones. While there is none, records count as confirmed when a server has
// queued them for somebody, because the sinks are older ones or something else takes
// the records. It waits as little as Stats.
func (p *Publisher) Groups() []GroupStats {
	list := p.sender.groups.stats(time.Now())
	for _, l := range p.background {
		l.addGroupStats(list)
	}
	return list
}

// addGroupStats adds the lane's numbers to those of the groups.
func (l *lane) addGroupStats(list []GroupStats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range list {
		list[i].Confirmed += l.confirmedBy[i]
		list[i].Unheard += l.unheardBy[i].n
	}
}

// stats returns the lane's part of Stats, all of one moment.
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
		PayloadReplaced:  n.replaced,
		BufferBytes:      l.mem.held,
		Hold:             l.hold.reason,
	}
}
