package maintain

import (
	"context"
	"errors"
	"fmt"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/selection"
)

// Read yields the records that q chooses from the store as it was at the
// beginning. With a limit or in reverse it reads from the newest line back and
// stops as soon as it has enough; only retention makes it look at everything. It
// returns how many damaged lines it passed over on the way; an unfinished last
// line beside a running writer is none. An exact duplicate is recognised as far
// as selection.Seen remembers.
//
// What is wanted in append order and chosen from the end is read twice: the
// first pass marks, the second yields.
func Read(ctx context.Context, m Medium, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error) {
	chosen, err := selection.New(&q)
	if err != nil {
		return 0, err
	}
	ctx, end, err := m.Life().Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	p, err := m.Pin(ctx, Purpose{Query: &q})
	if err != nil {
		return 0, err
	}
	defer p.Release()
	r := &reading{ctx: ctx, chosen: chosen, yield: yield}
	switch {
	case !chosen.NewestFirst():
		err = p.Forward(nil, r.show)
	case q.Reverse:
		err = p.Backward(nil, Expired, r.show)
	default:
		marks := p.NewMarks()
		if err = p.Backward(marks, Expired, r.choose); err == nil || errors.Is(err, errEnough) {
			err = p.Forward(marks, r.showChosen)
		}
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil {
		err = errors.Join(r.changed, p.Incomplete("read"))
	}
	return r.damaged, err
}

// reading is one Read.
type reading struct {
	ctx    context.Context
	chosen *selection.Selection
	yield  func(*papyra.Record, papyra.Place) error

	rec     papyra.Record
	lines   int64
	damaged int64
	changed error // a chosen line is not what it was
}

// choose reports whether the query chooses a line; its record is then in rec.
// With the last line that is wanted it returns errEnough.
func (r *reading) choose(l Line) (bool, error) {
	if r.lines++; r.lines%checkEvery == 0 && r.ctx.Err() != nil {
		return false, context.Cause(r.ctx)
	}
	verdict, _ := l.Judge(&r.rec, true)
	if verdict == judge.Damaged && !l.Unfinished() {
		r.damaged++
	}
	if verdict != judge.Valid || !r.chosen.Take(&r.rec) {
		return false, nil
	}
	if r.chosen.Done() {
		return true, errEnough
	}
	return true, nil
}

// show yields a line that the query chooses.
func (r *reading) show(l Line) (bool, error) {
	ok, end := r.choose(l)
	if ok {
		if err := r.yield(&r.rec, l.Place()); err != nil {
			return false, err
		}
	}
	return false, end
}

// showChosen yields a line that was chosen before.
func (r *reading) showChosen(l Line) (bool, error) {
	if verdict, _ := l.Judge(&r.rec, true); verdict != judge.Valid {
		if r.changed == nil {
			r.changed = fmt.Errorf("%w: a record has changed while it was read, at %+v", papyra.ErrIncomplete, l.Place())
		}
		return false, nil
	}
	return false, r.yield(&r.rec, l.Place())
}
