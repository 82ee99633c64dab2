package sink

import (
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/throttle"
)

// rotationsEvery is the shortest time between two log lines about rotations: a
// small store under load rotates all the time.
const rotationsEvery = 10 * time.Second

// fileWatch logs what a store's appender counts. It belongs to the writer.
type fileWatch struct {
	appender Appender
	troubles []trouble
	rotated  papyra.AppendStats // as it was logged last
	rotation throttle.Single
}

// trouble is one of the things that may happen to a file.
type trouble struct {
	message string
	count   func(papyra.AppendStats) int64
	told    int64 // how many of them were logged
	log     throttle.Single
}

func newFileWatch(a Appender) *fileWatch {
	w := &fileWatch{appender: a, rotation: throttle.Single{Every: rotationsEvery}}
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
		t.log.Every = logEvery
		w.troubles = append(w.troubles, t)
	}
	return w
}

// look takes the counts over into the sink's and logs what has changed: at the
// end all of it, before only what has not been logged for a while.
func (w *fileWatch) look(s *Sink, end bool) {
	now := w.appender.Stats()
	s.mu.Lock()
	s.stats.Files = now
	s.mu.Unlock()
	for i := range w.troubles {
		t := &w.troubles[i]
		n := t.count(now)
		if n == t.told {
			continue
		}
		if _, ok := t.log.Allow(); ok || end {
			s.log.Warn(t.message, "times", n-t.told)
			t.told = n
		}
	}
	if now.Rotations == w.rotated.Rotations && now.DroppedFiles == w.rotated.DroppedFiles {
		return
	}
	if _, ok := w.rotation.Allow(); ok || end {
		s.log.Info("rotated the store's files", "rotations", now.Rotations-w.rotated.Rotations,
			"dropped_files", now.DroppedFiles-w.rotated.DroppedFiles,
			"dropped_records", now.DroppedRecords-w.rotated.DroppedRecords,
			"dropped_bytes", now.DroppedBytes-w.rotated.DroppedBytes)
		w.rotated = now
	}
}
