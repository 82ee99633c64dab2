package publisher

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"github.com/papyra/papyra"
)

// lane is the buffer of one category. Its mutex is held for the copy of one
// encoded record and for bookkeeping. It is never held during encoding, I/O or
// anything else that can wait: that bounds what a record call waits for.
type lane struct {
	kind    papyra.Kind
	subject string

	mu     sync.Mutex
	closed bool // record calls get no more numbers
	limit  int  // bytes of a message; a longer record has a message of its own
	mem    laneMemory
	open   *chunk    // record calls fill it; nil if there is none, and empty only for a moment
	queue  chunkList // chunks that are full or that a window gave back
	count  laneCounts
	drops  [dropReasons]dropLog
	hold   laneHold

	// What waits for the answers of sinks; see waiting.go.
	waiting     chunkRing // by the time of handing over
	packed      chunkRing // the same, of which only groups that are away are missing
	expect      expectation
	confirmedBy [maxGroups]uint64  // records that each group has answered for
	unheardBy   [maxGroups]dropLog // records that were given up without its answer
}

// laneCounts are the numbers of one lane. Whenever the lane's mutex is free:
// accepted = confirmed + unconfirmed + buffered + the drops.
type laneCounts struct {
	accepted, confirmed, unconfirmed, buffered uint64
	resent, unheard, denied, refused           uint64
	sanitized, replaced                        uint64
}

// laneHold says why a lane waits although there is a connection.
type laneHold struct {
	reason HoldReason
	tries  int // number of holds for this reason in a row
	until  time.Time
}

func newLane(kind papyra.Kind, system string, bound int) *lane {
	l := &lane{
		kind:    kind,
		subject: papyra.RecordsSubject(system, kind),
		limit:   chunkSize,
		mem:     newLaneMemory(bound),
	}
	for i := range l.drops {
		l.drops[i] = newDropLog()
	}
	return l
}

// spins is how often lock tries a mutex before it waits for it: for longer than a
// copy takes, and well below a microsecond in all.
const spins = 200

// lock takes the mutex. Its holder is done within the time of a copy, unless the
// system has taken its processor away, so a few tries nearly always find it free.
// sync.Mutex does not try when other goroutines wait for this processor: it parks
// at once. Then the caller pays tens of microseconds for being woken, and the
// holder pays for waking it.
func (l *lane) lock() {
	for range spins {
		if l.mu.TryLock() {
			return
		}
	}
	l.mu.Lock()
}

// admission is what a record call learns from its lane.
type admission struct {
	numbered    bool // the record has a number: the lane was open
	wantsMemory bool // the feeder should make chunks
}

// admit gives the encoder's record a number and copies it into the open chunk,
// or counts why it could not. err is what the encoder returned; replaced is 1 if the
// record's payload was replaced, otherwise 0.
func (l *lane) admit(enc *papyra.Encoder, err error, replaced uint64) admission {
	l.lock()
	if err == nil {
		l.provideChunk(enc)
	}
	if l.closed {
		l.count.refused++
		l.mu.Unlock()
		return admission{}
	}
	if l.addRecord(enc, err) {
		l.count.replaced += replaced
	}
	a := admission{numbered: true, wantsMemory: l.mem.wantedChunks() > 0}
	l.mu.Unlock()
	return a
}

// recordOwn is admit for the background's own reports, which are taken also
// after closeIntake. It reports whether the record is in the buffer.
func (l *lane) recordOwn(enc *papyra.Encoder, err error) bool {
	l.lock()
	defer l.mu.Unlock()
	return l.addRecord(enc, err)
}

// provideChunk makes a chunk for the encoder's record if no free one has room for
// it and the bound allows another. The caller holds the mutex. provideChunk lets
// go of it while memory is made, because that can take long: the garbage
// collector may let the caller work for it.
func (l *lane) provideChunk(enc *papyra.Encoder) {
	for !l.closed {
		n := max(enc.Len(l.count.accepted+1), chunkSize)
		if l.fitsOpen(enc.Len(l.count.accepted+1)) || !l.mem.needsNew(n) {
			return
		}
		l.mu.Unlock()
		c := newChunk(sizeClass(n))
		l.lock()
		l.mem.offerChunk(c)
	}
}

