package publisher

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/papyra/papyra"
	"pgregory.net/rapid"
)

func testIdentity(t interface{ Fatal(...any) }) *papyra.Identity {
	id, err := papyra.NewIdentityRun("n1", "k3f9x2ab7q04mzt1")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// laneModel knows where each number of a lane should be.
type laneModel struct {
	id       *papyra.Identity
	enc      papyra.Encoder
	lane     *lane
	bound    int
	accepted uint64
	queue    []uint64 // buffered and not held by the background, in order
	out      []*chunk // held by the background
	dropped  [dropReasons]map[uint64]bool
	done     map[uint64]bool
}

func (m *laneModel) encode(t *rapid.T, size int) {
	e := papyra.Event{Type: "T"}
	if err := m.enc.Event(m.id, "orders", &e, []slog.Attr{slog.String("x", strings.Repeat("x", size))}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
}

func (m *laneModel) record(t *rapid.T) {
	size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 40_000), rapid.IntRange(200_000, 260_000)).Draw(t, "size")
	m.encode(t, size)
	m.accepted++
	if m.lane.record(&m.enc, nil); m.lane.drops[dropQueueFull].n > uint64(len(m.dropped[dropQueueFull])) {
		m.dropped[dropQueueFull][m.accepted] = true
		if n := m.lane.mem.held - m.freeBytes(); n+classSize(sizeClass(m.enc.Len(1))) <= m.bound-chunkSize {
			t.Fatalf("dropped a record of %d bytes with %d of %d in use", size, n, m.bound)
		}
		return
	}
	m.queue = append(m.queue, m.accepted)
}

func (m *laneModel) freeBytes() (n int) {
	for k, c := range m.lane.mem.free {
		for ; c != nil; c = c.next {
			n += classSize(k)
		}
	}
	return n
}

// fail records what could not be encoded.
func (m *laneModel) fail(t *rapid.T) {
	reason, err := dropEncode, papyra.ErrEncode
	if rapid.Bool().Draw(t, "too large") {
		reason, err = dropTooLarge, papyra.ErrTooLarge
	}
	m.lane.record(&m.enc, fmt.Errorf("wrapped: %w", err))
	m.accepted++
	m.dropped[reason][m.accepted] = true
}

// take moves chunks into a window.
func (m *laneModel) take(t *rapid.T) {
	var list chunkList
	m.lane.takeChunks(&list, rapid.IntRange(0, 100_000).Draw(t, "bytes"), rapid.IntRange(0, 5).Draw(t, "chunks"))
	for c := list.pop(); c != nil; c = list.pop() {
		for _, seq := range seqs(t, c) {
			if m.queue[0] != seq {
				t.Fatalf("took number %d, want %d: not in order", seq, m.queue[0])
			}
			m.queue = m.queue[1:]
		}
		m.out = append(m.out, c)
	}
}

// fit changes the broker's limit for what the background holds.
func (m *laneModel) fit(t *rapid.T) {
	limit := rapid.SampledFrom([]int{150, 5000, 100_000}).Draw(t, "limit")
	m.lane.setLimit(min(limit, chunkSize))
	for _, c := range m.out {
		before := seqs(t, c)
		m.lane.dropLongLines(c, limit)
		left := map[uint64]bool{}
		for _, seq := range seqs(t, c) {
			left[seq] = true
		}
		for _, seq := range before {
			if !left[seq] {
				m.dropped[dropTooLarge][seq] = true
			}
		}
		for rest := c.buf; len(rest) > 0; {
			n := linesWithin(rest, limit)
			if n <= 0 || n > limit || rest[n-1] != '\n' {
				t.Fatalf("part of %d bytes within a limit of %d", n, limit)
			}
			rest = rest[n:]
		}
	}
}

// settle gives everything back, in order, some of it confirmed.
func (m *laneModel) settle(t *rapid.T) {
	var w windowResult
	var back []uint64
	for _, c := range m.out {
		list := seqs(t, c)
		if rapid.Bool().Draw(t, "confirmed") {
			for _, seq := range list {
				m.done[seq] = true
			}
			w.delivered.push(c)
		} else {
			back = append(back, list...)
			w.returned.push(c)
		}
	}
	m.lane.applyResult(&w)
	m.queue, m.out = append(back, m.queue...), nil
}

