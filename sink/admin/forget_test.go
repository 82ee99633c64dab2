package admin

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend/memory"
)

// forgetful is a sink that expects others.
type forgetful struct {
	fakeWorker
	mu        *sync.Mutex
	expects   map[string]bool
	announced *[]papyra.ActRequested
}

func (w forgetful) Expects() (list []sink.Expected) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.expects {
		list = append(list, sink.Expected{Peer: papyra.Peer{Instance: name}})
	}
	return list
}

func (w forgetful) Forget(instance string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.expects[instance]
	delete(w.expects, instance)
	return was
}

func (w forgetful) Announce(_ context.Context, r *papyra.Report) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	*w.announced = append(*w.announced, r.Payload.(papyra.ActRequested))
	if !w.expects["gone"] {
		return errors.New("the act came before the note of it")
	}
	return nil
}

// A sink that is forgotten is one that was expected; it is written down before, and not
// of a dry run.
func TestForgetIsWrittenDown(t *testing.T) {
	store := memory.New(nil).Open()
	s := NewServer(store, Config{NoSocket: true})
	var requests []papyra.ActRequested
	w := forgetful{fakeWorker{store}, &sync.Mutex{}, map[string]bool{"gone": true}, &requests}
	defer serveAs(t, s, w)()
	ctx := t.Context()
	through, err := openThrough(ctx, &directDoor{s, maxFrame}, VerbInspect, "tester", "", false)
	if err != nil {
		t.Fatal(err)
	}
	if was, err := through.Forget(ctx, "gone", true); err != nil || !was || len(requests) != 0 || !w.expects["gone"] {
		t.Errorf("a dry run: %v, %v; written down: %v", was, err, requests)
	}
	if was, err := through.Forget(ctx, "another", true); err != nil || was {
		t.Errorf("a dry run of one that is not expected: %v, %v", was, err)
	}
	if was, err := through.Forget(ctx, "gone", false); err != nil || !was || w.expects["gone"] {
		t.Errorf("forget: %v, %v", was, err)
	}
	if len(requests) != 1 || requests[0].Verb != VerbForget || !json.Valid(requests[0].Arguments) || requests[0].By != "tester" {
		t.Errorf("written down: %+v", requests)
	}
	if _, err := through.Forget(ctx, "a b", true); !errors.Is(err, papyra.ErrUsage) {
		t.Errorf("a name that is none: %v, want papyra.ErrUsage", err)
	}
}
