package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// tally counts what runs tried and what came of it.
type tally struct {
	mu sync.Mutex
	n  map[string]uint64
}

func newTally() *tally { return &tally{n: map[string]uint64{}} }

func (t *tally) add(what string, n uint64) {
	if n == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[what] += n
}

// publishers adds what publishers did.
func (t *tally) publishers(sources []*source) {
	t.add("publishers", uint64(len(sources)))
	for _, s := range sources {
		for _, kind := range papyra.Kinds() {
			c := of(&s.stats, kind)
			t.add("records: accepted", c.Accepted)
			t.add("records: sent again", c.Resent)
			t.add("records: unconfirmed", c.Unconfirmed)
			for reason, n := range drops(c) {
				t.add("dropped: "+string(reason), n)
			}
		}
	}
}

// group adds the account of a group.
func (t *tally) group(r *account.Result) {
	t.add("groups", 1)
	t.add("account: accepted", r.Total.Accepted)
	t.add("account: stored", r.Total.Stored)
	t.add("account: missing", r.Total.Missing)
	t.add("account: filtered", r.Total.Filtered)
	t.add("account: before", r.Total.Before)
	t.add("account: duplicates", r.Total.Duplicates)
	for reason, n := range r.Total.Dropped {
		t.add("account: dropped: "+string(reason), n)
	}
	for act, n := range r.Total.Removed {
		t.add("account: removed: "+act, n)
	}
	for i := range r.Gaps {
		if g := &r.Gaps[i]; len(g.Causes) > 0 {
			t.add("gaps: "+string(g.Causes[0]), g.Count)
		}
	}
}

// String is a table for people.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(t.n)) {
		fmt.Fprintf(&b, "%12d  %s\n", t.n[what], what)
	}
	return b.String()
}

// lacks returns what so many runs as there are themes must have tried and did
// not.
func (t *tally) lacks(has host) (list []string) {
	want := []string{
		"runs", "account: missing", "account: removed: " + papyra.ActRotate, "account: removed: " + papyra.ActCompact,
		"watch: accounts", "watch: scans",
	}
	for _, kind := range []faultKind{
		brokerStop, brokerKill, brokerRevoke, sinkRestart, sinkKill, sinkStall, sinkFull, sinkGiveUp, diskLimit,
		actCompact, actRecover, actCopy, pubCut, pubSwallow, pubPartition, pubClose, pubHurry, pubAbandon, pubFlood,
	} {
		want = append(want, "fault: "+string(kind))
	}
	if has.redis {
		for _, kind := range []faultKind{redisStop, redisKill, redisForget, redisFull, redisRevoke, redisCut} {
			want = append(want, "fault: "+string(kind))
		}
	}
	if has.root {
		want = append(want, "fault: "+string(diskFull))
	}
	for _, reason := range slices.Concat(publisherReasons, sinkReasons) {
		want = append(want, "dropped: "+string(reason))
	}
	// What cannot leave when a publisher closes, its last report often cannot either. What
	// a sink drops its publisher sends again.
	for _, reason := range []papyra.DropReason{papyra.DropQueueFull, papyra.DropTooLarge, papyra.DropEncode, papyra.DropUnheardBy} {
		want = append(want, "account: dropped: "+string(reason))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, what := range want {
		if t.n[what] == 0 {
			list = append(list, what)
		}
	}
	return list
}
