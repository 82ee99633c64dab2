package publisher

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
)

const (
	// maxWindowMessages and maxWindowBytes bound what is handed over before it is
	// confirmed. Within these bounds the window follows the broker's pace.
	maxWindowMessages = 1024
	maxWindowBytes    = 4 << 20
	minWindowBytes    = 2 * chunkSize

	fastWindow = 200 * time.Millisecond // a window confirmed within this time makes the next one larger
	slowWindow = time.Second            // one that took longer makes it smaller: pings must not wait too long behind it

	longestUnheard = 5 * time.Second  // between two tries while nobody listens
	longestDenied  = 10 * time.Second // between two tries while the subject is not permitted
)

// laneOrder is the order in which lanes are served.
var laneOrder = [...]papyra.Kind{papyra.KindReport, papyra.KindDeadLetter, papyra.KindAudit, papyra.KindEvent}

// sendWindow looks after what waits for answers of sinks. Then it takes what is buffered
// now, hands it over, waits for the broker's answer and settles. It reports whether the
// window was proven; it reports false if there was nothing to take.
//
// A window is proven if all of this holds:
//
//   - The socket is the same and unbroken before the first Publish and after the
//     answer to the flush. A flush that begins while nats.go reconnects is
//     answered by the new connection, and a write can fail while the status stays
//     connected: neither proves anything.
//   - The answer to the flush came.
//   - Every error that the server sent before the answer has arrived here.
//   - No 503 answer can have been lost.
//
// Then settleWindow says what became of each chunk: a refusal of its subject or a
// 503 for one of its messages still counts against it. What is not confirmed goes
// back to the front of its lane.
func (s *sender) sendWindow(ctx context.Context) bool {
	s.tend(time.Now())
	socket := s.link.readySocket(ctx)
	if socket == nil {
		return false
	}
	if s.link.holdForInbox(s.longestHold(longestDeaf)) {
		return false // what is sent now could not be proven
	}
	mark := s.link.beginWindow()
	if s.link.needsFallback() {
		return false // likewise
	}
	s.readMessageLimit()
	began := time.Now()
	s.planResends(began)
	if !s.collectWindow(began) {
		return false
	}
	proven := s.publishWindow(began) && s.proveWindow(ctx, socket, mark)
	if proven {
		s.adjustWindow(time.Since(began))
		s.noteUnheard(s.link.ears.takeNobody())
		s.probeOn(socket, time.Now())
	} else {
		s.windowBytes = max(s.windowBytes/4, minWindowBytes)
		// What became of the window is unknown, and this connection will never
		// tell. When ctx is done there is no time for another connection.
		if ctx.Err() == nil {
			_ = socket.Close()
		}
	}
	s.settleWindow(proven, s.link.takeRefused())
	return proven
}

// proveWindow flushes. It reports whether everything that was handed over on
// socket since mark is in a server's hands, except for what was refused or found
// nobody who listens. The order matters: everything that counts against a window
// comes before the answer to the flush, so it is looked at after the answer.
func (s *sender) proveWindow(ctx context.Context, socket *socket, mark windowMark) bool {
	return s.link.roundTrip(ctx) && s.link.awaitErrors(ctx) && s.link.ears.awaitRead(ctx) &&
		s.link.dialer.liveSocket() == socket && s.link.markWindow() == mark
}

// readMessageLimit takes over the broker's limit on messages, which can be
// another one after each reconnect.
func (s *sender) readMessageLimit() {
	limit := int(s.link.nc.MaxPayload())
	if limit <= 0 || limit == s.messageLimit {
		return
	}
	s.messageLimit = limit
	for _, l := range s.lanes {
		l.setLimit(min(chunkSize, limit))
	}
}

// laneTurn is what a lane may put into a window.
type laneTurn uint8

const (
	turnSkip laneTurn = iota // nothing: its hold lasts
	turnTry                  // one chunk: its hold is over, but the reason may not be
	turnSend                 // what it has
)

// turnOf returns what a lane may put into a window now.
func turnOf(l *lane, now time.Time) laneTurn {
	h := l.currentHold()
	switch {
	case h.reason == HoldNone:
		return turnSend
	case now.Before(h.until):
		return turnSkip
	default:
		return turnTry
	}
}

