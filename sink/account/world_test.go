package account_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
	"github.com/papyra/papyra/sink/account"
)

// epoch is when every world begins, and now when it is judged.
var (
	epoch = time.Unix(1_700_000_000, 0).UTC()
	now   = epoch.Add(time.Hour)
)

// fataler is *testing.T or *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// world is a set of stores that are written record by record.
type world struct {
	t      fataler
	stores [][][]byte // lines of each store, in append order
}

func newWorld(t fataler, stores int) *world {
	return &world{t: t, stores: make([][][]byte, stores)}
}

// who is a publisher, a sink or an act.
type who struct{ system, node, run string }

// named makes a run of 16 characters that begins with name.
func named(system, name string) who {
	return who{system, "node-" + name, (name + "0000000000000000")[:16]}
}

func (w *world) identity(p who) *papyra.Identity {
	w.t.Helper()
	id, err := papyra.NewIdentityRun(p.node, p.run)
	if err != nil {
		w.t.Fatalf("identity: %v", err)
	}
	return id
}

// put stores the record with a number; text makes two records different.
func (w *world) put(store int, p who, kind papyra.Kind, seq uint64, at time.Time, text string) {
	w.t.Helper()
	var e papyra.Encoder
	var err error
	id := w.identity(p)
	switch kind {
	case papyra.KindEvent:
		err = e.Event(id, p.system, &papyra.Event{Actor: papyra.Address{ID: 1}, Type: papyra.ActorStarted, Payload: text, Time: at}, nil, at)
	case papyra.KindDeadLetter:
		err = e.DeadLetter(id, p.system, &papyra.DeadLetter{MessageType: "M", Payload: text, Time: at}, nil, at)
	case papyra.KindAudit:
		err = e.Audit(id, p.system, &papyra.Audit{RegistryDead: []string{text}, Time: at}, at)
	case papyra.KindReport:
		err = e.Report(id, p.system, &papyra.Report{Name: "Other", Payload: text, Time: at}, at)
	}
	if err != nil {
		w.t.Fatalf("encode: %v", err)
	}
	w.line(store, e.AppendLine(nil, seq))
}

func (w *world) events(store int, p who, first, last uint64) {
	w.t.Helper()
	for seq := first; seq <= last; seq++ {
		w.put(store, p, papyra.KindEvent, seq, epoch.Add(time.Duration(seq)*time.Second), "")
	}
}

func (w *world) line(store int, line []byte) {
	w.stores[store] = append(w.stores[store], line[:len(line)-1])
}

func (w *world) report(store int, p who, seq uint64, at time.Time, name string, payload any) {
	w.t.Helper()
	line, err := papyra.SealedReport(w.identity(p), p.system, seq, &papyra.Report{Name: name, Payload: payload, Time: at}, at)
	if err != nil {
		w.t.Fatalf("report: %v", err)
	}
	w.line(store, line)
}

// addedUp returns c with as many confirmed as its other numbers leave.
func addedUp(c papyra.PublisherCategory) papyra.PublisherCategory {
	c.Confirmed = c.Accepted - c.Buffered - c.Unconfirmed
	for _, d := range c.Dropped {
		if d != nil {
			c.Confirmed -= d.N
		}
	}
	return c
}

// published stores a PublisherReport about events only.
func (w *world) published(store int, p who, seq uint64, at time.Time, final bool, c papyra.PublisherCategory) {
	w.t.Helper()
	w.report(store, p, seq, at, papyra.ReportPublisher, papyra.PublisherReport{
		Final: final, Uptime: at.Sub(epoch).Seconds(),
		Categories: map[string]papyra.PublisherCategory{"events": addedUp(c), "reports": {Accepted: seq - 1, Confirmed: seq - 1}},
	})
}

