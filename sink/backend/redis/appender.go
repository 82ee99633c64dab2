package redis

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
)

const (
	// idleFrom is how long a connection must be idle before the server may have
	// closed it for that: the shortest time that one can be told.
	idleFrom = time.Second
	// idleTries is how many closed connections an Append may meet: those of the
	// client's pool for pipelines, and one of the other pool.
	idleTries = 3
)

// closedByServer reports whether err says that the other side has closed the
// connection.
func closedByServer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Appender appends records to a Store. It does not keep others away: any number
// of processes may append to the same streams. Its methods are not safe for
// concurrent use, but Close is.
//
// After an error Append must be given the lines that it did not report as stored
// again, those of a stream in the same order; others of the stream may follow them.
// It then stores none twice, though some behind the reported ones may be stored
// already.
//
// The refusal of one stream, for what stands under its key or a permission on that,
// is a papyra.RefusedError: the others are stored. In a cluster every failure is of
// that kind, since each part of the cluster is a server of its own.
type Appender struct {
	s      *Store
	client goredis.UniversalClient
	script string // appendScript, perhaps beyondMemory
	digest string // of script
	id     string
	seed   maphash.Seed

	mu      sync.Mutex // guards what follows
	closed  bool
	trip    int       // bytes that are sent before the answers are read
	used    time.Time // when the connections were used last
	streams map[papyra.Stream]*streamState
	order   []*streamState // those of which the batch has lines, by their first lines
	stored  []bool         // by line of the batch

	counts struct{ resent, fenced, rolledBack atomic.Int64 } // chunks
}

// Appender opens the store for writing and makes it if it does not exist. A
// second appender of the same Store: papyra.ErrBusy. Those of other Stores and
// processes are welcome.
func (s *Store) Appender(ctx context.Context) (papyra.Appender, error) {
	sn, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := s.newAppender(appendScript)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	busy := s.appender != nil
	if !busy {
		s.appender = a
	}
	s.mu.Unlock()
	if busy {
		return nil, &papyra.StoreError{Op: "open for writing", Path: s.URL(), Offset: -1, Err: papyra.ErrBusy}
	}
	if err := sn.makeStore(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// newAppender returns an appender that stores by a script, which is appendScript
// or that with beyondMemory.
func (s *Store) newAppender(script string) (*Appender, error) {
	_, writer, err := s.clients()
	if err != nil {
		return nil, err
	}
	return &Appender{
		s: s, client: writer, script: script, digest: goredis.NewScript(script).Hash(), id: randomID(), seed: maphash.MakeSeed(),
		streams: map[papyra.Stream]*streamState{}, trip: tripBytes, used: time.Now(),
	}, nil
}

// Stats returns the counts so far. It may be called concurrently with the other
// methods, and after Close.
func (a *Appender) Stats() papyra.AppendStats {
	return papyra.AppendStats{
		Resent: a.counts.resent.Load(), Fenced: a.counts.fenced.Load(), RolledBack: a.counts.rolledBack.Load(),
	}
}

// Append stores the lines of b, those of a stream in their order, and returns
// how many of them, from the first, are stored.
func (a *Appender) Append(ctx context.Context, b *papyra.Batch) (stored int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return 0, a.s.life.ClosedError()
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	// A connection that nobody used may have been closed by the server, which has a
	// right to that. The client finds it out for itself where there is no TLS;
	// otherwise the first use does. That is no trouble of the store's.
	tries := 0
	if time.Since(a.used) > idleFrom {
		tries = idleTries
	}
	for ; ; tries-- {
		a.groupLines(b)
		trip := a.trip
		doubt := a.settleDoubts(ctx)
		chunks := a.planChunks(b, min(chunkBytes, a.trip))
		if err = a.sendChunks(ctx, b, chunks); err == nil {
			err = doubt
		}
		if tries > 0 && a.closedByServer(err) {
			a.trip = trip // it was not too large
			a.holdFrom(b, chunks, 0)
			continue
		}
		a.used = time.Now()
		if err != nil {
			return a.settleChunks(b, chunks), err
		}
		return a.settleStreams(b, chunks)
	}
}

// closedByServer reports whether a server has closed a connection: that to all of
// the store, or that to a part of it.
func (a *Appender) closedByServer(err error) bool {
	return closedByServer(err) || slices.ContainsFunc(a.order, func(l *streamState) bool { return closedByServer(l.err) })
}

// Sync does nothing: what Append reported as stored is as durable as the
// server's own settings make it ([Store.Warnings] looks at them).
func (a *Appender) Sync(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return a.s.life.ClosedError()
	}
	return ctx.Err()
}

// Close lets the Store's next appender in. It is safe to call twice.
func (a *Appender) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	a.expireFences()
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.appender == a {
		a.s.appender = nil
	}
	return nil
}

// expireFences lets the fences expire soon. Where that fails they expire later.
func (a *Appender) expireFences() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	pipe := a.client.Pipeline()
	for _, l := range a.streams {
		if l.acked > 0 {
			pipe.PExpire(ctx, l.fence, closedTTL)
		}
	}
	_, _ = pipe.Exec(ctx)
}
