package publisher

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

// newGroup starts a receiver that answers as a group.
func newGroup(t *testing.T, url, group string) *receiver {
	t.Helper()
	r := newReceiver(t, url)
	r.setGroup(group)
	return r
}

// setGroup changes as which group a receiver answers; as "" it answers nothing.
func (r *receiver) setGroup(group string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.group = group
}

// groupNamed returns what a publisher knows of a group.
func groupNamed(p *Publisher, name string) GroupStats {
	for _, g := range p.Groups() {
		if g.Group == name {
			return g
		}
	}
	return GroupStats{}
}

// A record is confirmed when each group has answered for it, not when one has.
func TestConfirmedByEveryGroup(t *testing.T) {
	url := embeddedFor(t).ClientURL()
	a, b := newGroup(t, url, "a"), newGroup(t, url, "b")
	p := connect(t, url, Config{})
	p.Started(someActor)
	await(t, "both groups answer", func() bool { return p.Stats().Events.Confirmed == 1 && len(p.Groups()) == 2 })
	b.setGroup("")
	for range 100 {
		p.Started(someActor)
	}
	await(t, "one group answers", func() bool { return groupNamed(p, "a").Confirmed >= 101 })
	if s := p.Stats().Events; s.Confirmed != 1 || s.Buffered != 100 {
		t.Fatalf("got %+v, want 100 that wait for the other group", s)
	}
	b.setGroup("b")
	await(t, "they are sent again and answered", func() bool { return p.Stats().Events.Confirmed == 101 })
	s := p.Stats()
	balanced(t, s)
	if g := groupNamed(p, "b"); s.Events.Resent == 0 || g.Unheard != 0 || g.Confirmed < 100 {
		t.Errorf("got %+v and %+v", s.Events, g)
	}
	if n := len(a.missing(papyra.KindEvent, 101)) + len(b.missing(papyra.KindEvent, 101)); n > 0 {
		t.Errorf("%d records are missing", n)
	}
}

// Where nobody answers, as sinks of version 0.1 do not, a server's word is enough, after a
// moment on each connection.
func TestReceiversThatDoNotAnswer(t *testing.T) {
	url := embeddedFor(t).ClientURL()
	r := newGroup(t, url, "")
	p := connect(t, url, Config{})
	for range 10 {
		p.Started(someActor)
	}
	await(t, "they are confirmed", func() bool { return p.Stats().Events.Confirmed == 10 })
	if n := len(r.missing(papyra.KindEvent, 10)); n > 0 || len(p.Groups()) > 0 || p.Stats().Events.Resent > 0 {
		t.Errorf("%d are missing, %+v, groups %+v", n, p.Stats().Events, p.Groups())
	}
	r.setGroup("late") // it is upgraded
	p.Started(someActor)
	await(t, "its group is known", func() bool { return !groupNamed(p, "late").Answered.IsZero() })
	p.Started(someActor)
	await(t, "its answer is counted", func() bool { return groupNamed(p, "late").Confirmed > 0 })
}

