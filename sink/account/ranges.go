package account

import "github.com/papyra/papyra"

// nameDropped notes ranges that were dropped, and returns how many numbers they hold.
func (a *Account) nameDropped(s *series, system string, reason papyra.DropReason, ranges []papyra.Range, at int64) (n uint64) {
	for _, g := range ranges {
		if a.affordRangeOf(system, g) {
			s.dropsFor(reason).named.AddRange(g[0], g[1])
			a.noteTaken(&s.reach, g[1], at, true)
			n += g[1] - g[0] + 1
		}
	}
	return n
}

// affordRange is affordRangeOf for what acts removed.
func (a *Account) affordRange(g papyra.Range) bool { return a.affordRangeOf(papyra.SystemReserved, g) }

// affordRangeOf reports whether a range makes sense and its memory can be
// afforded, which it then takes from what is left of its system.
func (a *Account) affordRangeOf(system string, g papyra.Range) bool {
	if g[0] < 1 || g[1] < g[0] || g[1] > maxSeq {
		return false
	}
	most := maxSystemContainers
	if system == papyra.SystemReserved {
		most = maxContainers
	}
	cost := containersOf(g)
	if cost > uint64(most-a.containers[system]) {
		return false
	}
	if cost > 0 {
		a.containers[system] += int(cost)
	}
	return true
}

// containersOf is what a range takes of the memory for ranges. A short one costs
// no more than the text that names it.
func containersOf(g papyra.Range) uint64 { return (g[1] - g[0]) >> 16 }
