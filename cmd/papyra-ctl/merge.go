package main

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"iter"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// source is one store that is being read, a record at a time.
type source struct {
	store   sink.Backend
	next    func() (*papyra.Record, bool)
	stop    func()
	head    *papyra.Record // nil when the store has no more
	damaged int64
	err     error
}

// errEnough ends a read of which no more is wanted.
var errEnough = errors.New("enough records")

// newSource begins to read. Nothing is read ahead: the store waits while its
// head is looked at, so that the head stays valid and memory is bounded however
// large the stores are.
func newSource(ctx context.Context, store sink.Backend, q papyra.Query) *source {
	s := &source{store: store}
	s.next, s.stop = iter.Pull(func(yield func(*papyra.Record) bool) {
		s.damaged, s.err = store.Read(ctx, q, func(rec *papyra.Record, _ papyra.Place) error {
			if !yield(rec) {
				return errEnough
			}
			return nil
		})
		if errors.Is(s.err, errEnough) {
			s.err = nil
		}
	})
	s.advance()
	return s
}

func (s *source) advance() {
	var ok bool
	if s.head, ok = s.next(); !ok {
		s.head = nil
	}
}

// readAll yields what q chooses of all stores. One store is shown in its append
// order. Several are merged: of the records that come next in each store, the
// one with the lowest timestamp, run and number is first, so that each store
// keeps its own order; with q.Reverse the highest. An exact duplicate that lies
// in several stores is yielded once. With a limit the newest q.Limit of all are
// yielded, and with several stores that many are held in memory unless
// q.Reverse is set. The record is valid only during the call of yield, whose
// error ends the reading and is returned.
//
// What happened to a store is left in its source; a store that fails does not
// keep the others from being read.
func readAll(ctx context.Context, stores []sink.Backend, q papyra.Query, yield func(*papyra.Record) error) ([]*source, error) {
	if len(stores) == 1 {
		s := &source{store: stores[0]}
		var stopped error
		s.damaged, s.err = stores[0].Read(ctx, q, func(rec *papyra.Record, _ papyra.Place) error {
			stopped = yield(rec)
			return stopped
		})
		if stopped != nil {
			s.err = nil
		}
		return []*source{s}, stopped
	}
	if q.Limit == 0 || q.Reverse {
		return merge(ctx, stores, q, yield)
	}
	// The newest of all stores are the first of the reverse order; they are
	// collected in it and shown the other way round.
	q.Reverse = true
	var newest []*papyra.Record
	sources, err := merge(ctx, stores, q, func(rec *papyra.Record) error {
		kept, err := papyra.Parse(bytes.Clone(rec.Line))
		if err != nil {
			return err // cannot be: the store has parsed the same bytes
		}
		newest = append(newest, &kept)
		return nil
	})
	for i := len(newest) - 1; err == nil && i >= 0; i-- {
		err = yield(newest[i])
	}
	return sources, err
}

func merge(ctx context.Context, stores []sink.Backend, q papyra.Query, yield func(*papyra.Record) error) ([]*source, error) {
	sources := make([]*source, len(stores))
	for i, store := range stores {
		sources[i] = newSource(ctx, store, q)
	}
	defer func() {
		for _, s := range sources {
			s.stop()
		}
	}()
	seen := newSeen()
	for left := q.Limit; ; {
		first := pick(sources, q.Reverse)
		if first == nil {
			return sources, nil
		}
		if !seen.before(first.head) {
			if err := yield(first.head); err != nil {
				return sources, err
			}
			if left--; left == 0 {
				return sources, nil
			}
		}
		first.advance()
	}
}

// pick returns the source whose head comes first, nil when all are at their end.
// There are as many sources as flags on the command line: a heap would not pay.
func pick(sources []*source, reverse bool) *source {
	var first *source
	for _, s := range sources {
		if s.head == nil {
			continue
		}
		if first == nil {
			first = s
			continue
		}
		order := compareRecords(s.head, first.head)
		if order < 0 && !reverse || order > 0 && reverse {
			first = s
		}
	}
	return first
}

// compareRecords orders records of several stores: by timestamp, run, seq.
func compareRecords(a, b *papyra.Record) int {
	switch {
	case a.Time != b.Time:
		if a.Time < b.Time {
			return -1
		}
		return 1
	case !bytes.Equal(a.Run, b.Run):
		return bytes.Compare(a.Run, b.Run)
	case a.Seq < b.Seq:
		return -1
	case a.Seq > b.Seq:
		return 1
	}
	return 0
}

// seen recognises exact duplicates among the last records that have an
// identity. The identity is part of the line, so that equal lines are enough.
type seen struct {
	seeds        [2]maphash.Seed
	recent, past map[[2]uint64]struct{}
}

// seenRecords is how many records may lie between two copies for the second to
// be recognised for certain; one that lies further away is shown again. It
// bounds the memory to about 40 MB.
const seenRecords = 1 << 18

func newSeen() *seen {
	return &seen{
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		recent: map[[2]uint64]struct{}{},
	}
}

// before reports whether rec was offered before, and remembers it.
func (s *seen) before(rec *papyra.Record) bool {
	if !rec.HasIdentity() {
		return false
	}
	key := [2]uint64{maphash.Bytes(s.seeds[0], rec.Line), maphash.Bytes(s.seeds[1], rec.Line)}
	if _, ok := s.recent[key]; ok {
		return true
	}
	if _, ok := s.past[key]; ok {
		return true
	}
	if len(s.recent) == seenRecords {
		s.recent, s.past = map[[2]uint64]struct{}{}, s.recent
	}
	s.recent[key] = struct{}{}
	return false
}
