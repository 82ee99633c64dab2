package publisher

import (
	"testing"
	"time"
)

// TestClockKeepsToTheWall: a record's time is between the readings of the
// machine's clock around it, whether the clock looks at the wall or not. The
// margin is what the wall may be moved by meanwhile.
func TestClockKeepsToTheWall(t *testing.T) {
	const margin = 100 * time.Millisecond
	var c clock
	looks := 0
	for last, began := c.wall, time.Now(); time.Since(began) < 5*wallEvery; {
		before := time.Now().Round(0)
		got := c.now().Round(0)
		after := time.Now().Round(0)
		if got.Before(before.Add(-margin)) || got.After(after.Add(margin)) {
			t.Fatalf("got %v, want between %v and %v", got, before, after)
		}
		if c.wall != last {
			last = c.wall
			looks++
		}
	}
	if looks < 2 {
		t.Errorf("looked at the wall %d times in %v", looks, 5*wallEvery)
	}
}
