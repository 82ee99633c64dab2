package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/publisher"
)

// source is one run of a publisher with a goroutine for each category, so that
// the number of a record is the number of its call, which stands in its payload.
type source struct {
	name   string
	system string
	p      *publisher.Publisher
	proxy  *testkit.Proxy

	stop  chan struct{}
	wg    sync.WaitGroup
	flood atomic.Bool  // of events
	storm *atomic.Bool // the same, of all sources

	calls [papyra.KindCount]atomic.Uint64
	// bad are the numbers of calls whose record cannot be written, by the
	// goroutine of its category; long are the too long ones, replaced those whose
	// payload alone cannot be written.
	bad, long, replaced [papyra.KindCount]map[uint64]bool

	patient bool              // it was closed with all the time it needed
	reach   []publisher.Stats // by group: of the last moment at which a fault took records away
	stats   publisher.Stats   // after Close
	groups  []publisher.GroupStats
}

// gigantic is longer than a publisher's line may be.
var gigantic = strings.Repeat("x", papyra.MaxPublishedLine)

// texts are of every length up to what some records have.
var texts = strings.Repeat("what an actor wants to be remembered of ", 50)

func newSource(t *testing.T, p *plan, slot, generation int, broker string, storm *atomic.Bool) *source {
	sp := &p.slots[slot]
	s := &source{
		name: fmt.Sprintf("publisher %d of slot %d", generation, slot), system: sp.system,
		proxy: testkit.NewProxy(t, broker), stop: make(chan struct{}), storm: storm, reach: make([]publisher.Stats, len(p.groups)),
	}
	var err error
	s.p, err = publisher.Connect("nats://"+s.proxy.Addr(), publisher.Config{
		System: sp.system, Node: fmt.Sprintf("n%d", slot), ReportEvery: sp.every,
		Buffers: publisher.Buffers{Events: sp.events, DeadLetters: 64 << 10, Audits: 64 << 10, Reports: sp.reports},
		NATS: []nats.Option{
			nats.UserInfo("pub", "pub"), nats.FlusherTimeout(p.flushing),
			nats.CustomReconnectDelay(func(int) time.Duration { return 20 * time.Millisecond }),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []papyra.Kind{papyra.KindEvent, papyra.KindDeadLetter, papyra.KindAudit} {
		s.bad[kind], s.long[kind], s.replaced[kind] = map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}
		r := rand.New(rand.NewPCG(p.seed, uint64(slot)<<32|uint64(generation)<<8|uint64(kind)))
		s.wg.Go(func() { s.record(kind, r) })
	}
	return s
}

// record records bursts until it is stopped.
func (s *source) record(kind papyra.Kind, r *rand.Rand) {
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-rest.C:
		}
		burst := 1 + r.IntN(16)
		switch {
		case kind == papyra.KindAudit:
			burst = 1 + r.IntN(3)
		case r.IntN(30) == 0:
			burst = 200
		}
		pause := between(r, 4*time.Millisecond, 25*time.Millisecond)
		flood := kind == papyra.KindEvent && (s.flood.Load() || s.storm.Load())
		if flood {
			burst, pause = 200, time.Millisecond
		}
		for range burst {
			s.one(kind, r, flood)
		}
		rest.Reset(pause)
	}
}

// The payloads that cannot be written.
type (
	knot   struct{ Next *knot } // a cycle
	grumpy struct{}             // whose method panics
)

func (grumpy) MarshalJSON() ([]byte, error) {
	panic("no")
}

// hostile returns a payload that cannot be written.
func hostile(r *rand.Rand) any {
	k := &knot{}
	k.Next = k
	return []any{make(chan int), func() {}, grumpy{}, k, complex(1, 2)}[r.IntN(5)]
}