// sink stores a SinkReport of a sink that started with the world.
func (w *world) sink(store int, group string, seq uint64, at time.Time, r papyra.SinkReport) {
	w.t.Helper()
	r.Group, r.Uptime = group, at.Sub(epoch).Seconds()
	if r.State == "" {
		r.State = "running"
	}
	if r.Instance == "" {
		r.Instance = fmt.Sprintf("%s-%d", group, store)
	}
	w.report(store, named(papyra.SystemReserved, fmt.Sprintf("sink%s%d", group, store)), seq, at, papyra.ReportSink, r)
}

func (w *world) removal(store int, name, act string, runs map[string][]papyra.RemovedRun) {
	w.t.Helper()
	r := papyra.RemovalReport{Act: act, ID: name, Categories: map[string]papyra.RemovedCategory{}}
	for category, list := range runs {
		var n uint64
		for i := range list {
			n += numset.CountRanges(list[i].Ranges) + list[i].N
			if list[i].N == 0 && list[i].Below > 1 {
				n += list[i].Below - 1
			}
		}
		r.Categories[category] = papyra.RemovedCategory{Records: int64(n), Runs: list}
	}
	w.report(store, named(papyra.SystemReserved, name), 1, now.Add(-10*time.Minute), papyra.ReportRemoval, r)
}

// drops is a publisher's count with ranges of single numbers.
func drops(n uint64, seqs ...uint64) *papyra.Drops {
	d := &papyra.Drops{N: n}
	for _, s := range seqs {
		d.Ranges = append(d.Ranges, papyra.Range{s, s})
	}
	return d
}

// each calls f with every record of a store.
func (w *world) each(store int, f func(*papyra.Record)) {
	w.t.Helper()
	for _, line := range w.stores[store] {
		rec, err := papyra.Parse(line)
		if err != nil {
			w.t.Fatalf("parse %s: %v", line, err)
		}
		f(&rec)
	}
}

func (w *world) options() account.Options {
	o := account.Options{At: now}
	for i := range w.stores {
		o.Stores = append(o.Stores, fmt.Sprintf("memory:%d", i))
	}
	return o
}

// judge does what Read does, without stores.
func (w *world) judge(o account.Options) (*account.Result, error) {
	w.t.Helper()
	a := account.New(o)
	for i := range w.stores {
		w.each(i, func(rec *papyra.Record) { a.Add(i, rec) })
	}
	_, again, err := a.Again()
	if err != nil {
		return nil, err
	}
	if again {
		for i := range w.stores {
			w.each(i, func(rec *papyra.Record) { a.Revisit(i, rec) })
		}
	}
	r, err := a.Result()
	if err == nil {
		balanced(w.t, r)
	}
	return r, err
}

// balanced checks what is true of every account: each number has one place, and
// the total is the sum.
func balanced(t fataler, r *account.Result) {
	t.Helper()
	var total uint64
	for _, run := range r.Runs {
		for _, c := range run.Categories {
			sum := c.Stored + c.DroppedTotal() + c.RemovedTotal() + c.Filtered + c.Before + c.Pending + c.Missing
			if c.Accepted != sum || c.Accepted != c.Highest-c.First+1 {
				t.Fatalf("run %s %s: accepted %d (%d to %d), but the places sum up to %d: %+v", run.Run, c.Category, c.Accepted, c.First, c.Highest, sum, c)
			}
			total += c.Accepted
		}
	}
	if total != r.Total.Accepted {
		t.Fatalf("total accepted %d, sum of the runs %d", r.Total.Accepted, total)
	}
}

// category returns one category of a run.
func category(t *testing.T, r *account.Result, p who, kind papyra.Kind) (account.Run, account.Category) {
	t.Helper()
	for _, run := range r.Runs {
		if run.Run != p.run || run.System != p.system {
			continue
		}
		for _, c := range run.Categories {
			if c.Category == kind.Category() {
				return run, c
			}
		}
	}
	t.Fatalf("no account of run %s, %s", p.run, kind.Category())
	return account.Run{}, account.Category{}
}

var errPart = errors.New("disk on fire")
