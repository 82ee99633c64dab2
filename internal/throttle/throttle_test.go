package throttle

import (
	"testing"
	"time"
)

func TestSingleLetsOneThroughInATime(t *testing.T) {
	s := Single{Every: time.Second}
	start := time.Now()
	for _, step := range []struct {
		name       string
		after      time.Duration
		n          uint64
		suppressed uint64
		ok         bool
	}{
		{"the first", 0, 1, 0, true},
		{"at once", 0, 1, 0, false},
		{"just before the time is over", time.Second - 1, 3, 0, false},
		{"the time is over", time.Second, 1, 4, true},
		{"again soon", time.Second + 1, 1, 0, false},
		{"several together", 3 * time.Second, 5, 5, true},
		{"the count began anew", 5 * time.Second, 1, 0, true},
	} {
		if suppressed, ok := s.allowAt(start.Add(step.after), step.n); ok != step.ok || suppressed != step.suppressed {
			t.Errorf("%s: got %d, %v, want %d, %v", step.name, suppressed, ok, step.suppressed, step.ok)
		}
	}
}

func TestSingleWithoutATimeLetsAllThrough(t *testing.T) {
	var s Single
	for range 3 {
		if suppressed, ok := s.Allow(); !ok || suppressed != 0 {
			t.Errorf("Allow() = %d, %v, want 0, true", suppressed, ok)
		}
	}
}

func TestKeyedCountsEachKeyByItself(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	k := Keyed{Every: time.Second, Now: func() time.Time { return now }}
	allow := func(key string, suppressed uint64, ok bool) {
		t.Helper()
		if gotSuppressed, gotOK := k.Allow(key); gotOK != ok || gotSuppressed != suppressed {
			t.Errorf("Allow(%q) = %d, %v, want %d, %v", key, gotSuppressed, gotOK, suppressed, ok)
		}
	}
	allow("a", 0, true)
	allow("a", 0, false)
	allow("b", 0, true)
	allow("a", 0, false)
	now = now.Add(time.Second)
	allow("a", 2, true)
	allow("b", 0, true)
	k.Every = 0
	allow("a", 0, true)
}