// addRecord is admit without its checks. The caller holds the mutex. addRecord
// reports whether the record is in the buffer. It takes the number first, before
// anything can drop the record, so that a gap in the numbers is evidence of a
// loss.
func (l *lane) addRecord(enc *papyra.Encoder, err error) bool {
	l.count.accepted++
	seq := l.count.accepted
	if err != nil {
		reason := dropEncode
		if errors.Is(err, papyra.ErrTooLarge) {
			reason = dropTooLarge
		}
		l.drops[reason].addDrop(seq)
		return false
	}
	n := enc.Len(seq)
	if !l.makeOpenFit(n) {
		l.drops[dropQueueFull].addDrop(seq)
		return false
	}
	l.open.buf = enc.AppendLine(l.open.buf, seq)
	l.open.records++
	l.count.buffered++
	l.count.sanitized += uint64(enc.Sanitized())
	return true
}

// fitsOpen reports whether the open chunk takes n more bytes.
func (l *lane) fitsOpen(n int) bool {
	c := l.open
	if c == nil {
		return false
	}
	used := len(c.buf)
	return used+n <= cap(c.buf) && (used == 0 || used+n <= l.limit)
}

// makeOpenFit opens another chunk if the open one does not take n more bytes. It
// reports false if the bound does not allow one; the open chunk then stays,
// because a smaller record may still fit.
func (l *lane) makeOpenFit(n int) bool {
	if l.fitsOpen(n) {
		return true
	}
	c := l.mem.takeChunk(max(n, chunkSize))
	for c == nil {
		if sizeClass(n) >= chunkClasses || classSize(sizeClass(n)) > l.mem.bound || !l.giveUpOldest() {
			return false
		}
		c = l.mem.takeChunk(max(n, chunkSize))
	}
	if old := l.open; old != nil {
		if len(old.buf) > 0 {
			l.queue.push(old)
		} else {
			l.mem.returnChunk(old)
		}
	}
	l.open = c
	return true
}

// closeIntake ends the intake: later record calls are refused.
func (l *lane) closeIntake() {
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

// takeChunks moves chunks for a window from the front of the lane to the end of
// dst, and returns their bytes. It stops when it has taken so many bytes or
// chunks, but it takes at least one chunk if there is any.
func (l *lane) takeChunks(dst *chunkList, bytes, chunks int) (taken int) {
	l.lock()
	defer l.mu.Unlock()
	for dst.n == 0 || chunks > 0 && bytes > 0 {
		c := l.queue.pop()
		if c != nil && c.heard != 0 && l.expect.done(c) { // the answers came meanwhile
			l.confirm(c)
			continue
		}
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
			l.letCallersIn()
		}
	}
	return taken
}

// buffered returns how many records are buffered.
func (l *lane) buffered() uint64 {
	l.lock()
	defer l.mu.Unlock()
	return l.count.buffered
}

// accepted returns the highest number taken.
func (l *lane) accepted() uint64 {
	l.lock()
	defer l.mu.Unlock()
	return l.count.accepted
}

// dropLongLines removes from c every line that is longer than limit, and counts
// it as too large. The background holds c.
func (l *lane) dropLongLines(c *chunk, limit int) {
	if len(c.buf) <= limit {
		return
	}
	kept := c.buf[:0]
	for line := range bytes.Lines(c.buf) {
		if len(line) <= limit {
			kept = append(kept, line...) // overwrites only what was read before
			continue
		}
		l.lock()
		l.drops[dropTooLarge].addDrop(seqOf(line))
		l.count.buffered--
		l.mu.Unlock()
		c.records--
	}
	c.buf = kept
}

