package spool

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/papyra/papyra"
)

// noteRetryFailed notes that the store failed as a whole when the refused streams were
// tried. Whether it is down the next Append finds out.
func (s *Spool) noteRetryFailed(err error) {
	if isLost(err) || errors.As(err, &segmentError{}) {
		s.noteFailed(err)
		return
	}
	s.config.Failed(err)
}

// examineRefused looks into the refused segments of an earlier start: their streams must
// be known before anything is stored.
func (s *Spool) examineRefused(ctx context.Context) {
	s.mu.Lock()
	list := s.refusedLocked()
	s.mu.Unlock()
	for _, seg := range list {
		s.examineSegment(ctx, seg)
	}
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
	defer s.holdTurn(holding)()
	s.moving = true
	err := s.put(blocked, blocked, toRefused)
	s.moving = false
	moved := blocked.Len()
	if r := refusedOf(err); r != nil {
		rest := &papyra.Batch{}
		copyAll(rest, blocked)
		rest.DropStored(0, r)
		moved -= rest.Len()
		copyAll(others, rest)
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
		copyAll(blocked, others)
		h.batch = blocked
		if err != nil {
			return err
		}
	}
	from, to := h.of, h.of.asRefused()
	defer s.holdTurn(holding)()
	if o := s.open[to]; o != nil { // what comes later must not get before this one
		s.sealIfOpen(o.segment)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.skip = maps.Clone(h.all)
	for stream, n := range countLines(h.batch) {
		h.skip[stream] -= n
		s.blocked[stream] += n
	}
	h.streams = maps.Clone(h.all)
	s.leaveQueueLocked(h.segment)
	h.of = to
	s.queues[to] = append(s.queues[to], h.segment)
	s.bytes[to] += h.size
	s.held[from] = heldSegment{}
	return nil
}

// handOverLines is the same for the lines of streams that the store takes again.
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
		release := s.holdTurn(holding)
		s.sealIfOpen(seg)
		release()
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
	copyLines(b, all, func(line int) bool {
		_, stream := all.Line(line)
		return !failing[stream]
	})
	left := all.Len() - b.Len()
	if b.Len() > 0 {
		stored := countLines(b)
		n, appendErr := s.appendToStore(ctx, b)
		b.DropStored(n, appendErr)
		left += b.Len()
		for stream, n := range countLines(b) {
			stored[stream] -= n
		}
		if r := refusedOf(appendErr); r != nil {
			s.config.Failed(r)
			for i := range r.Streams {
				failing[r.Streams[i].Stream] = true
			}
		} else if appendErr != nil {
			err = appendErr
		}
		s.noteUnblocked(seg, stored)
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
