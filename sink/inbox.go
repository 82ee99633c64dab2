package sink

import (
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

const (
	// messageCost is what a message counts beyond its bytes, so that many small ones
	// are bounded too.
	messageCost = 128
	// takenAtOnce is how many messages of a lane an intake takes at a time.
	takenAtOnce = 16
)

// inbox is the queue of messages between the NATS client and an intake. The client
// has a queue of its own, which knows nothing of reports: a flood in front of them
// would take their place. So what the client gets is put here at once.
//
//	client's goroutine             the inbox's goroutine
//	  put ──► records ─────────────► intake
//	     └──► reports (own room) ──►
//
// Messages of a stream keep their order. What does not fit is thrown away and
// counted. The lock is held for no longer than it takes to move a few pointers.
type inbox struct {
	intake *intake
	wake   chan struct{} // one slot
	done   chan struct{} // closed when run has returned

	gaveUp atomic.Bool // what waits is not to be looked at any more

	mu       sync.Mutex
	limit    int // bytes that may wait; reports may go beyond it
	subjects subjectCache
	records  lane
	reports  lane
	taken    int // messages that the intake has and has not finished
	size     int // bytes of what waits and of what is taken
	reserve  reportReserve
	lost     uint64 // messages thrown away
	ending   bool   // nothing more is put in
}

// newInbox returns an inbox for limit bytes of messages. Its goroutine runs until
// finish or giveUp.
func newInbox(in *intake, limit int) *inbox {
	q := &inbox{
		intake: in, limit: limit, wake: make(chan struct{}, 1), done: make(chan struct{}),
		reserve: reportReserve{size: limit / reserveShare},
	}
	go q.run()
	return q
}

// put takes a message from the client. While a subscription replaces another one, both
// put their messages here.
func (q *inbox) put(m *nats.Msg) {
	n := len(m.Data) + len(m.Subject) + messageCost
	q.mu.Lock()
	stream := q.subjects.find(m.Subject).Stream
	if q.size <= q.limit {
		q.reserve.giveBack()
	}
	switch {
	case q.size+n > q.limit && !q.reserve.take(stream, n):
		q.lost++
		q.mu.Unlock()
		return
	case stream.Kind == papyra.KindReport:
		q.reports.push(m)
	default:
		q.records.push(m)
	}
	q.size += n
	q.mu.Unlock()
	q.wakeUp()
}

func (q *inbox) wakeUp() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run gives the messages to the intake: the reports first, then some others.
func (q *inbox) run() {
	defer close(q.done)
	batch := make([]*nats.Msg, 0, 2*takenAtOnce)
	for {
		q.mu.Lock()
		batch = q.records.pop(q.reports.pop(batch[:0]))
		q.taken = len(batch)
		ending := q.ending
		q.mu.Unlock()
		if len(batch) == 0 {
			if ending {
				return
			}
			<-q.wake
			continue
		}
		for i, m := range batch {
			if q.gaveUp.Load() {
				return
			}
			q.intake.takeMessage(m)
			q.mu.Lock()
			q.size -= len(m.Data) + len(m.Subject) + messageCost
			q.taken--
			q.mu.Unlock()
			batch[i] = nil
		}
	}
}

// finish lets run end when the intake has seen what waits. Nothing more may be put in.
func (q *inbox) finish() {
	q.mu.Lock()
	q.ending = true
	q.mu.Unlock()
	q.wakeUp()
}

// giveUp lets run end after the message at which it is, and returns how many others
// waited.
func (q *inbox) giveUp() (left int) {
	q.gaveUp.Store(true)
	q.finish()
	<-q.done
	q.mu.Lock()
	defer q.mu.Unlock()
	left = q.records.len() + q.reports.len() + q.taken
	q.records, q.reports, q.taken, q.size = lane{}, lane{}, 0, 0
	return left
}

// pending returns how many messages wait for the intake, and their bytes.
func (q *inbox) pending() (messages, size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.records.len() + q.reports.len() + q.taken, q.size
}

// thrownAway returns how many messages did not fit.
func (q *inbox) thrownAway() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

// lane is a queue of messages.
type lane struct {
	messages []*nats.Msg
	first    int // the oldest one; those before it are gone
}

func (l *lane) len() int { return len(l.messages) - l.first }

func (l *lane) push(m *nats.Msg) {
	if l.first > len(l.messages)/2 && len(l.messages) == cap(l.messages) {
		n := copy(l.messages, l.messages[l.first:])
		clear(l.messages[n:])
		l.messages, l.first = l.messages[:n], 0
	}
	l.messages = append(l.messages, m)
}

// pop moves the oldest messages to batch.
func (l *lane) pop(batch []*nats.Msg) []*nats.Msg {
	n := min(l.len(), takenAtOnce)
	batch = append(batch, l.messages[l.first:l.first+n]...)
	clear(l.messages[l.first : l.first+n])
	if l.first += n; l.first == len(l.messages) {
		l.messages, l.first = l.messages[:0], 0
	}
	return batch
}
