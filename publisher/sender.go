package publisher

import (
	"log/slog"
	"time"

	"github.com/papyra/papyra"
)

const (
	// tick is how long records wait for company while they flow. activeFor is how
	// long the sender goes on ticking after the last record.
	tick      = 2 * time.Millisecond
	activeFor = 100 * time.Millisecond

	// downTick is the tick while nothing can be sent.
	downTick = 50 * time.Millisecond
)

// sender is the background side: one goroutine that takes what is buffered at the
// moment, hands it over, waits until that is confirmed, and begins again.
type sender struct {
	p        *Publisher
	link     *link
	lanes    []*lane // in the order of laneOrder
	reporter *reporter

	timer   *time.Timer
	closing <-chan struct{} // nil once the sender has seen it closed

	messageLimit int // bytes that the broker allows a message; 0 before the first connection

	// The window.
	windowBytes int           // its size now
	entries     []windowEntry // its chunks

	// What waits for the answers of sinks.
	groups   *groups
	sent     map[uint64]sentMessage // by number; some of them may be gone
	sweepAt  int                    // messages in sent at which those that are gone are looked for
	nextID   uint64                 // number of the next message
	probe    probe
	expected [papyra.KindCount]expectation // by the lanes
	tended   time.Time                     // when tend last looked at everything
	answers  []answer                      // those that hear looks at; the memory is used again

	lastActive   time.Time // when a record was last taken or sent
	lastAccepted uint64    // numbers taken by then
}

func newSender(p *Publisher) *sender {
	s := &sender{
		p:           p,
		link:        p.link,
		reporter:    &reporter{p: p, every: p.reportEvery, last: p.started},
		timer:       time.NewTimer(time.Hour),
		closing:     p.closing,
		windowBytes: maxWindowBytes / 16,
		groups:      newGroups(p.groupNames),
		sent:        map[uint64]sentMessage{},
		nextID:      1,
		lastActive:  time.Now(),
	}
	for _, kind := range laneOrder {
		s.lanes = append(s.lanes, p.lanes[kind])
	}
	s.expectAnew(time.Now(), 0)
	return s
}

// sendUntilClosed works until Close, and ends with the final report.
func (s *sender) sendUntilClosed() {
	defer close(s.p.done)
	for !s.timeToEnd() {
		sent := s.sendWindow(s.p.soft)
		s.awaitWork(sent, s.reporter.reportIfDue(time.Now()))
	}
	s.endRun()
}

// timeToEnd reports whether it is time for the final report: after Close, when
// nothing is buffered or nearly all the time is used.
func (s *sender) timeToEnd() bool {
	return s.p.isClosing() && (s.p.soft.Err() != nil || s.buffered() == 0)
}

func (s *sender) buffered() (n uint64) {
	for _, l := range s.lanes {
		n += l.buffered()
	}
	return n
}

// awaitWork waits until there is reason to go on. sent says whether the last
// window was proven, report when the next report is due. While records flow the
// sender ticks by itself, so that record calls need not wake it. After a while
// without any record it goes idle, and then the next record call wakes it.
func (s *sender) awaitWork(sent bool, report time.Time) {
	now := time.Now()
	ready, full, until := s.outlook(now, report)
	if accepted := s.p.accepted(); sent || accepted != s.lastAccepted {
		s.lastActive, s.lastAccepted = now, accepted
	}
	if sent && full || s.timeToEnd() {
		return
	}
	idle := false
	switch {
	case ready && !s.link.isDown():
		until = earlier(until, now.Add(tick))
	case now.Sub(s.lastActive) >= activeFor:
		idle = true
	case s.link.isDown():
		until = earlier(until, now.Add(downTick))
	default:
		until = earlier(until, now.Add(tick))
	}
	if idle {
		s.p.idle.Store(true)
		// A record call that came before the flag was set has woken nobody.
		if s.p.accepted() != s.lastAccepted {
			s.p.idle.Store(false)
			return
		}
		defer s.p.idle.Store(false)
	}
	s.timer.Reset(time.Until(until))
	defer s.timer.Stop()
	for {
		select {
		case <-s.link.ears.news:
			// What flows is not cut into smaller messages for an answer.
			if s.hear(); s.p.isClosing() {
				return // it may have been the last one
			}
			continue
		case <-s.p.wakeup:
		case <-s.link.events:
			s.retryHolds()
		case <-s.closing:
			s.closing = nil // it would be ready each time
			s.retryHolds()
		case <-s.p.soft.Done():
		case <-s.timer.C:
		}
		return
	}
}

// outlook returns whether a lane can send now, whether one has a full message,
// and when to look again at the latest.
func (s *sender) outlook(now, report time.Time) (ready, full bool, until time.Time) {
	until = report
	if s.link.isDown() {
		until = earlier(until, now.Add(time.Second)) // in case no callback comes
	}
	if at, ok := s.link.nextRenewal(); ok {
		until = earlier(until, at)
	}
	for _, l := range s.lanes {
		if l.awaits() {
			until = earlier(until, now.Add(tendEvery))
		}
		some, whole := l.unsent()
		if !some {
			continue
		}
		if h := l.currentHold(); h.reason != HoldNone {
			until = earlier(until, h.until)
			ready = ready || !now.Before(h.until)
			continue
		}
		ready, full = true, full || whole
	}
	return ready, full, until
}

// retryHolds lets the lanes on hold try again at once: a new connection, or the
// beginning of Close, is a new chance.
func (s *sender) retryHolds() {
	for _, l := range s.lanes {
		l.retryHoldNow()
	}
}

// endRun gives up what is left, sends the final report and ends the connection.
func (s *sender) endRun() {
	var left leftBehind
	for _, l := range s.lanes[1:] {
		left.giveUp(l)
	}
	reports := s.lanes[0]
	if s.p.accepted() > 0 { // of a run without any record there is nothing to say
		s.reporter.writeReport(true)
		reports.retryHoldNow()
		for s.p.hard.Err() == nil && s.buffered() > 0 {
			if !s.sendWindow(s.p.hard) {
				s.pauseBetweenTries()
			}
		}
	}
	left.giveUp(reports)
	s.p.endClose(left)
	s.link.closeConnection()
	s.p.notices.close()
}

// pauseBetweenTries waits a little between two tries to send the final report.
func (s *sender) pauseBetweenTries() {
	s.timer.Reset(10 * time.Millisecond)
	select {
	case <-s.timer.C:
	case <-s.link.ears.news:
	case <-s.p.hard.Done():
	}
}

// logHold logs what makes a lane wait.
func (s *sender) logHold(message string, l *lane) {
	s.p.notices.log(slog.LevelWarn, message, func() []any { return []any{"subject", l.subject} })
}
