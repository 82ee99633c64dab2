package publisher

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"github.com/papyra/papyra"
)

// lane is the buffer of one category. Its mutex is held for the copy of one
// encoded record and for bookkeeping, never during encoding, I/O or anything
// else that can wait: that bounds what a caller waits for.
type lane struct {
	kind    papyra.Kind
	subject string

	mu     sync.Mutex
	closed bool // no more numbers
	limit  int  // bytes of a message; a longer record has a message of its own
	mem    memory
	open   *chunk    // being filled; nil or not empty, or just emptied
	queue  chunkList // full, or given back by the background
	count  counts
	drops  [dropReasons]dropLog
	hold   hold
}

// counts are the numbers of one lane. In each moment in which the lane's mutex
// is free: accepted = confirmed + unconfirmed + buffered + the drops.
type counts struct {
	accepted, confirmed, unconfirmed, buffered uint64
	resent, unheard, denied, refused           uint64
	sanitized                                  uint64
}

// hold says why a lane waits although there is a connection.
type hold struct {
	reason HoldReason
	tries  int
	until  time.Time
}

func newLane(kind papyra.Kind, system string, bound int) *lane {
	l := &lane{
		kind:    kind,
		subject: papyra.RecordsSubject(system, kind),
		limit:   chunkSize,
		mem:     newMemory(bound),
	}
	for i := range l.drops {
		l.drops[i] = newDropLog()
	}
	return l
}

// spins is how often a lane looks whether its mutex is free before it waits for
// it: for longer than a copy takes, and well below a microsecond in all.
const spins = 200

// lock takes the mutex. Who holds it is done within the time of a copy, unless the
// system has taken its processor away, so a few looks nearly always find it
// free. sync.Mutex alone does not look when other goroutines wait for this
// processor, but parks at once: the caller then pays for being woken, tens of
// microseconds, and whoever unlocks for waking it.
func (l *lane) lock() {
	for range spins {
		if l.mu.TryLock() {
			return
		}
	}
	l.mu.Lock()
}

// outcome is what the caller's side learns from record.
type outcome struct {
	taken  bool // has a number
	hungry bool // the background should make chunks
}

// record gives the encoder's record a number and copies it into the open chunk,
// or counts why not. err is what encoding returned.
func (l *lane) record(enc *papyra.Encoder, err error) outcome {
	l.lock()
	if err == nil {
		l.provide(enc)
	}
	if l.closed {
		l.count.refused++
		l.mu.Unlock()
		return outcome{}
	}
	l.add(enc, err)
	o := outcome{taken: true, hungry: l.mem.wanted() > 0}
	l.mu.Unlock()
	return o
}

// provide makes a chunk for the encoder's record if there is none and the bound
// allows one. The mutex is held, but not while memory is made: that can take
// long, when the garbage collector lets the caller work for it.
func (l *lane) provide(enc *papyra.Encoder) {
	for !l.closed {
		n := max(enc.Len(l.count.accepted+1), chunkSize)
		if l.fits(enc.Len(l.count.accepted+1)) || !l.mem.lacks(n) {
			return
		}
		l.mu.Unlock()
		c := newChunk(class(n))
		l.lock()
		l.mem.give(c)
	}
}

// add is record without its checks; the mutex is held. It reports whether the
// record is in the buffer. The number is taken first, before anything can drop
// the record, so that a gap is evidence.
func (l *lane) add(enc *papyra.Encoder, err error) bool {
	l.count.accepted++
	seq := l.count.accepted
	if err != nil {
		reason := dropEncode
		if errors.Is(err, papyra.ErrTooLarge) {
			reason = dropTooLarge
		}
		l.drops[reason].add(seq)
		return false
	}
	n := enc.Len(seq)
	if !l.roomFor(n) {
		l.drops[dropQueueFull].add(seq)
		return false
	}
	l.open.buf = enc.AppendLine(l.open.buf, seq)
	l.open.records++
	l.count.buffered++
	l.count.sanitized += uint64(enc.Sanitized())
	return true
}

// fits reports whether the open chunk takes n more bytes.
func (l *lane) fits(n int) bool {
	c := l.open
	if c == nil {
		return false
	}
	used := len(c.buf)
	return used+n <= cap(c.buf) && (used == 0 || used+n <= l.limit)
}

// roomFor makes the open chunk one that takes n more bytes. When the memory is
// used up the open chunk stays, since a smaller record may still fit.
func (l *lane) roomFor(n int) bool {
	if l.fits(n) {
		return true
	}
	c := l.mem.get(max(n, chunkSize))
	if c == nil {
		return false
	}
	if old := l.open; old != nil {
		if len(old.buf) > 0 {
			l.queue.push(old)
		} else {
			l.mem.put(old)
		}
	}
	l.open = c
	return true
}

// close ends the intake: later records are refused.
func (l *lane) close() {
	l.lock()
	l.closed = true
	l.mu.Unlock()
}

// setLimit bounds the messages that are formed from now on.
func (l *lane) setLimit(n int) {
	l.lock()
	l.limit = n
	l.mu.Unlock()
}

