package judge

import (
	"crypto/sha256"
	"fmt"

	"github.com/papyra/papyra"
)

// maxCopied is how many different lines whose identity occurs again are
// remembered, each by 32 bytes; about 64 MiB in all.
const maxCopied = 1 << 20

// Copies finds the exact duplicates among records that are offered one after
// the other: every copy but the one that comes first. Two lines are the same if
// length and SHA-256 are, so that what it calls a copy can be removed.
type Copies struct {
	repeats
	seen  map[[sha256.Size]byte]struct{}
	bound int

	tooMany bool // more lines than are remembered
}

// Copies returns what finds the copies of the records whose identity occurs
// again. What was seen only once is forgotten.
func (ids *Identities) Copies() *Copies {
	return &Copies{repeats: ids.repeats(), seen: map[[sha256.Size]byte]struct{}{}, bound: maxCopied}
}

// Copy reports whether the suspect rec is a copy of one that was offered before.
// The identity is a part of the bytes, so equal canonical lines are enough.
func (c *Copies) Copy(rec *papyra.Record) bool {
	sum := sha256.Sum256(rec.Canonical())
	if _, ok := c.seen[sum]; ok {
		return true
	}
	if len(c.seen) == c.bound {
		c.tooMany = true
		return false
	}
	c.seen[sum] = struct{}{}
	return false
}

// Limits names the bounds that were reached: then there may be more copies.
func (c *Copies) Limits() (limits []string) {
	if c.partial {
		limits = append(limits, fmt.Sprintf("duplicates: the identities do not fit in %d MiB, only the newest part was compared", identityBudget>>20))
	}
	if c.tooMany {
		limits = append(limits, fmt.Sprintf("duplicates: only the newest %d records that occur again were compared: compact again for the others", c.bound))
	}
	return limits
}
