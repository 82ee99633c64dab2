package admin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/papyra/papyra"
)

// absent is the store of a sink that cannot be asked: everything fails.
type absent struct {
	name string
	err  error
}

// absentStore returns a store that fails with err, and with papyra.ErrIncomplete where
// nobody answers.
func absentStore(name string, err error) papyra.Store {
	if errors.Is(err, ErrSilent) && !errors.Is(err, papyra.ErrIncomplete) {
		err = fmt.Errorf("%w: %w", err, papyra.ErrIncomplete)
	}
	return &absent{name, err}
}

func (a *absent) URL() string           { return a.name }
func (a *absent) Traits() papyra.Traits { return papyra.Traits{} }
func (a *absent) RejectFile() string    { return "" }
func (a *absent) Close() error          { return nil }

func (a *absent) Read(context.Context, papyra.Query, func(*papyra.Record, papyra.Place) error) (int64, error) {
	return 0, a.err
}

func (a *absent) Appender(context.Context) (papyra.Appender, error) { return nil, a.err }

func (a *absent) Warnings(context.Context, papyra.Retention) ([]string, error) { return nil, a.err }

func (a *absent) Groups(context.Context) ([]papyra.ConsumerGroup, error) { return nil, a.err }

func (a *absent) Examine(context.Context) []papyra.Check {
	return []papyra.Check{{Name: "sink", Status: papyra.StatusFail, Finding: a.err.Error(), Hint: "see to this sink: is it running, and is its broker this one?"}}
}

func (a *absent) Scan(context.Context, papyra.ScanOptions) (*papyra.ScanReport, error) {
	return nil, a.err
}

func (a *absent) Recover(context.Context, papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	return nil, a.err
}

func (a *absent) Compact(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
	return nil, a.err
}

func (a *absent) Rejects(context.Context, io.Writer) error { return a.err }
