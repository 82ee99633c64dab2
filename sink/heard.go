package sink

import (
	"slices"
	"time"

	"github.com/papyra/papyra"
)

// answerWithin is the longest that a publisher waits for the store: then it is
// answered when its records are in the buffer.
const answerWithin = 250 * time.Millisecond

const (
	// maxSettled bounds the messages whose answers wait to be sent. Those beyond it
	// get none: their publishers send them again.
	maxSettled = 256 << 10
	// spareLists bounds the lists whose memory waits to be used again.
	spareLists = 4
)

// heardFrom is a message whose publisher waits for an answer.
type heardFrom struct {
	reply  string // the subject of the answer; "" for a message without one
	run    int    // how long reply is without the number; 0 where it shows no run
	n      uint64 // the number of the message
	system string
	placed time.Duration // when it was put into the buffer, by the buffer's clock

	first, last int // its lines in its block
}

// A message goes this way; it is answered when it leaves the last two:
//
//	placed ──► block ──── stored ─────────────────► settled
//	             │   └─── refused ──► block aside ──►  ▲
//	             │                     │               │ answerWithin is over
//	             ▼                     └───────────────┘
//	          a line is dropped: no answer

// settled are the messages that are to be answered. It has no lock: the buffer that
// owns it has one.
type settled struct {
	began  time.Time     // of its clock
	within time.Duration // answerWithin
	stored [][]heardFrom
	early  []heardFrom // these wait for the store
	n      int         // in both
	spare  [][]heardFrom
	timed  bool // somebody looks after answerWithin
	wake   chan struct{}
}

func newSettled() settled {
	return settled{began: time.Now(), within: answerWithin, wake: make(chan struct{}, 1)}
}

// wakeUp wakes whoever sends the answers. It needs no lock.
func (s *settled) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// await lets a message, the last lines of a block from first on, be answered when
// they are stored. It reports whether somebody must be woken who looks at the time.
func (s *settled) await(in *block, first int, from heardFrom) (wake bool) {
	from.first, from.last = first, in.batch.Len()-1
	from.placed = time.Since(s.began)
	in.heard = append(in.heard, from)
	wake = !s.timed
	s.timed = true
	return wake
}

// add lets a message be answered now.
func (s *settled) add(from heardFrom) {
	if s.n >= maxSettled {
		return
	}
	if len(s.stored) == 0 {
		s.stored = append(s.stored, s.list())
	}
	last := len(s.stored) - 1
	s.stored[last] = append(s.stored[last], from)
	s.n++
}

// list returns an empty list.
func (s *settled) list() (list []heardFrom) {
	if last := len(s.spare) - 1; last >= 0 {
		list, s.spare = s.spare[last], s.spare[:last]
	}
	return list
}

// settle lets those messages of a block be answered whose lines are all gone, because
// the store took them, and tells the others where their lines are now.
func (s *settled) settle(b *block, gone linesGone) (wake bool) {
	switch {
	case len(b.heard) == 0:
		return false
	case b.batch.Len() == 0:
		// The list goes as it is: there may be tens of thousands.
		if s.n < maxSettled {
			s.n += len(b.heard)
			s.stored = append(s.stored, b.heard)
			b.heard = s.list()
		}
		b.forgetHeard()
		return true
	}
	kept := b.heard[:0]
	for _, from := range b.heard {
		last := gone.lineAt(from.last)
		if last < 0 {
			s.add(from)
			wake = true
			continue
		}
		for gone.lineAt(from.first) < 0 {
			from.first++
		}
		from.first, from.last = gone.lineAt(from.first), last
		kept = append(kept, from)
	}
	clear(b.heard[len(kept):])
	b.heard = kept
	return wake
}

// takeEarly takes the messages of a block that were placed before a time, and returns
// when the oldest of the others was.
func (s *settled) takeEarly(b *block, before time.Duration) (oldest time.Duration, ok bool) {
	n := 0
	for n < len(b.heard) && b.heard[n].placed <= before {
		n++
	}
	if n > 0 {
		s.early = append(s.early, b.heard[:n]...)
		b.heard = slices.Delete(b.heard, 0, n)
	}
	if len(b.heard) == 0 {
		return 0, false
	}
	return b.heard[0].placed, true
}

