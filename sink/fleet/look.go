package fleet

import (
	"context"
	"sync"

	"github.com/papyra/papyra/sink/admin"
)

// maxAsked bounds the sinks that are asked at a time.
const maxAsked = 32

// Look finds the sinks that ought to be there and asks them. What it fails with is that
// of [admin.Fleet.Find]: one sink that cannot be asked is a row.
func Look(ctx context.Context, f *admin.Fleet, want admin.Find) ([]Answer, error) {
	want.Every, want.Verb = true, admin.VerbInspect
	members, err := f.Find(ctx, want)
	if err != nil {
		return nil, err
	}
	answers := make([]Answer, len(members))
	var asking sync.WaitGroup
	free := make(chan struct{}, maxAsked)
	for i := range members {
		m, a := &members[i], &answers[i]
		*a = Answer{Group: m.Group, Instance: m.Instance, Known: m.Known, Err: m.Err}
		through, ok := m.Store.(*admin.Store)
		if !ok {
			continue
		}
		a.Health, a.store = through.Health(), through
		free <- struct{}{}
		asking.Add(1)
		go func() {
			defer asking.Done()
			defer func() { <-free }()
			a.Stats, a.Err = through.Stats(ctx)
		}()
	}
	asking.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return answers, nil
}