// collectWindow fills the window and reports whether anything is in it. Each lane
// first gets a fair share. Then the lanes get what is left, in their order, in
// which events come last.
func (s *sender) collectWindow(now time.Time) bool {
	s.entries = s.entries[:0]
	bytes, chunks := s.windowBytes, maxWindowMessages
	share := bytes / len(s.lanes)
	var turns [len(laneOrder)]laneTurn
	for i, l := range s.lanes {
		turns[i] = turnOf(l, now)
		switch turns[i] {
		case turnTry:
			_, n := s.collectChunks(l, 1, 1)
			chunks -= n
		case turnSend:
			taken, n := s.collectChunks(l, min(share, bytes), chunks/len(s.lanes))
			bytes -= taken
			chunks -= n
		case turnSkip:
		}
	}
	for i, l := range s.lanes {
		if turns[i] != turnSend || bytes <= 0 || chunks <= 0 {
			continue
		}
		if _, full := l.unsent(); full {
			taken, n := s.collectChunks(l, bytes, chunks)
			bytes -= taken
			chunks -= n
		}
	}
	return len(s.entries) > 0
}

// collectChunks moves chunks from a lane into the window, as lane.takeChunks
// does. It returns their bytes and their number.
func (s *sender) collectChunks(l *lane, bytes, chunks int) (taken, n int) {
	var list chunkList
	taken = l.takeChunks(&list, bytes, chunks)
	n = list.n
	for c := list.pop(); c != nil; c = list.pop() {
		s.entries = append(s.entries, windowEntry{lane: l, chunk: c})
	}
	return taken, n
}

// publishWindow hands the window over, and reports whether a flush can prove it.
func (s *sender) publishWindow(now time.Time) bool {
	sent := 0
	for i := range s.entries {
		e := &s.entries[i]
		e.lane.dropLongLines(e.chunk, s.messageLimit)
		s.numberMessages(e)
		e.chunk.sent = now
		e.whole = true
		for rest := e.chunk.buf; len(rest) > 0; {
			if sent == maxWindowMessages {
				e.whole = false // there are many small messages: the rest comes in a later window
				break
			}
			n := linesWithin(rest, s.messageLimit)
			err := s.link.nc.PublishRequest(e.lane.subject, s.link.replySubject(e.chunk.id+uint64(e.messages)), rest[:n])
			if err != nil && neverSent(err) {
				e.whole = false
				return errors.Is(err, nats.ErrMaxPayload)
			}
			sent++
			e.messages++
			if err != nil {
				e.whole = false
				return false
			}
			rest = rest[n:]
		}
	}
	return true
}

// neverSent reports whether Publish returned err before it wrote anything.
func neverSent(err error) bool {
	for _, e := range []error{nats.ErrReconnectBufExceeded, nats.ErrConnectionClosed,
		nats.ErrConnectionDraining, nats.ErrMaxPayload, nats.ErrBadSubject} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// noteUnheard counts the 503 answers with these subjects for the chunks whose messages
// they are about.
func (s *sender) noteUnheard(subjects []string) {
	if len(subjects) == 0 {
		return
	}
	entries := map[uint64]*windowEntry{}
	for i := range s.entries {
		e := &s.entries[i]
		for k := range e.messages {
			entries[e.chunk.id+uint64(k)] = e
		}
	}
	for _, subject := range subjects {
		if id, ok := s.link.messageID(subject); ok && entries[id] != nil {
			entries[id].unheard++
		}
	}
}

// adjustWindow fits the next window's size to the broker. A slow broker must not
// be given so much that the pings behind it come too late.
func (s *sender) adjustWindow(took time.Duration) {
	switch {
	case took < fastWindow:
		s.windowBytes = min(s.windowBytes*2, maxWindowBytes)
	case took > slowWindow:
		s.windowBytes = max(s.windowBytes/2, minWindowBytes)
	}
}

// longestHold returns d, or less while the publisher closes: what can still be
// sent then should be.
func (s *sender) longestHold(d time.Duration) time.Duration {
	if s.p.isClosing() {
		return 200 * time.Millisecond
	}
	return d
}