// applyResult counts what a window did for this lane. Chunks that a server has wait
// for the answers of sinks, or are forgotten where no answer is waited for; the others
// go back to the front of the lane, in their order. It empties both lists of w.
func (l *lane) applyResult(w *windowResult) {
	l.lock()
	defer l.mu.Unlock()
	l.count.resent += w.resent
	l.count.unheard += w.unheard
	l.count.denied += w.denied
	for n := 1; w.delivered.n > 0; n++ {
		c := w.delivered.pop()
		if l.expect.done(c) {
			l.confirm(c)
		} else {
			l.awaitAnswers(c)
		}
		if n%bite == 0 {
			l.letCallersIn()
		}
	}
	l.queue.prepend(&w.returned)
}

// bite is how many chunks the background handles before it lets callers in.
const bite = 16

// letCallersIn lets go of the mutex for a moment.
func (l *lane) letCallersIn() {
	l.mu.Unlock()
	l.lock()
}

// abandon empties the lane at the end, after closeIntake. Records that some group of
// sinks has count as confirmed, and as unheard by the others. Records that a server may
// have become unconfirmed; the others are dropped as closed. It returns both numbers.
// It goes through the chunks without the mutex, because record calls after Close still
// take it to be refused.
func (l *lane) abandon() (closed, unconfirmed uint64) {
	l.lock()
	left := l.queue
	if l.open != nil {
		left.push(l.open)
	}
	l.queue, l.open = chunkList{}, nil
	l.eachWaiting(func(c *chunk) {
		if l.expect.free(c) {
			l.giveUp(c)
			return
		}
		l.leave(c)
		c.unknown = true
		left.push(c)
	})
	l.mu.Unlock()

	drops := newDropLog()
	for c := left.pop(); c != nil; c = left.pop() {
		if c.heard != 0 {
			l.lock()
			l.giveUp(c)
			l.mu.Unlock()
			continue
		}
		if c.unknown {
			unconfirmed += uint64(c.records)
			continue
		}
		c.eachSeqRange(drops.addDropRange)
	}

	l.lock()
	defer l.mu.Unlock()
	l.drops[dropClosed] = drops
	l.count.buffered -= drops.n + unconfirmed
	l.count.unconfirmed += unconfirmed
	l.mem = laneMemory{}
	return drops.n, unconfirmed
}

// refillMemory makes the chunks that the lane wants, and reports whether it
// wanted any. It runs in the background. It touches every page of the memory, so
// that no caller waits for the kernel.
func (l *lane) refillMemory() bool {
	l.lock()
	want := l.mem.wantedChunks()
	l.mu.Unlock()
	for range want {
		c := newChunk(0)
		for page := 0; page < chunkSize; page += 4096 {
			c.buf[:chunkSize][page] = 0
		}
		l.lock()
		l.mem.offerChunk(c)
		l.mu.Unlock()
	}
	return want > 0
}

// trimMemory gives back memory that was not needed lately.
func (l *lane) trimMemory() {
	l.lock()
	defer l.mu.Unlock()
	for n := l.mem.surplusChunks(); l.mem.trimFree(&n, bite); {
		l.letCallersIn()
	}
}

// currentHold returns why the lane waits, and until when.
func (l *lane) currentHold() laneHold {
	l.lock()
	defer l.mu.Unlock()
	return l.hold
}

// startHold makes the lane wait for reason, longer each time in a row.
func (l *lane) startHold(reason HoldReason, now time.Time, longest time.Duration) {
	l.lock()
	defer l.mu.Unlock()
	if l.hold.reason != reason {
		l.hold.tries = 0
	}
	l.hold = laneHold{
		reason: reason,
		tries:  l.hold.tries + 1,
		until:  now.Add(backoff(l.hold.tries, 100*time.Millisecond, longest)),
	}
}

// retryHoldNow ends the waiting but not the reason: the next window takes one
// chunk of this lane, to try.
func (l *lane) retryHoldNow() {
	l.lock()
	l.hold.until = time.Time{}
	l.mu.Unlock()
}

// endHold says that the lane has no reason to wait any more.
func (l *lane) endHold() {
	l.lock()
	l.hold = laneHold{}
	l.mu.Unlock()
}
