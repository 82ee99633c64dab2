package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/papyra/papyra"
)

// Reader is what an account needs of a store; every sink.Backend is one.
type Reader interface {
	URL() string
	Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error)
}

// Read accounts for the records of stores, which it reads once, or twice where
// that tells more. A part of a store that cannot be read makes the account
// incomplete; any other error ends it, and names the store. progress, which may
// be nil, is called after every 65,536 records with their number so far.
func Read(ctx context.Context, o Options, progress func(records int64), stores ...Reader) (*Result, error) {
	if o.Stores == nil {
		for _, s := range stores {
			o.Stores = append(o.Stores, s.URL())
		}
	}
	a := New(o)
	var records int64
	count := func() {
		if records++; records&(1<<16-1) == 0 && progress != nil {
			progress(records)
		}
	}
	for i, s := range stores {
		damaged, err := s.Read(ctx, papyra.Query{Duplicates: true}, func(rec *papyra.Record, _ papyra.Place) error {
			a.Add(i, rec)
			count()
			return nil
		})
		if err != nil && !errors.Is(err, papyra.ErrIncomplete) {
			return nil, fmt.Errorf("read %s: %w", s.URL(), err)
		}
		a.Unread(i, damaged, err)
	}
	q, again, err := a.Again()
	if err != nil {
		return nil, err
	}
	for i, s := range stores {
		if !again {
			break
		}
		_, err := s.Read(ctx, q, func(rec *papyra.Record, _ papyra.Place) error {
			a.Revisit(i, rec)
			count()
			return nil
		})
		if err != nil && !errors.Is(err, papyra.ErrIncomplete) {
			return nil, fmt.Errorf("read %s again: %w", s.URL(), err)
		}
	}
	return a.Result()
}
