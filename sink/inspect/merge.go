package inspect

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"iter"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/selection"
)

// Source is what became of one store that was read.
type Source struct {
	Store   papyra.Store
	Damaged int64 // lines that were passed over
	// Err is why the store was not read to its end: it wraps papyra.ErrNotFound,
	// papyra.ErrIncomplete and the like. It is nil where nobody wanted more.
	Err error
	// GroupsErr is why the consumer groups of the store are not known. Only
	// [Summarize] asks for them.
	GroupsErr error
}

// Read yields what q chooses of all stores. One store is read in its append
// order. Several are merged: of the records that come next in each store, the
// one with the lowest timestamp, run and number is first, so that each store
// keeps its own order; with q.Reverse the highest. An exact duplicate that lies
// in several stores is yielded once, unless q.Duplicates asks for all. With a
// limit the newest q.Limit of all are yielded, and with several stores that many
// are held in memory unless q.Reverse is set. The record is valid only during the
// call of yield, whose error ends the reading and is returned.
//
// There is one Source for each store, in their order. A store that fails does not
// keep the others from being read.
func Read(ctx context.Context, stores []papyra.Store, q papyra.Query, yield func(*papyra.Record) error) ([]*Source, error) {
	if len(stores) == 1 {
		s := &Source{Store: stores[0]}
		var stopped error
		s.Damaged, s.Err = stores[0].Read(ctx, q, func(rec *papyra.Record, _ papyra.Place) error {
			stopped = yield(rec)
			return stopped
		})
		if stopped != nil {
			s.Err = nil
		}
		return []*Source{s}, stopped
	}
	if q.Limit == 0 || q.Reverse {
		return merge(ctx, stores, q, yield)
	}
	// The newest of all stores are the first of the reverse order; they are
	// collected in it and yielded the other way round.
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

func merge(ctx context.Context, stores []papyra.Store, q papyra.Query, yield func(*papyra.Record) error) ([]*Source, error) {
	sources := make([]*Source, len(stores))
	cursors := make([]*cursor, len(stores))
	for i, store := range stores {
		sources[i] = &Source{Store: store}
		cursors[i] = newCursor(ctx, sources[i], q)
	}
	defer func() {
		for _, c := range cursors {
			c.stop()
		}
	}()
	seen := selection.NewSeen()
	for left := q.Limit; ; {
		first := firstCursor(cursors, q.Reverse)
		if first == nil {
			return sources, nil
		}
		if q.Duplicates || !seen.Before(first.head) {
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

// cursor stands at one record of a store.
type cursor struct {
	head *papyra.Record // nil when the store has no more
	next func() (*papyra.Record, bool)
	stop func()
}

// errEnough ends a read of which no more is wanted.
var errEnough = errors.New("enough records")

// newCursor begins to read. Nothing is read ahead: the store waits while its
// head is looked at, so that the head stays valid and memory is bounded however
// large the stores are.
func newCursor(ctx context.Context, s *Source, q papyra.Query) *cursor {
	c := &cursor{}
	c.next, c.stop = iter.Pull(func(yield func(*papyra.Record) bool) {
		s.Damaged, s.Err = s.Store.Read(ctx, q, func(rec *papyra.Record, _ papyra.Place) error {
			if !yield(rec) {
				return errEnough
			}
			return nil
		})
		if errors.Is(s.Err, errEnough) {
			s.Err = nil
		}
	})
	c.advance()
	return c
}

func (c *cursor) advance() {
	var ok bool
	if c.head, ok = c.next(); !ok {
		c.head = nil
	}
}

// firstCursor returns the cursor whose record comes first, nil when all are at
// their end. There are few stores: a heap would not pay.
func firstCursor(cursors []*cursor, reverse bool) *cursor {
	var first *cursor
	for _, c := range cursors {
		if c.head == nil {
			continue
		}
		if first == nil {
			first = c
			continue
		}
		order := compareRecords(c.head, first.head)
		if order < 0 && !reverse || order > 0 && reverse {
			first = c
		}
	}
	return first
}

// compareRecords orders records of several stores: by timestamp, run, number.
func compareRecords(a, b *papyra.Record) int {
	if a.Time != b.Time {
		return cmp.Compare(a.Time, b.Time)
	}
	return cmp.Or(bytes.Compare(a.Run, b.Run), cmp.Compare(a.Seq, b.Seq))
}
