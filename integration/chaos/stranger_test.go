package chaos

import (
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
)

// stranger is somebody who publishes sealed events as dead letters: each is to
// be rejected, and its number to be accounted for.
type stranger struct {
	run string
	n   uint64
}

// strangeSystem is the system of a stranger's records.
const strangeSystem = "stranger"

func newStranger(w *world) *stranger {
	id := papyra.NewIdentity("s")
	s := &stranger{run: id.Run()}
	nc, err := nats.Connect(w.broker.url(), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.Timeout(testkit.Patience))
	if err != nil {
		w.t.Errorf("connect as a stranger: %v", err)
		return s
	}
	defer nc.Close()
	var enc papyra.Encoder
	for range w.plan.stranger {
		if err := enc.Event(id, strangeSystem, &papyra.Event{Type: papyra.ActorStarted}, []slog.Attr{slog.Uint64("n", s.n)}, time.Now()); err != nil {
			w.t.Error(err)
			return s
		}
		s.n++
		if err := nc.Publish(papyra.RecordsSubject(strangeSystem, papyra.KindDeadLetter), enc.AppendLine(nil, s.n)); err != nil {
			w.t.Error(err)
		}
	}
	if err := nc.FlushTimeout(testkit.Patience); err != nil {
		w.t.Errorf("publish as a stranger: %v", err)
	}
	return s
}

// stranger checks that the numbers of a stranger are all rejected.
func (b *books) stranger() {
	s := b.world.others
	if s == nil || !b.group.takes(papyra.KindDeadLetter) {
		return
	}
	c := b.series[seriesKey{strangeSystem, s.run, papyra.KindEvent}]
	if b.destructive || b.own > 0 {
		return // perhaps the only report that named them is gone
	}
	if c == nil || c.Accepted != s.n || c.Dropped[papyra.DropSinkRejected] != s.n {
		b.problem("a stranger's %d records must all be rejected: %+v", s.n, c)
	}
}
