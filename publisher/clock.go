package publisher

import "time"

// wallEvery is how long a clock goes by its last look at the wall clock: a step
// of the machine's clock shows in records after that time at the latest.
const wallEvery = 10 * time.Millisecond

// clock tells the time at nearly half the price of time.Now, which reads two
// clocks of the machine: this one looks at the wall now and then, and in between
// only at how long ago that was. It is not safe for concurrent use.
type clock struct {
	wall time.Time
}

func (c *clock) now() time.Time {
	since := time.Since(c.wall)
	if since < 0 || since >= wallEvery {
		c.wall = time.Now()
		return c.wall
	}
	return c.wall.Add(since)
}