func (s *source) one(kind papyra.Kind, r *rand.Rand, long bool) {
	n := s.calls[kind].Add(1)
	fields := []slog.Attr{slog.Uint64("n", n), slog.String("text", texts[:r.IntN(200)])}
	if long {
		fields[1] = slog.String("text", texts)
	}
	var payload any
	name := papyra.ActorRestarted
	if kind != papyra.KindAudit {
		switch r.IntN(200) {
		case 0:
			s.replaced[kind][n] = true
			payload, fields = hostile(r), nil
			if r.IntN(10) == 0 && !long { // there is no room for the reason either
				delete(s.replaced[kind], n)
				s.bad[kind][n] = true
				payload, name = make(chan int), gigantic[:papyra.MaxPublishedLine-150]
			}
		case 1:
			s.long[kind][n] = true
			fields[1] = slog.String("text", gigantic)
		case 2, 3, 4:
			fields[1] = slog.String("text", texts)
		case 5: // strange, and made harmless
			fields[1] = slog.Any("text", map[string]any{"\xff": math.NaN(), "a\x00\n\u2028": []any{math.Inf(1), "\xc3"}})
		}
	}
	switch kind {
	case papyra.KindEvent:
		s.p.Event(papyra.Event{Actor: papyra.Address{ID: int64(n)}, Type: name, Payload: payload}, fields...)
	case papyra.KindDeadLetter:
		s.p.DeadLetter(papyra.DeadLetter{MessageType: name, Payload: payload}, fields...)
	case papyra.KindAudit:
		s.p.Audit(papyra.Audit{TotalActors: int64(n)})
	}
}

// mark is what a stored line of a call must contain.
func mark(kind papyra.Kind, n uint64) string {
	if kind == papyra.KindAudit {
		return fmt.Sprintf(`"total_actors":%d,`, n)
	}
	return fmt.Sprintf(`"payload":{"n":%d,`, n)
}

// end stops the calls. After it bad and long may be read.
func (s *source) end() {
	close(s.stop)
	s.wg.Wait()
}

// close closes the publisher within a time while it is still used.
func (s *source) close(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := s.p.Close(ctx)
	s.end()
	s.stats, s.groups = s.p.Stats(), s.p.Groups()
	return err
}

// abandon ends the publisher as the death of its process would: not a byte of it
// reaches the broker from now on. It is closed only for the sake of the test,
// which must not leave it behind.
func (s *source) abandon() {
	s.proxy.Refuse(true)
	s.proxy.CutAll()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_ = s.p.Close(ctx)
	s.end()
	s.stats, s.groups = s.p.Stats(), s.p.Groups()
}

// of returns the numbers of a kind.
func of(s *publisher.Stats, kind papyra.Kind) publisher.CategoryStats {
	switch kind {
	case papyra.KindEvent:
		return s.Events
	case papyra.KindDeadLetter:
		return s.DeadLetters
	case papyra.KindAudit:
		return s.Audits
	default:
		return s.Reports
	}
}

// slot is a place for publishers, one after the other.
type slot struct {
	t      *testing.T
	plan   *plan
	index  int
	broker string

	storm *atomic.Bool
	done  func(faultKind) // is told of each fault

	mu      sync.Mutex
	now     *source
	all     []*source
	closing sync.WaitGroup // those that take their time
}

func newSlot(t *testing.T, p *plan, index int, broker string, storm *atomic.Bool, done func(faultKind)) *slot {
	s := &slot{t: t, plan: p, index: index, broker: broker, storm: storm, done: done}
	s.next()
	return s
}

// next begins a run.
func (s *slot) next() (before *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.now
	s.now = newSource(s.t, s.plan, s.index, len(s.all), s.broker, s.storm)
	s.all = append(s.all, s.now)
	return before
}

// leave closes a source with all the time it needs. It leaves nothing behind.
func (s *slot) leave(of *source) {
	of.patient = true
	if err := of.close(testkit.Patience); err != nil {
		s.t.Errorf("%s: %v", of.name, err)
	}
}

// reached notes that what was accepted up to now may be lost to a group.
func (s *slot) reached(group int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, source := range s.all {
		source.reach[group] = source.p.Stats()
	}
}

// harm does a fault, to its end.
func (s *slot) harm(f fault) {
	p := s.now.proxy
	switch f.kind {
	case pubCut:
		p.CutAll()
	case pubSwallow:
		p.Swallow(true)
		time.Sleep(f.long)
		p.CutAll()
		p.Swallow(false)
	case pubPartition:
		p.Refuse(true)
		p.CutAll()
		time.Sleep(f.long)
		p.Refuse(false)
	case pubClose:
		before := s.next()
		s.closing.Go(func() { s.leave(before) })
	case pubHurry:
		before := s.next()
		_ = before.close(f.long / 4)
	case pubAbandon:
		before := s.next()
		before.abandon()
	case pubFlood:
		now := s.now
		now.flood.Store(true)
		time.Sleep(f.long)
		now.flood.Store(false)
	}
	s.done(f.kind)
}

// unheardBy returns how many records of all kinds the publisher gave up without an answer
// of a group.
func (s *source) unheardBy(group string) uint64 {
	for _, g := range s.groups {
		if g.Group == group {
			return g.Unheard
		}
	}
	return 0
}