// A group that is configured is waited for from the start, and named if it never comes.
func TestConfiguredGroupThatNeverComes(t *testing.T) {
	url := embeddedFor(t).ClientURL()
	r := newGroup(t, url, "a")
	p := connect(t, url, Config{Groups: []string{"b", "a", "a"}, ReportEvery: 10 * time.Millisecond})
	for range 50 {
		p.Started(someActor)
	}
	await(t, "one group answers", func() bool { return groupNamed(p, "a").Confirmed >= 50 })
	if s := p.Stats().Events; s.Confirmed != 0 || s.Buffered != 50 {
		t.Fatalf("got %+v, want all to wait", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_ = p.Close(ctx)
	s := p.Stats().Events
	if s.Confirmed != 50 || s.Buffered != 0 || groupNamed(p, "b").Unheard < 50 {
		t.Errorf("got %+v and %+v, want all confirmed and unheard by one group", s, p.Groups())
	}
	await(t, "the last report", func() bool {
		reports := r.allReports()
		return len(reports) > 0 && reports[len(reports)-1].Final
	})
	last := r.allReports()[len(r.allReports())-1].Categories["events"]
	if d := last.UnheardBy["b"]; d == nil || d.N != 50 || len(d.Ranges) != 1 || d.Ranges[0] != (papyra.Range{1, 50}) || last.ConfirmedBy["a"] != 50 {
		t.Errorf("the last report says %+v", last)
	}
}

// A group that is away costs the other one no record, whatever comes: the oldest copies
// for it go, and reports name them.
func TestCopiesMakeRoom(t *testing.T) {
	url := embeddedFor(t).ClientURL()
	r := newGroup(t, url, "a")
	const bound = 4 * minBuffer // some of the chunks may be in a window, each with a few records only
	p := connect(t, url, Config{Groups: []string{"a", "b"}, Buffers: Buffers{Events: bound}, ReportEvery: 10 * time.Millisecond})
	text := strings.Repeat("x", 1000)
	n := uint64(0)
	for range 40 {
		for range 20 {
			p.Started(someActor, slog.String("text", text))
			n++
		}
		await(t, "the group that is there answers", func() bool { return groupNamed(p, "a").Confirmed >= n })
	}
	s := p.Stats()
	balanced(t, s)
	if s.Events.Dropped() > 0 || len(r.missing(papyra.KindEvent, n)) > 0 {
		t.Errorf("got %+v, and %d are missing", s.Events, len(r.missing(papyra.KindEvent, n)))
	}
	if s.Events.BufferBytes > bound || s.Events.Buffered == 0 {
		t.Errorf("got %+v, want a full buffer of copies", s.Events)
	}
	named := map[uint64]bool{}
	await(t, "reports name what b does not have", func() bool {
		for _, report := range r.allReports() {
			if d := report.Categories["events"].UnheardBy["b"]; d != nil {
				for _, g := range d.Ranges {
					for seq := g[0]; seq <= g[1]; seq++ {
						named[seq] = true
					}
				}
			}
		}
		return uint64(len(named)) == p.Stats().Events.Confirmed
	})
	b := newGroup(t, url, "b")
	await(t, "it gets the copies that are left", func() bool { return p.Stats().Events.Buffered == 0 })
	for _, seq := range b.missing(papyra.KindEvent, n) {
		if !named[seq] {
			t.Errorf("record %d is not with b and not named", seq)
		}
	}
}

// When the only group stops answering and something else takes the messages, the records
// stay together here until it answers again.
func TestOnlyGroupStopsAnswering(t *testing.T) {
	url := embeddedFor(t).ClientURL()
	newGroup(t, url, "") // a tap
	r := newGroup(t, url, "a")
	p := connect(t, url, Config{})
	p.Started(someActor)
	await(t, "it is confirmed", func() bool { return groupNamed(p, "a").Confirmed > 0 })
	r.setGroup("")
	await(t, "the lane waits", func() bool {
		p.Started(someActor)
		return p.Stats().Events.Hold == HoldUnanswered
	})
	before := p.Stats().Events.Confirmed
	for range 1000 {
		p.Started(someActor)
	}
	if s := p.Stats().Events; s.Confirmed != before || s.Dropped() > 0 {
		t.Errorf("got %+v, want nothing more confirmed", s)
	}
	r.setGroup("a")
	await(t, "everything is confirmed", func() bool {
		s := p.Stats().Events
		return s.Buffered == 0 && s.Hold == HoldNone
	})
	if n := len(r.missing(papyra.KindEvent, p.Stats().Events.Accepted)); n > 0 {
		t.Errorf("%d records are missing", n)
	}
}

// A group that takes dead letters only is not waited for with events.
func TestGroupOfOneCategory(t *testing.T) {
	url := embeddedFor(t).ClientURL()
	newGroup(t, url, "all")
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	var answer atomic.Bool
	answer.Store(true)
	a := papyra.HeardAnswer{Group: "letters", Categories: []string{"dead_letters", "reports"}}
	for _, category := range a.Categories {
		if _, err := nc.Subscribe(papyra.CategorySubject(papyra.ParseCategory(category)), func(m *nats.Msg) {
			if answer.Load() {
				_ = m.Respond(a.AppendJSON(nil))
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	p := connect(t, url, Config{})
	p.DeadLetter(papyra.DeadLetter{})
	await(t, "both are known", func() bool { return p.Stats().DeadLetters.Confirmed == 1 && len(p.Groups()) == 2 })
	answer.Store(false)
	p.DeadLetter(papyra.DeadLetter{})
	p.Started(someActor)
	await(t, "the event is confirmed", func() bool { return p.Stats().Events.Confirmed == 1 })
	if s := p.Stats().DeadLetters; s.Confirmed != 1 {
		t.Errorf("got %+v, want one that waits for the group of dead letters", s)
	}
	answer.Store(true)
	await(t, "it is confirmed", func() bool { return p.Stats().DeadLetters.Confirmed == 2 })
}

// What strangers send on the subjects of answers confirms nothing and harms nothing.
func TestAnswersOfStrangers(t *testing.T) {
	url := embeddedFor(t).ClientURL()
	r := newGroup(t, url, "a")
	p := connect(t, url, Config{})
	p.Started(someActor)
	await(t, "a record is confirmed", func() bool { return p.Stats().Events.Confirmed == 1 })
	r.setGroup("")
	p.Started(someActor)
	await(t, "one is sent", func() bool { return r.got(papyra.KindEvent) == 2 })
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	say := func(n uint64, text string) {
		t.Helper()
		if err := nc.Publish(papyra.HeardSubject("orders", p.Run(), n), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range uint64(50) {
		say(n+1, "+ACK")
		say(n+1, `{"stream":"RECORDS","seq":7}`)
		say(n+1, `{"group":"a b","categories":["events"]}`)
		say(n+1, strings.Repeat("x", 1<<20-1))
		say(1<<60+n, `{"group":"a","categories":["events"]}`)
		say(1<<60+n, fmt.Sprintf(`{"group":"stranger-%d","categories":["events"],"heard":[[%d,%d]]}`, n, uint64(1<<59), uint64(1<<60)))
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if s := p.Stats().Events; s.Confirmed != 1 || len(p.Groups()) != 1 {
		t.Fatalf("got %+v and groups %+v", s, p.Groups())
	}
	// Somebody who may publish there can make this publisher wait, but for few groups.
	for n := range 100 {
		say(1, fmt.Sprintf(`{"group":"g%d","categories":["events"],"heard":[[1,%d]]}`, n, uint64(1<<63)))
	}
	r.setGroup("a")
	await(t, "the records are heard by all that are known", func() bool { return p.Stats().Events.Buffered == 0 })
	if n := len(p.Groups()); n != maxGroups {
		t.Errorf("%d groups are known, want %d", n, maxGroups)
	}
}

// Large chunks become several messages when the broker takes only small ones. Each must be
// answered.
func TestEachMessageOfAChunkIsAnswered(t *testing.T) {
	l := newLane(papyra.KindEvent, "orders", 1<<20)
	l.setExpectation(expectation{known: 3}, 0)
	var enc papyra.Encoder
	e := papyra.Event{Type: "T"}
	if err := enc.Event(testIdentity(t), "orders", &e, nil, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	l.record(&enc, nil)
	var w windowResult
	l.takeChunks(&w.delivered, 1, 1)
	c := w.delivered.head
	c.id, c.messages = 7, 3
	l.applyResult(&w)
	now := time.Now()
	for i, n := range []uint64{7, 8, 8, 9} {
		for g := range 2 {
			if known, _ := l.noteHeard(c, n, g, now); !known {
				t.Fatalf("message %d is not known", n)
			}
		}
		if got, want := l.stats().Confirmed, uint64(i/3); got != want {
			t.Fatalf("after message %d %d are confirmed, want %d", n, got, want)
		}
	}
	if known, _ := l.noteHeard(c, 7, 0, now); known {
		t.Error("a message of a chunk that is gone is known")
	}
}

// What becomes of a group that does not answer.
func TestGroupGoesAway(t *testing.T) {
	gs := newGroups([]string{"fixed"})
	start := time.Unix(1000, 0)
	all := papyra.HeardAnswer{Categories: []string{"events", "reports"}}
	answer := func(name string, at time.Time) {
		a := all
		a.Group = name
		if _, _, ok := gs.note(&a, at); !ok {
			t.Fatal("not taken")
		}
	}
	for _, name := range []string{"fixed", "gone", "there"} {
		answer(name, start)
	}
	gs.noteSent(papyra.KindEvent, start)
	step := func(after time.Duration) (away, left, gone groupSet) {
		now := start.Add(after)
		answer("there", now)
		gs.noteSent(papyra.KindEvent, now)
		gone = gs.forget(now)
		return gs.away(now), gs.expectationOf(papyra.KindEvent, now).left, gone
	}
	for _, tt := range []struct {
		after            time.Duration
		away, left, gone groupSet
	}{
		{time.Second, 0, 0, 0},
		{1100 * time.Millisecond, 3, 0, 0},
		{leftAfter, 3, 3, 0},
		{forgetAfter - time.Second, 3, 3, 0},
		{forgetAfter, 1, 1, 2},
	} {
		if away, left, gone := step(tt.after); away != tt.away || left != tt.left || gone != tt.gone {
			t.Errorf("after %v away %b, left %b, gone %b; want %b, %b, %b", tt.after, away, left, gone, tt.away, tt.left, tt.gone)
		}
	}
	if e := gs.expectationOf(papyra.KindEvent, start); e.known != 5 {
		t.Errorf("known are %b, want 101", e.known)
	}
	if e := gs.expectationOf(papyra.KindAudit, start); e.known != 0 {
		t.Errorf("of audits known are %b, want none", e.known)
	}
	answer("gone", start.Add(forgetAfter))
	if e := gs.expectationOf(papyra.KindEvent, start.Add(forgetAfter)); e.known != 7 {
		t.Errorf("known are %b, want all again", e.known)
	}
	// Where nobody answers, nobody is forgotten.
	gs.noteSent(papyra.KindEvent, start.Add(forgetAfter))
	if gone := gs.forget(start.Add(3 * forgetAfter)); gone != 0 {
		t.Errorf("forgotten are %b, want none", gone)
	}
}

// Records that only one of several groups lacks lie close together while they wait.
func TestCopiesArePacked(t *testing.T) {
	url := embeddedFor(t).ClientURL()
	newGroup(t, url, "a")
	p := connect(t, url, Config{Groups: []string{"a", "b"}, Buffers: Buffers{Events: 2 << 20}})
	n := uint64(0)
	// Each of these is a message of its own, and would keep 16 KiB.
	for n < 60 {
		p.Started(someActor)
		n++
		await(t, "the group that is there answers", func() bool { return groupNamed(p, "a").Confirmed >= n })
	}
	await(t, "the other group is away", func() bool {
		p.Started(someActor)
		return groupNamed(p, "b").Silent > shortestWait
	})
	await(t, "the copies are packed", func() bool {
		l := p.lanes[papyra.KindEvent]
		l.lock()
		defer l.mu.Unlock()
		return l.packed.n > 0 && l.waiting.n+l.packed.n < 20
	})
	if s := p.Stats().Events; s.Dropped() > 0 || groupNamed(p, "b").Unheard > 0 {
		t.Errorf("got %+v and %+v, want all copies kept", s, groupNamed(p, "b"))
	}
}
