package spool

import (
	"context"
	"errors"
	"fmt"

	"github.com/papyra/papyra"
)

// result is what Append returns after put.
func (s *Spool) result(b *papyra.Batch, putErr, lost error) (int, error) {
	if lost != nil && putErr != nil {
		return 0, lost
	}
	if r := refusedOf(putErr); r != nil {
		if n, ok := s.logs.Allow("full"); ok {
			s.log.Error("the store takes no records, and the spool cannot either: the newest are refused", "error", r.Streams[0].Err, "suppressed", n)
		}
		return 0, putErr
	}
	return b.Len(), lost
}

// queueOf says where the lines of a stream wait for a store that is down.
func queueOf(stream papyra.Stream) queue {
	if stream.Kind == papyra.KindReport {
		return reports
	}
	return records
}

func toRefused(stream papyra.Stream) queue { return queueOf(stream).asRefused() }

// appendDirect gives the lines to the store. Those of streams that it refuses, and all
// of a store that is down, go into the spool. The caller holds turn.
func (s *Spool) appendDirect(ctx context.Context, b *papyra.Batch) (int, error) {
	given, behind := s.splitBlocked(b)
	rest := &papyra.Batch{}
	n, err := s.appendToStore(ctx, given)
	if err != nil {
		copyAll(rest, given)
		rest.DropStored(n, err)
	}
	to := queueOf
	var lost error
	switch r := refusedOf(err); {
	case err == nil:
		s.noteWorks()
	case r != nil:
		to = toRefused
		s.noteRefused(r)
	case isLost(err):
		s.setLost(err)
		lost = err
	default:
		s.mu.Lock()
		s.direct = false
		s.mu.Unlock()
		s.noteDown(err)
	}
	if rest.Len() == 0 && behind.Len() == 0 {
		return b.Len(), lost
	}
	putErr := joinRefused(s.put(b, behind, toRefused), s.put(b, rest, to))
	s.wakeDrain()
	return s.result(b, putErr, lost)
}

// splitBlocked returns the lines of b for the store, and those of streams that it
// refuses, behind which they go.
func (s *Spool) splitBlocked(b *papyra.Batch) (given, behind *papyra.Batch) {
	behind = &papyra.Batch{}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.blocked) == 0 {
		return b, behind
	}
	isBlocked := func(line int) bool {
		_, stream := b.Line(line)
		return s.blocked[stream] > 0
	}
	copyLines(behind, b, isBlocked)
	if behind.Len() == 0 {
		return b, behind
	}
	given = &papyra.Batch{}
	copyLines(given, b, func(line int) bool { return !isBlocked(line) })
	return given, behind
}

// copyLines copies the lines that are chosen.
func copyLines(to, from *papyra.Batch, chosen func(line int) bool) {
	for i := range from.Len() {
		if chosen(i) {
			line, stream := from.Line(i)
			to.Append(to.StreamIndex(stream), line)
		}
	}
}

func copyAll(to, from *papyra.Batch) {
	copyLines(to, from, func(int) bool { return true })
}

// countLines returns how many lines of each stream there are.
func countLines(b *papyra.Batch) map[papyra.Stream]int {
	n := map[papyra.Stream]int{}
	for i := range b.Len() {
		_, stream := b.Line(i)
		n[stream]++
	}
	return n
}

// put appends lines, which are among those of b and the last ones of their streams
// there, to the queues that to says. The error is a papyra.RefusedError about b. The
// caller holds turn.
func (s *Spool) put(b, lines *papyra.Batch, to func(papyra.Stream) queue) error {
	if lines.Len() == 0 {
		return nil
	}
	taken := make([]bool, lines.Len())
	var full error
	for q := range queues {
		mine := func(line int) bool {
			_, stream := lines.Line(line)
			return to(stream) == q
		}
		if err := s.fill(q, lines, mine, taken); err != nil && full == nil {
			full = fmt.Errorf("%w: %s: %w", ErrFull, s.config.Dir, err)
		}
	}
	if full == nil {
		return nil
	}
	left := map[papyra.Stream]int{}
	for i := range taken {
		if _, stream := lines.Line(i); !taken[i] {
			left[stream]++
		}
	}
	return refusedLines(b, left, full)
}

// refusedLines says of b that the last lines of some streams are not taken.
func refusedLines(b *papyra.Batch, left map[papyra.Stream]int, why error) error {
	all := countLines(b)
	r := &papyra.RefusedError{}
	for stream, n := range left {
		r.Streams = append(r.Streams, papyra.RefusedStream{Stream: stream, Stored: all[stream] - n, Err: why})
	}
	return r
}

// joinRefused makes one error of two about the same batch. Their streams differ.
func joinRefused(a, b error) error {
	one, two := refusedOf(a), refusedOf(b)
	if one == nil || two == nil {
		return errors.Join(a, b)
	}
	return &papyra.RefusedError{Streams: append(one.Streams, two.Streams...)}
}
