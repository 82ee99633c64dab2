package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/papyra/papyra"
)

const (
	// storeSilence is how long a store may take for one answer while the sink is
	// said to be ready: a disk that hangs returns no error.
	storeSilence = 10 * time.Second
	// maxPatience bounds for how long a store that does not answer still counts as
	// one that works. It counts as stopped after twice the time that it took for
	// the batch, or the sync, before, but not before maxHold.
	//
	// This must be short. While more than 48 MB wait for a sink, a server stalls
	// publishers to a few megabytes a second each; but at 64 MB (its default) it
	// cuts the connection, and throws all that away uncounted. Three publishers in
	// a flood were tried with a fast store that stopped: with a patience of one
	// second the sink was cut in 8 of 12 runs, with maxHold in none.
	maxPatience = time.Second
)

// The states of a sink, in their order. Run sets them; a sink that has stopped
// does not start again.
//
//	starting ──────► running ──────► stopping ──────► stopped
//	         subscribed      ctx is done,     Run returns; from
//	                         or the store     each state
//	                         is lost
const (
	stateStarting = "starting"
	stateRunning  = "running"
	stateStopping = "stopping"
	stateStopped  = "stopped"
)

// health knows whether a sink can do its work, and counts what kept it from
// that. It is safe for concurrent use and takes no other lock under its own. The
// sink is ready when all of these hold:
//
//	the state is running                      setState
//	it is connected to the NATS server        setConnected, connectionLost
//	the server serves all its subscriptions   setRefused
//	the last append worked                    appendEnded
//	the store refuses no stream               setStreamsRefused
//	the last sync worked                      syncEnded
//	the store is not silent for storeSilence  storeAsked, appendEnded, syncEnded
type health struct {
	mu           sync.Mutex
	state        string
	connected    bool
	disconnects  uint64
	refused      error // why the server does not serve a subscription; nil when it serves all
	appendErr    error // of the last append; nil when it worked
	streamsErr   error // why the store refuses some streams; nil when it refuses none
	syncErr      error // of the last sync; nil when it worked
	appendErrors map[papyra.Cause]uint64
	syncErrors   uint64
	askedAt      time.Time     // when the call to the store began that has not returned; zero without one
	workedAt     time.Time     // when the store last took records, or synced
	patience     time.Duration // for so long after workedAt the store counts as one that works
	now          func() time.Time
	trouble      error // what last went wrong
	troubleAt    time.Time
}

func newHealth(now func() time.Time) *health {
	return &health{state: stateStarting, appendErrors: map[papyra.Cause]uint64{}, now: now}
}

// noteTrouble remembers what last went wrong. The caller holds the lock.
func (h *health) noteTrouble(err error) { h.trouble, h.troubleAt = err, h.now() }

// lastTrouble returns what last went wrong, and when; "" if nothing ever did.
func (h *health) lastTrouble() (text string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.trouble == nil {
		return "", time.Time{}
	}
	return h.trouble.Error(), h.troubleAt
}

// appendTrouble says in an error of its own what a failed append means.
func appendTrouble(err error) error {
	return fmt.Errorf("the store takes no records (%s): %w", CauseOf(err), err)
}

// syncTrouble is likewise of a failed sync.
func syncTrouble(err error) error {
	return fmt.Errorf("the store cannot make records durable (%s): %w", CauseOf(err), err)
}

func (h *health) setState(state string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = state
}

func (h *health) setConnected(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.connected = yes
}

// setRefused records why the server does not serve a subscription, nil when it
// serves all.
func (h *health) setRefused(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused = err; err != nil {
		h.noteTrouble(err)
	}
}

// connectionLost records that the connection was lost. It returns false, and
// counts nothing, when the sink has closed it itself.
func (h *health) connectionLost() (news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.connected = false
	if h.state == stateStopping || h.state == stateStopped {
		return false
	}
	h.disconnects++
	h.noteTrouble(errors.New("the connection to the NATS server was lost"))
	return true
}

// disconnectCount returns how often the connection was lost.
func (h *health) disconnectCount() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.disconnects
}

// storeAsked records that a call to the store has begun. lastTook is how long the
// call of this kind before took; it decides how long the store may be silent
// before it counts as stopped.
func (h *health) storeAsked(lastTook time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.askedAt, h.patience = time.Now(), min(max(2*lastTook, maxHold), maxPatience)
}

// appendEnded records the end of an append that stored so many lines, and returns
// how long it took. recovered says that it worked and the one before did not. One
// that only some streams refused works as far as it stored something.
func (h *health) appendEnded(stored int, err error) (took time.Duration, recovered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.appendErrors[CauseOf(err)]++
	}
	ofStreams := refusedOf(err) != nil
	took = h.storeAnswered(err == nil || ofStreams && stored > 0)
	if ofStreams {
		err = nil
		if stored == 0 {
			err = h.appendErr // it says nothing of the others
		}
	}
	if errors.Is(err, context.Canceled) && stored == 0 {
		return took, false // the sink broke it off: that says nothing of the store
	}
	if err != nil {
		h.noteTrouble(appendTrouble(err))
	}
	recovered = err == nil && h.appendErr != nil
	h.appendErr = err
	return took, recovered
}

// setStreamsRefused records why the store refuses some streams, nil when it refuses
// none.
func (h *health) setStreamsRefused(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streamsErr = err; err != nil {
		h.noteTrouble(err)
	}
}

// syncEnded records the end of a sync and returns how long it took.
func (h *health) syncEnded(err error) (took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	took = h.storeAnswered(err == nil)
	if h.syncErr = err; err != nil {
		h.syncErrors++
		h.noteTrouble(syncTrouble(err))
	}
	return took
}

// storeAnswered ends what storeAsked began. The caller holds the lock.
func (h *health) storeAnswered(worked bool) (took time.Duration) {
	took = time.Since(h.askedAt)
	h.askedAt = time.Time{}
	if worked {
		h.workedAt = time.Now()
	}
	return took
}

// lastAppendErr returns the error of the last append, or why some streams are
// refused; nil when everything is stored.
func (h *health) lastAppendErr() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.appendErr == nil {
		return h.streamsErr
	}
	return h.appendErr
}

// syncFailing reports whether the last sync failed.
func (h *health) syncFailing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.syncErr != nil
}

// storeWorks reports whether the store has taken records, or synced, within its
// patience. It does not wait for the lock: while somebody holds it the answer is
// no.
func (h *health) storeWorks() bool {
	if !h.mu.TryLock() {
		return false
	}
	defer h.mu.Unlock()
	return time.Since(h.workedAt) < h.patience
}

// notReady returns why the sink is not ready, or nil if it is.
func (h *health) notReady() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.state != stateRunning:
		return fmt.Errorf("the sink is %s", h.state)
	case !h.connected:
		return errors.New("there is no connection to the NATS server")
	case h.refused != nil:
		return h.refused
	case h.appendErr != nil:
		return appendTrouble(h.appendErr)
	case h.streamsErr != nil:
		return h.streamsErr
	case h.syncErr != nil:
		return syncTrouble(h.syncErr)
	}
	if silent := time.Since(h.askedAt); !h.askedAt.IsZero() && silent > storeSilence {
		return fmt.Errorf("the store has not answered for %v", silent.Round(time.Second))
	}
	return nil
}

// fillStats copies the numbers into st.
func (h *health) fillStats(st *Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	st.State, st.Disconnects = h.state, h.disconnects
	st.AppendErrors, st.SyncErrors = maps.Clone(h.appendErrors), h.syncErrors
}
