package account_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/backend"
)

// A compaction changes nothing in an account but that it removed what was
// stored: whatever the retention, also of reports, and whatever happened before.
func TestCompactionLeavesTheAccount(t *testing.T) {
	dir := t.TempDir()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		h := newHistory(t)
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			h.step()
		}
		h.end()
		var stores []papyra.Store
		for i := range h.w.stores {
			url := "memory:"
			if rapid.Bool().Draw(t, "file") {
				path := filepath.Join(dir, fmt.Sprintf("%d-%d.ndjson", round, i))
				defer os.Remove(path)
				url = "json:" + path
			}
			store, err := backend.Open(url)
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			defer store.Close()
			pour(t, store, h.w.stores[i])
			stores = append(stores, store)
		}
		before := h.judge(stores)
		for range rapid.IntRange(1, 2).Draw(t, "compactions") {
			store := rapid.SampledFrom(stores).Draw(t, "store")
			o := papyra.CompactOptions{Retention: h.retention(), At: h.at.Add(time.Duration(rapid.IntRange(-60, 60).Draw(t, "at")) * time.Second)}
			report, err := store.Compact(context.Background(), o)
			if err != nil {
				t.Fatalf("compact: %v", err)
			}
			after := h.judge(stores)
			if diff := cmp.Diff(essence(before), essence(after)); diff != "" {
				t.Fatalf("the account changed when a compaction with %+v removed %d records (-before +after):\n%s", o.Retention, report.RecordsBefore-report.RecordsAfter, diff)
			}
			before = after
		}
	})
}

