package publisher

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
)

const (
	// maxWindowMessages and maxWindowBytes bound what is handed over before it
	// is confirmed. Within them the window follows the broker's pace.
	maxWindowMessages = 1024
	maxWindowBytes    = 4 << 20
	minWindowBytes    = 2 * chunkSize

	fastWindow = 200 * time.Millisecond // confirmed so soon, the next window is larger
	slowWindow = time.Second            // confirmed so late, it is smaller: pings must not starve behind it

	longestUnheard = 5 * time.Second  // between two offers to nobody
	longestDenied  = 10 * time.Second // between two offers of what is not permitted
)

// entry is one chunk in a window.
type entry struct {
	lane     *lane
	chunk    *chunk
	messages int  // of it that were handed over
	whole    bool // every message of it was
	unheard  int  // 503 answers
	before   bool // chunk.unknown before this window
}

// window takes what is buffered now, hands it over, waits for the answer and
// counts. It reports whether anything was taken. Exactly what is proven to be
// in a server's hands is confirmed:
//
//   - the socket is the same and unbroken before the first Publish and after the
//     answer to the flush. This holds off the answer to a flush that began while
//     reconnecting, and a write that failed while the status stayed connected;
//   - the answer came;
//   - every error that the server sent before the answer has arrived, and none
//     is about the message's subject;
//   - no 503 for the message came, and no 503 can have been lost.
//
// What is not confirmed goes back to the front of its lane.
func (s *sender) window(ctx context.Context) bool {
	socket := s.link.ready(ctx)
	if socket == nil {
		return false
	}
	s.readLimit()
	if !s.collect(time.Now()) {
		return false
	}
	began := time.Now()
	mark := s.link.begin()
	proven := s.publish() && s.prove(ctx, socket, mark)
	if proven {
		s.pace(time.Since(began))
		s.link.eachReply(s.noteUnheard)
	} else {
		s.bytes = max(s.bytes/4, minWindowBytes)
		// What became of it is unknown, and on this connection it would never
		// be known. At the end there is no time for another one.
		if ctx.Err() == nil {
			_ = socket.Close()
		}
	}
	s.settle(proven, s.link.takeRefused())
	return proven
}

// prove flushes and reports whether everything that was handed over on socket
// since mark is in a server's hands, except for what is told to be refused or
// unheard. The order matters: what tells against a window comes before the
// answer to the flush, so it is looked at after it.
func (s *sender) prove(ctx context.Context, socket *socket, mark mark) bool {
	return s.link.flush(ctx) && s.link.settled(ctx) &&
		s.link.dialer.live() == socket && s.link.mark() == mark
}

// readLimit takes over the broker's limit on messages, which may be another one
// after each reconnect.
func (s *sender) readLimit() {
	limit := int(s.link.nc.MaxPayload())
	if limit <= 0 || limit == s.limit {
		return
	}
	s.limit = limit
	for _, l := range s.lanes {
		l.setLimit(min(chunkSize, limit))
	}
}

// collect fills the window: a fair share for each lane first, then what is left
// in the order of the lanes, of which events come last. A lane on hold gives one
// chunk when its time has come, to try.
func (s *sender) collect(now time.Time) bool {
	s.entries = s.entries[:0]
	bytes, chunks := s.bytes, maxWindowMessages
	share := bytes / len(s.lanes)
	for pass := range 2 {
		for _, l := range s.lanes {
			var list chunkList
			switch h := l.held(); {
			case h.reason != HoldNone:
				if pass == 0 && !now.Before(h.until) {
					l.take(&list, 1, 1)
				}
			case pass == 0:
				bytes -= l.take(&list, min(share, bytes), chunks/len(s.lanes))
			case bytes > 0 && chunks > 0:
				if _, full := l.waiting(); full {
					bytes -= l.take(&list, bytes, chunks)
				}
			}
			chunks -= list.n
			for c := list.pop(); c != nil; c = list.pop() {
				s.entries = append(s.entries, entry{lane: l, chunk: c, before: c.unknown})
			}
		}
	}
	return len(s.entries) > 0
}

