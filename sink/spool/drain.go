package spool

import (
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/papyra/papyra"
)

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
	// lastRefused is the longest time between two tries of refused streams, and
	// refusedRest how many times as long as a try took they are left alone: a part of
	// the store that does not answer must not take the time of the others.
	lastRefused = time.Minute
	refusedRest = 4

	// handOverBytes is how little must wait for Append to be held up while the last of
	// it is stored. Otherwise there would always be something new.
	handOverBytes = 1 << 20
)

// drain stores what waits until ctx ends.
//
//	what waits                        what it does
//	segments of an earlier start      looks what is in each, once
//	reports or records                stores the oldest segment of the first queue that
//	                                  has one; when little is left it holds Append up
//	                                  until nothing is, and then the store is direct
//	only refused segments             tries their streams again, less often each time
//	nothing                           waits
//
// After an error of a store that is down it waits: up to 50 ms, then longer, up to 5 s.
func (s *Spool) drain(ctx context.Context) {
	defer close(s.done)
	s.examine(ctx)
	var backoff, refusedBackoff time.Duration
	var refusedAt time.Time
	for ctx.Err() == nil {
		var pause time.Duration // 0: until woken
		switch main, blocked := s.whatWaits(); {
		case main:
			if err := s.drainNext(ctx); err != nil && ctx.Err() == nil {
				backoff = min(max(2*backoff, firstRetry), lastRetry)
				s.noteFailed(err)
				pause = backoff/2 + rand.N(backoff/2+1)
				break
			}
			backoff = 0
			continue
		case !blocked:
			refusedBackoff, refusedAt = 0, time.Time{}
		case time.Now().Before(refusedAt):
			pause = time.Until(refusedAt)
		default:
			began := time.Now()
			failing, err := s.retryRefused(ctx)
			if err != nil && ctx.Err() == nil {
				s.noteRetryFailed(err)
			} else if !failing {
				refusedBackoff = 0
				continue
			}
			refusedBackoff = min(max(2*refusedBackoff, firstRetry), lastRetry)
			wait := min(max(refusedBackoff, refusedRest*time.Since(began)), lastRefused)
			refusedAt = time.Now().Add(wait/2 + rand.N(wait/2+1))
			continue
		}
		if pause == 0 {
			pause = time.Hour
		}
		s.sleep(ctx, pause, backoff == 0)
	}
}

// sleep waits for a time. With early it ends when there is something to do.
func (s *Spool) sleep(ctx context.Context, pause time.Duration, early bool) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	wake := s.wake
	if !early {
		wake = nil
	}
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// whatWaits reports whether the drain has anything to do before the store is direct,
// and whether streams are refused.
func (s *Spool) whatWaits() (main, blocked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.direct && s.lost == nil, len(s.queues[refusedReports])+len(s.queues[refusedRecords]) > 0 && s.lost == nil
}

// noteFailed notes that the store, or a segment, could not be used.
func (s *Spool) noteFailed(err error) {
	if errors.As(err, &segmentError{}) {
		if n, ok := s.logs.Allow("segment"); ok {
			s.log.Error("a segment of the spool cannot be drained now: trying again", "error", err, "suppressed", n)
		}
		return
	}
	if !isLost(err) {
		s.noteDown(err)
		return
	}
	s.mu.Lock()
	s.lost, s.direct = err, false
	s.mu.Unlock()
	s.log.Error("the store is lost", "error", err)
}

// noteRetryFailed notes that the store failed as a whole when the refused streams were
// tried. Whether it is down the next Append finds out.
func (s *Spool) noteRetryFailed(err error) {
	if isLost(err) || errors.As(err, &segmentError{}) {
		s.noteFailed(err)
		return
	}
	s.config.Failed(err)
}

// examine looks into the segments of an earlier start.
func (s *Spool) examine(ctx context.Context) {
	s.mu.Lock()
	var found []*segment
	for q := range s.queues {
		for _, seg := range s.queues[q] {
			if !seg.examined {
				found = append(found, seg)
			}
		}
	}
	s.mu.Unlock()
	for _, seg := range found {
		s.heal(ctx, seg)
		if _, err := s.load(ctx, seg); ctx.Err() != nil {
			return
		} else if err != nil {
			s.log.Error("a segment of the spool cannot be opened", "file", seg.path, "error", err)
		}
		if seg.damaged {
			s.reportDamage(ctx, seg)
		}
	}
	s.mu.Lock()
	s.examined = true
	n := s.waitingLocked()
	s.mu.Unlock()
	if len(found) > 0 {
		s.log.Info("looked into the segments of the spool", "segments", len(found), "records", n)
	}
}

