package sink

import "time"

// logEvery is the shortest time between two log lines about the same thing.
const logEvery = time.Second

// throttle lets one of many equal messages through in a time. It is not safe
// for concurrent use.
type throttle struct {
	every      time.Duration
	last       time.Time
	suppressed uint64
}

// allow reports whether a message may be logged now, and how many were not
// since the last one.
func (t *throttle) allow() (suppressed uint64, ok bool) {
	now := time.Now() // monotonic: the injected clock may jump
	if !t.last.IsZero() && now.Sub(t.last) < t.every {
		t.suppressed++
		return 0, false
	}
	suppressed = t.suppressed
	t.last, t.suppressed = now, 0
	return suppressed, true
}
