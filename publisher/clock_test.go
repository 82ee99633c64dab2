package publisher

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestClockKeepsToTheWall: a record's time is the machine's time, whether the
// clock has just read the wall clock or not, and it reads it every wallEvery.
func TestClockKeepsToTheWall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c recordClock
		readings := 0
		for last, began := c.wall, time.Now(); time.Since(began) < 5*wallEvery; time.Sleep(wallEvery / 10) {
			if got, want := c.now().Round(0), time.Now().Round(0); !got.Equal(want) {
				t.Fatalf("got %v, want %v", got, want)
			}
			if c.wall != last {
				last = c.wall
				readings++
			}
		}
		if readings != 5 {
			t.Errorf("read the wall clock %d times in %v, want 5 times", readings, 5*wallEvery)
		}
	})
}