// heal ends the last line of a segment, as the store's own files are healed. Where that
// fails the segment can be read all the same.
func (s *Spool) heal(ctx context.Context, seg *segment) {
	store, err := s.store(seg.path)
	if err != nil {
		return
	}
	defer func() { _ = store.Close() }() // it was read only, or its appender is closed
	a, err := store.Appender(ctx)
	if err != nil {
		return
	}
	healed := a.Stats().Healed
	if err := a.Close(); err != nil {
		s.log.Warn("a segment of the spool could not be synced", "file", seg.path, "error", err)
	}
	if healed > 0 {
		s.mu.Lock()
		seg.size++
		s.bytes[seg.of]++
		s.mu.Unlock()
		s.log.Warn("a segment of the spool ended without a newline: it got one", "file", seg.path)
	}
}

// maxReported bounds the places that a CorruptionDetected names.
const maxReported = 16

// reportDamage says what is damaged in a segment.
func (s *Spool) reportDamage(ctx context.Context, seg *segment) {
	store, err := s.store(seg.path)
	if err != nil {
		return
	}
	defer func() { _ = store.Close() }() // it was read only, or its appender is closed
	r, err := store.Scan(ctx, papyra.ScanOptions{MaxListed: maxReported})
	if err != nil || r.Clean() {
		return
	}
	s.log.Error("a segment of the spool is damaged: what can be read of it is stored, and the file is set aside", "file", seg.path,
		"class", r.Anomalies[0].Class, "offset", r.Anomalies[0].Offset, "anomalies", r.Damaged())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damage = append(s.damage, papyra.CorruptionDetected{Counts: r.AnomalyCounts, First: r.Anomalies})
}

