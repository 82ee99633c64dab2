package fileset

import (
	"context"
	"sync"
	"sync/atomic"
)

// inOrder lets several workers work on pieces 0 to pieces-1 at the same time, and
// calls take with each result in the order of the pieces, from the goroutine of
// the caller. At most four results for each worker wait for an earlier one, which
// bounds the memory.
//
// start makes one worker, in its own goroutine; work gets the numbers of pieces,
// rising. The context that start gets ends with ctx and when inOrder returns.
//
// It returns after all workers have ended: nil when take has had every result,
// otherwise the cause of ctx.
func inOrder[R any](ctx context.Context, pieces, workers int, start func(ctx context.Context, worker int) (work func(piece int) R), take func(R)) error {
	type result struct {
		piece int
		value R
	}
	var (
		running sync.WaitGroup
		begun   atomic.Int64
		places  = make(chan struct{}, 4*workers) // one is taken for each piece until take has its result
		results = make(chan result)
	)
	ctx, cancel := context.WithCancel(ctx)
	defer running.Wait()
	defer cancel()
	for w := range workers {
		running.Go(func() {
			work := start(ctx, w)
			for {
				select {
				case places <- struct{}{}: // before the piece is chosen: so the earliest piece always has a place
				case <-ctx.Done():
					return
				}
				piece := int(begun.Add(1)) - 1
				if piece >= pieces {
					return
				}
				select {
				case results <- result{piece, work(piece)}:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	early := map[int]R{} // results that wait for an earlier one
	for next := 0; next < pieces; {
		select {
		case r := <-results:
			early[r.piece] = r.value
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for value, here := early[next]; here; value, here = early[next] {
			delete(early, next)
			<-places
			take(value)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			next++
		}
	}
	return nil
}
