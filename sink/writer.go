package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/throttle"
	"github.com/papyra/papyra/sink/spool"
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

// writer appends blocks of the buffer to the store. Its goroutine is the only
// user of the appender, and of the reporter while it runs.
//
//	state      what it does                    what ends it
//	idle       waits                           the buffer wakes it: appending
//	appending  appends block after block       nothing is left: idle
//	           sets refused streams aside      an append fails: waiting
//	                                           the store is not ours any more: lost
//	waiting    keeps the lines in the buffer   the backoff is over (up to 50 ms, then
//	                                           longer, up to 5 s): appending
//	lost       waits for stop
//
// While idle and waiting it syncs and reports at their times; while idle it also
// tries the streams again that were set aside. In each state it goes on with finish
// when stop is closed.
type writer struct {
	config   *Config
	log      *slog.Logger
	buffer   *buffer
	drops    *dropLedger
	health   *health
	reporter *reporter
	events   *appendEvents
	service  *service
	spool    *spool.Spool // the appender, if it is one; otherwise nil
	appender Appender
	lag      lagProbe

	announcing chan *announcement
	stop       chan struct{} // closed when nothing more comes in
	lost       chan struct{} // closed when the store can take nothing more, ever
	identified chan struct{} // closed when the store durably holds a report that names it
	done       chan struct{} // closed after the last side effect
	err        error         // valid after done

	out      *block // the one being written; nil if none is
	dirty    bool   // something was stored since the last good sync
	reported bool   // a report of the sink was stored
	named    bool   // identified is closed
	failed   error  // why lost is closed

	backoff time.Duration
	retry   *time.Timer // runs after a failed append
	waiting bool        // for retry

	round        int           // of tries of what is set aside
	asideBackoff time.Duration // 0 when nothing is set aside
	asideRetry   *time.Timer   // runs while something is set aside
	try          block         // what is tried again

	// How long the last append took that worked, and the last such sync.
	appendTook, syncTook time.Duration

	troubleLog throttle.Single
	dropLog    throttle.Single
	asideLog   throttle.Single
	dropped    uint64 // sink_full that were logged
}

func newWriter(s *Sink, a Appender) *writer {
	w := &writer{
		config: &s.config, log: s.log, buffer: s.buffer, drops: s.drops, health: s.health, reporter: s.reporter, events: s.events,
		service: s.service, spool: s.spool.Load(), appender: a, announcing: make(chan *announcement),
		stop: make(chan struct{}), lost: make(chan struct{}), identified: make(chan struct{}), done: make(chan struct{}),
		lag:   lagProbe{meter: s.lag},
		retry: time.NewTimer(time.Hour), asideRetry: time.NewTimer(time.Hour),
		troubleLog: throttle.Single{Every: logEvery}, dropLog: throttle.Single{Every: logEvery}, asideLog: throttle.Single{Every: logEvery},
	}
	w.retry.Stop()
	w.asideRetry.Stop()
	s.reporter.forgotten = func() int64 {
		stats := a.Stats()
		return stats.RolledBack + stats.Truncated
	}
	return w
}

// run appends until stop is closed, then what is left, and closes the store.
// When ctx ends the store has no more time.
func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	defer w.retry.Stop()
	defer w.asideRetry.Stop()
	syncs := time.NewTicker(w.config.SyncEvery)
	defer syncs.Stop()
	reports := time.NewTicker(w.config.ReportEvery)
	defer reports.Stop()

	for running := true; running; {
		select {
		case <-w.stop:
			running = false
		case <-w.buffer.wake:
			if !w.waiting {
				w.waitForMore()
				w.appendBuffered(ctx)
			}
		case <-w.retry.C:
			w.waiting = false
			w.appendBuffered(ctx)
		case <-w.asideRetry.C:
			w.retryAside(ctx)
		case a := <-w.announcing:
			a.done <- w.announce(ctx, a.line)
		case <-syncs.C:
			w.syncStore(ctx)
			w.events.logChanges(w.appender.Stats(), false)
			w.reporter.reportForgotten()
			w.reporter.reportSpoolDamage()
			w.logDrops()
		case <-reports.C:
			w.reporter.addSinkReport(reportRunning)
		}
		if w.failed != nil {
			<-w.stop
			running = false
		}
	}
	w.err = w.finish(ctx)
}

// waitForMore waits for more lines when there are few. The buffer wakes the
// writer again when they are many.
func (w *writer) waitForMore() {
	if !w.buffer.isSmall() {
		return
	}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.buffer.wake:
	case <-w.stop:
	}
}

