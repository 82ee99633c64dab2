package publisher

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"pgregory.net/rapid"
)

// waitingModel knows, for each number of a lane, which groups have it.
type waitingModel struct {
	id     *papyra.Identity
	enc    papyra.Encoder
	lane   *lane
	bound  int
	now    time.Time
	nextID uint64
	sent   map[uint64]*chunk   // by message
	holds  map[uint64][]uint64 // by message: the numbers in it
	heard  map[uint64]groupSet // by number: groups that have answered for it
	had    map[uint64]bool     // numbers that a server has
	drops  uint64
}

const modelGroups = 3

func (m *waitingModel) record(t *rapid.T) {
	size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 20_000)).Draw(t, "size")
	e := papyra.Event{Type: "T"}
	if err := m.enc.Event(m.id, "orders", &e, []slog.Attr{slog.String("x", strings.Repeat("x", size))}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	m.lane.admit(&m.enc, nil, 0)
	if n := m.lane.drops[dropQueueFull].n; n > m.drops {
		m.drops = n
		// Nothing that may go is left, of what a record call looks at.
		for _, r := range m.lane.rings() {
			seen := 0
			for c := r.head; c != nil && seen < lookAt; c = c.next {
				if m.lane.expect.free(c) {
					t.Fatalf("a record is refused, and the chunk of message %d may go", c.id)
				}
				seen++
			}
		}
	}
}

// send hands chunks over; a server has them.
func (m *waitingModel) send(t *rapid.T) {
	var w windowResult
	var list chunkList
	m.lane.takeChunks(&list, rapid.IntRange(1, 60_000).Draw(t, "bytes"), rapid.IntRange(1, 4).Draw(t, "chunks"))
	for c := list.pop(); c != nil; c = list.pop() {
		if c.id == 0 {
			c.id, c.messages = m.nextID, 1
			m.nextID++
		}
		m.sent[c.id], m.holds[c.id] = c, seqs(t, c)
		for _, seq := range m.holds[c.id] {
			m.had[seq] = true
		}
		c.handed++
		c.sent = m.now
		w.delivered.push(c)
	}
	m.lane.applyResult(&w)
}

// hear takes an answer of a group for a message that was ever sent.
func (m *waitingModel) hear(t *rapid.T) {
	if m.nextID == 1 {
		return
	}
	n := rapid.Uint64Range(1, m.nextID-1).Draw(t, "message")
	g := rapid.IntRange(0, modelGroups-1).Draw(t, "group")
	if known, _ := m.lane.noteHeard(m.sent[n], n, g, m.now); known {
		for _, seq := range m.holds[n] {
			m.heard[seq] |= 1 << g
		}
	}
}

func (m *waitingModel) due(t *rapid.T) {
	g := rapid.IntRange(0, modelGroups-1).Draw(t, "group")
	m.lane.takeDue(g, m.now.Add(-shortestWait), rapid.IntRange(1, 4).Draw(t, "chunks"))
}

func (m *waitingModel) pack(t *rapid.T) {
	for m.lane.packCopies(groupSet(rapid.IntRange(0, 1<<modelGroups-1).Draw(t, "away")), m.now) {
	}
}

// expect changes for whom the lane waits. Who is not known any more was forgotten.
func (m *waitingModel) expect(t *rapid.T) {
	all := rapid.IntRange(0, 1<<modelGroups-1)
	e := expectation{known: groupSet(all.Draw(t, "known")), probing: rapid.Bool().Draw(t, "probing")}
	e.left = e.known & groupSet(all.Draw(t, "left"))
	m.lane.setExpectation(e, m.lane.expect.known&^e.known)
}

func (m *waitingModel) wait(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
}

// named returns which groups a number is named for, and fails the test if it is named
// twice.
func (m *waitingModel) named(t *rapid.T) map[uint64]groupSet {
	named := map[uint64]groupSet{}
	for g := range modelGroups {
		d := &m.lane.unheardBy[g]
		n := uint64(0)
		for _, r := range d.ranges {
			for seq := r[0]; seq <= r[1]; seq++ {
				if named[seq].has(g) {
					t.Fatalf("number %d is named twice for group %d", seq, g)
				}
				named[seq] |= 1 << g
				n++
			}
		}
		if len(d.ranges) < maxRanges && n != d.n {
			t.Fatalf("group %d: %d are counted and %d named", g, d.n, n)
		}
		if len(d.ranges) == maxRanges {
			t.Skip("too many ranges to be named")
		}
	}
	return named
}

