package maintain

import "context"

// Life is the part of a store's life that is the same on every medium: calls
// end when the store is closed, and one act runs at a time. Its methods may be
// called concurrently.
type Life struct {
	ctx    context.Context // ends with Close
	stop   context.CancelCauseFunc
	turn   chan struct{} // holds a token while an act runs
	closed error
}

// NewLife returns the life of a store that is open. closed is what calls on the
// closed store return; it wraps papyra.ErrClosed.
func NewLife(closed error) *Life {
	l := &Life{turn: make(chan struct{}, 1), closed: closed}
	l.ctx, l.stop = context.WithCancelCause(context.Background())
	return l
}

// Closed returns the error of calls on the closed store, or nil while it is open.
func (l *Life) Closed() error {
	if l.ctx.Err() == nil {
		return nil
	}
	return l.closed
}

// ClosedError returns the error of calls on what is closed.
func (l *Life) ClosedError() error { return l.closed }

// Context ends when the store is closed.
func (l *Life) Context() context.Context { return l.ctx }

// Begin begins a call. Its context also ends when the store is closed; the cause
// is then Closed. The caller calls end when the call is over.
func (l *Life) Begin(ctx context.Context) (within context.Context, end context.CancelFunc, err error) {
	if err := l.Closed(); err != nil {
		return nil, nil, err
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	within, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(l.ctx, func() { cancel(l.closed) })
	return within, func() { forget(); cancel(nil) }, nil
}

// takeTurn waits until no other act runs.
func (l *Life) takeTurn(ctx context.Context) (done func(), err error) {
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close ends every running call, lets none begin any more, and returns when no
// act runs. It is safe to call twice.
func (l *Life) Close() {
	l.stop(l.closed)
	l.turn <- struct{}{} // the running act ends by its context
	<-l.turn
}