// forgetHeard forgets the messages of a block: they are not answered.
func (b *block) forgetHeard() {
	clear(b.heard)
	b.heard = b.heard[:0]
}

// linesGone says where the lines of a block are after some of them were removed.
type linesGone struct {
	first int   // the first so many are gone, and no others
	moved []int // unless this says where each line is now, -1 where it is gone
}

// lineAt returns where the i-th line is now, or a negative number.
func (g linesGone) lineAt(i int) int {
	if g.moved != nil {
		return g.moved[i]
	}
	return i - g.first
}

// findGone returns which lines a store took that refused the rest of some streams.
func (b *block) findGone(refused *papyra.RefusedError) linesGone {
	stored := map[papyra.Stream]int{}
	for i := range refused.Streams {
		stored[refused.Streams[i].Stream] = refused.Streams[i].Stored
	}
	gone, left := linesGone{moved: make([]int, b.batch.Len())}, 0
	for i := range gone.moved {
		_, stream := b.batch.Line(i)
		if n, is := stored[stream]; !is || n > 0 {
			stored[stream] = n - 1
			if !is {
				delete(stored, stream)
			}
			gone.moved[i] = -1
			continue
		}
		gone.moved[i] = left
		left++
	}
	return gone
}

// heardMove lets the messages of a block go where their lines go.
type heardMove struct {
	from    []heardFrom // those whose last line is not moved yet
	line    int         // the next one
	dropped bool        // a line of the first of from was dropped
}

// moveLine says that the next line is now the last one of block to, or nil if it is
// dropped.
func (m *heardMove) moveLine(to *block) {
	line := m.line
	m.line++
	if len(m.from) == 0 || line < m.from[0].first {
		return
	}
	m.dropped = m.dropped || to == nil
	if line < m.from[0].last {
		return
	}
	if !m.dropped {
		from := m.from[0]
		// The lines before the last one are next to it, or in the block before.
		from.last = to.batch.Len() - 1
		from.first = max(from.last-(line-from.first), 0)
		to.heard = append(to.heard, from)
	}
	m.from, m.dropped = m.from[1:], false
}

// takeHeard returns the messages that are to be answered: those whose lines are
// stored, each list for itself, and with early those that wait for longer than
// answerWithin, which stay in the buffer. next is how long it is until one will wait so
// long, 0 when none waits.
func (b *buffer) takeHeard(early bool) (stored [][]heardFrom, waiting []heardFrom, next time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &b.heard
	if early {
		next = b.takeEarly()
	}
	stored, waiting = s.stored, s.early
	s.stored, s.early, s.n = nil, nil, 0
	return stored, waiting, next
}

// takeEarly lets the messages be answered that wait for longer than answerWithin. The
// caller holds the lock.
func (b *buffer) takeEarly() (next time.Duration) {
	now := time.Since(b.heard.began)
	oldest, some := now, false
	look := func(blocks ...*block) {
		for _, bl := range blocks {
			if placed, ok := b.heard.takeEarly(bl, now-b.heard.within); ok {
				oldest, some = min(oldest, placed), true
			}
		}
	}
	if b.out != nil {
		look(b.out)
	}
	look(b.waiting.blocks...)
	for _, as := range b.aside.order {
		look(as.blocks...)
	}
	b.heard.timed = some
	if !some {
		return 0
	}
	return max(oldest+b.heard.within-now, 1)
}

// reuseHeard takes lists back that takeHeard returned.
func (b *buffer) reuseHeard(lists [][]heardFrom) {
	for _, list := range lists {
		clear(list)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, list := range lists {
		if len(b.heard.spare) < spareLists {
			b.heard.spare = append(b.heard.spare, list[:0])
		}
	}
}
