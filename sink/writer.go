package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/throttle"
)

const (
	// linger is how long a small batch waits for more: light load then means
	// few writes and still a few milliseconds from the wire to the store.
	linger = 2 * time.Millisecond
	// eagerBytes is how large a batch must be to be written without waiting.
	eagerBytes = 256 << 10

	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// writer appends batches to the store. Its goroutine is the only user of the
// appender.
type writer struct {
	s        *Sink
	appender Appender

	stop chan struct{} // closed when nothing more comes in
	lost chan struct{} // closed when the store can take nothing more, ever
	done chan struct{} // closed after the last side effect
	err  error         // valid after done

	out     *block // the one being written; nil if none is
	dirty   bool   // something was stored since the last good sync
	own     bool   // a report of the sink was stored
	named   bool   // Sink.identified is closed
	failed  error  // why lost is closed
	backoff time.Duration
	retry   *time.Timer // runs after a failed append
	waiting bool        // for retry
	logged  throttle.Single
	dropLog throttle.Single
	// How long the last batch took that was stored, and the last good sync.
	appendTook, syncTook time.Duration
	dropped              uint64 // sink_full that were logged
	files                *fileWatch
}

func newWriter(s *Sink, a Appender) *writer {
	w := &writer{
		s: s, appender: a,
		stop: make(chan struct{}), lost: make(chan struct{}), done: make(chan struct{}),
		retry: time.NewTimer(time.Hour), logged: throttle.Single{Every: logEvery}, dropLog: throttle.Single{Every: logEvery},
		files: newFileWatch(a),
	}
	w.retry.Stop()
	return w
}

// run appends until stop is closed, then what is left, and closes the store.
// When ctx ends the store has no more time.
func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	defer w.retry.Stop()
	syncs := time.NewTicker(w.s.config.SyncEvery)
	defer syncs.Stop()
	reports := time.NewTicker(w.s.config.ReportEvery)
	defer reports.Stop()

	for running := true; running; {
		select {
		case <-w.stop:
			running = false
		case <-w.s.wake:
			if !w.waiting {
				w.linger()
				w.flush(ctx)
			}
		case <-w.retry.C:
			w.waiting = false
			w.flush(ctx)
		case <-syncs.C:
			w.sync(ctx)
			w.files.look(w.s, false)
			w.logDrops()
		case <-reports.C:
			w.s.report("running")
		}
		if w.failed != nil {
			<-w.stop
			running = false
		}
	}
	w.err = w.finish(ctx)
}

// linger waits for more lines when there are few. The intake wakes the writer
// again when they are many.
func (w *writer) linger() {
	w.s.mu.Lock()
	few := w.s.backlog.size < eagerBytes
	w.s.mu.Unlock()
	if !few {
		return
	}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.s.wake:
	case <-w.stop:
	}
}

// flush appends until nothing is left or an append fails.
func (w *writer) flush(ctx context.Context) {
	for w.failed == nil && w.next() {
		if err := w.append(ctx); err != nil {
			w.fail(err)
			return
		}
	}
}

// next makes out the block to write: the rest of the last one, or else the
// oldest that waits. It reports whether there is any.
func (w *writer) next() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.out != nil && w.out.batch.Len() == 0 {
		s.backlog.recycle(w.out)
		w.out = nil
	}
	if w.out == nil {
		w.out = s.backlog.pop()
	}
	s.countWritten(w.out)
	return w.out != nil
}

// countWritten is called with mu held, by the writer.
func (s *Sink) countWritten(b *block) {
	s.writing = written{}
	if b != nil {
		s.writing = written{lines: b.lines(), own: len(b.own), size: b.size()}
	}
}

// append hands out to the store and takes away what it stored.
func (w *writer) append(ctx context.Context) error {
	w.s.asks(w.appendTook)
	n, err := w.appender.Append(ctx, &w.out.batch)
	n = min(max(n, 0), w.out.batch.Len())
	if err == nil && n < w.out.batch.Len() {
		err = fmt.Errorf("the store took %d of %d lines and names no reason", n, w.out.batch.Len())
	}
	own, size := w.out.ownWithin(n), w.out.batch.End(n)
	w.out.dropFirst(n)
	w.dirty = w.dirty || n > 0
	w.own = w.own || own > 0

	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	took := s.answered()
	s.stats.Stored += uint64(n - own)
	s.stats.StoredBytes += uint64(size)
	s.countWritten(w.out)
	recovered := err == nil && s.appendErr != nil
	if s.appendErr = err; err != nil {
		s.stats.AppendErrors[CauseOf(err)]++
	}
	if recovered {
		s.log.Info("the store takes records again")
	}
	if err == nil {
		w.backoff = 0
		s.workedAt, w.appendTook = time.Now(), took
	}
	return err
}

