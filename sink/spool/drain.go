package spool

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
)

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
	// lastRefused is the longest time between two tries of refused streams, and
	// refusedRest how many times as long as a try took they are left alone: a part of
	// the store that does not answer must not take the time of the others.
	lastRefused = time.Minute
	refusedRest = 4

	// handOverShare is how little must wait for Append to be held up while the last of
	// it is stored: a segment's eighth, a megabyte. Otherwise there would always be
	// something new.
	handOverShare = 8
)

// drain stores what waits until ctx ends.
//
//	what waits                        what it does
//	refused segments from before      looks into each, once
//	reports or records                stores the oldest segment of the first queue that
//	                                  has one; when little is left it holds Append up
//	                                  until nothing is, and then the store is direct
//	only refused segments             tries their streams again, less often each time
//	nothing                           waits
//
// After an error of a store that is down it waits: up to 50 ms, then longer, up to 5 s.
// Meanwhile it looks into the segments of an earlier start.
func (s *Spool) drain(ctx context.Context) {
	defer close(s.done)
	s.examineRefused(ctx)
	var backoff, refusedBackoff time.Duration
	var refusedAt time.Time
	for ctx.Err() == nil {
		var pause time.Duration // 0: until woken
		switch main, blocked := s.whatWaits(); {
		case main:
			if err := s.drainNext(ctx); err != nil && ctx.Err() == nil {
				backoff = min(max(2*backoff, firstRetry), lastRetry)
				s.noteFailed(err)
				until := time.Now().Add(backoff/2 + rand.N(backoff/2+1))
				s.examine(ctx, time.Until(until))
				pause = max(time.Until(until), 1)
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
	s.setLost(err)
	s.log.Error("the store is lost", "error", err)
}

// examine looks into segments of an earlier start, of which it is not known what they
// hold, until the time is over. Those that are drained first need not be looked into.
func (s *Spool) examine(ctx context.Context, within time.Duration) {
	deadline := time.Now().Add(within)
	for ctx.Err() == nil && time.Now().Before(deadline) {
		s.mu.Lock()
		seg := s.unknownLocked()
		s.mu.Unlock()
		if seg == nil {
			return
		}
		s.examineSegment(ctx, seg)
	}
}

func (s *Spool) examineSegment(ctx context.Context, seg *segment) {
	if _, err := s.load(ctx, seg); err != nil && ctx.Err() == nil {
		s.noteFailed(err)
	}
}

// unknownLocked returns a segment of which it is not known what it holds, nil for none.
// The newest are drained last, so they come first. The caller holds mu.
func (s *Spool) unknownLocked() *segment {
	for q := range s.queues {
		for _, seg := range slices.Backward(s.queues[q]) {
			if !seg.examined {
				return seg
			}
		}
	}
	return nil
}

// heal ends the last line of a segment, whose file is store, as the store's own files are
// healed. Where that fails the segment can be read all the same.
func (s *Spool) heal(ctx context.Context, seg *segment, store *fileset.Store) {
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

// reportDamage says what is damaged in a segment, whose file is store, once.
func (s *Spool) reportDamage(ctx context.Context, seg *segment, store *fileset.Store) {
	r, err := store.Scan(ctx, papyra.ScanOptions{MaxListed: maxReported})
	if err != nil || r.Clean() {
		return
	}
	seg.reported = true
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
	little := s.down == nil && s.bytes[reports]+s.bytes[records] <= int64(s.segmentBytes/handOverShare)
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
		*h = heldSegment{seg, b, countLines(b)}
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
	release := s.holdTurn(holding)
	err := errors.Join(s.syncSegment(refusedReports), s.syncSegment(refusedRecords)) // perhaps lines of this one were moved
	release()
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
