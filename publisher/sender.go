package publisher

import (
	"log/slog"
	"time"
)

const (
	// tick is how long records wait for company while they flow, and activeFor
	// how long they are thought to flow after the last one.
	tick      = 2 * time.Millisecond
	activeFor = 100 * time.Millisecond

	// downTick is the tick while nothing can be sent.
	downTick = 50 * time.Millisecond
)

// sender is the background side: one goroutine that takes what is buffered at
// this moment, hands it over, waits until it is confirmed, and begins again.
type sender struct {
	p        *Publisher
	link     *link
	lanes    []*lane // in the order of laneOrder
	reporter *reporter

	timer   *time.Timer
	closing <-chan struct{} // nil once it is known

	limit int // the broker's limit on a message; 0 before the first connection

	// The window.
	bytes   int // its size now
	entries []entry
	owners  []int  // which entry a message belongs to, by number from first
	first   uint64 // number of the window's first message
	nextID  uint64

	active   time.Time // when something was last new or sent
	accepted uint64    // numbers taken by then
}

func newSender(p *Publisher) *sender {
	s := &sender{
		p:        p,
		link:     p.link,
		reporter: &reporter{p: p, every: p.reportEvery, last: p.started},
		timer:    time.NewTimer(time.Hour),
		closing:  p.closing,
		bytes:    maxWindowBytes / 16,
		active:   time.Now(),
	}
	for _, kind := range laneOrder {
		s.lanes = append(s.lanes, p.lanes[kind])
	}
	return s
}

// run works until Close, and ends with the last word.
func (s *sender) run() {
	defer close(s.p.done)
	for !s.finished() {
		sent := s.window(s.p.soft)
		s.pause(sent, s.reporter.due(time.Now()))
	}
	s.finish()
}

// finished reports whether it is time for the last word: after Close, when
// everything is settled or nearly all the time is used.
func (s *sender) finished() bool {
	select {
	case <-s.p.closing:
	default:
		return false
	}
	return s.p.soft.Err() != nil || s.buffered() == 0
}

func (s *sender) buffered() (n uint64) {
	for _, l := range s.lanes {
		records, _ := l.waiting()
		n += records
	}
	return n
}

// pause waits until there is reason to go on. While records flow it ticks by
// itself, so that callers need not wake it; only after a while without any does
// it go idle, and then the next caller does.
func (s *sender) pause(sent bool, report time.Time) {
	now := time.Now()
	ready, full, until := s.outlook(now, report)
	if accepted := s.p.accepted(); sent || accepted != s.accepted {
		s.active, s.accepted = now, accepted
	}
	if sent && full {
		return
	}
	idle := false
	switch {
	case ready && !s.link.isDown():
		until = earlier(until, now.Add(tick))
	case now.Sub(s.active) >= activeFor:
		idle = true
	case s.link.isDown():
		until = earlier(until, now.Add(downTick))
	default:
		until = earlier(until, now.Add(tick))
	}
	if idle {
		s.p.idle.Store(true)
		// A record that came before the flag was seen woke nobody.
		if s.p.accepted() != s.accepted {
			s.p.idle.Store(false)
			return
		}
		defer s.p.idle.Store(false)
	}
	s.timer.Reset(time.Until(until))
	select {
	case <-s.p.wakeup:
	case <-s.link.events:
		s.resume()
	case <-s.closing:
		s.closing = nil // once is enough
		s.resume()
	case <-s.p.soft.Done():
	case <-s.timer.C:
	}
	s.timer.Stop()
}

// outlook tells whether a lane can send now, whether one holds a full message,
// and when to look again at the latest.
func (s *sender) outlook(now, report time.Time) (ready, full bool, until time.Time) {
	until = report
	if s.link.isDown() {
		until = earlier(until, now.Add(time.Second)) // in case no callback tells
	}
	for _, l := range s.lanes {
		records, whole := l.waiting()
		if records == 0 {
			continue
		}
		if h := l.held(); h.reason != HoldNone {
			until = earlier(until, h.until)
			ready = ready || !now.Before(h.until)
			continue
		}
		ready, full = true, full || whole
	}
	return ready, full, until
}

// resume lets the lanes on hold try again at once: a new connection, or the end,
// is a new chance.
func (s *sender) resume() {
	for _, l := range s.lanes {
		l.retryNow()
	}
}

// finish gives up what is left, says the last word and ends the connection.
func (s *sender) finish() {
	var left leftBehind
	for _, l := range s.lanes[1:] {
		left.add(l.abandon())
	}
	reports := s.lanes[0]
	if s.p.accepted() > 0 {
		// Of a run without any record there is nothing to say.
		s.reporter.write(true)
		reports.retryNow()
		for s.p.hard.Err() == nil && s.buffered() > 0 {
			if !s.window(s.p.hard) {
				s.breathe()
			}
		}
	}
	left.add(reports.abandon())
	s.p.left = left
	s.link.close()
	s.p.notices.close()
}

// breathe waits a little between two tries to send the last word.
func (s *sender) breathe() {
	s.timer.Reset(10 * time.Millisecond)
	select {
	case <-s.timer.C:
	case <-s.p.hard.Done():
	}
}

// complain logs what keeps a lane waiting.
func (s *sender) complain(message string, l *lane) {
	s.p.notices.log(slog.LevelWarn, message, func() []any { return []any{"subject", l.subject} })
}