// appendBuffered appends until nothing is left or an append fails.
func (w *writer) appendBuffered(ctx context.Context) {
	for w.failed == nil && w.nextBlock() {
		if err := w.appendBlock(ctx); err != nil {
			w.appendFailed(err)
			return
		}
	}
}

// nextBlock makes out the block to write and reports whether there is any.
func (w *writer) nextBlock() bool {
	for {
		var dropped *block
		w.out, dropped = w.buffer.nextBlock(w.out)
		w.noteDropped(w.buffer.dropReason(), dropped)
		if w.out == nil || w.out.batch.Len() > 0 {
			return w.out != nil
		}
	}
}

// appendBlock hands out to the store and takes away what it stored.
func (w *writer) appendBlock(ctx context.Context) error {
	before := w.out.counts()
	gone, took, err := w.appendLines(ctx, w.out)
	w.buffer.addStored(before.lines-w.out.counts().lines, before.size-w.out.size(), w.out, gone)
	if refused := refusedOf(err); refused != nil {
		w.setAside(refused)
		return nil
	}
	if err == nil {
		w.backoff, w.appendTook = 0, took
	}
	return err
}

// appendLines hands lines to the store and takes away what it stored; gone says which
// these are.
func (w *writer) appendLines(ctx context.Context, b *block) (gone linesGone, took time.Duration, err error) {
	w.lag.take(&b.batch)
	w.health.storeAsked(w.appendTook)
	n, err := w.appender.Append(ctx, &b.batch)
	n = min(max(n, 0), b.batch.Len())
	if err == nil && n < b.batch.Len() {
		err = fmt.Errorf("the store took %d of %d lines and names no reason", n, b.batch.Len())
	}
	if refusedOf(err) == nil {
		w.lag.count(n, w.config.Now())
	}
	before := b.counts()
	gone = b.dropStored(n, err)
	return gone, w.noteAppend(before, b.counts(), err), err
}

// noteAppend notes the end of an Append of lines, of which some are left. Whoever
// sees the others as stored must find the store's health as it is now.
func (w *writer) noteAppend(before, left blockCounts, err error) (took time.Duration) {
	stored := before.lines + before.reports - left.lines - left.reports
	took, recovered := w.health.appendEnded(stored, err)
	w.dirty = w.dirty || stored > 0
	w.reported = w.reported || before.reports > left.reports
	if recovered {
		w.log.Info("the store takes records again")
	}
	return took
}

// appendFailed decides what a failed append means: the end when the store is no
// longer ours, otherwise another try after a while.
func (w *writer) appendFailed(err error) {
	if errors.Is(err, papyra.ErrForeignWriter) || errors.Is(err, papyra.ErrClosed) {
		w.log.Error("the store is lost: stopping", "error", err)
		w.failed = err
		close(w.lost)
		return
	}
	w.backoff = min(max(2*w.backoff, firstRetry), lastRetry)
	wait := w.backoff/2 + rand.N(w.backoff/2+1)
	if n, ok := w.troubleLog.Allow(); ok {
		lines, size := w.buffer.pending()
		w.log.Error("the store takes no records: keeping them and trying again", "cause", string(CauseOf(err)), "error", err,
			"pending", lines, "pending_bytes", size, "again_in", wait.Round(time.Millisecond).String(), "suppressed", n)
	}
	w.retry.Reset(wait)
	w.waiting = true
}

// logDrops says now and then that the buffer is full; the reports have the exact
// account.
func (w *writer) logDrops() {
	dropped := w.buffer.droppedFull()
	if dropped == w.dropped {
		return
	}
	if _, ok := w.dropLog.Allow(); ok {
		w.log.Warn("the buffer is full: records are dropped and counted; the store does not take them as fast as they come",
			"dropped", dropped-w.dropped, "buffer_bytes", w.config.BufferBytes)
		w.dropped = dropped
	}
}

// syncStore makes what was stored durable. It does nothing when nothing was
// stored since the last sync that worked.
func (w *writer) syncStore(ctx context.Context) {
	failing := w.health.syncFailing()
	if !w.dirty && !failing && (w.named || !w.reported) {
		return
	}
	w.health.storeAsked(w.syncTook)
	err := w.appender.Sync(ctx)
	took := w.health.syncEnded(err)
	w.dirty = err != nil
	if w.reported && err == nil && !w.named && w.storeHasReports() {
		w.named = true
		close(w.identified)
	}
	switch {
	case err != nil:
		if n, ok := w.troubleLog.Allow(); ok {
			w.log.Error("the store cannot make records durable: trying again", "cause", string(CauseOf(err)), "error", err, "suppressed", n)
		}
		return
	case failing:
		w.log.Info("the store makes records durable again")
	}
	w.syncTook = took
}

