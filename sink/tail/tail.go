package tail

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/linecheck"
)

// Config says what a Tail shows. The zero Config shows everything.
type Config struct {
	// Query chooses records by kind, system, type, actor and node; its other members
	// mean nothing here.
	Query papyra.Query
	// Settle is how long a number may be late before it is told as not shown. Default
	// 2 s.
	Settle time.Duration
	// Buffer bounds the bytes of the records that wait to be shown. Beyond it records
	// are counted, and told as not shown. Default 8 MiB.
	Buffer int
}

// Tail follows the records of a fleet on the broker.
//
//	broker ─► Listen ─► queue, bounded ─► Show ─► terminal
//
// Listen always reads and never waits for Show: a reader that does not read would make
// the broker hold up publishers. Records that find no room are counted. Both may run at
// the same time, each once at a time.
type Tail struct {
	c     Config
	check linecheck.Checker

	wake chan struct{} // one slot: something waits in the queue

	mu      sync.Mutex // guards all below
	queue   []waiting
	bytes   int
	numbers numbers
	crowded []*Gap // what found no room, until there is room to tell it
	sum     Summary
	slowAt  time.Time // when the client last threw messages away
	dropped int       // by the client, of this subscription
}

// Item is a record, or a gap between records.
type Item struct {
	Record *papyra.Record
	Gap    *Gap
}

// waiting is an Item that waits: a copy of a record's line, because the message around
// it may be large and is to be let go.
type waiting struct {
	line []byte
	gap  *Gap
}

// Summary counts the records that came.
type Summary struct {
	Shown    uint64 `json:"shown"`    // given to show
	Filtered uint64 `json:"filtered"` // not chosen by the query
	Missed   uint64 `json:"missed"`   // told as not shown, and not come since
	Copies   uint64 `json:"copies"`   // sent again, not shown again
	Rejected uint64 `json:"rejected"` // lines that no sink would take
}

// New returns a Tail.
func New(c Config) *Tail {
	q := &c.Query
	c.Query = papyra.Query{Kinds: q.Kinds, Systems: q.Systems, Types: q.Types, Actors: q.Actors, Nodes: q.Nodes}
	if c.Settle <= 0 {
		c.Settle = 2 * time.Second
	}
	if c.Buffer <= 0 {
		c.Buffer = 8 << 20
	}
	return &Tail{c: c, wake: make(chan struct{}, 1), numbers: numbers{series: map[seriesKey]*series{}}}
}

// Subjects returns what Listen subscribes to.
func (t *Tail) Subjects() (list []string) {
	q := &t.c.Query
	kinds := q.Kinds
	if len(kinds) == 0 {
		kinds = papyra.Kinds()
	}
	all := len(kinds) == len(papyra.Kinds())
	switch {
	case all && len(q.Systems) == 0:
		return []string{papyra.SubjectAllRecords}
	case len(q.Systems) == 0:
		for _, kind := range kinds {
			list = append(list, papyra.CategorySubject(kind))
		}
		return list
	}
	for _, system := range q.Systems {
		if all {
			list = append(list, papyra.SystemSubject(system))
			continue
		}
		for _, kind := range kinds {
			list = append(list, papyra.RecordsSubject(system, kind))
		}
	}
	return list
}

const (
	// maxPendingMessages and maxPendingBytes bound what the client holds.
	maxPendingMessages = 256 << 10
	maxPendingBytes    = 64 << 20
	// tellEvery is how often gaps are looked for.
	tellEvery = 100 * time.Millisecond
)

// Listen reads from a connection until ctx ends or the connection is closed, which is
// an error. What comes between two calls is told as "not subscribed"; Reconnected says
// the same of a connection that was lost.
func (t *Tail) Listen(ctx context.Context, nc *nats.Conn) error {
	t.Reconnected()
	var subs []*nats.Subscription
	defer func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe() // fails only when the connection is closed
		}
	}()
	for _, subject := range t.Subjects() {
		sub, err := nc.Subscribe(subject, t.take)
		if err == nil {
			err = sub.SetPendingLimits(maxPendingMessages, maxPendingBytes)
		}
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		subs = append(subs, sub)
	}
	look := time.NewTicker(min(tellEvery, t.c.Settle))
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		if nc.IsClosed() {
			return fmt.Errorf("%w: the connection is closed: %w", papyra.ErrUnavailable, cmp.Or(nc.LastError(), nats.ErrConnectionClosed))
		}
		t.countDropped(subs)
		t.tell(time.Now().Add(-t.c.Settle))
	}
}

// Reconnected says that the connection was away.
func (t *Tail) Reconnected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.numbers.session++
	t.dropped = 0
}