// check holds after each step.
func (m *waitingModel) check(t *rapid.T) {
	l := m.lane
	in := map[uint64]bool{} // numbers that are buffered
	used := 0
	count := func(c *chunk) {
		used += cap(c.buf)
		for _, seq := range seqs(t, c) {
			if in[seq] {
				t.Fatalf("number %d is in two places", seq)
			}
			in[seq] = true
		}
	}
	for _, list := range []*chunk{l.open, l.queue.head, l.waiting.head, l.packed.head} {
		for c := list; c != nil; c = c.next {
			count(c)
		}
	}
	s := l.stats()
	if s.Buffered != uint64(len(in)) || s.Accepted != s.Confirmed+s.Buffered+s.Dropped() {
		t.Fatalf("%d are buffered: %+v", len(in), s)
	}
	free := 0
	for k, c := range l.mem.free {
		for ; c != nil; c = c.next {
			free += classSize(k)
		}
	}
	if l.mem.held > m.bound || l.mem.held != used+free {
		t.Fatalf("holds %d of %d bytes, %d in use and %d free", l.mem.held, m.bound, used, free)
	}
	for _, r := range l.rings() {
		n := 0
		for c := r.head; c != nil; c = c.next {
			n++
			if l.expect.done(c) {
				t.Fatalf("the chunk of message %d waits for nobody", c.id)
			}
			for _, seq := range seqs(t, c) {
				if c.heard&^m.heard[seq] != 0 {
					t.Fatalf("number %d counts as heard by %b, and %b answered", seq, c.heard, m.heard[seq])
				}
			}
		}
		if n != r.n {
			t.Fatalf("a list counts %d chunks and has %d", r.n, n)
		}
	}
}

// Whatever happens in whatever order: each number is in one place, the bound is kept, no
// record is refused while a copy could go, and a number that is gone was answered by each
// group for which the lane waited, or is named for it, once.
func TestWaitingProperties(t *testing.T) {
	id := testIdentity(t)
	rapid.Check(t, func(t *rapid.T) {
		bound := rapid.SampledFrom([]int{64 << 10, 256 << 10}).Draw(t, "bound")
		m := &waitingModel{
			id: id, lane: newLane(papyra.KindEvent, "orders", bound), bound: bound, now: time.Unix(1000, 0), nextID: 1,
			sent: map[uint64]*chunk{}, holds: map[uint64][]uint64{}, heard: map[uint64]groupSet{}, had: map[uint64]bool{},
		}
		all := groupSet(1<<modelGroups - 1)
		m.lane.setExpectation(expectation{known: all}, 0)
		always := all // groups for which the lane waited all the time
		steps := map[string]func(*rapid.T){
			"record": m.record, "record more": m.record, "send": m.send, "send more": m.send, "hear": m.hear, "hear more": m.hear,
			"due": m.due, "pack": m.pack, "wait": m.wait, "": m.check,
		}
		if rapid.Bool().Draw(t, "groups change") {
			steps["expect"] = func(t *rapid.T) {
				m.expect(t)
				always &= m.lane.expect.known
			}
		}
		t.Repeat(steps)
		_, unconfirmed := m.lane.abandon()
		s := m.lane.stats()
		if s.Buffered != 0 || s.Unconfirmed != unconfirmed || s.Accepted != s.Confirmed+s.Unconfirmed+s.Dropped() {
			t.Fatalf("at the end: %+v", s)
		}
		named := m.named(t)
		dropped := map[uint64]bool{}
		for i := range m.lane.drops {
			for _, r := range m.lane.drops[i].ranges {
				for seq := r[0]; seq <= r[1]; seq++ {
					dropped[seq] = true
					if i == dropClosed && m.had[seq] {
						t.Fatalf("number %d is dropped as closed, and a server has it", seq)
					}
				}
			}
		}
		lacking := uint64(0)
		for seq := uint64(1); seq <= s.Accepted; seq++ {
			if !dropped[seq] && always&^(m.heard[seq]|named[seq]) != 0 {
				lacking++
			}
		}
		if lacking > unconfirmed {
			t.Fatalf("%d numbers are with a group neither heard nor named, and %d are unconfirmed", lacking, unconfirmed)
		}
	})
}
