package redis

import (
	"context"
	"errors"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/selection"
)

// Read yields the records that q chooses from the store as it was at the
// beginning, in the order of the entries' ids. With a limit or in reverse it
// reads from the newest entry back and stops as soon as it has enough. Streams
// that q's systems and kinds rule out are not read. It returns how many damaged
// entries it passed over on the way. yield must not close the store.
func (s *Store) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error) {
	sel, err := selection.New(&q)
	if err != nil {
		return 0, err
	}
	sn, end, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	snap, err := sn.pin(&q)
	if err != nil {
		return 0, err
	}
	rd := &reading{sn: sn, snap: snap, sel: sel, yield: yield}
	switch {
	case !sel.NewestFirst() || q.Reverse:
		err = rd.once(q.Reverse)
	default:
		err = rd.twice()
	}
	if err == nil {
		err = snap.incomplete("read", s.URL())
	}
	return rd.damaged, err
}

// reading is one Read.
type reading struct {
	sn      *session
	snap    *snapshot
	sel     *selection.Selection
	yield   func(*papyra.Record, papyra.Place) error
	judge   entryJudge
	damaged int64
}

// take reports whether the selection takes an entry; its record is then in
// judge.rec.
func (rd *reading) take(p *pinned, e *entry) bool {
	verdict, _ := rd.judge.entry(&p.key, e, true)
	if verdict == judge.Damaged {
		rd.damaged++
	}
	return verdict == judge.Valid && rd.sel.Take(&rd.judge.rec)
}

func (rd *reading) show(e *entry) error {
	return rd.yield(&rd.judge.rec, papyra.Place{ID: e.id.String()})
}

// once yields what the selection takes, in one pass.
func (rd *reading) once(reverse bool) error {
	m, err := rd.sn.newMerge(rd.snap, reverse)
	if err != nil {
		return err
	}
	for !rd.sel.Done() {
		p, e, err := m.next()
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		if rd.take(p, e) {
			if err := rd.show(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// idRange is an unbroken part of a stream's entries, both ends included.
type idRange struct{ first, last entryID }

// twice reads back to find what is chosen, and then forward to yield it in
// append order. Between the passes it holds 32 bytes for each unbroken part of
// what is chosen of a stream.
func (rd *reading) twice() error {
	m, err := rd.sn.newMerge(rd.snap, true)
	if err != nil {
		return err
	}
	chosen := map[*pinned][]idRange{} // newest first
	growing := map[*pinned]bool{}     // whether the entry before belonged to the last part
	for !rd.sel.Done() {
		p, e, err := m.next()
		if errors.Is(err, errEnd) {
			break
		}
		if err != nil {
			return err
		}
		took := rd.take(p, e)
		switch parts := chosen[p]; {
		case took && growing[p]:
			parts[len(parts)-1].first = e.id
		case took:
			chosen[p] = append(parts, idRange{e.id, e.id})
		}
		growing[p] = took
	}
	return rd.yieldChosen(chosen)
}

func (rd *reading) yieldChosen(chosen map[*pinned][]idRange) error {
	m := &merge{sn: rd.sn, snap: rd.snap}
	var cursors []*cursor
	for _, p := range rd.snap.streams {
		if parts := chosen[p]; len(parts) > 0 {
			c := newCursor(p, false, len(chosen))
			c.from, c.to = parts[len(parts)-1].first, parts[0].last
			cursors = append(cursors, c)
		}
	}
	if err := m.start(cursors); err != nil {
		return err
	}
	for {
		p, e, err := m.next()
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		parts := chosen[p]
		for len(parts) > 0 && parts[len(parts)-1].last.compare(e.id) < 0 {
			parts = parts[:len(parts)-1]
		}
		chosen[p] = parts
		if len(parts) == 0 || e.id.compare(parts[len(parts)-1].first) < 0 {
			continue
		}
		// The pass before has judged it already.
		if verdict, _ := rd.judge.entry(&p.key, e, true); verdict != judge.Valid {
			continue
		}
		if err := rd.show(e); err != nil {
			return err
		}
	}
}
