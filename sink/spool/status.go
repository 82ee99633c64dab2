package spool

import (
	"fmt"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/human"
)

// Status says how full a spool is. The zero Status is that of no spool.
type Status struct {
	Dir      string
	MaxBytes int64
	Records  int64     // that wait
	Bytes    int64     // of the segments
	Oldest   time.Time // when the oldest segment was begun; zero if nothing waits
	Direct   bool      // the store takes the records: nothing waits but those of refused streams
	// Examined is false until it is known what the segments of an earlier start hold:
	// Records is then a lower bound.
	Examined bool

	Spooled uint64 // records that went into the spool, since the start
	Drained uint64 // records of it that the store took, since the start
	// Refused are the streams that the store refuses while it takes those of others.
	Refused int
	// SetAside are the segments that hold damage. They lie in Dir until somebody takes
	// them away.
	SetAside int
}

// Status returns how full the spool is. A nil spool has the zero Status.
func (s *Spool) Status() Status {
	if s == nil {
		return Status{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Dir: s.config.Dir, MaxBytes: s.config.MaxBytes, Records: s.waitingLocked(), Bytes: s.bytesLocked(),
		Direct: s.direct, Examined: s.unknownLocked() == nil, Spooled: s.spooled, Drained: s.drained, Refused: len(s.blocked), SetAside: s.aside,
	}
	for q := range s.queues {
		if len(s.queues[q]) == 0 {
			continue
		}
		if since := s.queues[q][0].since; st.Oldest.IsZero() || since.Before(st.Oldest) {
			st.Oldest = since
		}
	}
	return st
}

// waitingLocked returns how many records wait. The caller holds mu.
func (s *Spool) waitingLocked() (n int64) {
	for q := range s.queues {
		for _, seg := range s.queues[q] {
			n += int64(seg.lines - seg.done)
		}
	}
	return n
}

// bytesLocked returns the bytes of all segments. The caller holds mu.
func (s *Spool) bytesLocked() (n int64) {
	for q := range s.bytes {
		n += s.bytes[q]
	}
	return n
}

// Waiting returns what a SinkReport says of the spool, nil while it is not known yet
// what the segments of an earlier start hold.
func (s *Spool) Waiting() *papyra.SinkSpool {
	if s == nil {
		return nil
	}
	st := s.Status()
	if !st.Examined {
		return nil
	}
	id, _ := s.control.id()
	out := &papyra.SinkSpool{ID: id, Dir: st.Dir, Records: st.Records, Bytes: st.Bytes}
	if !st.Oldest.IsZero() {
		out.Since = float64(st.Oldest.UnixMicro()) / 1e6
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := sum{}
	for q := range s.queues {
		for _, seg := range s.queues[q] {
			all.addNumbers(&seg.numbers)
		}
	}
	out.Waiting = all.list()
	return out
}

// StoreID returns the id of the store for which the spool is, "" while it is not known.
func (s *Spool) StoreID() string {
	_, store := s.control.id()
	return store
}

// TakeDamage returns what was found to be damaged since the last call.
func (s *Spool) TakeDamage() []papyra.CorruptionDetected {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.damage
	s.damage = nil
	return found
}

// NotReady says why the sink is not ready: the store takes nothing, or not the records
// of some streams, or a segment and more waits. Otherwise it is nil, also without a
// spool.
func (s *Spool) NotReady() error {
	if s == nil {
		return nil
	}
	st := s.Status()
	s.mu.Lock()
	down, refusal := s.down, s.refusal
	if s.lost != nil {
		down = s.lost
	}
	s.mu.Unlock()
	switch {
	case down != nil:
		return fmt.Errorf("the store takes no records: %w: %s", down, st)
	case st.Refused > 0 && refusal != nil:
		return fmt.Errorf("the store refuses %s: %w: %s", human.Plural(int64(st.Refused), "stream", "streams"), refusal, st)
	case !st.Direct && st.Bytes >= int64(s.segmentBytes):
		return fmt.Errorf("the store takes what was spooled: %s", st)
	}
	return nil
}

// String says how much waits where, and since when: "12 records (4,000 bytes) wait in
// the spool /var/spool/papyra, the oldest since 2024-01-01T12:00:00Z".
func (st Status) String() string {
	if st.Bytes == 0 {
		return "nothing waits in the spool " + st.Dir
	}
	where := fmt.Sprintf("(%s bytes) wait in the spool %s, the oldest since %s", human.Count(st.Bytes), st.Dir, st.Oldest.UTC().Format(time.RFC3339))
	switch {
	case st.Examined:
		return human.Plural(st.Records, "record", "records") + " " + where
	case st.Records == 0:
		return "records " + where
	}
	return "at least " + human.Plural(st.Records, "record", "records") + " " + where
}
