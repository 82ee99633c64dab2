package publisher

import "time"

// wallEvery is how long a recordClock relies on its last reading of the wall
// clock. A step of the machine's clock shows in records after that time at the
// latest.
const wallEvery = 10 * time.Millisecond

// recordClock tells the time at nearly half the price of time.Now, which reads two
// clocks of the machine, the wall clock and the monotonic one. recordClock reads
// the wall clock only every wallEvery, and adds what the monotonic clock says has
// passed since. It is not safe for concurrent use.
type recordClock struct {
	wall time.Time // the last reading
}

func (c *recordClock) now() time.Time {
	since := time.Since(c.wall)
	if since < 0 || since >= wallEvery {
		c.wall = time.Now()
		return c.wall
	}
	return c.wall.Add(since)
}
