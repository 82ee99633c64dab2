package tail

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/papyra/papyra"
)

// Reason says why records were not shown.
type Reason string

// The reasons of a gap.
const (
	ReasonSlow          Reason = "this terminal was slow"   // they came, and there was no room for them
	ReasonNotSubscribed Reason = "not subscribed"           // the connection was away meanwhile
	ReasonNotReceived   Reason = "not received"             // they may come later, or be stored all the same
	ReasonDropped       Reason = "dropped by its publisher" // a report says so
	ReasonLate          Reason = "came late"                // told before as not shown, and here now
)

// Gap is a range of numbers of one run and category that were not shown, or that were
// told so and came late.
type Gap struct {
	System   string `json:"system"`
	Node     string `json:"node"`
	Run      string `json:"run"`
	Category string `json:"category"`
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Count    uint64 `json:"count"` // of the numbers from First to Last
	Reason   Reason `json:"reason"`
}

// String tells of a gap in a line: "412 records not shown (shop@eu-1, events
// 8121…8532): this terminal was slow".
func (g *Gap) String() string {
	records, numbers := "records", strconv.FormatUint(g.First, 10)
	if g.Count == 1 {
		records = "record"
	}
	if g.Last > g.First {
		numbers += "…" + strconv.FormatUint(g.Last, 10)
	}
	where := fmt.Sprintf("(%s@%s, %s %s)", g.System, g.Node, g.Category, numbers)
	if g.Reason == ReasonLate {
		return fmt.Sprintf("%d %s came late %s", g.Count, records, where)
	}
	return fmt.Sprintf("%d %s not shown %s: %s", g.Count, records, where, g.Reason)
}

const (
	maxSeries = 20_000 // runs and categories that are followed; others have no gaps
	maxHoles  = 256    // of one series; the oldest are forgotten
)

// seriesKey names the numbers of one run and category.
type seriesKey struct {
	system, run string
	kind        papyra.Kind
}

// series is what was seen of the numbers of one run and category. The first number
// that was seen is its base: what is before it was never to be shown.
type series struct {
	key        seriesKey
	node       string
	base, high uint64
	holes      []hole // of numbers between base and high, by their first
	session    int    // in which it was seen last
}

// hole is a range of numbers that did not come.
type hole struct {
	first, last uint64
	since       time.Time
	reason      Reason
	told        bool
}

func (s *series) gap(first, last uint64, reason Reason) Gap {
	return Gap{s.key.system, s.node, s.key.run, s.key.kind.Category(), first, last, last - first + 1, reason}
}

// numbers follows the numbers of all runs. It is not safe for concurrent use.
type numbers struct {
	series  map[seriesKey]*series
	session int    // counts the connections
	late    []*Gap // that were told and came, until they are told
}

// arrival is what a number says of a record.
type arrival uint8

const (
	arrivedNew  arrival = iota // also of a record without a number
	arrivedLate                // it was missed
	arrivedTold                // it was told as not shown
	arrivedCopy                // it came before
)

// note takes the number of a record.
func (n *numbers) note(rec *papyra.Record, now time.Time, reason Reason) arrival {
	if !rec.HasIdentity() {
		return arrivedNew
	}
	key := seriesKey{string(rec.System), string(rec.Run), rec.Kind}
	s := n.series[key]
	switch {
	case s == nil && len(n.series) >= maxSeries:
		return arrivedNew
	case s == nil:
		n.series[key] = &series{key: key, node: string(rec.Node), base: rec.Seq, high: rec.Seq, session: n.session}
		return arrivedNew
	case rec.Seq < s.base:
		return arrivedNew
	case rec.Seq <= s.high:
		return n.fill(s, rec.Seq)
	}
	if rec.Seq > s.high+1 {
		if s.session != n.session {
			reason = ReasonNotSubscribed
		}
		s.holes = append(s.holes, hole{first: s.high + 1, last: rec.Seq - 1, since: now, reason: reason})
		s.holes = s.holes[max(0, len(s.holes)-maxHoles):]
	}
	s.high, s.session = rec.Seq, n.session
	return arrivedNew
}

// fill takes a number that is not above all that came.
func (n *numbers) fill(s *series, seq uint64) arrival {
	i := slices.IndexFunc(s.holes, func(h hole) bool { return h.first <= seq && seq <= h.last })
	if i < 0 {
		return arrivedCopy
	}
	h := s.cut(i, seq, seq)
	if !h.told {
		return arrivedLate
	}
	if last := len(n.late) - 1; last >= 0 && n.late[last].Run == s.key.run && n.late[last].Category == s.key.kind.Category() && n.late[last].Last+1 == seq {
		n.late[last].Last, n.late[last].Count = seq, n.late[last].Count+1
	} else {
		g := s.gap(seq, seq, ReasonLate)
		n.late = append(n.late, &g)
	}
	return arrivedTold
}

// cut takes the numbers from first to last out of hole i and returns them as a hole.
func (s *series) cut(i int, first, last uint64) hole {
	whole := s.holes[i]
	part, rest := whole, []hole{}
	part.first, part.last = first, last
	if whole.first < first {
		before := whole
		before.last = first - 1
		rest = append(rest, before)
	}
	if last < whole.last {
		behind := whole
		behind.first = last + 1
		rest = append(rest, behind)
	}
	s.holes = slices.Replace(s.holes, i, i+1, rest...)
	return part
}

// explain notes that a report names numbers as dropped. It returns what was told with
// another reason before, as gaps.
func (n *numbers) explain(key seriesKey, r papyra.Range) (told []Gap) {
	s := n.series[key]
	if s == nil {
		return nil
	}
	for i := 0; i < len(s.holes); i++ {
		h := s.holes[i]
		first, last := max(h.first, r[0]), min(h.last, r[1])
		if first > last || h.reason == ReasonDropped {
			continue
		}
		part := s.cut(i, first, last)
		if part.told {
			told = append(told, s.gap(first, last, ReasonDropped))
		}
		part.reason = ReasonDropped
		at, _ := slices.BinarySearchFunc(s.holes, first, func(h hole, n uint64) int {
			if h.first < n {
				return -1
			}
			return 1
		})
		s.holes = slices.Insert(s.holes, at, part)
		i = at
	}
	return told
}

// due yields the gaps of holes that were there before a time and were not told yet, and
// what came late. A gap that yield does not take is yielded again the next time.
func (n *numbers) due(before time.Time, yield func(*Gap) bool) {
	for len(n.late) > 0 {
		if !yield(n.late[0]) {
			return
		}
		n.late = n.late[1:]
	}
	for _, s := range n.series {
		for i := range s.holes {
			h := &s.holes[i]
			if h.told || h.since.After(before) {
				continue
			}
			g := s.gap(h.first, h.last, h.reason)
			if !yield(&g) {
				return
			}
			h.told = true
		}
	}
}
