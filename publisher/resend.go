package publisher

import (
	"log/slog"
	"time"

	"github.com/papyra/papyra"
)

const (
	// tendEvery is how often the sender looks after what waits for answers.
	tendEvery = 50 * time.Millisecond

	// probeFor is how long the first records of a run wait for a first answer of each
	// group of sinks, and where no group is known, the first records of each connection.
	// Sinks answer within half of it. Then records without an answer count as confirmed:
	// the sinks are older ones, or something else takes the records.
	probeFor = 500 * time.Millisecond

	// keptMessages is how many numbers of messages are kept before those that nothing
	// waits for are looked for.
	keptMessages = 8192
)

// sentMessage is where a message that was handed over is kept. The chunk may have become
// something else since.
type sentMessage struct {
	lane  *lane
	chunk *chunk
}

// probe is the wait for a first answer.
type probe struct {
	socket *socket // the connection on which it began
	ends   time.Time
	first  bool // it is the first of the run: groups that are slower than others may come
}

// numberMessages gives the chunk of e numbers for the messages that it becomes. What is
// sent again keeps its numbers, unless it becomes other messages than before: so also a
// late answer counts.
func (s *sender) numberMessages(e *windowEntry) {
	c, n := e.chunk, 0
	for rest := c.buf; len(rest) > 0; n++ {
		rest = rest[linesWithin(rest, s.messageLimit):]
	}
	if c.id != 0 && c.messages == n {
		return
	}
	c.id, c.messages, c.parts = 0, n, nil
	if n == 0 {
		return
	}
	if len(s.sent) >= s.sweepAt {
		s.sweepMessages()
	}
	c.id = s.nextID
	for range n {
		s.sent[s.nextID] = sentMessage{e.lane, c}
		s.nextID++
	}
}

// sweepMessages forgets the messages that nothing waits for any more.
func (s *sender) sweepMessages() {
	for n, m := range s.sent {
		if !m.lane.keeps(m.chunk, n) {
			delete(s.sent, n)
		}
	}
	s.sweepAt = max(keptMessages, 2*len(s.sent))
}

// hear takes in the answers of sinks that have come.
func (s *sender) hear() {
	s.answers = s.link.ears.takeAnswers(s.answers)
	for i := range s.answers {
		a := &s.answers[i]
		named := false
		for _, r := range a.Heard {
			named = named || r[0] < s.nextID
		}
		if !named {
			continue // it is of no message of ours
		}
		g, changed, ok := s.groups.note(&a.HeardAnswer, a.at)
		if !ok {
			name := a.Group // the memory of a is used again
			s.p.notices.log(slog.LevelWarn, "a sink of one more group answers: this publisher waits for the first groups only", func() []any {
				return []any{"group", name, "groups", maxGroups}
			})
			continue
		}
		if changed {
			s.expectAnew(a.at, 0)
		}
		for _, r := range a.Heard {
			s.noteHeardRange(g, r, a.at)
		}
	}
}

// noteHeardRange notes that a group has answered a range of messages.
func (s *sender) noteHeardRange(g int, r papyra.Range, at time.Time) {
	first, last := max(r[0], 1), min(r[1], s.nextID-1)
	if first > last {
		return
	}
	if last-first >= uint64(len(s.sent)) {
		for n := range s.sent {
			if n >= first && n <= last {
				s.noteHeard(g, n, at)
			}
		}
		return
	}
	for n := first; n <= last; n++ {
		s.noteHeard(g, n, at)
	}
}

// noteHeard notes that a group has answered a message.
func (s *sender) noteHeard(g int, n uint64, at time.Time) {
	m, ok := s.sent[n]
	if !ok {
		return
	}
	known, took := m.lane.noteHeard(m.chunk, n, g, at)
	if !known {
		delete(s.sent, n)
		return
	}
	if took >= 0 {
		s.groups.list[g].noteTook(took)
	}
}

// probeOn begins the wait for first answers with the first window that was proven on a
// socket.
func (s *sender) probeOn(socket *socket, now time.Time) {
	if s.probe.socket != socket {
		s.probe = probe{socket, now.Add(probeFor), s.probe.socket == nil}
		s.expectAnew(now, 0)
	}
}