// countDropped notes when the client throws messages away.
func (t *Tail) countDropped(subs []*nats.Subscription) {
	total := 0
	for _, sub := range subs {
		n, _ := sub.Dropped()
		total += n
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if total > t.dropped {
		t.slowAt = time.Now()
	}
	t.dropped = total
}

// take takes a message. The client calls it from one goroutine for each subscription.
func (t *Tail) take(m *nats.Msg) {
	sub := linecheck.ParseSubject(m.Subject)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.SplitSeq(m.Data, []byte("\n")) {
		switch {
		case len(line) == 0:
		case t.check.CheckLine(&sub, line) != "":
			t.sum.Rejected++
		default:
			t.takeRecord(t.check.Record(), now)
		}
	}
	if len(t.queue) > 0 {
		t.wakeShow()
	}
}

// takeRecord counts a record and puts it into the queue. The caller holds the lock.
func (t *Tail) takeRecord(rec *papyra.Record, now time.Time) {
	reason := ReasonNotReceived
	if !t.slowAt.IsZero() && now.Sub(t.slowAt) < 2*t.c.Settle {
		reason = ReasonSlow
	}
	switch t.numbers.note(rec, now, reason) {
	case arrivedCopy:
		t.sum.Copies++
		return
	case arrivedTold:
		t.sum.Missed -= min(t.sum.Missed, 1)
	}
	if string(rec.Type) == papyra.ReportPublisher && rec.Kind == papyra.KindReport && rec.Sealed {
		t.explainDrops(rec)
	}
	if !t.c.Query.Match(rec) {
		t.sum.Filtered++
		return
	}
	if t.bytes+len(rec.Line) > t.c.Buffer {
		t.crowd(rec)
		return
	}
	t.tellCrowded()
	t.bytes += len(rec.Line)
	t.queue = append(t.queue, waiting{line: bytes.Clone(rec.Line)})
}

// crowd counts a record for which there is no room.
func (t *Tail) crowd(rec *papyra.Record) {
	t.sum.Missed++
	category := rec.Kind.Category()
	i := slices.IndexFunc(t.crowded, func(g *Gap) bool {
		return g.Run == string(rec.Run) && g.Category == category && g.System == string(rec.System)
	})
	if i >= 0 {
		g := t.crowded[i]
		g.First, g.Last, g.Count = min(g.First, rec.Seq), max(g.Last, rec.Seq), g.Count+1
		return
	}
	if len(t.crowded) < maxHoles { // others are in the sum only
		t.crowded = append(t.crowded, &Gap{string(rec.System), string(rec.Node), string(rec.Run), category, rec.Seq, rec.Seq, 1, ReasonSlow})
	}
}

// tellCrowded puts what found no room into the queue.
func (t *Tail) tellCrowded() {
	for _, g := range t.crowded {
		t.queue = append(t.queue, waiting{gap: g})
	}
	t.crowded = nil
}

// explainDrops notes what a publisher says that it dropped.
func (t *Tail) explainDrops(rec *papyra.Record) {
	var report papyra.PublisherReport
	if json.Unmarshal(rec.Payload, &report) != nil {
		return
	}
	for category, c := range report.Categories {
		key := seriesKey{string(rec.System), string(rec.Run), papyra.ParseCategory(category)}
		for _, d := range c.Dropped {
			if d == nil {
				continue
			}
			for _, r := range d.Ranges {
				for _, g := range t.numbers.explain(key, r) {
					t.queue = append(t.queue, waiting{gap: &g})
				}
			}
		}
	}
}

// tell puts the gaps that have settled into the queue.
func (t *Tail) tell(before time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bytes < t.c.Buffer/2 {
		t.tellCrowded()
	}
	t.numbers.due(before, func(g *Gap) bool {
		if nodes := t.c.Query.Nodes; len(nodes) > 0 && !slices.Contains(nodes, g.Node) {
			return true
		}
		if len(t.queue) > maxQueuedGaps {
			return false
		}
		if g.Reason != ReasonLate {
			t.sum.Missed += g.Count
		}
		t.queue = append(t.queue, waiting{gap: g})
		return true
	})
	if len(t.queue) > 0 {
		t.wakeShow()
	}
}

// maxQueuedGaps: while so many items wait, gaps are told later.
const maxQueuedGaps = 100_000

func (t *Tail) wakeShow() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Show calls show for each item, and idle when nothing waits, until ctx ends or one of
// them returns an error. A record is valid during the call.
func (t *Tail) Show(ctx context.Context, show func(*Item) error, idle func() error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.wake:
		}
		for {
			t.mu.Lock()
			items := t.queue
			t.queue = nil
			t.mu.Unlock()
			if len(items) == 0 {
				break
			}
			if err := t.showAll(ctx, items, show); err != nil {
				return err
			}
		}
		if err := idle(); err != nil {
			return err
		}
	}
}

func (t *Tail) showAll(ctx context.Context, items []waiting, show func(*Item) error) error {
	var rec papyra.Record
	for i := range items {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		item := Item{Gap: items[i].gap}
		if line := items[i].line; line != nil {
			item.Record = &rec
			if papyra.ParseInto(&rec, line) != nil {
				continue // it was checked
			}
		}
		err := show(&item)
		if item.Record != nil {
			t.mu.Lock()
			t.bytes -= len(rec.Line) // only now: what is being shown takes room too
			t.sum.Shown++
			t.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Summary returns the counts of now.
func (t *Tail) Summary() Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}