// check compares everything that can be seen.
func (m *laneModel) check(t *rapid.T) {
	s := m.lane.stats()
	buffered := uint64(len(m.queue))
	for _, c := range m.out {
		buffered += uint64(len(seqs(t, c)))
	}
	want := CategoryStats{
		Accepted: m.accepted, Confirmed: uint64(len(m.done)), Buffered: buffered,
		DroppedQueueFull: uint64(len(m.dropped[dropQueueFull])), DroppedTooLarge: uint64(len(m.dropped[dropTooLarge])),
		DroppedEncode: uint64(len(m.dropped[dropEncode])), BufferBytes: s.BufferBytes,
	}
	if s != want {
		t.Fatalf("got %+v\nwant %+v", s, want)
	}
	if s.Accepted != s.Confirmed+s.Buffered+s.Dropped() {
		t.Fatalf("does not add up: %+v", s)
	}
	inUse := 0
	for _, list := range []*chunk{m.lane.open, m.lane.queue.head} {
		for c := list; c != nil; c = c.next {
			inUse += cap(c.buf)
		}
	}
	for _, c := range m.out {
		inUse += cap(c.buf)
	}
	if held := m.lane.mem.held; held > m.bound || held != inUse+m.freeBytes() {
		t.Fatalf("holds %d of %d bytes, %d in use and %d free", held, m.bound, inUse, m.freeBytes())
	}
	for i := range m.lane.drops {
		d := &m.lane.drops[i]
		for _, r := range d.ranges {
			for seq := r[0]; seq <= r[1]; seq++ {
				if !m.dropped[i][seq] {
					t.Fatalf("range %v of %s names %d, which was not dropped", r, dropNames[i], seq)
				}
			}
		}
	}
}

func seqs(t *rapid.T, c *chunk) (list []uint64) {
	for line := range bytes.Lines(c.buf) {
		rec, err := papyra.Parse(line[:len(line)-1])
		if err != nil || !rec.Sealed {
			t.Fatalf("line %.200q in a chunk: %v", line, err)
		}
		list = append(list, rec.Seq)
	}
	if len(list) != c.records {
		t.Fatalf("chunk counts %d records and has %d", c.records, len(list))
	}
	return list
}

// Whatever happens in whatever order, a lane keeps its bound and its order, and
// each number is in exactly one place.
func TestLaneProperties(t *testing.T) {
	id := testIdentity(t)
	rapid.Check(t, func(t *rapid.T) {
		bound := rapid.SampledFrom([]int{64 << 10, 100_000, 1 << 20}).Draw(t, "bound")
		m := &laneModel{id: id, lane: newLane(papyra.KindEvent, "orders", bound), bound: bound, done: map[uint64]bool{}}
		for i := range m.dropped {
			m.dropped[i] = map[uint64]bool{}
		}
		t.Repeat(map[string]func(*rapid.T){
			"record": m.record, "record more": m.record, "fail": m.fail, "take": m.take, "fit": m.fit, "settle": m.settle,
			"refill": func(*rapid.T) { m.lane.refillMemory() }, "trim": func(*rapid.T) { m.lane.trimMemory() },
			"": m.check,
		})
		// At the end each number is confirmed, dropped or unconfirmed.
		unknown := uint64(0)
		for i, c := range m.out {
			if c.unknown = i%2 == 0; c.unknown {
				unknown += uint64(c.records)
			}
		}
		back := windowResult{}
		for _, c := range m.out {
			back.returned.push(c)
		}
		m.lane.applyResult(&back)
		buffered := m.lane.stats().Buffered
		want := newDropLog()
		for _, list := range []*chunk{m.lane.queue.head, m.lane.open} {
			for c := list; c != nil; c = c.next {
				for _, seq := range seqs(t, c) {
					if !c.unknown {
						want.addDrop(seq)
					}
				}
			}
		}
		closed, unconfirmed := m.lane.abandon()
		if diff := cmp.Diff(want, m.lane.drops[dropClosed], cmp.AllowUnexported(dropLog{})); diff != "" {
			t.Fatalf("dropped as closed (-in the buffer +counted):\n%s", diff)
		}
		s := m.lane.stats()
		if unconfirmed != unknown || closed != buffered-unknown || s.Buffered != 0 || s.BufferBytes != 0 ||
			s.Accepted != s.Confirmed+s.Unconfirmed+s.Dropped() {
			t.Fatalf("abandoned %d and %d of %d, want %d unconfirmed: %+v", closed, unconfirmed, buffered, unknown, s)
		}
	})
}

