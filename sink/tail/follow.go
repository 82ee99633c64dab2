// Package tail follows records as they come: those that are appended to a store, and
// those that a fleet sends on its broker.
package tail

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/papyra/papyra"
)

// Follower shows what is appended to a store. Each call of Next reads backwards from
// the end to what it saw last, so that it costs what is new and not what is stored;
// rotation, compaction and recovery do not disturb it. It is not safe for concurrent
// use.
type Follower struct {
	store papyra.Store
	seed  maphash.Seed
	last  position        // of the newest record that was seen; the zero position for none
	seen  map[uint64]bool // hashes of the lines that were seen lately
	order []uint64        // the same, oldest first
	batch []appended
	bytes int
}

// position is where a record lies. A rotation gives its file another name, and keeps
// the offset.
type position struct {
	offset int64
	id     string
	hash   uint64
}

// appended is a new record.
type appended struct {
	rec  papyra.Record
	hash uint64
}

const (
	// maxSeen bounds the lines that are remembered. So many known lines in a row, behind
	// each other, mean that what is before them was seen too.
	maxSeen = 4096
	maxRow  = 1024
	// maxBatch and maxBatchBytes bound what one Next shows; older records are counted.
	maxBatch      = 100_000
	maxBatchBytes = 64 << 20
)

// errSeen ends a reading.
var errSeen = errors.New("seen before")

// Follow returns a Follower of what is appended from now on. A store that does not exist
// yet is an error that wraps papyra.ErrNotFound.
func Follow(ctx context.Context, store papyra.Store) (*Follower, error) {
	f := &Follower{store: store, seed: maphash.MakeSeed(), seen: map[uint64]bool{}}
	n := 0
	_, err := store.Read(ctx, papyra.Query{Reverse: true, Duplicates: true}, func(rec *papyra.Record, at papyra.Place) error {
		hash := f.NoteSeen(rec)
		if n == 0 {
			f.last = position{at.Offset, at.ID, hash}
		}
		if n++; n >= maxRow {
			return errSeen
		}
		return nil
	})
	if err != nil && !errors.Is(err, errSeen) {
		return nil, err
	}
	slices.Reverse(f.order)
	return f, nil
}

// NoteSeen says that a record was shown already: Next does not show it again. It returns
// the hash of its line.
func (f *Follower) NoteSeen(rec *papyra.Record) uint64 {
	hash := maphash.Bytes(f.seed, rec.Line)
	f.remember(hash)
	return hash
}

func (f *Follower) remember(hash uint64) {
	if f.seen[hash] {
		return
	}
	if len(f.order) >= maxSeen {
		delete(f.seen, f.order[0])
		f.order = f.order[1:]
	}
	f.seen[hash] = true
	f.order = append(f.order, hash)
}

// Next yields what was appended since the last call, in append order, each exact copy
// once. left counts older new records that were not yielded, because there were too many
// for one call. An error of yield ends it; what could not be read is shown by the next
// call.
func (f *Follower) Next(ctx context.Context, yield func(*papyra.Record) error) (left int64, err error) {
	f.batch, f.bytes = f.batch[:0], 0
	var newest position
	row := 0
	_, err = f.store.Read(ctx, papyra.Query{Reverse: true, Duplicates: true}, func(rec *papyra.Record, at papyra.Place) error {
		here := position{at.Offset, at.ID, maphash.Bytes(f.seed, rec.Line)}
		if newest == (position{}) {
			newest = here
		}
		// A compaction moves what was seen. A copy of a line that was seen lies between
		// others that are new.
		switch known := f.seen[here.hash]; {
		case here == f.last:
			return errSeen
		case known:
			if row++; row >= maxRow || row >= len(f.order) {
				return errSeen
			}
			return nil
		}
		row = 0
		if len(f.batch) >= maxBatch || f.bytes+len(rec.Line) > maxBatchBytes {
			left++
			return nil
		}
		f.keep(rec, here.hash)
		return nil
	})
	if err != nil && !errors.Is(err, errSeen) {
		return 0, err
	}
	if newest != (position{}) {
		f.last = newest
	}
	for _, a := range slices.Backward(f.batch) {
		if f.seen[a.hash] {
			continue // a copy within the batch
		}
		f.remember(a.hash)
		if err := yield(&a.rec); err != nil {
			return left, err
		}
	}
	return left, nil
}

// keep copies a record, which is the store's only during a call.
func (f *Follower) keep(rec *papyra.Record, hash uint64) {
	line := slices.Clone(rec.Line)
	f.bytes += len(line)
	var own papyra.Record
	if papyra.ParseInto(&own, line) != nil {
		return // the store has parsed it
	}
	f.batch = append(f.batch, appended{rec: own, hash: hash})
}
