package account

import "github.com/papyra/papyra"

// nameDropped notes ranges that were dropped, and returns how many numbers they hold.
func (a *Account) nameDropped(s *series, d *drops, t *tenant, ranges []papyra.Range, at int64) (n uint64) {
	for _, g := range ranges {
		if g[0] < 1 || g[1] < g[0] || g[1] > maxSeq {
			continue
		}
		d.named.AddRange(g[0], g[1])
		a.noteTaken(&s.reach, g[1], at, true)
		n = sumOf(n, g[1]-g[0]+1)
	}
	a.charge(t, rangeBytes*uint64(len(ranges)))
	return n
}
