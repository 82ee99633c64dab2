package sink

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/papyra/papyra"
)

const (
	// asideRest is how many times as long as a try took the writer leaves the streams
	// that were set aside alone: a part of the store that does not answer must not
	// take the time of the others.
	asideRest = 4
	// lastAside is the longest time between two tries.
	lastAside = time.Minute
)

// setAside takes what is left of out, lines of the streams that the store refused,
// out of the way of the others.
func (w *writer) setAside(refused *papyra.RefusedError) {
	dropped, news := w.buffer.setAside(w.out, refused, w.round)
	w.out = nil
	w.noteDropped(w.buffer.dropReason(), dropped)
	w.health.setStreamsRefused(w.buffer.refusal())
	if len(news) > 0 {
		if n, ok := w.asideLog.Allow(); ok {
			w.log.Error("the store refuses a stream: its records are set aside and tried again; others are stored", "stream", news[0].Stream.String(),
				"cause", string(CauseOf(news[0].Err)), "error", news[0].Err, "streams", len(news), "suppressed", n)
		}
	}
	if w.asideBackoff == 0 {
		w.awaitAside(0)
	}
}

// retryAside tries each refused stream again, until the store refuses it once more.
// What goes on coming for others is stored in between.
func (w *writer) retryAside(ctx context.Context) {
	w.round++
	var failing time.Duration
	for w.failed == nil && !w.waiting && failing < maxHold {
		tried := w.buffer.nextTry(&w.try, w.round)
		if len(tried) == 0 {
			break
		}
		failing += w.appendTry(ctx, tried)
		if w.failed == nil && !w.waiting && w.nextBlock() {
			if err := w.appendBlock(ctx); err != nil {
				w.appendFailed(err)
			}
		}
	}
	refusal := w.buffer.refusal()
	w.health.setStreamsRefused(refusal)
	switch {
	case refusal != nil:
		w.awaitAside(failing)
	case w.asideBackoff > 0:
		w.asideBackoff = 0
		w.log.Info("the store takes records of all streams again")
	}
}

// appendTry hands lines that were set aside to the store. It returns how long that
// took if streams were refused.
func (w *writer) appendTry(ctx context.Context, tried map[papyra.Stream]int) (failing time.Duration) {
	_, took, err := w.appendLines(ctx, &w.try)
	refused := refusedOf(err)
	w.buffer.tryEnded(tried, &w.try, refused, w.round)
	switch {
	case refused != nil:
		return took
	case err != nil:
		w.appendFailed(err)
	}
	return 0
}

// awaitAside lets the next round of tries wait. took is how long the failures of the
// last one did.
func (w *writer) awaitAside(took time.Duration) {
	w.asideBackoff = min(max(2*w.asideBackoff, firstRetry), lastRetry)
	wait := min(max(w.asideBackoff, asideRest*took), lastAside)
	w.asideRetry.Reset(wait/2 + rand.N(wait/2+1))
}
