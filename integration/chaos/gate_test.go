package chaos

import (
	"context"
	"sync"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// gate stands before the appender of a store and can be shut, as a disk or a
// server that does not answer.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while the gate is open; nil is open too
	once bool          // it opens as soon as one who waits has given up
}

// shut keeps every append waiting until unlock, or, if once, until the first of
// them has given up.
func (g *gate) shut(once bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open, g.once = make(chan struct{}), once
}

func (g *gate) unlock() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != nil {
		close(g.open)
		g.open = nil
	}
}

// pass waits until the gate is open.
func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	open, once := g.open, g.once
	g.mu.Unlock()
	if open == nil {
		return nil
	}
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		if once {
			g.unlock()
		}
		return context.Cause(ctx)
	}
}

// gated is a store behind a gate.
type gated struct {
	sink.Backend
	gate *gate
}

func (b gated) Appender(ctx context.Context) (sink.Appender, error) {
	a, err := b.Backend.Appender(ctx)
	if err != nil {
		return nil, err
	}
	return gatedAppender{a, b.gate}, nil
}

type gatedAppender struct {
	sink.Appender
	gate *gate
}

func (a gatedAppender) Append(ctx context.Context, b *papyra.Batch) (int, error) {
	if err := a.gate.pass(ctx); err != nil {
		return 0, err
	}
	return a.Appender.Append(ctx, b)
}