// drainNext stores the oldest segment of what waits, or makes the store direct.
func (s *Spool) drainNext(ctx context.Context) error {
	if err := s.openStore(ctx); err != nil {
		return err
	}
	// What the store took before it failed.
	if err := s.syncStore(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	little := s.down == nil && s.bytes[reports]+s.bytes[records] <= handOverBytes
	seg := s.nextLocked()
	s.mu.Unlock()
	if little || seg == nil {
		return s.handOver(ctx)
	}
	s.turn.Lock()
	s.sealIfOpen(seg)
	s.turn.Unlock()
	if err := s.drainSegment(ctx, seg, false); err != nil {
		s.reportsUpTo = math.MaxUint64
		return err
	}
	if seg.of != reports {
		s.turn.Lock()
		s.reportsUpTo = s.number
		s.turn.Unlock()
	}
	s.noteWorks()
	return nil
}

// nextLocked returns the segment that is drained next, nil for none: the oldest of the
// reports, then that of the records. Reports that come all the time must not keep
// records waiting for ever: those that began to come after the last segment of records
// was drained wait for the next one. The caller holds mu.
func (s *Spool) nextLocked() *segment {
	r, others := s.queues[reports], s.queues[records]
	if len(others) > 0 && (len(r) == 0 || r[0].number > s.reportsUpTo) {
		return others[0]
	}
	if len(r) > 0 {
		return r[0]
	}
	return nil
}

// sealIfOpen seals a segment if it is written. The caller holds turn.
func (s *Spool) sealIfOpen(seg *segment) {
	for q, o := range s.open {
		if o == nil || o.segment != seg {
			continue
		}
		if err := s.seal(queue(q)); err != nil {
			s.log.Warn("a segment of the spool could not be synced", "file", seg.path, "error", err)
		}
	}
}

// handOver stores the little that waits while it holds up Append, and makes the store
// direct.
func (s *Spool) handOver(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	for {
		s.mu.Lock()
		seg := s.nextLocked()
		s.mu.Unlock()
		if seg == nil {
			break
		}
		s.sealIfOpen(seg)
		if err := s.drainSegment(ctx, seg, true); err != nil {
			return err
		}
	}
	s.noteWorks()
	s.reportsUpTo = math.MaxUint64
	s.mu.Lock()
	s.direct = true
	s.mu.Unlock()
	s.log.Info("nothing waits in the spool any more: the store takes the records")
	return nil
}

// noteWorks notes that the store takes records.
func (s *Spool) noteWorks() {
	s.mu.Lock()
	was := s.down
	s.down = nil
	n, size := s.waitingLocked(), s.bytes[reports]+s.bytes[records]
	s.mu.Unlock()
	if was != nil {
		s.log.Info("the store takes records again: the spool is drained", "records", n, "bytes", size)
	}
}

// drainSegment stores the lines of a sealed segment, syncs the store, and takes the
// segment away. Lines of refused streams move to a refused segment. What is stored
// already when it fails is not given to the store again by this process.
func (s *Spool) drainSegment(ctx context.Context, seg *segment, holding bool) error {
	h := &s.held[seg.of]
	if h.segment != seg {
		b, err := s.load(ctx, seg)
		if err != nil {
			return err
		}
		*h = heldSegment{seg, b, map[papyra.Stream]int{}}
		for i := range b.Len() {
			_, stream := b.Line(i)
			h.all[stream]++
		}
	}
	for h.batch.Len() > 0 {
		if err := s.moveBlocked(h, holding); err != nil {
			return s.keepRefused(ctx, h, holding, err)
		}
		if h.batch.Len() == 0 {
			break
		}
		if err := s.giveLines(ctx, seg, h.batch); err != nil {
			return err
		}
	}
	if err := s.syncStore(ctx); err != nil {
		return err
	}
	if !holding {
		s.turn.Lock()
	}
	err := errors.Join(s.syncSegment(refusedReports), s.syncSegment(refusedRecords)) // perhaps lines of this one were moved
	if !holding {
		s.turn.Unlock()
	}
	if err != nil {
		return segmentError{err}
	}
	if err := s.remove(seg); err != nil {
		return err
	}
	*h = heldSegment{}
	return nil
}

// giveLines gives lines of a segment to the store, and drops those that are stored. The
// refusal of streams is no error: they are blocked then.
func (s *Spool) giveLines(ctx context.Context, seg *segment, b *papyra.Batch) error {
	before := b.Len()
	n, err := s.appendToStore(ctx, b)
	b.DropStored(n, err)
	s.noteDrained(seg, before-b.Len())
	if r := refusedOf(err); r != nil {
		s.noteRefused(r)
		s.block(r)
		return nil
	}
	return err
}

// noteDrained counts lines of a segment that are stored.
func (s *Spool) noteDrained(seg *segment, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.done += n
	s.drained += uint64(n)
}

// block notes that streams are refused of which nothing waits in a refused segment yet.
func (s *Spool) block(r *papyra.RefusedError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range r.Streams {
		if stream := r.Streams[i].Stream; s.blocked[stream] == 0 {
			s.blocked[stream] = 0 // its lines come with moveBlocked
		}
	}
}

// splitHeld returns the lines of a segment that belong to refused streams, and the others.
func (s *Spool) splitHeld(h *heldSegment) (blocked, others *papyra.Batch) {
	blocked, others = &papyra.Batch{}, &papyra.Batch{}
	s.mu.Lock()
	defer s.mu.Unlock()
	isBlocked := func(line int) bool {
		_, stream := h.batch.Line(line)
		_, is := s.blocked[stream]
		return is
	}
	if len(s.blocked) > 0 {
		copyLines(blocked, h.batch, isBlocked)
	}
	if blocked.Len() > 0 {
		copyLines(others, h.batch, func(line int) bool { return !isBlocked(line) })
	}
	return blocked, others
}

// moveBlocked moves the lines of refused streams to a refused segment, which is synced
// before the other one goes.
func (s *Spool) moveBlocked(h *heldSegment, holding bool) error {
	blocked, others := s.splitHeld(h)
	if blocked.Len() == 0 {
		return nil
	}
	if !holding {
		s.turn.Lock()
		defer s.turn.Unlock()
	}
	s.moving = true
	err := s.put(blocked, blocked, toRefused)
	s.moving = false
	moved := blocked.Len()
	if r := refusedOf(err); r != nil {
		rest := &papyra.Batch{}
		copyLines(rest, blocked, func(int) bool { return true })
		rest.DropStored(0, r)
		moved -= rest.Len()
		copyLines(others, rest, func(int) bool { return true })
	}
	s.mu.Lock()
	h.done += moved
	s.spooled -= uint64(moved) // they were counted when they came
	s.mu.Unlock()
	h.batch = others
	return err
}

// keepRefused makes a refused segment of one whose lines of refused streams can be moved
// nowhere, after all others of it are stored.
func (s *Spool) keepRefused(ctx context.Context, h *heldSegment, holding bool, why error) error {
	if n, ok := s.logs.Allow("keep"); ok {
		s.log.Error("lines of refused streams cannot be moved within the spool: their segments stay", "error", why, "suppressed", n)
	}
	for {
		blocked, others := s.splitHeld(h)
		if blocked.Len() == 0 {
			return nil
		}
		if others.Len() == 0 {
			break
		}
		err := s.giveLines(ctx, h.segment, others)
		copyLines(blocked, others, func(int) bool { return true })
		h.batch = blocked
		if err != nil {
			return err
		}
	}
	from, to := h.of, h.of.asRefused()
	if !holding {
		s.turn.Lock()
		defer s.turn.Unlock()
	}
	if o := s.open[to]; o != nil { // what comes later must not get before this one
		s.sealIfOpen(o.segment)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.skip = maps.Clone(h.all)
	for i := range h.batch.Len() {
		_, stream := h.batch.Line(i)
		h.skip[stream]--
		s.blocked[stream]++
	}
	h.streams = maps.Clone(h.all)
	s.queues[from] = slices.DeleteFunc(s.queues[from], func(other *segment) bool { return other == h.segment })
	s.bytes[from] -= h.size
	h.of = to
	s.queues[to] = append(s.queues[to], h.segment)
	s.bytes[to] += h.size
	s.held[from] = heldSegment{}
	return nil
}

// handOverLines is handOverBytes for the lines of streams that the store takes again.
const handOverLines = 4096

// retryRefused tries the streams of the refused segments again, the oldest lines of each
// first, until each of them is refused once more or has nothing left. When little is left
// of those that the store takes, it holds Append up until nothing is: from then on they
// are given to the store again. It reports whether any is still refused.
func (s *Spool) retryRefused(ctx context.Context) (failing bool, err error) {
	fail := map[papyra.Stream]bool{}
	if err := s.tryAll(ctx, fail, false); err != nil {
		return false, err
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	left := 0
	s.mu.Lock()
	for _, seg := range s.refusedLocked() {
		left += seg.leftLocked(fail)
	}
	s.mu.Unlock()
	if left <= handOverLines {
		err = s.tryAll(ctx, fail, true)
	}
	return len(fail) > 0, err
}

// refusedLocked returns the refused segments, those of reports first. The caller holds mu.
func (s *Spool) refusedLocked() []*segment {
	return slices.Concat(s.queues[refusedReports], s.queues[refusedRecords])
}

// tryAll tries the refused segments, but for the streams that fail, to which it adds those
// that are refused once more. holding says that the caller holds turn.
func (s *Spool) tryAll(ctx context.Context, fail map[papyra.Stream]bool, holding bool) error {
	s.mu.Lock()
	list := s.refusedLocked()
	s.mu.Unlock()
	for _, seg := range list {
		s.mu.Lock()
		all, try := seg.leftLocked(nil), seg.leftLocked(fail)
		s.mu.Unlock()
		if all > 0 && try == 0 {
			continue
		}
		if !holding {
			s.turn.Lock()
		}
		s.sealIfOpen(seg)
		if !holding {
			s.turn.Unlock()
		}
		if err := s.tryRefused(ctx, seg, fail); err != nil {
			return err
		}
	}
	return nil
}

// tryRefused tries the lines of one refused segment, but those of the streams that fail.
func (s *Spool) tryRefused(ctx context.Context, seg *segment, failing map[papyra.Stream]bool) error {
	all, err := s.load(ctx, seg)
	if err != nil {
		return err
	}
	b := &papyra.Batch{}
	given := map[papyra.Stream]int{}
	copyLines(b, all, func(line int) bool {
		_, stream := all.Line(line)
		if !failing[stream] {
			given[stream]++
		}
		return !failing[stream]
	})
	left := all.Len() - b.Len()
	if b.Len() > 0 {
		n, appendErr := s.appendToStore(ctx, b)
		b.DropStored(n, appendErr)
		left += b.Len()
		for i := range b.Len() {
			_, stream := b.Line(i)
			given[stream]--
		}
		if r := refusedOf(appendErr); r != nil {
			s.config.Failed(r)
			for i := range r.Streams {
				failing[r.Streams[i].Stream] = true
			}
		} else if appendErr != nil {
			err = appendErr
		}
		s.noteUnblocked(seg, given)
	}
	if err != nil || left > 0 {
		return err
	}
	if err := s.syncStore(ctx); err != nil {
		return err
	}
	return s.remove(seg)
}

// noteUnblocked notes which lines of a refused segment are stored. A stream of which
// nothing is left is refused no more.
func (s *Spool) noteUnblocked(seg *segment, stored map[papyra.Stream]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.skip == nil {
		seg.skip = map[papyra.Stream]int{}
	}
	for stream, n := range stored {
		seg.skip[stream] += n
		seg.done += n
		s.drained += uint64(n)
		if s.blocked[stream] -= n; s.blocked[stream] <= 0 {
			delete(s.blocked, stream)
		}
	}
	if len(s.blocked) == 0 && s.refusal != nil {
		s.refusal = nil
		s.log.Info("the store takes records of all streams again")
	}
}