// take moves chunks for a window from the front of the lane to the end of dst:
// at most so many bytes and chunks, but at least one chunk if there is any.
func (l *lane) take(dst *chunkList, bytes, chunks int) (taken int) {
	l.lock()
	defer l.mu.Unlock()
	for dst.n == 0 || chunks > 0 && bytes > 0 {
		c := l.queue.pop()
		if c == nil {
			if c = l.open; c == nil || len(c.buf) == 0 {
				return taken
			}
			l.open = nil
		}
		bytes -= len(c.buf)
		chunks--
		taken += len(c.buf)
		dst.push(c)
		if dst.n%bite == 0 {
			l.yield()
		}
	}
	return taken
}

// waiting returns how many records are buffered and whether at least one full
// chunk is among them.
func (l *lane) waiting() (records uint64, full bool) {
	l.lock()
	defer l.mu.Unlock()
	return l.count.buffered, l.queue.n > 0
}

// accepted returns the highest number taken.
func (l *lane) accepted() uint64 {
	l.lock()
	defer l.mu.Unlock()
	return l.count.accepted
}

// fit removes from c, which the background holds, every line that is longer
// than limit, and counts it as too large.
func (l *lane) fit(c *chunk, limit int) {
	if len(c.buf) <= limit {
		return
	}
	kept := c.buf[:0]
	for line := range bytes.Lines(c.buf) {
		if len(line) <= limit {
			kept = append(kept, line...) // moves to the front what is behind it
			continue
		}
		l.lock()
		l.drops[dropTooLarge].add(seqOf(line))
		l.count.buffered--
		l.mu.Unlock()
		c.records--
	}
	c.buf = kept
}

// settled is the end of a window for one lane.
type settled struct {
	resent  uint64 // records handed over once more
	unheard uint64 // records that nobody listened for
	denied  uint64 // records whose publish the server refused
	done    chunkList
	back    chunkList
}

// settle counts a window: done chunks are confirmed and forgotten, the others
// go back to the front in their order.
func (l *lane) settle(w *settled) {
	l.lock()
	defer l.mu.Unlock()
	l.count.resent += w.resent
	l.count.unheard += w.unheard
	l.count.denied += w.denied
	for n := 1; w.done.n > 0; n++ {
		c := w.done.pop()
		l.count.confirmed += uint64(c.records)
		l.count.buffered -= uint64(c.records)
		l.mem.put(c)
		if n%bite == 0 {
			l.yield()
		}
	}
	l.queue.prepend(&w.back)
}

// bite is how many chunks the background handles before it lets callers in.
const bite = 16

// yield lets go of the mutex for a moment.
func (l *lane) yield() {
	l.mu.Unlock()
	l.lock()
}

// abandon empties the lane at the end, after close: what may have reached a
// server is unconfirmed, the rest dropped as closed. It returns both numbers.
// The chunks are gone through without the mutex, because callers who record
// after Close still take it to be refused.
func (l *lane) abandon() (closed, unconfirmed uint64) {
	l.lock()
	left := l.queue
	if l.open != nil {
		left.push(l.open)
	}
	l.queue, l.open = chunkList{}, nil
	l.mu.Unlock()

	drops := newDropLog()
	for c := left.pop(); c != nil; c = left.pop() {
		if c.unknown {
			unconfirmed += uint64(c.records)
			continue
		}
		c.eachRange(drops.addRange)
	}

	l.lock()
	defer l.mu.Unlock()
	l.drops[dropClosed] = drops
	l.count.buffered -= drops.n + unconfirmed
	l.count.unconfirmed += unconfirmed
	l.mem = memory{}
	return drops.n, unconfirmed
}

// refill makes the chunks that the lane wants, and reports whether it wanted
// any. It runs in the background; the memory is touched here, so that a caller
// does not wait for the kernel.
func (l *lane) refill() bool {
	l.lock()
	want := l.mem.wanted()
	l.mu.Unlock()
	for range want {
		c := newChunk(0)
		for page := 0; page < chunkSize; page += 4096 {
			c.buf[:chunkSize][page] = 0
		}
		l.lock()
		l.mem.give(c)
		l.mu.Unlock()
	}
	return want > 0
}

// trim gives memory back that was not needed lately.
func (l *lane) trim() {
	l.lock()
	defer l.mu.Unlock()
	for n := l.mem.surplus(); l.mem.trim(&n, bite); {
		l.yield()
	}
}

// held returns why the lane waits, and until when.
func (l *lane) held() hold {
	l.lock()
	defer l.mu.Unlock()
	return l.hold
}

// keep makes the lane wait for reason, longer each time in a row.
func (l *lane) keep(reason HoldReason, now time.Time, longest time.Duration) {
	l.lock()
	defer l.mu.Unlock()
	if l.hold.reason != reason {
		l.hold.tries = 0
	}
	l.hold = hold{
		reason: reason,
		tries:  l.hold.tries + 1,
		until:  now.Add(backoff(l.hold.tries, 100*time.Millisecond, longest)),
	}
}

// retryNow ends the waiting but not the reason: the next window is one chunk.
func (l *lane) retryNow() {
	l.lock()
	l.hold.until = time.Time{}
	l.mu.Unlock()
}

// release says that the lane has no reason to wait any more.
func (l *lane) release() {
	l.lock()
	l.hold = hold{}
	l.mu.Unlock()
}

// addOwn is add for the background's own reports, which go on after close.
func (l *lane) addOwn(enc *papyra.Encoder, err error) bool {
	l.lock()
	defer l.mu.Unlock()
	return l.add(enc, err)
}
