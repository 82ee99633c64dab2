package sink

import (
	"log/slog"
	"sync"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/throttle"
)

// rotationsEvery is the shortest time between two log lines about rotations: a
// small store under load rotates all the time.
const rotationsEvery = 10 * time.Second

// appendEvents keeps and logs the counts of a store's appender. The writer calls
// logChanges; latestCounts is safe for concurrent use. It takes no other lock
// under its own.
type appendEvents struct {
	log *slog.Logger

	mu     sync.Mutex
	latest papyra.AppendStats

	// Only the writer uses these.
	troubles []trouble
	rotated  papyra.AppendStats // as it was logged last
	rotation throttle.Single
}

// trouble is one of the things that may happen to a store.
type trouble struct {
	message string
	count   func(papyra.AppendStats) int64
	logged  int64 // how many of them the log has told
	allowed throttle.Single
}

func newAppendEvents(log *slog.Logger) *appendEvents {
	e := &appendEvents{log: log, rotation: throttle.Single{Every: rotationsEvery}}
	for _, t := range []trouble{
		{message: "the store's file ended without a newline: it got one",
			count: func(c papyra.AppendStats) int64 { return c.Healed }},
		{message: "writes failed in the middle and were cut off again",
			count: func(c papyra.AppendStats) int64 { return c.CutBack }},
		{message: "writes failed in the middle and could not be cut off: fragments stay in the store; move them out with 'papyra-ctl recover'",
			count: func(c papyra.AppendStats) int64 { return c.Torn }},
		{message: "the store's file was renamed or deleted from outside: opened it anew",
			count: func(c papyra.AppendStats) int64 { return c.Reopened }},
		{message: "the store's file was made shorter from outside: what it held there is lost",
			count: func(c papyra.AppendStats) int64 { return c.Truncated }},
		{message: "the store's file could not be synced: its last bytes are written again",
			count: func(c papyra.AppendStats) int64 { return c.SyncFailures }},
		{message: "the store's lock file was removed from outside: made and took it again",
			count: func(c papyra.AppendStats) int64 { return c.LockRetaken }},
		{message: "the store's server had forgotten records that it had acknowledged, as after a failover: they are lost",
			count: func(c papyra.AppendStats) int64 { return c.RolledBack }},
	} {
		t.allowed.Every = logEvery
		e.troubles = append(e.troubles, t)
	}
	return e
}

// latestCounts returns the counts that logChanges was called with last.
func (e *appendEvents) latestCounts() papyra.AppendStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.latest
}

// logChanges keeps the counts and logs what has changed. At the end it logs every
// change; before, only what has not been logged for a while.
func (e *appendEvents) logChanges(now papyra.AppendStats, end bool) {
	e.mu.Lock()
	e.latest = now
	e.mu.Unlock()
	for i := range e.troubles {
		t := &e.troubles[i]
		n := t.count(now)
		if n == t.logged {
			continue
		}
		if _, ok := t.allowed.Allow(); ok || end {
			e.log.Warn(t.message, "times", n-t.logged)
			t.logged = n
		}
	}
	if now.Rotations == e.rotated.Rotations && now.DroppedFiles == e.rotated.DroppedFiles {
		return
	}
	if _, ok := e.rotation.Allow(); ok || end {
		e.log.Info("rotated the store's files", "rotations", now.Rotations-e.rotated.Rotations,
			"dropped_files", now.DroppedFiles-e.rotated.DroppedFiles,
			"dropped_records", now.DroppedRecords-e.rotated.DroppedRecords,
			"dropped_bytes", now.DroppedBytes-e.rotated.DroppedBytes)
		e.rotated = now
	}
}