// finish ends the work and leaves the account of it in the store. ctx ends when
// the store has no more time.
//
//  1. What is buffered or set aside is appended, trying again while there is time.
//  2. What is left is counted as sink_stopped, and the buffer is closed. Reports
//     that could not be appended stay in it: they tell of earlier drops.
//  3. The last SinkReport goes into the buffer. Only now does it count step 2.
//  4. The reports are appended. If nothing was left in step 2 the store works,
//     and step 1 is done again. Otherwise they get one try, and storeGrace/2 for
//     it if the time is over: a store that is full for many records may take a
//     few lines. A store that is lost gets none.
//  5. The store is synced and closed, which releases its lock. If the time is
//     over, this shares the storeGrace/2 of step 4.
//  6. What the appender counted until then is logged.
//
// The error names the records that were left, a lost store, and what failed in
// step 5. A last try that fails is no error of its own: the records that are left
// decide.
func (w *writer) finish(ctx context.Context) error {
	w.appendAll(ctx)
	w.spoolRest(ctx)
	cause := w.failed
	if cause == nil {
		cause = w.health.lastAppendErr()
	}
	if cause == nil {
		cause = context.Cause(ctx)
	}

	left := w.abandon()

	w.reporter.addSinkReport(reportStopped)

	if left == 0 {
		w.appendAll(ctx)
		w.spoolRest(ctx)
	}
	if ctx.Err() != nil {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeGrace/2)
		defer cancel()
		ctx = grace
	}
	if left > 0 && w.failed == nil && w.nextBlock() {
		_ = w.appendBlock(ctx)
	}

	var err error
	if left > 0 {
		err = fmt.Errorf("%w: %d records were dropped when the time to stop was over: %v", ErrNotStored, left, cause) //nolint:errorlint // the cause must not decide the kind of the error
	}
	if w.failed != nil {
		err = errors.Join(fmt.Errorf("append to the store: %w", w.failed), err)
	}
	err = errors.Join(err, w.closeStore(ctx))
	w.logSpool()

	w.events.logChanges(w.appender.Stats(), true)
	return err
}

// closeStore syncs and closes the store. The errors of a store that is lost say
// nothing new.
func (w *writer) closeStore(ctx context.Context) error {
	syncErr, closeErr := w.appender.Sync(ctx), w.appender.Close()
	if w.failed != nil {
		return nil //nolint:nilerr // finish returns why it is lost
	}
	if syncErr != nil {
		syncErr = fmt.Errorf("sync the store: %w", syncErr)
	}
	if closeErr != nil {
		closeErr = fmt.Errorf("close the store: %w", closeErr)
	}
	return errors.Join(syncErr, closeErr)
}

// appendAll appends what is buffered, trying again until ctx ends.
func (w *writer) appendAll(ctx context.Context) {
	w.backoff, w.asideBackoff, w.waiting = 0, 0, false
	for {
		w.appendBuffered(ctx)
		w.retryAside(ctx)
		if w.failed != nil || !w.waiting && w.buffer.refusal() == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-w.retry.C:
			w.waiting = false
		case <-w.asideRetry.C:
		}
	}
}

// abandon counts every wire line that is still buffered as sink_stopped, and
// returns how many that were.
//
//  1. Under the buffer's lock the lines leave the account of what is pending and
//     are counted as dropped; the buffer is closed, and keeps only reports.
//  2. Their numbers are read again, without the lock, and go into the ledger. No
//     report can come between, because the writer itself writes the reports.
func (w *writer) abandon() (left int) {
	left, blocks := w.buffer.abandonLines(w.out)
	w.out = nil
	for _, b := range blocks {
		w.noteDropped(papyra.DropSinkStopped, b)
	}
	return left
}

// noteDropped tells the ledger of the wire lines of a block, which may be nil. They
// are counted already.
func (w *writer) noteDropped(reason papyra.DropReason, b *block) {
	if b == nil {
		return
	}
	var rec papyra.Record
	b.eachLine(func(l []byte, stream papyra.Stream, report bool) {
		if report {
			return
		}
		if err := papyra.ParseInto(&rec, l); err != nil {
			rec = papyra.Record{} // it was checked: only its number is unknown
		}
		w.drops.addDrop(reason, stream, rec.Run, rec.Seq)
	})
}
