package memory

import (
	"bytes"
	"context"
	"fmt"

	"github.com/papyra/papyra"
)

// QuarantineActs returns what recoveries of this memory have moved away; see
// [papyra.QuarantineReader].
func (s *Store) QuarantineActs(ctx context.Context, dir string) ([]papyra.QuarantineAct, error) {
	var acts []papyra.QuarantineAct
	err := s.eachQuarantined(ctx, dir, func(q *Quarantined) error {
		if n := len(acts); n == 0 || acts[n-1].ID != q.Act {
			acts = append(acts, papyra.QuarantineAct{ID: q.Act, Place: s.quarantine(q.Act), Complete: true, Counts: map[papyra.Class]int64{}})
		}
		act := &acts[len(acts)-1]
		act.Pieces++
		act.Bytes += int64(len(q.Bytes))
		act.Counts[q.Class]++
		return nil
	})
	return acts, err
}

// QuarantinePieces visits the pieces of an act; see [papyra.QuarantineReader].
func (s *Store) QuarantinePieces(ctx context.Context, dir, act string, yield func(*papyra.QuarantinePiece) error) error {
	found := false
	err := s.eachQuarantined(ctx, dir, func(q *Quarantined) error {
		if q.Act != act {
			return nil
		}
		found = true
		return yield(&papyra.QuarantinePiece{
			Anomaly: papyra.Anomaly{Class: q.Class, ID: q.ID, Length: int64(len(q.Bytes))}, Content: bytes.NewReader(q.Bytes),
		})
	})
	if err == nil && !found {
		return fmt.Errorf("read quarantine act %q: %w", act, papyra.ErrNotFound)
	}
	return err
}

// eachQuarantined calls visit with what was moved away, in that order.
func (s *Store) eachQuarantined(ctx context.Context, dir string, visit func(*Quarantined) error) error {
	if dir != "" {
		return errNoDirectory
	}
	ctx, end, err := s.life.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	saved := s.m.Quarantined()
	for i := range saved {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := visit(&saved[i]); err != nil {
			return err
		}
	}
	return nil
}

// quarantine names an act in the memory.
func (s *Store) quarantine(act string) string { return s.URL() + "quarantine/" + act }

var errNoDirectory = fmt.Errorf("a memory keeps its quarantine in itself, give no directory: %w", papyra.ErrUsage)
