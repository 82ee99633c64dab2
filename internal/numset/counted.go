package numset

import "github.com/RoaringBitmap/roaring/v2/roaring64"

// Counted is a set of numbers that knows which of them came more than once. The
// zero Counted is empty and ready.
type Counted struct {
	once     Set // every number; what it still grows was not looked up in it
	repeated Set
	added    uint64

	low, high uint64 // of what the bitmap of once holds; 0 for none
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
	c.flush()
	c.once.low, c.once.high = n, n
}

// flush moves the growing range into the bitmap. Only its numbers between the
// lowest and the highest that are there already can have come before.
func (c *Counted) flush() {
	first, last := c.once.low, c.once.high
	if last == 0 {
		return
	}
	if c.high == 0 || first > c.high || last < c.low {
		c.once.flush()
	} else {
		c.once.low, c.once.high = 0, 0
		bits := c.once.bits
		if first < c.low {
			addRange(bits, first, c.low-1)
		}
		for n, end := max(first, c.low), min(last, c.high); ; n++ {
			if !bits.CheckedAdd(n) {
				c.repeated.Add(n)
			}
			if n == end {
				break
			}
		}
		if last > c.high {
			addRange(bits, c.high+1, last)
		}
	}
	if c.high == 0 {
		c.low = first
	}
	c.low, c.high = min(c.low, first), max(c.high, last)
}

// Contains reports whether a number came.
func (c *Counted) Contains(n uint64) bool { return c.once.Contains(n) }

// Set returns the numbers, each once. It must not be changed; it is right until
// the next Add or Absorb.
func (c *Counted) Set() *Set {
	c.flush()
	return &c.once
}

// Repeated returns the numbers that came more than once, as Set does.
func (c *Counted) Repeated() *Set {
	c.flush()
	return &c.repeated
}

// Added returns how often a number came.
func (c *Counted) Added() uint64 { return c.added }

// Absorb adds what came to another one, which is of no use afterwards.
func (c *Counted) Absorb(other *Counted) {
	c.flush()
	other.flush()
	c.once.flush()
	other.once.flush()
	if c.once.bits.Intersects(other.once.bits) {
		c.repeated.flush()
		c.repeated.bits.Or(roaring64.And(c.once.bits, other.once.bits))
	}
	if !other.repeated.IsEmpty() {
		c.repeated.Union(&other.repeated)
	}
	c.once.bits.Or(other.once.bits)
	c.added += other.added
	c.low, c.high = c.once.Min(), c.once.Max()
}

// Compact brings both sets into their smallest form, and returns about how many
// bytes that takes.
func (c *Counted) Compact() uint64 {
	c.flush()
	size := c.once.Compact()
	if !c.repeated.IsEmpty() {
		size += c.repeated.Compact()
	}
	return size
}