// expectAnew tells the lanes for whom they wait now. gone are groups that were
// forgotten.
func (s *sender) expectAnew(now time.Time, gone groupSet) {
	deaf := s.link.answersRefused()
	for _, l := range s.lanes {
		var e expectation
		if !deaf {
			e = s.groups.expectationOf(l.kind, now)
			e.probing = (e.known == 0 || s.probe.first) && now.Before(s.probe.ends)
		}
		if e != s.expected[l.kind] || gone != 0 {
			s.expected[l.kind] = e
			l.setExpectation(e, gone)
		}
	}
}

// tend looks after what waits for answers: it takes in the answers, and says for whom is
// waited, what may go, and which lanes wait.
func (s *sender) tend(now time.Time) {
	s.hear()
	if now.Sub(s.tended) < tick {
		return
	}
	s.tended = now
	s.expectAnew(now, s.groups.forget(now))
	away := s.groups.away(now)
	for _, l := range s.lanes {
		e := s.expected[l.kind]
		for l.packCopies(away, now) {
		}
		// Where nobody answers, the records stay together here and one message probes.
		// But nothing waits for groups that have left: there may be other takers.
		nobody := e.known != 0 && e.known&^away == 0 && e.known&^e.left != 0
		switch hold := l.currentHold().reason; {
		case nobody && hold == HoldNone:
			l.startHold(HoldUnanswered, now, s.longestHold(longestUnheard))
			s.logHold("no sink answers: records wait in the buffer until one does", l)
		case !nobody && hold == HoldUnanswered:
			l.endHold()
		}
		if s.p.isClosing() {
			l.giveUpLeft()
		}
	}
}

// endHold ends the hold of a lane after a server took what was sent. If sinks do not
// answer, that is not enough.
func (s *sender) endHold(l *lane, now time.Time) {
	if l.currentHold().reason == HoldUnanswered {
		l.startHold(HoldUnanswered, now, s.longestHold(longestUnheard))
	} else {
		l.endHold()
	}
}

// planResends puts what is to be sent again to the front of the lanes. For each group
// there is one round at a time: a number of chunks, and the wait for the answers to them.
//
//	round ends because          the next round
//	all were answered           twice as many, at once
//	some were, in time          as many as were answered, at once
//	none was                    one chunk, later each time (250 ms to 5 s)
//
// So a sink that is overloaded and answers late gets less, and one that comes back soon
// gets everything.
func (s *sender) planResends(now time.Time) {
	for i, g := range s.groups.list {
		if g.forgotten || !s.endRound(i, g, now) || now.Before(g.next) {
			continue
		}
		taken := 0
		for _, l := range s.lanes {
			if h := l.currentHold().reason; !s.expected[l.kind].known.has(i) || h == HoldUnheard || h == HoldDenied {
				continue
			}
			messages, n := l.takeDue(i, now.Add(-g.wait()), g.atOnce-taken)
			g.round = append(g.round, messages...)
			if taken += n; taken >= g.atOnce {
				break
			}
		}
		if taken > 0 {
			g.ends = now.Add(g.wait())
			g.news = false
		}
	}
}

// endRound ends the round of a group if it is over, and reports whether the next one
// may begin.
func (s *sender) endRound(i int, g *group, now time.Time) bool {
	over := !now.Before(g.ends)
	if !over && !g.news {
		return false
	}
	g.news = false
	missing := 0
	for _, n := range g.round {
		if m, ok := s.sent[n]; ok && m.lane.lacks(m.chunk, n, i) {
			missing++
		}
	}
	answered := len(g.round) - missing
	switch {
	case !over && missing > 0:
		return false
	case over && g.ends.IsZero():
	case missing == 0 && answered > 0:
		g.atOnce, g.fails = min(2*g.atOnce, maxAtOnce), 0
	case answered > 0:
		g.atOnce, g.fails = answered, 0
	default:
		g.atOnce = 1
		g.next = now.Add(backoff(g.fails, firstResend, lastResend))
		g.fails++
	}
	g.round, g.ends = g.round[:0], time.Time{}
	return true
}
