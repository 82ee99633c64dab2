package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
)

// Admin answers whoever asks a running sink for work on its store. Its methods may be
// called concurrently.
type Admin interface {
	// Serve answers until ctx ends, and then ends what it has begun: an act comes to
	// the end of its step. Run calls it once, when the sink holds its store, and lets
	// the store go only after it has returned, or after a third of Config.StopTimeout.
	Serve(ctx context.Context, s *Sink)
	// Register adds what it answers over NATS to the announcement of the sink, whose
	// connection is nc. It is called each time the sink announces itself anew, perhaps
	// before Serve has begun.
	Register(announced micro.Service, nc *nats.Conn) error
}

// serveAdmin runs Config.Admin, if there is one, until ctx ends or end is called,
// which waits for it. end may be called twice.
func (s *Sink) serveAdmin(ctx context.Context) (end func()) {
	if s.config.Admin == nil {
		return func() {}
	}
	serving, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.config.Admin.Serve(serving, s)
	}()
	return func() {
		stop()
		waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.StopTimeout/3)
		defer cancel()
		select {
		case <-done:
		case <-waiting.Done():
			s.log.Warn("an act on the store does not end: stopping without it")
		}
	}
}

// announcement is a report that is to be stored at once.
type announcement struct {
	line []byte
	done chan error // one slot
}

// Announce appends a report of the pipeline itself to the store and makes it durable,
// ahead of everything that waits in the buffer: so it works also while the store
// refuses what is larger. The report has a run of its own; after an error it is not
// stored, as far as the store can tell. It fails with papyra.ErrClosed while the sink
// does not hold its store, and ctx bounds how long it waits for a store that does not
// answer.
func (s *Sink) Announce(ctx context.Context, r *papyra.Report) error {
	w := s.writer.Load()
	if w == nil {
		return fmt.Errorf("announce: %w", papyra.ErrClosed)
	}
	line, err := papyra.SealedReport(papyra.NewIdentity(s.config.Instance), papyra.SystemReserved, 1, r, s.config.Now())
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	a := &announcement{line: line[:len(line)-1], done: make(chan error, 1)}
	select {
	case w.announcing <- a:
	case <-w.stop:
		return fmt.Errorf("announce: the sink is stopping: %w", papyra.ErrClosed)
	case <-w.lost:
		return fmt.Errorf("announce: the store is lost: %w", papyra.ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("announce: the store does not answer: %w", papyra.ErrUnavailable)
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("announce: the store does not answer: %w", papyra.ErrUnavailable)
	}
}

// announce appends one line and syncs.
func (w *writer) announce(ctx context.Context, line []byte) error {
	var b papyra.Batch
	b.Append(b.StreamIndex(papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport}), line)
	if _, err := w.appender.Append(ctx, &b); err != nil {
		return fmt.Errorf("announce: append to the store: %w", err)
	}
	w.reported, w.dirty = true, true
	if err := w.appender.Sync(ctx); err != nil {
		return fmt.Errorf("announce: sync the store: %w", err)
	}
	return nil
}

// StoreID returns the id that the store got when it was made; "" before Run has opened
// it.
func (s *Sink) StoreID() string {
	if s.writer.Load() == nil {
		return ""
	}
	return s.reporter.store
}

// Expects returns the other sinks of the group, by instance, that the sink has heard
// of since its start and that have not said since that they stop.
func (s *Sink) Expects() []Expected { return s.peers.expectedSinks() }

// Forget ends that another sink of the group is expected, until it says again that it is
// there, and reports whether it was. Its store is not forgotten: it holds records.
func (s *Sink) Forget(instance string) bool { return s.peers.forgetSink(instance) }

// Expected is another sink of the group that ought to be there.
type Expected struct {
	papyra.Peer
	Heard time.Time // when it last said that it is there; about once in Config.PeersEvery
}
