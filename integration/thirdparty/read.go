package shelf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/papyra/papyra"
)

// reader judges lines one after the other.
type reader struct{ parser papyra.Parser }

// judge fills rec from a line, or says what is wrong with it. A line of nothing
// but white space is neither a record nor damage.
func (r *reader) judge(rec *papyra.Record, text []byte) (blank bool, damage *papyra.LineError) {
	err := r.parser.Parse(rec, text)
	if err == nil {
		return false, nil
	}
	if len(bytes.Trim(text, " \t\r")) == 0 {
		return true, nil
	}
	if !errors.As(err, &damage) {
		damage = &papyra.LineError{Class: papyra.ClassCorrupted, Detail: err.Error()}
	}
	return false, damage
}

// maxSeen is how many sealed records a copies remembers, in some 100 MB.
const maxSeen = 1 << 21

// copies finds exact duplicates. When it is full, it takes what it does not
// remember for new.
type copies struct {
	seen map[[16]byte]struct{}
	full bool
}

// again reports whether a record with these bytes was offered before. Equal
// bytes are enough: the identity is among them. What has none is never a
// duplicate.
func (c *copies) again(rec *papyra.Record) bool {
	return rec.HasIdentity() && c.met(rec.Canonical())
}

func (c *copies) met(data []byte) bool {
	sum := sha256.Sum256(data)
	key := [16]byte(sum[:])
	if _, ok := c.seen[key]; ok {
		return true
	}
	if c.full = len(c.seen) >= maxSeen; !c.full {
		if c.seen == nil {
			c.seen = map[[16]byte]struct{}{}
		}
		c.seen[key] = struct{}{}
	}
	return false
}

// Read yields the records that q chooses. With a limit, a retention or Reverse
// it begins at the end of the shelf, and keeps in memory what it is to yield in
// another order.
func (s *Shelf) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error) {
	if err := q.Retention.Validate(); err != nil || q.Limit < 0 {
		return 0, fmt.Errorf("read: a limit is negative: %w", errors.Join(papyra.ErrUsage, err))
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	books, err := s.list()
	if err != nil {
		return 0, err
	}
	var (
		r         reader
		rec       papyra.Record
		met       copies
		views     = papyra.NewViews(q.Retention, q.At)
		fromEnd   = q.Limit > 0 || q.Reverse || !q.Retention.IsZero()
		left      = q.Limit
		held      []found
		unread    error
		countdown = func() bool { left--; return left == 0 && q.Limit > 0 }
	)
	if fromEnd {
		slices.Reverse(books)
	}
walk:
	for _, name := range books {
		list, err := s.entries(ctx, name)
		if ctx.Err() != nil {
			return damaged, context.Cause(ctx)
		}
		if err != nil {
			unread = errors.Join(papyra.ErrIncomplete, err)
			damaged++
			continue
		}
		if fromEnd {
			slices.Reverse(list)
		}
		for _, e := range list {
			blank, damage := r.judge(&rec, e.text)
			if damage != nil {
				damaged++
			}
			// Retention sees every line, the filters what it shows, duplicates are
			// left out of what the filters choose, and the limit counts the rest.
			if blank || damage != nil || fromEnd && !views.Keep(&rec) || !q.Match(&rec) || !q.Duplicates && met.again(&rec) {
				continue
			}
			place := papyra.Place{File: s.path(name), Offset: e.offset}
			if fromEnd && !q.Reverse {
				held = append(held, found{bytes.Clone(e.text), place})
			} else if err := yield(&rec, place); err != nil {
				return damaged, err
			}
			if countdown() {
				break walk
			}
		}
	}
	for _, f := range slices.Backward(held) {
		if _, damage := r.judge(&rec, f.text); damage != nil {
			return damaged, damage // it was a record before
		}
		if err := yield(&rec, f.place); err != nil {
			return damaged, err
		}
	}
	return damaged, unread
}

// found is a record that is yielded later.
type found struct {
	text  []byte
	place papyra.Place
}
