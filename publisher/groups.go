package publisher

import (
	"math/bits"
	"sync"
	"time"

	"github.com/papyra/papyra"
)

const (
	// maxGroups is how many groups a publisher can know in its life. Answers of
	// further ones are not looked at.
	maxGroups = 16

	// leftAfter is how long a group may owe an answer before nothing waits for it any
	// more than the buffer allows, and forgetAfter how long before it is forgotten,
	// unless it is configured or the only one.
	leftAfter   = 10 * time.Second
	forgetAfter = 10 * time.Minute

	// An answer comes within shortestWait, if a sink is there and not overloaded: it
	// gives one after 250 ms at the latest. Where answers are slower the publisher waits
	// for twice as long as they took, and for longestWait at most.
	shortestWait = time.Second
	longestWait  = 30 * time.Second

	// maxAtOnce bounds the chunks that are sent again for one group before the answers
	// to them have come.
	maxAtOnce = 256

	firstResend = 250 * time.Millisecond // between two tries to reach a group that does not answer
	lastResend  = 5 * time.Second
)

// groupSet is a set of groups: bit i stands for the group with index i.
type groupSet uint16

func (s groupSet) has(i int) bool { return s&(1<<i) != 0 }

// each calls f with the index of each group of the set.
func (s groupSet) each(f func(i int)) {
	for ; s != 0; s &= s - 1 {
		f(bits.TrailingZeros16(uint16(s)))
	}
}

// group is what a publisher knows of a group of sinks. Only the sender uses it, but for
// what groups says.
//
//	state      since when                          what follows
//	present    it answered                         records wait for its answer
//	away       it owes an answer for longer than   one message probes; where all groups are
//	           answers take (1 s or more)          away, the lane waits with the others
//	left       it owes one for leftAfter           its copies wait only while nobody needs
//	                                               their place; Close does not wait for it
//	forgotten  it owes one for forgetAfter         nothing waits for it
//
// Any answer makes it present again, and then everything that it has not answered is
// sent again: one message first, then more with each answer.
type group struct {
	name       string
	configured bool
	forgotten  bool
	kinds      [papyra.KindCount]bool // what its sinks take of this system
	heard      time.Time              // when it answered last; zero if it never did
	owes       time.Time              // when the first message was handed over after that; zero if none was
	took       time.Duration          // how long its answers take, the longest of late

	// What is sent again for it.
	atOnce int       // chunks in the next round
	round  []uint64  // messages of this round
	ends   time.Time // of the round
	next   time.Time // no round before
	fails  int       // rounds in a row without any answer
	news   bool      // an answer came since the round was looked at
}

// wait returns how long an answer of the group may take.
func (g *group) wait() time.Duration { return min(max(2*g.took, shortestWait), longestWait) }

// silent returns for how long the group has owed an answer.
func (g *group) silent(now time.Time) time.Duration {
	if g.owes.IsZero() {
		return 0
	}
	return now.Sub(g.owes)
}

// hasLeft reports whether the group has left.
func (g *group) hasLeft(now time.Time) bool { return g.silent(now) >= leftAfter }

// groups are the groups that a publisher knows. Only the sender changes them.
type groups struct {
	mu   sync.Mutex // for readers of Stats
	list []*group   // at most maxGroups; an index never changes its meaning
}

func newGroups(configured []string) *groups {
	gs := &groups{}
	for _, name := range configured {
		g := &group{name: name, configured: true, atOnce: 1}
		for _, k := range papyra.Kinds() {
			g.kinds[k] = true
		}
		gs.list = append(gs.list, g)
	}
	return gs
}

// note notes an answer of a group that came at a time, and returns the index of the
// group, or false if there are too many. changed says whether the lanes must be told.
func (gs *groups) note(a *papyra.HeardAnswer, at time.Time) (i int, changed, ok bool) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for i = 0; i < len(gs.list) && gs.list[i].name != a.Group; i++ {
	}
	if i == len(gs.list) {
		if i == maxGroups {
			return 0, false, false
		}
		gs.list = append(gs.list, &group{name: a.Group, atOnce: 1})
	}
	g := gs.list[i]
	var kinds [papyra.KindCount]bool
	for _, c := range a.Categories {
		kinds[papyra.ParseCategory(c)] = true
	}
	changed = g.forgotten || g.kinds != kinds
	g.forgotten, g.kinds, g.heard, g.owes, g.news = false, kinds, at, time.Time{}, true
	if g.fails > 0 { // it is back: what waits for it can go
		g.fails, g.next = 0, time.Time{}
	}
	return i, changed, true
}

// noteSent notes that a message of a kind was handed over, which every group that takes
// it owes an answer to.
func (gs *groups) noteSent(kind papyra.Kind, now time.Time) {
	for _, g := range gs.list {
		if g.kinds[kind] && g.owes.IsZero() {
			gs.mu.Lock()
			g.owes = now
			gs.mu.Unlock()
		}
	}
}

// noteTook notes how long an answer took.
func (g *group) noteTook(d time.Duration) {
	if d >= g.took {
		g.took = d
	} else {
		g.took -= (g.took - d) / 32
	}
}

// forget forgets the groups that have owed an answer for long enough, and returns them.
// Somebody must have answered since: where nobody does, it is not the group that is away.
func (gs *groups) forget(now time.Time) (gone groupSet) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for i, g := range gs.list {
		if g.forgotten || g.configured || g.silent(now) < forgetAfter {
			continue
		}
		for _, other := range gs.list {
			if other != g && !other.forgotten && !other.hasLeft(now) && other.heard.After(g.owes) {
				g.forgotten = true
				gone |= 1 << i
			}
		}
	}
	return gone
}

// away returns the groups that owe an answer for longer than answers take.
func (gs *groups) away(now time.Time) (s groupSet) {
	for i, g := range gs.list {
		if !g.forgotten && g.silent(now) > g.wait() {
			s |= 1 << i
		}
	}
	return s
}

// expectationOf returns what a lane of a kind waits for.
func (gs *groups) expectationOf(kind papyra.Kind, now time.Time) (e expectation) {
	for i, g := range gs.list {
		if g.forgotten || !g.kinds[kind] {
			continue
		}
		e.known |= 1 << i
		if g.hasLeft(now) {
			e.left |= 1 << i
		}
	}
	return e
}

// stats returns what Stats says of the groups.
func (gs *groups) stats(now time.Time) (list []GroupStats) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, g := range gs.list {
		list = append(list, GroupStats{
			Group: g.name, Configured: g.configured, Forgotten: g.forgotten, Answered: g.heard,
			Silent: g.silent(now), Left: g.forgotten || g.hasLeft(now),
		})
	}
	return list
}

// expectation is what a lane waits for before it forgets a chunk.
type expectation struct {
	known groupSet // groups that take its records
	left  groupSet // those of them that are waited for only while there is room
	// probing says that the first answers of groups that are not known may still come.
	probing bool
}

// missing returns the groups of which an answer to c is missing.
func (e *expectation) missing(c *chunk) groupSet { return e.known &^ (c.heard | c.named) }

// done reports whether nothing more is waited for.
func (e *expectation) done(c *chunk) bool { return !e.probing && e.missing(c) == 0 }

// free reports whether c may be given up when its place is needed: some group has it,
// or nobody is there who could have it.
func (e *expectation) free(c *chunk) bool { return c.heard != 0 || e.missing(c)&^e.left == 0 }
