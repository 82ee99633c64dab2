package fileset

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/selection"
)

// Read yields the records that q chooses from the set as it was at the
// beginning. With a limit or in reverse it reads from the end and stops as soon
// as it has enough; only retention makes it look at everything. It returns how
// many damaged lines it passed over on the way; an unfinished last line beside a
// running writer is none. An exact duplicate is recognised as far as
// selection.Seen remembers. yield must not close the store.
func (s *Store) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error) {
	sel, err := selection.New(&q)
	if err != nil {
		return 0, err
	}
	ctx, cancel, err := s.within(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	sn, err := s.pin()
	if err != nil {
		return 0, err
	}
	defer sn.close()
	rd := &reading{s: s, ctx: ctx, sel: sel, yield: yield, busy: lockHeld(s.disk, s.names.lock())}
	switch {
	case !sel.NewestFirst():
		for _, f := range sn.files {
			if err := rd.oldestFirst(f, 0, nil); err != nil {
				return rd.damaged, err
			}
		}
	case q.Reverse:
		for i := len(sn.files) - 1; i >= 0 && !sel.Done(); i-- {
			if _, err := rd.newestFirst(sn.files[i], true); err != nil {
				return rd.damaged, err
			}
		}
	default:
		if err := rd.twice(sn); err != nil {
			return rd.damaged, err
		}
	}
	if rd.unread != nil || !sn.readable || len(sn.odd) > 0 {
		return rd.damaged, incomplete(s.path(), rd.unread, sn.odd)
	}
	return rd.damaged, nil
}

func incomplete(path string, unread error, odd []papyra.Anomaly) error {
	e := &papyra.StoreError{Op: "read", Path: path, Offset: -1, Err: papyra.ErrIncomplete, Hint: "scan it"}
	if unread != nil {
		e.Err = fmt.Errorf("%w: %w", papyra.ErrIncomplete, unread)
	} else if len(odd) > 0 {
		e.Hint = odd[0].File + ": " + odd[0].Detail
	}
	return e
}

// reading is one Read.
type reading struct {
	s     *Store
	ctx   context.Context
	sel   *selection.Selection
	yield func(*papyra.Record, papyra.Place) error
	busy  bool

	rec     papyra.Record
	damaged int64
	unread  error // the first part that could not be read
	lines   int
}

// judge reports whether a line is a record, and counts it if it is damaged.
func (rd *reading) judge(f *file, l *line) (bool, error) {
	if rd.lines++; rd.lines%1024 == 0 && rd.ctx.Err() != nil {
		return false, context.Cause(rd.ctx)
	}
	verdict, _ := judgeLine(&rd.rec, l, true)
	if verdict == judge.Damaged && (l.ended || !rd.busy || f.number != 0) {
		rd.damaged++
	}
	return verdict == judge.Valid, nil
}

// oldestFirst yields the records of a file from an offset on: the lines whose
// number in chosen, counted from the last line back to the first from 0, or
// without chosen what the selection takes.
func (rd *reading) oldestFirst(f *file, from int64, chosen *chosen) error {
	r := newForward(interruptible{rd.s.disk, rd.ctx}, f.f, f.size)
	r.reset(f.f, from, f.size, f.size)
	for number := chosen.first(); ; number-- {
		l, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && rd.ctx.Err() != nil {
			return context.Cause(rd.ctx)
		}
		if err != nil {
			rd.cannotRead(f, r.pos, err)
			return nil
		}
		if chosen != nil {
			// The pass from the end has judged it already.
			if !chosen.lines.Contains(uint64(number)) {
				continue
			}
			if err := papyra.ParseInto(&rd.rec, l.bytes); err != nil {
				rd.cannotRead(f, l.off, err)
				return nil
			}
		} else if ok, err := rd.judge(f, &l); err != nil {
			return err
		} else if !ok || !rd.sel.Take(&rd.rec) {
			continue
		}
		if err := rd.yield(&rd.rec, papyra.Place{File: f.base, Offset: l.off}); err != nil {
			return err
		}
	}
}

// chosen is what a pass from the end found: the lines to be yielded, by their
// number from the end, and where the first of them begins.
type chosen struct {
	lines *roaring64.Bitmap
	top   int64 // number of the line at offset
	off   int64
}

func (c *chosen) first() int64 {
	if c == nil {
		return 0
	}
	return c.top
}

// newestFirst offers the records of a file to the selection from the end, until
// it is done. With show it yields what is taken, otherwise it notes it.
func (rd *reading) newestFirst(f *file, show bool) (*chosen, error) {
	c := &chosen{lines: roaring64.New(), top: -1}
	r := newBackward(interruptible{rd.s.disk, rd.ctx}, f.f, f.size)
	for number := int64(0); !rd.sel.Done(); number++ {
		l, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && rd.ctx.Err() != nil {
			return nil, context.Cause(rd.ctx)
		}
		if err != nil {
			rd.cannotRead(f, r.pos, err)
			break
		}
		ok, err := rd.judge(f, &l)
		if err != nil {
			return nil, err
		}
		if !ok || !rd.sel.Take(&rd.rec) {
			continue
		}
		if show {
			if err := rd.yield(&rd.rec, papyra.Place{File: f.base, Offset: l.off}); err != nil {
				return nil, err
			}
			continue
		}
		c.lines.Add(uint64(number))
		c.top, c.off = number, l.off
	}
	return c, nil
}

// twice reads from the end to find what is chosen, and then forward to yield it
// in append order. Between the passes it holds one bit for each chosen line.
func (rd *reading) twice(sn *snapshot) error {
	found := make([]*chosen, len(sn.files))
	for i := len(sn.files) - 1; i >= 0 && !rd.sel.Done(); i-- {
		var err error
		if found[i], err = rd.newestFirst(sn.files[i], false); err != nil {
			return err
		}
	}
	for i, c := range found {
		if c == nil || c.top < 0 {
			continue
		}
		if err := rd.oldestFirst(sn.files[i], c.off, c); err != nil {
			return err
		}
	}
	return nil
}

func (rd *reading) cannotRead(f *file, off int64, err error) {
	if rd.unread == nil {
		rd.unread = &papyra.StoreError{Op: "read", Path: f.base, Offset: off, Err: errors.New(cause(err))}
	}
}
