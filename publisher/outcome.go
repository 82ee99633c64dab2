package publisher

import (
	"time"

	"github.com/papyra/papyra"
)

// The states of a record, and of the chunk that holds it:
//
//	record call
//	    │ takes a number
//	    ├────────────► dropped: queue_full, too_large, encode
//	    ▼
//	buffered ◄──────────────────────────┐
//	    │ collectWindow                 │ unheard, denied, unproven, unsent:
//	    ▼                               │ back to the front of its lane
//	in a window                         │
//	    │ publishWindow, proveWindow    │
//	    ▼                               │
//	judged by settleWindow ─────────────┤
//	    │ delivered                     │
//	    ▼                               │
//	waiting for answers (waiting.go) ───┘ a group does not answer
//	    │ confirmed
//	    ▼
//	forgotten
//
// A line that is longer than the broker's limit is dropped as too_large when its
// window is published. What is still buffered when Close's time is up becomes
// unconfirmed if a server may have it, and is dropped as closed otherwise.
//
// The outcomes of a window for one chunk, in the order in which judge asks. The
// first one that holds counts:
//
//	outcome    when                                      counted    chunk      a server may have it
//	denied     the window is proven, and publishes to    denied     goes back  as before; or fewer publishes were refused
//	           the lane's subject were refused                                 than handed over: nothing says which
//	unheard    the window is proven, and a 503 came for  unheard    goes back  as before; or there are messages of it
//	           a message of it: nobody listens                                 without a 503
//	delivered  the window is proven, and all of the      -          waits      yes
//	           chunk was handed over
//	unproven   some of it was handed over                -          goes back  yes
//	unsent     nothing of it was handed over             -          goes back  as before
//
// A chunk that was handed over before and is handed over again counts as resent,
// whatever its outcome. Denied and unheard also start a hold of the lane; if
// neither happened and a chunk was confirmed, that ends it.
//
// Another kind of evidence would be a row of this table: a case in judge, which
// says when it holds, and one in addOutcome, which says what follows.

// chunkOutcome is what a window found out about one chunk: a row of the table
// above.
type chunkOutcome uint8

const (
	outcomeUnsent chunkOutcome = iota
	outcomeUnproven
	outcomeDelivered
	outcomeUnheard
	outcomeDenied
)

// windowEntry is one chunk in a window.
type windowEntry struct {
	lane     *lane
	chunk    *chunk
	messages int  // number of its messages that were handed over
	whole    bool // all of the chunk was handed over
	unheard  int  // number of 503 answers for its messages
	outcome  chunkOutcome
}

// judge returns what became of the entry's chunk, and whether a server may have
// it now. proven says whether a flush has proven the window. refused and handed
// are numbers of messages of the entry's lane in this window: those that the
// server refused, and all that were handed over.
func (e *windowEntry) judge(proven bool, refused, handed int) (o chunkOutcome, unknown bool) {
	before := e.chunk.unknown
	switch {
	case proven && refused > 0 && e.messages > 0:
		return outcomeDenied, before || refused < handed
	case proven && e.unheard > 0:
		return outcomeUnheard, before || e.unheard < e.messages
	case proven && e.whole:
		return outcomeDelivered, before
	case e.messages > 0:
		return outcomeUnproven, true
	default:
		return outcomeUnsent, before
	}
}

// settleWindow ends a window: it judges each chunk first and then tells each lane
// the result. refused is the number of refused publishes by subject.
func (s *sender) settleWindow(proven bool, refused map[string]int) {
	s.judgeEntries(proven, refused)
	s.applyOutcomes(time.Now())
	clear(s.entries) // the chunks belong to their lanes again
}

// judgeEntries sets the outcome of each entry.
func (s *sender) judgeEntries(proven bool, refused map[string]int) {
	var handed [papyra.KindCount]int
	for i := range s.entries {
		handed[s.entries[i].lane.kind] += s.entries[i].messages
	}
	for i := range s.entries {
		e := &s.entries[i]
		e.outcome, e.chunk.unknown = e.judge(proven, refused[e.lane.subject], handed[e.lane.kind])
	}
}

// applyOutcomes gives each lane its chunks back, counts, and starts or ends its
// hold.
func (s *sender) applyOutcomes(now time.Time) {
	var results [papyra.KindCount]windowResult
	for i := range s.entries {
		e := &s.entries[i]
		results[e.lane.kind].addOutcome(e)
	}
	for _, l := range s.lanes {
		w := &results[l.kind]
		delivered := w.delivered.n > 0
		if delivered {
			s.groups.noteSent(l.kind, now)
		}
		l.applyResult(w)
		switch {
		case w.denied > 0:
			l.startHold(HoldDenied, now, s.longestHold(longestDenied))
			s.logHold("the broker does not permit publishing: allow this login to publish to the subject", l)
		case w.unheard > 0:
			l.startHold(HoldUnheard, now, s.longestHold(longestUnheard))
			s.logHold("nobody listens: records wait in the buffer until a sink runs", l)
		case delivered:
			s.endHold(l, now)
		}
	}
}

// windowResult is what a window did for one lane, in numbers of records.
type windowResult struct {
	resent    uint64    // handed over once more
	unheard   uint64    // nobody listened for them
	denied    uint64    // the server refused their publishes
	delivered chunkList // a server has them and queued them for somebody
	returned  chunkList // go back to the lane, in their order
}

// addOutcome adds an entry that has been judged.
func (w *windowResult) addOutcome(e *windowEntry) {
	c, records := e.chunk, uint64(e.chunk.records)
	if e.messages > 0 {
		if c.handed > 0 {
			w.resent += records
		}
		c.handed++
	}
	switch e.outcome {
	case outcomeDelivered:
		w.delivered.push(c)
		return
	case outcomeDenied:
		w.denied += records
	case outcomeUnheard:
		w.unheard += records
	case outcomeUnproven, outcomeUnsent:
	}
	w.returned.push(c)
}
