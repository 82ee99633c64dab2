// Package throttle thins out log lines that repeat: of many equal messages one
// is let through in a time, and it says how many were suppressed before it. The
// time is the monotonic one, which no change of the clock moves.
package throttle

import (
	"sync"
	"time"
)

// Single thins out one kind of message. The first message is let through. With
// an Every of zero all are. It is not safe for concurrent use.
type Single struct {
	Every time.Duration // the shortest time between two messages

	last       time.Time
	suppressed uint64
}

// Allow reports whether a message may be written now, and how many were
// suppressed since the last one that was.
func (s *Single) Allow() (suppressed uint64, ok bool) { return s.AllowMany(1) }

// AllowMany is Allow for n messages that came together and of which at most one
// is written: the others count as suppressed. n is at least 1.
func (s *Single) AllowMany(n uint64) (suppressed uint64, ok bool) {
	return s.allowAt(time.Now(), n)
}

func (s *Single) allowAt(now time.Time, n uint64) (suppressed uint64, ok bool) {
	if !s.last.IsZero() && now.Sub(s.last) < s.Every {
		s.suppressed += n
		return 0, false
	}
	suppressed = s.suppressed + n - 1
	s.last, s.suppressed = now, 0
	return suppressed, true
}

// Keyed thins out each kind of message by itself. It remembers every key, so
// that keys must come from a fixed set, such as the formats of a program's
// messages. It is safe for concurrent use; its lock is held for one look into a
// map.
type Keyed struct {
	Every time.Duration    // the shortest time between two messages of one key
	Now   func() time.Time // the clock; nil is time.Now

	mu    sync.Mutex
	kinds map[string]Single
}

// Allow reports whether a message of the kind key may be written now, and how
// many of that kind were suppressed since the last one that was.
func (k *Keyed) Allow(key string) (suppressed uint64, ok bool) {
	now := time.Now
	if k.Now != nil {
		now = k.Now
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kinds == nil {
		k.kinds = map[string]Single{}
	}
	kind := k.kinds[key]
	kind.Every = k.Every
	suppressed, ok = kind.allowAt(now(), 1)
	k.kinds[key] = kind
	return suppressed, ok
}
