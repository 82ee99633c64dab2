package account

import (
	"context"
	"errors"

	"github.com/papyra/papyra"
)

// Reader is what an account needs of a store; every papyra.Store is one.
type Reader interface {
	URL() string
	Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error)
}

// ReadError is what kept an account from reading all of a store.
type ReadError struct {
	Store int // its index
	URL   string
	Err   error
}

// Error returns "url: cause".
func (e *ReadError) Error() string { return e.URL + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ReadError) Unwrap() error { return e.Err }

// Read accounts for the records of stores, which it reads once, or twice where
// that tells more. progress is called now and then with the bytes of the records
// read so far; their total is not known, and given as 0.
//
// What cannot be read of a store does not hide the others: the result is there
// all the same, with the verdict Incomplete, beside an error that joins a
// [ReadError] for each such store. There is no result when ctx is done or the
// groups of the stores do not fit together.
func Read(ctx context.Context, o Options, progress papyra.Progress, stores ...Reader) (*Result, error) {
	if o.Stores == nil {
		for _, s := range stores {
			o.Stores = append(o.Stores, s.URL())
		}
	}
	r := &reading{ctx: ctx, stores: stores, progress: progress, errs: make([]error, len(stores))}
	a := New(o)
	first := papyra.Query{Duplicates: true}
	if o.System != "" {
		first.Systems = []string{o.System, papyra.SystemReserved}
	}
	for i := range stores {
		damaged, err := r.read(i, first, a.Add)
		if err != nil {
			return nil, err
		}
		a.Unread(i, damaged, r.errs[i])
	}
	q, again, err := a.Again()
	if err != nil {
		return nil, err
	}
	for i := range stores {
		if again {
			if _, err := r.read(i, q, a.Revisit); err != nil {
				return nil, err
			}
		}
	}
	result, err := a.Result()
	if err != nil {
		return nil, err
	}
	return result, errors.Join(r.errs...)
}

// reading is one Read.
type reading struct {
	ctx      context.Context
	stores   []Reader
	progress papyra.Progress
	records  int64
	bytes    int64
	errs     []error // the first of each store
}

// read gives the records of a store to see. What keeps it from doing so goes to
// errs; the error is the end of everything.
func (r *reading) read(i int, q papyra.Query, see func(int, *papyra.Record)) (damaged int64, err error) {
	s := r.stores[i]
	damaged, err = s.Read(r.ctx, q, func(rec *papyra.Record, _ papyra.Place) error {
		see(i, rec)
		r.bytes += int64(len(rec.Line)) + 1
		if r.records++; r.records&(1<<12-1) == 0 && r.progress != nil {
			r.progress(r.bytes, 0)
		}
		return nil
	})
	if r.ctx.Err() != nil {
		return damaged, context.Cause(r.ctx)
	}
	if err != nil && r.errs[i] == nil {
		r.errs[i] = &ReadError{Store: i, URL: s.URL(), Err: err}
	}
	return damaged, nil
}