func pour(t *rapid.T, store papyra.Store, lines [][]byte) {
	a, err := store.Appender(context.Background())
	if err != nil {
		t.Fatalf("appender: %v", err)
	}
	var b papyra.Batch
	for _, line := range lines {
		rec, err := papyra.Parse(line)
		if err != nil {
			t.Fatalf("parse: %v", err)
		}
		b.Append(b.StreamIndex(rec.Stream()), line)
	}
	if _, err := a.Append(context.Background(), &b); err != nil {
		t.Fatalf("append: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// told is what an account says, but for what a compaction may change: what was
// stored may be removed, with its copies and with the name of its system.
type told struct {
	Group   string
	Verdict account.Verdict
	Absent  []account.Absent
	Lost    uint64
	Stores  [][]string
	Runs    map[string]told1
	Gaps    []account.Gap
}

type told1 struct {
	Ended  bool // without a last word
	Counts account.Counts
}

func essence(r *account.Result) told {
	out := told{Group: r.Group, Verdict: r.Verdict, Absent: r.Absent, Lost: r.LostMessages, Runs: map[string]told1{}}
	for _, s := range r.Stores {
		out.Stores = append(out.Stores, s.IDs, s.Groups)
	}
	for _, run := range r.Runs {
		if run.State == account.RunAct && run.Categories[0].Missing == 0 {
			continue
		}
		for _, c := range run.Categories {
			k := c.Counts
			k.Stored += k.Removed[papyra.ActCompact]
			k.Removed = maps.Clone(k.Removed)
			delete(k.Removed, papyra.ActCompact)
			k.Duplicates, k.Conflicts = 0, 0
			out.Runs[run.Run+" "+c.Category] = told1{run.State == account.RunEnded || run.State == account.RunGone, k}
		}
	}
	for _, g := range r.Gaps {
		g.System, g.After, g.Before = "", 0, 0 // of neighbours that are removed
		g.Causes, g.Outages, g.Downtimes, g.Quarantines = nil, nil, nil, nil
		out.Gaps = append(out.Gaps, g)
	}
	slices.SortFunc(out.Gaps, func(a, b account.Gap) int {
		return slices.Compare([]string{a.Run, a.Category, fmt.Sprintf("%20d", a.First)}, []string{b.Run, b.Category, fmt.Sprintf("%20d", b.First)})
	})
	return out
}

// history is what a group's publishers and sinks did, at random, one step in a
// second.
type history struct {
	t       *rapid.T
	w       *world
	at      time.Time
	sources []*source
	workers []*workerLog
	acts    int
}

// source is a publisher.
type source struct {
	who     who
	reports uint64
	kinds   map[papyra.Kind]*sourceCategory
}

type sourceCategory struct {
	accepted uint64
	dropped  map[papyra.DropReason]*papyra.Drops
	unheard  map[string]*papyra.Drops
}

// workerLog is one start of a sink and what it has to tell.
type workerLog struct {
	who     who
	reports uint64
	started time.Time
	report  papyra.SinkReport
	drops   map[string]*papyra.SinkDrops
	told    int // peers
}

var historyKinds = []papyra.Kind{papyra.KindEvent, papyra.KindDeadLetter}

func newHistory(t *rapid.T) *history {
	h := &history{t: t, at: epoch, w: newWorld(t, rapid.IntRange(1, 2).Draw(t, "stores"))}
	for i := range rapid.IntRange(1, 3).Draw(t, "publishers") {
		s := &source{who: named("orders", fmt.Sprintf("pub%d", i)), kinds: map[papyra.Kind]*sourceCategory{}}
		if i == 2 {
			s.who.system = "billing"
		}
		for _, k := range historyKinds {
			s.kinds[k] = &sourceCategory{dropped: map[papyra.DropReason]*papyra.Drops{}, unheard: map[string]*papyra.Drops{}}
		}
		h.sources = append(h.sources, s)
	}
	h.workers = make([]*workerLog, len(h.w.stores))
	return h
}

// start begins a sink of a store.
func (h *history) start(store int) {
	w := &workerLog{started: h.at, drops: map[string]*papyra.SinkDrops{}}
	w.who = named(papyra.SystemReserved, fmt.Sprintf("sink%dx%d", store, int(h.at.Sub(epoch).Seconds())))
	w.report = papyra.SinkReport{Group: "archive", Instance: fmt.Sprintf("w%d", store), Store: fmt.Sprintf("store%d", store)}
	if rapid.IntRange(0, 3).Draw(h.t, "filtered") == 0 {
		w.report.Filters = []string{"system=orders", "category=events"}
	}
	h.workers[store] = w
	h.sinkReport(store, "started")
}

func (h *history) sinkReport(store int, state string) {
	w := h.workers[store]
	w.reports++
	r := w.report
	r.State, r.Uptime = state, h.at.Sub(w.started).Seconds()
	for _, key := range slices.Sorted(maps.Keys(w.drops)) {
		r.Dropped = append(r.Dropped, *w.drops[key])
	}
	clear(w.drops)
	if len(r.Peers) == w.told && rapid.Bool().Draw(h.t, "peers are no news") {
		r.Peers = nil
	}
	w.told = len(w.report.Peers)
	if h.survives() {
		h.w.report(store, w.who, w.reports, h.at, papyra.ReportSink, r)
	}
}

func (h *history) survives() bool { return rapid.IntRange(0, 7).Draw(h.t, "report survives") > 0 }

// running returns a store whose sink runs.
func (h *history) running() (int, bool) {
	var list []int
	for i, w := range h.workers {
		if w != nil {
			list = append(list, i)
		}
	}
	if len(list) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(list).Draw(h.t, "worker"), true
}

func (h *history) step() {
	h.at = h.at.Add(time.Second)
	switch rapid.IntRange(0, 13).Draw(h.t, "step") {
	case 0:
		h.publisherReport(rapid.SampledFrom(h.sources).Draw(h.t, "reporter"), false)
	case 1, 3:
		store := rapid.IntRange(0, len(h.workers)-1).Draw(h.t, "store")
		if h.workers[store] == nil {
			h.start(store)
		} else {
			h.sinkStep(store)
		}
	case 2:
		h.act()
	default:
		h.take(rapid.SampledFrom(h.sources).Draw(h.t, "publisher"))
	}
}

func (h *history) sinkStep(store int) {
	w := h.workers[store]
	switch rapid.IntRange(0, 5).Draw(h.t, "sink does") {
	case 0:
		w.report.LostMessages++
	case 1:
		w.report.Disconnects++
	case 2:
		n := len(w.report.Peers)
		w.report.Peers = append(slices.Clip(w.report.Peers), papyra.Peer{Instance: fmt.Sprintf("p%d", n), Store: fmt.Sprintf("peer%d", n)})
	case 3:
		h.sinkReport(store, "stopped")
		h.workers[store] = nil
		return
	case 4: // it is killed
		h.workers[store] = nil
		return
	}
	h.sinkReport(store, "running")
}

// take takes a number, which is stored, dropped or lost.
func (h *history) take(s *source) {
	kind := rapid.SampledFrom(historyKinds).Draw(h.t, "kind")
	c := s.kinds[kind]
	c.accepted++
	store, running := h.running()
	switch fate := rapid.IntRange(0, 12).Draw(h.t, "fate"); {
	case fate == 0:
		drop(c.dropped, papyra.DropQueueFull, c.accepted)
	case fate == 1:
		drop(c.dropped, papyra.DropEncode, c.accepted)
	case fate == 2:
		drop(c.dropped, papyra.DropTooLarge, c.accepted)
	case fate == 12:
		drop(c.unheard, rapid.SampledFrom([]string{"archive", "live"}).Draw(h.t, "unheard by"), c.accepted)
	case !running || fate == 3: // lost
	case !h.takes(store, s, kind):
	case fate == 4:
		h.sinkDrop(store, s, kind, c.accepted)
	default:
		for range 1 + fate/11 {
			h.w.put(store, s.who, kind, c.accepted, h.at, "")
		}
	}
}

func (h *history) takes(store int, s *source, kind papyra.Kind) bool {
	return h.workers[store].report.Filters == nil || s.who.system == "orders" && kind == papyra.KindEvent
}

// drop counts a number as dropped by the publisher, or as unheard; a report names few.
func drop[K comparable](drops map[K]*papyra.Drops, why K, n uint64) {
	d := drops[why]
	if d == nil {
		d = &papyra.Drops{}
		drops[why] = d
	}
	d.N++
	if len(d.Ranges) < 2 {
		d.Ranges = append(d.Ranges, papyra.Range{n, n})
	}
}

func (h *history) sinkDrop(store int, s *source, kind papyra.Kind, seq uint64) {
	w := h.workers[store]
	key := s.who.run + kind.Category()
	d := w.drops[key]
	if d == nil {
		d = &papyra.SinkDrops{Reason: papyra.DropSinkFull, System: s.who.system, Category: kind.Category(), Run: s.who.run}
		w.drops[key] = d
	}
	d.N++
	if len(d.Ranges) == 0 {
		d.Ranges = []papyra.Range{{seq, seq}}
		return
	}
	if d.Others[0] == 0 {
		d.Others[0] = seq
	}
	d.Others[1] = seq
}

func (h *history) publisherReport(s *source, final bool) {
	s.reports++
	r := papyra.PublisherReport{Final: final, Uptime: h.at.Sub(epoch).Seconds(), Categories: map[string]papyra.PublisherCategory{}}
	if rapid.IntRange(0, 5).Draw(h.t, "outage") == 0 {
		r.Outages = []papyra.Outage{{From: float64(h.at.Unix() - 2), To: float64(h.at.Unix())}}
	}
	for kind, c := range s.kinds {
		p := papyra.PublisherCategory{Accepted: c.accepted, Dropped: map[papyra.DropReason]*papyra.Drops{}}
		for reason, d := range c.dropped {
			p.Dropped[reason] = &papyra.Drops{N: d.N, Ranges: d.Ranges}
			d.Ranges = nil
		}
		p.UnheardBy = map[string]*papyra.Drops{}
		for group, d := range c.unheard {
			p.UnheardBy[group] = &papyra.Drops{N: d.N, Ranges: d.Ranges}
			d.Ranges = nil
		}
		r.Categories[kind.Category()] = addedUp(p)
	}
	if store, ok := h.running(); ok && h.survives() {
		h.w.report(store, s.who, s.reports, h.at, papyra.ReportPublisher, r)
	}
}

// act is an earlier removal of a number that was stored.
func (h *history) act() {
	s := rapid.SampledFrom(h.sources).Draw(h.t, "removed of")
	kind := rapid.SampledFrom(historyKinds).Draw(h.t, "removed kind")
	c := s.kinds[kind]
	c.accepted++
	h.acts++
	name := rapid.SampledFrom([]string{papyra.ActRotate, papyra.ActRecover, papyra.ActCompact}).Draw(h.t, "act")
	r := papyra.RemovalReport{Act: name, ID: strconv.Itoa(h.acts), Categories: map[string]papyra.RemovedCategory{
		kind.Category(): {Records: 1, Runs: []papyra.RemovedRun{{Node: s.who.node, Run: s.who.run, Ranges: []papyra.Range{{c.accepted, c.accepted}}}}},
	}}
	store := rapid.IntRange(0, len(h.w.stores)-1).Draw(h.t, "act in")
	h.w.report(store, named(papyra.SystemReserved, fmt.Sprintf("act%d", h.acts)), 1, h.at, papyra.ReportRemoval, r)
}

// end lets some of the publishers and sinks say a last word, and some records
// arrive in another order.
func (h *history) end() {
	for _, s := range h.sources {
		if rapid.Bool().Draw(h.t, "final") {
			h.at = h.at.Add(time.Second)
			h.publisherReport(s, true)
		}
	}
	for i, w := range h.workers {
		if w != nil && rapid.Bool().Draw(h.t, "stopped") {
			h.at = h.at.Add(time.Second)
			h.sinkReport(i, "stopped")
		}
	}
	for _, lines := range h.w.stores {
		for range rapid.IntRange(0, 3).Draw(h.t, "swaps") {
			if len(lines) > 1 {
				i := rapid.IntRange(1, len(lines)-1).Draw(h.t, "swap")
				lines[i-1], lines[i] = lines[i], lines[i-1]
			}
		}
	}
}

func (h *history) retention() papyra.Retention {
	limits := func(what string) papyra.Limits {
		var l papyra.Limits
		if rapid.Bool().Draw(h.t, what+" records") {
			l.Records = rapid.Int64Range(1, 20).Draw(h.t, what+" keep_records")
		}
		if rapid.Bool().Draw(h.t, what+" age") {
			l.Age = time.Duration(rapid.IntRange(1, 100).Draw(h.t, what+" keep_age")) * time.Second
		}
		if rapid.Bool().Draw(h.t, what+" bytes") {
			l.Bytes = rapid.Int64Range(1, 8000).Draw(h.t, what+" keep_bytes")
		}
		return l
	}
	r := papyra.Retention{General: limits("general")}
	r.ByKind[papyra.KindReport] = limits("reports")
	if r.IsZero() {
		r.ByKind[papyra.KindReport].Records = 1
	}
	return r
}

func (h *history) judge(stores []papyra.Store) *account.Result {
	readers := make([]account.Reader, len(stores))
	for i, s := range stores {
		readers[i] = s
	}
	// Later than the acts' own reports, which have the time of the machine.
	r, err := account.Read(context.Background(), account.Options{At: time.Now().Add(time.Hour), Gaps: true}, nil, readers...)
	if err != nil {
		h.t.Fatalf("account: %v", err)
	}
	balanced(h.t, r)
	return r
}
