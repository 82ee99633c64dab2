package publisher

import "time"

// What a server has, and what not every group of sinks has answered yet, waits in its
// lane. The lists belong to the lane's mutex: a record call that finds no room takes
// the oldest of what may be given up.
//
//	window ──► waiting ── every group answered ──────────► confirmed
//	             │  ▲
//	             │  └──── sent again ◄─ front of the lane ◄─┐
//	             ▼                                          │ for a group that
//	           packed (only groups that are away            │ answers again, or
//	             │     are missing; small ones are joined) ─┘ as a probe
//	             │
//	             └─ a record needs the place, or Close ──► confirmed, and named as
//	                                                       unheard by who is missing

// place says in which list of its lane a chunk waits.
type place uint8

const (
	placeNone place = iota
	placeWaiting
	placePacked
)

// chunkRing is a list of chunks from which any can be taken, in the order in which
// they were handed over last.
type chunkRing struct {
	head, tail *chunk
	n          int
}

func (r *chunkRing) push(c *chunk) {
	c.next, c.prev = nil, r.tail
	if r.tail == nil {
		r.head = c
	} else {
		r.tail.next = c
	}
	r.tail = c
	r.n++
}

func (r *chunkRing) remove(c *chunk) {
	if c.prev == nil {
		r.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		r.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	r.n--
}

// lookAt is how many chunks of a list a record call looks at when it needs a place.
const lookAt = 16

// rings returns the lists of chunks that wait for answers, the older ones first.
func (l *lane) rings() [2]*chunkRing { return [2]*chunkRing{&l.packed, &l.waiting} }

// eachWaiting calls f with each chunk that waits for answers; f may take it out of its
// list. The caller holds the mutex.
func (l *lane) eachWaiting(f func(c *chunk)) {
	for _, r := range l.rings() {
		for c := r.head; c != nil; {
			next := c.next // f can put c into another list
			f(c)
			c = next
		}
	}
}

// awaitAnswers lets c wait for answers. The caller holds the mutex.
func (l *lane) awaitAnswers(c *chunk) {
	c.place = placeWaiting
	l.waiting.push(c)
}

// leave takes c out of its list. The caller holds the mutex.
func (l *lane) leave(c *chunk) {
	switch c.place {
	case placeWaiting:
		l.waiting.remove(c)
	case placePacked:
		l.packed.remove(c)
	case placeNone:
	}
	c.place = placeNone
}

// confirm counts c as confirmed and forgets it. It is in no list. The caller holds the
// mutex.
func (l *lane) confirm(c *chunk) {
	l.count.confirmed += uint64(c.records)
	l.count.buffered -= uint64(c.records)
	l.mem.returnChunk(c)
}

// giveUp counts c as confirmed, forgets it, and names its records as unheard by the
// groups that are missing. The caller holds the mutex.
func (l *lane) giveUp(c *chunk) {
	l.leave(c)
	l.nameUnheard(c, l.expect.missing(c))
	l.confirm(c)
}

// nameUnheard names the records of c as unheard by groups. The caller holds the mutex.
func (l *lane) nameUnheard(c *chunk, by groupSet) {
	c.named |= by
	by.each(func(i int) { c.eachSeqRange(l.unheardBy[i].addDropRange) })
}

// giveUpOldest gives up a chunk that may be given up, about the oldest one, and reports
// whether there was one. The caller holds the mutex.
func (l *lane) giveUpOldest() bool {
	for _, r := range l.rings() {
		n := 0
		for c := r.head; c != nil && n < lookAt; c = c.next {
			if l.expect.free(c) {
				l.giveUp(c)
				return true
			}
			n++
		}
	}
	if c := l.queue.head; c != nil && c.heard != 0 { // it is to be sent again
		l.giveUp(l.queue.pop())
		return true
	}
	return false
}

// noteHeard notes that group i has answered message n, which is of c if c is still what
// it was. It reports whether that is so, and how long before at the message was handed
// over; that is negative if it was handed over more than once.
func (l *lane) noteHeard(c *chunk, n uint64, i int, at time.Time) (known bool, took time.Duration) {
	l.lock()
	defer l.mu.Unlock()
	if !c.hasMessage(n) {
		return false, 0
	}
	took = -1
	if c.handed == 1 {
		took = at.Sub(c.sent)
	}
	if c.heard.has(i) {
		return true, -1
	}
	if c.messages > 1 {
		if c.parts == nil {
			c.parts = make([]groupSet, c.messages)
		}
		c.parts[n-c.id] |= 1 << i
		for _, p := range c.parts {
			if !p.has(i) {
				return true, took
			}
		}
	}
	c.heard |= 1 << i
	l.confirmedBy[i] += uint64(c.records)
	if c.place != placeNone && l.expect.done(c) {
		l.leave(c)
		l.confirm(c)
	}
	return true, took
}

// keeps reports whether c is the chunk of message n.
func (l *lane) keeps(c *chunk, n uint64) bool {
	l.lock()
	defer l.mu.Unlock()
	return c.hasMessage(n)
}

// lacks reports whether message n of c still waits for group i.
func (l *lane) lacks(c *chunk, n uint64, i int) bool {
	l.lock()
	defer l.mu.Unlock()
	return c.hasMessage(n) && !c.heard.has(i)
}

// setExpectation says for whom the lane waits from now on. What waits for nobody any
// more is confirmed; of groups in gone, which are forgotten, it is named as unheard.
func (l *lane) setExpectation(e expectation, gone groupSet) {
	l.lock()
	defer l.mu.Unlock()
	e.known.each(func(i int) {
		if l.unheardBy[i].ranges == nil {
			l.unheardBy[i] = newDropLog()
		}
	})
	before := l.expect
	l.expect = e
	l.eachWaiting(func(c *chunk) {
		if gone != 0 {
			l.nameUnheard(c, before.missing(c)&gone)
		}
		if e.done(c) {
			l.leave(c)
			l.confirm(c)
		}
	})
}

// giveUpLeft gives up everything that waits only for groups that have left.
func (l *lane) giveUpLeft() {
	l.lock()
	defer l.mu.Unlock()
	if l.expect.probing {
		return
	}
	l.eachWaiting(func(c *chunk) {
		if l.expect.missing(c)&^l.expect.left == 0 {
			l.giveUp(c)
		}
	})
}

// takeDue moves up to n chunks that wait for group i and were handed over before a time
// to the front of the lane, to be sent again. It returns the number of a message of
// each that has one.
func (l *lane) takeDue(i int, before time.Time, n int) (messages []uint64, taken int) {
	l.lock()
	defer l.mu.Unlock()
	var due chunkList
	for _, r := range l.rings() {
		for c := r.head; c != nil && due.n < n; {
			next := c.next
			if !c.sent.Before(before) {
				if r == &l.waiting {
					break // the others are younger
				}
			} else if l.expect.missing(c).has(i) {
				l.leave(c)
				c.unknown = true
				if c.id != 0 {
					messages = append(messages, c.id)
				}
				due.push(c)
			}
			c = next
		}
	}
	taken = due.n
	l.queue.prepend(&due)
	return messages, taken
}

// scarceAge is how old a chunk is at least that is packed because memory is scarce: most
// answers have come by then. What is packed is answered only after it was sent again.
const scarceAge = 50 * time.Millisecond

// packCopies moves what waits only for groups that are away to the packed chunks: what
// another group has, and what is older than answers take. Where memory is scarce it moves
// everything that another group has. Small chunks become one, because each takes the
// memory of a full one. It moves at most a bite in one call, and reports whether there may
// be more.
func (l *lane) packCopies(away groupSet, now time.Time) (more bool) {
	l.lock()
	defer l.mu.Unlock()
	for range bite {
		c := l.waiting.head
		if c == nil {
			return false
		}
		age := now.Sub(c.sent)
		switch {
		case l.expect.missing(c)&^away == 0 && (c.heard != 0 || age > shortestWait):
		case c.heard != 0 && age > scarceAge && l.mem.isScarce():
		default:
			return false
		}
		l.leave(c)
		if t := l.packed.tail; t != nil && l.joins(t, c) {
			t.buf = append(t.buf, c.buf...)
			t.records += c.records
			t.id, t.messages, t.parts = 0, 0, nil // it becomes another message
			l.mem.returnChunk(c)
			continue
		}
		c.place = placePacked
		l.packed.push(c)
	}
	return true
}

// joins reports whether c can be joined to t: the same groups have both, there is room,
// and the numbers go on.
func (l *lane) joins(t, c *chunk) bool {
	n := len(t.buf) + len(c.buf)
	return t.heard == c.heard && t.named == c.named && n <= cap(t.buf) && n <= l.limit && len(t.buf) > 0 && len(c.buf) > 0 &&
		t.lastSeq() < c.firstSeq()
}

// unsent reports whether there is anything to hand over, and whether a full chunk is.
func (l *lane) unsent() (some, full bool) {
	l.lock()
	defer l.mu.Unlock()
	return l.queue.n > 0 || l.open != nil && len(l.open.buf) > 0, l.queue.n > 0
}

// unsentRecords returns how many records wait to be handed over, or handed over again.
func (l *lane) unsentRecords() (n int) {
	l.lock()
	defer l.mu.Unlock()
	for c := l.queue.head; c != nil; c = c.next {
		n += c.records
	}
	if l.open != nil {
		n += l.open.records
	}
	return n
}

// awaits reports whether anything waits for answers.
func (l *lane) awaits() bool {
	l.lock()
	defer l.mu.Unlock()
	return l.waiting.n+l.packed.n > 0
}
