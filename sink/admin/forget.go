package admin

import (
	"context"
	"fmt"

	"github.com/papyra/papyra"
)

// forgetArgs are the arguments of VerbForget.
type forgetArgs struct {
	Instance string `json:"instance"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// forgetResult says whether the sink was expected.
type forgetResult struct {
	Expected bool `json:"expected"`
}

func (w *work) forget(context.Context) (any, error) {
	a, err := arguments[forgetArgs](w)
	if err == nil {
		if err = papyra.CheckName("instance", a.Instance); err != nil {
			err = fmt.Errorf("%w: %w", papyra.ErrUsage, err)
		}
	}
	if err != nil {
		return nil, err
	}
	if !a.DryRun {
		return &forgetResult{w.sink.Forget(a.Instance)}, nil
	}
	for _, e := range w.sink.Expects() {
		if e.Instance == a.Instance {
			return &forgetResult{true}, nil
		}
	}
	return &forgetResult{}, nil
}

// Forget lets the sink expect another one of its group no more, until that one says
// again that it is there, and reports whether it did. Who asked is written down in the
// store, unless it is a dry run.
func (s *Store) Forget(ctx context.Context, instance string, dryRun bool) (expected bool, err error) {
	r, err := askFor[forgetResult](ctx, s, &asking{act: !dryRun}, VerbForget, &forgetArgs{instance, dryRun})
	return r != nil && r.Expected, err
}