// publish hands the window over and reports whether a flush can confirm it.
func (s *sender) publish() bool {
	s.first = s.nextID
	s.owners = s.owners[:0]
	for i := range s.entries {
		e := &s.entries[i]
		e.lane.fit(e.chunk, s.limit)
		e.whole = true
		for rest := e.chunk.buf; len(rest) > 0; {
			if len(s.owners) == maxWindowMessages {
				e.whole = false // of a window of many small messages the rest comes later
				break
			}
			n := part(rest, s.limit)
			err := s.link.nc.PublishRequest(e.lane.subject, s.link.reply(s.nextID), rest[:n])
			if err != nil && neverSent(err) {
				e.whole = false
				return errors.Is(err, nats.ErrMaxPayload)
			}
			s.nextID++
			s.owners = append(s.owners, i)
			e.messages++
			e.chunk.unknown = true
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

// noteUnheard takes a 503 to the chunk that it is for.
func (s *sender) noteUnheard(subject string) {
	id, ok := s.link.unheard(subject)
	if ok && id >= s.first && id-s.first < uint64(len(s.owners)) {
		s.entries[s.owners[id-s.first]].unheard++
	}
}

// pace fits the window to the broker: a slow one must not be given so much that
// the pings behind it come too late.
func (s *sender) pace(took time.Duration) {
	switch {
	case took < fastWindow:
		s.bytes = min(s.bytes*2, maxWindowBytes)
	case took > slowWindow:
		s.bytes = max(s.bytes/2, minWindowBytes)
	}
}

// settle counts the window in every lane.
func (s *sender) settle(proven bool, refused map[string]int) {
	now := time.Now()
	for _, l := range s.lanes {
		s.settleLane(l, proven, refused[l.subject], now)
	}
	clear(s.entries) // chunks belong to their lanes again
}

func (s *sender) settleLane(l *lane, proven bool, refused int, now time.Time) {
	var w settled
	messages := 0
	for _, e := range s.entries {
		if e.lane == l {
			messages += e.messages
		}
	}
	for _, e := range s.entries {
		if e.lane != l {
			continue
		}
		c, records := e.chunk, uint64(e.chunk.records)
		if e.messages > 0 {
			if c.handed > 0 {
				w.resent += records
			}
			c.handed++
		}
		switch {
		case proven && refused > 0 && e.messages > 0:
			// Which messages were refused is not told; when it was all of them,
			// no server has any.
			w.denied += records
			c.unknown = e.before || refused < messages
			w.back.push(c)
		case proven && e.unheard > 0:
			w.unheard += records
			c.unknown = e.before || e.unheard < e.messages
			w.back.push(c)
		case proven && e.whole:
			w.done.push(c)
		default:
			w.back.push(c)
		}
	}
	confirmed := w.done.n > 0
	l.settle(&w)
	switch {
	case w.denied > 0:
		l.keep(HoldDenied, now, s.longest(longestDenied))
		s.complain("the broker does not permit publishing: allow this login to publish to the subject", l)
	case w.unheard > 0:
		l.keep(HoldUnheard, now, s.longest(longestUnheard))
		s.complain("nobody listens: records wait in the buffer until a sink runs", l)
	case confirmed:
		l.release()
	}
}

// longest shortens the waiting while the publisher closes: what can still be
// sent then should be.
func (s *sender) longest(d time.Duration) time.Duration {
	select {
	case <-s.p.closing:
		return 200 * time.Millisecond
	default:
		return d
	}
}

// laneOrder is the order in which lanes are served.
var laneOrder = [...]papyra.Kind{papyra.KindReport, papyra.KindDeadLetter, papyra.KindAudit, papyra.KindEvent}
