package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/papyra/papyra"
)

// heardModel is a buffer and its writer on a store that does what rapid draws, and what
// became of each line of each message.
type heardModel struct {
	t        *rapid.T
	s        *Sink
	w        *writer
	lines    map[uint64]int // of each message
	stored   map[uint64]int
	placed   map[uint64]bool // all its lines found room
	answered map[uint64]int
	early    map[uint64]bool
}

func (m *heardModel) Append(_ context.Context, b *papyra.Batch) (int, error) {
	refused := &papyra.RefusedError{}
	left := map[papyra.Stream]int{}
	n := b.Len()
	switch rapid.SampledFrom([]string{"all", "all", "some", "refuses", "refuses", "refuses"}).Draw(m.t, "append") {
	case "some":
		n = rapid.IntRange(0, n).Draw(m.t, "n")
	case "refuses":
		for _, system := range []string{"a", "b", "c"} {
			if rapid.Bool().Draw(m.t, "refused") {
				stream := papyra.Stream{System: system, Kind: papyra.KindEvent}
				took := rapid.IntRange(0, 3).Draw(m.t, "took")
				left[stream] = took
				refused.Streams = append(refused.Streams, papyra.RefusedStream{Stream: stream, Stored: took, Err: errors.New("no")})
			}
		}
	}
	for i := range n {
		l, stream := b.Line(i)
		if took, is := left[stream]; is {
			if left[stream]--; took <= 0 {
				continue
			}
		}
		var id uint64
		if _, err := fmt.Sscanf(string(l[:min(len(l), 20)]), "m%d.", &id); err == nil {
			m.stored[id]++
		}
	}
	switch {
	case len(refused.Streams) > 0:
		return 0, refused
	case n < b.Len():
		return n, errors.New("half")
	}
	return n, nil
}

func (m *heardModel) Sync(context.Context) error { return nil }

func (m *heardModel) Stats() papyra.AppendStats { return papyra.AppendStats{} }

func (m *heardModel) Close() error { return nil }

// place puts a message into the buffer.
func (m *heardModel) place() {
	id := uint64(len(m.lines) + 1)
	system := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(m.t, "system")
	var good []acceptedLine
	n := rapid.IntRange(0, 6).Draw(m.t, "lines")
	for i := range n {
		text := fmt.Sprintf("m%d.%d", id, i)
		if rapid.Bool().Draw(m.t, "long") {
			text += strings.Repeat("x", 60<<10)
		}
		good = append(good, acceptedLine{bytes: []byte(text)})
	}
	dropped := m.s.buffer.droppedFull()
	m.lines[id] = n
	from := heardFrom{reply: papyra.HeardSubject(system, RunA, id), n: id, system: system}
	if rapid.IntRange(0, 3).Draw(m.t, "plain") == 0 {
		from = heardFrom{}
	}
	m.s.buffer.takeMessage(papyra.Stream{System: system, Kind: papyra.KindEvent}, good, nil, from)
	m.placed[id] = m.s.buffer.droppedFull() == dropped && from.reply != ""
}

// look takes the answers and checks that none is wrong.
func (m *heardModel) look(early bool) {
	m.s.buffer.mu.Lock()
	m.s.buffer.heard.within = 0
	m.s.buffer.mu.Unlock()
	stored, waiting, _ := m.s.buffer.takeHeard(early)
	for _, from := range slices.Concat(stored...) {
		m.answered[from.n]++
		if m.stored[from.n] != m.lines[from.n] {
			m.t.Fatalf("message %d is answered: %d of %d lines are stored", from.n, m.stored[from.n], m.lines[from.n])
		}
	}
	for _, from := range waiting {
		m.answered[from.n]++
		m.early[from.n] = true
	}
	m.s.buffer.reuseHeard(stored)
	if early {
		for _, as := range m.s.buffer.aside.order {
			for _, b := range as.blocks {
				if len(b.heard) > 0 {
					m.t.Fatalf("%d messages of the refused stream %s wait after their time", len(b.heard), as.stream)
				}
			}
		}
	}
}

