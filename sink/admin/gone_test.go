package admin

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/memory"
)

// unreadable is a store that cannot be read for a while.
type unreadable struct {
	papyra.Store
	down atomic.Bool
	part atomic.Bool // what there is can be read, and not all may be there
}

func (s *unreadable) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (int64, error) {
	if s.down.Load() {
		return 0, papyra.ErrUnavailable
	}
	n, err := s.Store.Read(ctx, q, yield)
	if s.part.Load() {
		err = papyra.ErrIncomplete
	}
	return n, err
}

// While nobody can read which acts were asked for before a restart, none runs that may
// be one of them; what can be read later counts then.
func TestRepeatedActWhenTheStoreCannotBeRead(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		runs := 0
		store := &unreadable{Store: m.Open()}
		w := &notingWorker{}
		w.store = &actStore{store, func(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
			runs++
			return &papyra.CompactReport{}, nil
		}}
		ask := func(s *Server, job, kind string) *frame {
			x := talkTo(t, s, &request{Verb: VerbCompact, Job: job, Args: json.RawMessage(compactArguments)})
			defer x.close()
			return hear(t, x, kind)
		}
		s, stop := serveWorker(t, w)
		ask(s, "job1", frameResult)
		stop()
		s, stop = serveWorker(t, w)
		store.down.Store(true)
		if err := ask(s, "job1", frameError).Error.err(); !errors.Is(err, papyra.ErrUnavailable) {
			t.Errorf("asked for again: %v, want ErrUnavailable", err)
		}
		if _, err := storeOf(t, s).Result(t.Context(), "job0"); !errors.Is(err, papyra.ErrUnavailable) {
			t.Errorf("what became of another: %v, want ErrUnavailable", err)
		}
		stop()
		s, stop = serveWorker(t, w)
		defer stop()
		ask(s, "job2", frameError)
		store.down.Store(false)
		store.part.Store(true)
		ask(s, "job4", frameResult)
		if err := ask(s, "job1", frameError).Error.err(); !errors.Is(err, ErrGone) {
			t.Errorf("asked for again when a part can be read: %v, want ErrGone", err)
		}
		store.part.Store(false)
		if err := ask(s, "job1", frameError).Error.err(); !errors.Is(err, ErrGone) {
			t.Errorf("asked for again when the store can be read: %v, want ErrGone", err)
		}
		if runs != 2 {
			t.Errorf("it ran %d times", runs)
		}
		ask(s, "job3", frameResult)
	})
}