func TestDropRanges(t *testing.T) {
	d := newDropLog()
	for seq := uint64(10); seq < 20; seq++ {
		d.addDrop(seq)
	}
	d.addDrop(30)
	report := func() *papyra.Drops {
		n, _ := d.forReport(nil)
		return &n
	}
	first := report()
	if first.N != 11 || len(first.Ranges) != 2 || first.Ranges[0] != (papyra.Range{10, 19}) || first.Ranges[1] != (papyra.Range{30, 30}) {
		t.Fatalf("got %+v, want [10,19] and [30,30]", first)
	}
	d.addDrop(31) // after the report was made, before it was in the buffer
	d.addDrop(40)
	d.forgetReported(first)
	second := report()
	if second.N != 13 || len(second.Ranges) != 2 || second.Ranges[0] != (papyra.Range{31, 31}) || second.Ranges[1] != (papyra.Range{40, 40}) {
		t.Fatalf("got %+v, want [31,31] and [40,40]", second)
	}
	d.forgetReported(second)
	for seq := uint64(100); seq < 1100; seq += 2 {
		d.addDrop(seq)
	}
	if full := report(); full.N != 513 || len(full.Ranges) != maxRanges {
		t.Fatalf("got %d and %d ranges, want 513 and %d", full.N, len(full.Ranges), maxRanges)
	}
}

// Memory that was not needed lately is given back, half of it at a time.
func TestMemoryIsGivenBack(t *testing.T) {
	m := newLaneMemory(16 << 20)
	var list chunkList
	for c := m.takeChunk(1); c != nil; c = m.takeChunk(1) {
		list.push(c)
	}
	if m.held != 16<<20 || list.n != 1024 {
		t.Fatalf("holds %d bytes in %d chunks, want all of the bound", m.held, list.n)
	}
	for c := list.pop(); c != nil; c = list.pop() {
		m.returnChunk(c)
	}
	for range 13 { // in the first of them the burst still counts as lately
		n := m.surplusChunks()
		for before := m.held; m.trimFree(&n, bite); before = m.held {
			if given := before - m.held; given != bite*chunkSize {
				t.Fatalf("gave up %d bytes at once, want %d chunks", given, bite)
			}
		}
	}
	if want := m.reserve * chunkSize; m.held != want {
		t.Errorf("holds %d bytes after a quiet time, want the reserve of %d", m.held, want)
	}
	if got := m.takeChunk(chunkSize * 16); got == nil || cap(got.buf) != largestChunk {
		t.Errorf("got %v, want the largest chunk", got)
	}
	if got := m.takeChunk(largestChunk + 1); got != nil {
		t.Error("got a chunk larger than the largest")
	}
}

func TestLinesWithin(t *testing.T) {
	cases := []struct {
		name  string
		in    string
		limit int
		want  int
	}{
		{"all fits", "a\nb\n", 4, 4},
		{"the first fits", "aa\nbb\n", 5, 3},
		{"just the first", "aa\nbb\n", 3, 3},
		{"none fits", "aaaa\nb\n", 4, 0},
		{"nothing", "", 4, 0},
	}
	for _, tc := range cases {
		if got := linesWithin([]byte(tc.in), tc.limit); got != tc.want {
			t.Errorf("%s: linesWithin(%q, %d) = %d, want %d", tc.name, tc.in, tc.limit, got, tc.want)
		}
	}
}

func TestRefusedSubject(t *testing.T) {
	cases := []struct {
		text    string
		subject string
		publish bool
	}{
		{`nats: permissions violation: Permissions Violation for Publish to "papyra.v1.records.a.events"`, "papyra.v1.records.a.events", true},
		{`Permissions Violation for Subscription to "_INBOX.x.*"`, "_INBOX.x.*", false},
		{`Permissions Violation for Subscription to "_INBOX.x.*" (sid "1")`, "_INBOX.x.*", false},
		{`Permissions Violation for Publish to "cut`, "cut", false},
		{"something else", "", false},
		{"", "", false},
	}
	for _, tc := range cases {
		if subject, publish := refusedSubject(tc.text); subject != tc.subject || publish != tc.publish {
			t.Errorf("refusedSubject(%q) = %q, %v, want %q, %v", tc.text, subject, publish, tc.subject, tc.publish)
		}
	}
}

type uncomparable []int

func (uncomparable) Error() string { return "" }

func TestSameError(t *testing.T) {
	a, b := errors.New("x"), errors.New("x")
	if !sameError(a, a) || sameError(a, b) || sameError(a, nil) || sameError(uncomparable{}, uncomparable{}) {
		t.Error("sameError must compare identities and survive errors that cannot be compared")
	}
}