// Whatever the store takes, refuses and takes later, and whatever finds no room: a
// message is answered once when all its lines are stored, and not when one was dropped.
func TestAnswersAreThoseOfStoredMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(Config{Instance: "test"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.buffer.limit = 600 << 10
		m := &heardModel{
			t: t, s: s, lines: map[uint64]int{}, stored: map[uint64]int{}, placed: map[uint64]bool{},
			answered: map[uint64]int{}, early: map[uint64]bool{},
		}
		m.w = newWriter(s, m)
		write := func(*rapid.T) {
			if m.w.nextBlock() {
				_ = m.w.appendBlock(t.Context())
				m.look(false)
			}
		}
		retry := func(*rapid.T) {
			m.w.waiting = false
			m.w.retryAside(t.Context())
			m.look(false)
		}
		t.Repeat(map[string]func(*rapid.T){
			"place":  func(*rapid.T) { m.place() },
			"place2": func(*rapid.T) { m.place() },
			"write":  write,
			"retry":  retry,
			"early": func(t *rapid.T) {
				if rapid.IntRange(0, 5).Draw(t, "rarely") == 0 {
					m.look(true)
				}
			},
		})
		for range 1000 {
			if lines, _ := s.buffer.pending(); lines == 0 {
				break
			}
			write(t)
			retry(t)
		}
		lines, _ := s.buffer.pending()
		m.w.abandon()
		m.look(true)
		for id := range m.lines {
			want := 0
			if m.placed[id] && (m.stored[id] == m.lines[id] || m.early[id]) {
				want = 1
			}
			if m.answered[id] != want {
				t.Errorf("message %d of %d lines, of which %d are stored, is answered %d times, want %d (%d lines were left)",
					id, m.lines[id], m.stored[id], m.answered[id], want, lines)
			}
		}
	})
}

// The answers of a block that is stored as a whole cost nothing for each message.
func TestAnswersAllocateNothing(t *testing.T) {
	s := testSink(t, Config{})
	in := testIntake(s)
	m, lines := intakeMessage(t)
	m.Reply = papyra.HeardSubject("orders", RunA, 1)
	w := newWriter(s, &discarding{})
	round := func() {
		for range 100 {
			in.takeMessage(m)
		}
		for w.nextBlock() {
			if err := w.appendBlock(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		stored, _, _ := s.buffer.takeHeard(true)
		if n := len(slices.Concat(stored...)); n != 100 {
			t.Errorf("%d messages are answered, want 100", n)
		}
		s.buffer.reuseHeard(stored)
	}
	for range 10 {
		round()
	}
	if n := testing.AllocsPerRun(20, round); n > 20 {
		t.Errorf("%v allocations for 100 messages of %d lines", n, lines)
	}
}

// discarding is a store that takes everything.
type discarding struct{ heardModel }

func (*discarding) Append(_ context.Context, b *papyra.Batch) (int, error) { return b.Len(), nil }

// Many messages of many runs and numbers with holes are named exactly.
func TestAnswersNameExactlyTheMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(Config{Instance: "test", Group: "g"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		heard := map[string]bool{}
		s.answers.publish = func(subject string, data []byte) error {
			a, err := papyra.ParseHeardAnswer(data)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(subject, hiddenPrefix) {
				if heard[subject] || len(a.Heard) > 0 {
					t.Fatalf("%s is answered with %s", subject, data)
				}
				heard[subject] = true
				return nil
			}
			system, run, n, err := papyra.ParseHeardSubject(subject)
			if err != nil {
				t.Fatal(err)
			}
			own := false
			for _, r := range a.Heard {
				own = own || r[0] <= n && n <= r[1]
				for i := r[0]; i <= r[1]; i++ {
					heard[papyra.HeardSubject(system, run, i)] = true
				}
			}
			if !own {
				t.Fatalf("the answer on %s names %v", subject, a.Heard)
			}
			return nil
		}
		want := map[string]bool{}
		var list []heardFrom
		for range rapid.IntRange(0, 300).Draw(t, "messages") {
			system := rapid.SampledFrom([]string{"a", "ab", "a b"}).Draw(t, "system")
			reply := papyra.HeardSubject(system, rapid.SampledFrom([]string{RunA, RunB}).Draw(t, "run"), rapid.Uint64Range(1, 400).Draw(t, "n"))
			if rapid.IntRange(0, 9).Draw(t, "hidden") == 0 {
				reply = fmt.Sprint(hiddenPrefix, "x.", len(list))
			}
			sub := parseSubject(papyra.RecordsSubject(system, papyra.KindEvent))
			from := s.answers.wanted(&sub, reply)
			if from.reply == "" {
				t.Fatalf("%s is not wanted", reply)
			}
			want[reply] = true
			list = append(list, from)
		}
		if n := s.answers.sendAll(slices.Clone(list)); n != uint64(len(list)) {
			t.Errorf("%d of %d messages are answered", n, len(list))
		}
		for reply := range want {
			if !heard[reply] {
				t.Errorf("%s is not answered", reply)
			}
		}
		if len(heard) != len(want) {
			t.Errorf("%d messages are named, want %d", len(heard), len(want))
		}
	})
}

// A list of answers does not grow without a bound where nobody sends them.
func TestUnsentAnswersAreBounded(t *testing.T) {
	s := newSettled()
	var b block
	for range maxSettled / 1000 * 2 {
		for i := range 1000 {
			b.heard = append(b.heard, heardFrom{reply: "x", n: uint64(i), placed: time.Second})
		}
		s.settle(&b, linesGone{})
	}
	if s.n > maxSettled+1000 || len(b.heard) > 0 {
		t.Errorf("%d answers wait", s.n)
	}
}