// fail decides what a failed append means: the end when the store is no longer
// ours, otherwise another try after a while.
func (w *writer) fail(err error) {
	if errors.Is(err, papyra.ErrForeignWriter) || errors.Is(err, papyra.ErrClosed) {
		w.s.log.Error("the store is lost: stopping", "error", err)
		w.failed = err
		close(w.lost)
		return
	}
	w.backoff = min(max(2*w.backoff, firstRetry), lastRetry)
	wait := w.backoff/2 + rand.N(w.backoff/2+1)
	if n, ok := w.logged.Allow(); ok {
		w.s.mu.Lock()
		lines, size := w.s.pending()
		w.s.mu.Unlock()
		w.s.log.Error("the store takes no records: keeping them and trying again", "cause", string(CauseOf(err)), "error", err,
			"pending", lines, "pending_bytes", size, "again_in", wait.Round(time.Millisecond).String(), "suppressed", n)
	}
	w.retry.Reset(wait)
	w.waiting = true
}

// logDrops says now and then that the buffer is full; the reports have the exact
// account.
func (w *writer) logDrops() {
	w.s.mu.Lock()
	dropped := w.s.stats.Dropped[papyra.DropSinkFull]
	w.s.mu.Unlock()
	if dropped == w.dropped {
		return
	}
	if _, ok := w.dropLog.Allow(); ok {
		w.s.log.Warn("the buffer is full: records are dropped and counted; the store is slower than they come",
			"dropped", dropped-w.dropped, "buffer_bytes", w.s.config.BufferBytes)
		w.dropped = dropped
	}
}

func (w *writer) sync(ctx context.Context) {
	s := w.s
	s.mu.Lock()
	failing := s.syncErr != nil
	s.mu.Unlock()
	if !w.dirty && !failing {
		return
	}
	s.asks(w.syncTook)
	err := w.appender.Sync(ctx)
	w.dirty = err != nil
	if w.own && err == nil && !w.named {
		w.named = true
		close(s.identified)
	}
	s.mu.Lock()
	took := s.answered()
	if s.syncErr = err; err != nil {
		s.stats.SyncErrors++
	} else {
		s.workedAt, w.syncTook = time.Now(), took
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		if n, ok := w.logged.Allow(); ok {
			s.log.Error("the store cannot make records durable: trying again", "cause", string(CauseOf(err)), "error", err, "suppressed", n)
		}
	case failing:
		s.log.Info("the store makes records durable again")
	}
}

// finish appends what is left while there is time, counts what remains, leaves
// the last report, and closes the store.
func (w *writer) finish(ctx context.Context) error {
	w.drain(ctx)
	cause := w.failed
	if cause == nil {
		w.s.mu.Lock()
		cause = w.s.appendErr
		w.s.mu.Unlock()
	}
	left := w.abandon()
	w.s.report("stopped")
	if left == 0 {
		w.drain(ctx)
	}
	if ctx.Err() != nil {
		// The store had its time; the report and a sync may still fit in. What they
		// come to is no cancellation: the records that are left decide.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeGrace/2)
		defer cancel()
		ctx = grace
	}
	if left > 0 && w.failed == nil && w.next() {
		_ = w.append(ctx)
	}

	var err error
	if left > 0 {
		err = fmt.Errorf("%w: %d records were dropped when the time to stop was over: %v", ErrNotStored, left, cause) //nolint:errorlint // the cause must not decide the kind of the error
	}
	if w.failed != nil {
		err = errors.Join(fmt.Errorf("append to the store: %w", w.failed), err)
	}
	if serr := w.appender.Sync(ctx); serr != nil && w.failed == nil {
		err = errors.Join(err, fmt.Errorf("sync the store: %w", serr))
	}
	if cerr := w.appender.Close(); cerr != nil && w.failed == nil {
		err = errors.Join(err, fmt.Errorf("close the store: %w", cerr))
	}
	w.files.look(w.s, true)
	return err
}

// drain appends what is buffered, trying again until ctx ends.
func (w *writer) drain(ctx context.Context) {
	w.backoff, w.waiting = 0, false
	for {
		w.flush(ctx)
		if w.failed != nil || !w.waiting {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-w.retry.C:
			w.waiting = false
		}
	}
}

// abandon counts every line from the wire that is still buffered as
// sink_stopped and returns how many that were. The sink's own reports stay: they
// tell of earlier drops. From now on nothing else goes into the buffer.
func (w *writer) abandon() (left int) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var rec papyra.Record
	var reports [][]byte
	waiting := s.backlog.blocks
	if w.out != nil {
		waiting = append([]*block{w.out}, waiting...)
	}
	s.backlog, w.out = backlog{}, nil
	for _, b := range waiting {
		left += b.lines()
		own := b.own
		for i := range b.batch.Len() {
			l, stream := b.batch.Line(i)
			if len(own) > 0 && own[0] == i {
				own = own[1:]
				reports = append(reports, bytes.Clone(l))
				continue
			}
			if err := papyra.ParseInto(&rec, l); err != nil {
				rec = papyra.Record{} // it was checked: only its number is unknown
			}
			s.drop(papyra.DropSinkStopped, stream, rec.Run, rec.Seq)
		}
	}
	for _, l := range reports {
		s.backlog.addOwn(l)
	}
	s.countWritten(nil)
	return left
}
