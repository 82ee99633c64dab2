// Package selection picks the records that a query asks for, the same for every
// backend.
package selection

import (
	"fmt"
	"hash/maphash"

	"github.com/papyra/papyra"
)

// Selection picks records. Offered newest first it applies retention, filters,
// duplicates and the limit, in this order. Offered oldest first it may only be
// used for a query without retention and limit.
type Selection struct {
	query *papyra.Query
	views *papyra.Views
	seen  *Seen
	left  int // matches still wanted; -1 for all
}

// New returns the selection of q, or an error that wraps papyra.ErrUsage.
func New(q *papyra.Query) (*Selection, error) {
	if q.Limit < 0 {
		return nil, fmt.Errorf("limit %d is negative: give the number of newest matches, or 0 for all: %w", q.Limit, papyra.ErrUsage)
	}
	if err := q.Retention.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", papyra.ErrUsage, err)
	}
	s := &Selection{query: q, seen: NewSeen(), left: -1}
	if q.Limit > 0 {
		s.left = q.Limit
	}
	if !q.Retention.IsZero() {
		s.views = papyra.NewViews(q.Retention, q.At)
	}
	return s, nil
}

// NewestFirst reports whether the records must be offered newest first,
// whatever the order in which they are wanted.
func (s *Selection) NewestFirst() bool {
	return s.query.Limit > 0 || s.query.Reverse || s.views != nil
}

// Take reports whether the query chooses rec.
func (s *Selection) Take(rec *papyra.Record) bool {
	if s.views != nil && !s.views.Keep(rec) {
		return false
	}
	if !s.query.Match(rec) || !s.query.Duplicates && s.seen.Before(rec) {
		return false
	}
	if s.left > 0 {
		s.left--
	}
	return true
}

// Done reports whether the limit is reached.
func (s *Selection) Done() bool { return s.left == 0 }

// Seen recognises exact duplicates: records with the same identity and bytes.
// It remembers the last SeenRecords to twice as many sealed records, in about
// 40 MB at most; a duplicate that lies further from its copy is shown again.
type Seen struct {
	seeds          [2]maphash.Seed
	recent, before map[[2]uint64]struct{}
}

// SeenRecords is how many records with an identity may lie between two copies
// for the second to be recognised for certain.
const SeenRecords = 1 << 18

// NewSeen returns a memory that is empty.
func NewSeen() *Seen {
	return &Seen{
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		recent: map[[2]uint64]struct{}{},
	}
}

// Before reports whether rec was offered before, and remembers it.
func (s *Seen) Before(rec *papyra.Record) bool {
	if !rec.HasIdentity() {
		return false
	}
	// The identity is part of the bytes, so equal bytes are enough.
	line := rec.Canonical()
	key := [2]uint64{maphash.Bytes(s.seeds[0], line), maphash.Bytes(s.seeds[1], line)}
	if _, ok := s.recent[key]; ok {
		return true
	}
	if _, ok := s.before[key]; ok {
		return true
	}
	if len(s.recent) == SeenRecords {
		s.recent, s.before = map[[2]uint64]struct{}{}, s.recent
	}
	s.recent[key] = struct{}{}
	return false
}
