package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/papyra/papyra"
)

// ErrAnswers says that a sink that is to be forgotten answers.
var ErrAnswers = errors.New("the sink answers: a sink that is stopped as usual is not expected any more")

// Forgotten is one sink that was asked to forget another.
type Forgotten struct {
	Group    string `json:"group"`
	Instance string `json:"instance"` // which was asked
	Error    string `json:"error,omitempty"`
	Err      error  `json:"-"`
}

// Forget asks every sink that expects the one of a name, of one group, to expect it no
// more. Each writes down in its store who asked, unless it is a dry run. A sink that
// cannot do it is among those that are returned, with its error. Where no sink expects
// it: papyra.ErrNotFound. Where sinks of several groups do: papyra.ErrUsage.
func Forget(ctx context.Context, answers []Answer, instance string, dryRun bool) ([]Forgotten, error) {
	list := []Forgotten{}
	var asked []*Answer
	for i := range answers {
		a := &answers[i]
		if a.Instance == instance && a.Health != nil && a.Err == nil {
			return nil, fmt.Errorf("%s of group %s: %w", instance, a.Group, ErrAnswers)
		}
		if a.store == nil {
			continue
		}
		for _, e := range a.Health.Expects {
			if e.Instance == instance {
				asked = append(asked, a)
			}
		}
	}
	for _, a := range asked {
		if a.Group != asked[0].Group {
			return nil, fmt.Errorf("%w: groups %s and %s both expect a sink %s: give --group", papyra.ErrUsage, asked[0].Group, a.Group, instance)
		}
	}
	for _, a := range asked {
		f := Forgotten{Group: a.Group, Instance: a.Instance}
		if _, err := a.store.Forget(ctx, instance, dryRun); err != nil {
			f.Err, f.Error = err, err.Error()
		}
		list = append(list, f)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no sink expects %s: %w", instance, papyra.ErrNotFound)
	}
	return list, nil
}
