package numset

// Counted is a set of numbers that knows which of them came more than once. The
// zero Counted is empty and ready.
type Counted struct {
	once     Set // every number
	repeated Set
	added    uint64
}

// Add adds a number. 0 is ignored.
func (c *Counted) Add(n uint64) {
	if n == 0 {
		return
	}
	c.added++
	if c.once.growRange(n) {
		return
	}
	c.once.putAway(c.repeated.AddRange)
	c.once.low, c.once.high = n, n
}

// Set returns the numbers, each once. It must not be changed; it is right until
// the next Add or Absorb.
func (c *Counted) Set() *Set {
	if c.once.more != nil {
		c.once.all(c.repeated.AddRange)
	}
	return &c.once
}

// Repeated returns the numbers that came more than once, as Set does.
func (c *Counted) Repeated() *Set {
	c.Set()
	return &c.repeated
}

// Added returns how often a number came.
func (c *Counted) Added() uint64 { return c.added }

// Absorb adds what came to another one, which is of no use afterwards.
func (c *Counted) Absorb(other *Counted) {
	c.Set()
	if repeated := other.Repeated(); !repeated.IsEmpty() {
		c.repeated.Union(repeated)
	}
	c.once.merge(&runs{list: other.once.all(nil).list}, c.repeated.AddRange)
	c.added += other.added
}

// Compact brings both sets into their smallest form, and returns about how many
// bytes that takes.
func (c *Counted) Compact() uint64 {
	c.Set()
	return c.once.Compact() + c.repeated.Compact()
}

// Bytes returns about how many bytes of memory both sets take.
func (c *Counted) Bytes() uint64 { return c.once.Bytes() + c.repeated.Bytes() }
