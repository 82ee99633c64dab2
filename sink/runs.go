package sink

import (
	"bytes"
	"container/list"
	"encoding/json"
	"sync"
	"time"

	"github.com/papyra/papyra"
)

const (
	// maxRuns bounds the runs of publishers whose last report a sink remembers.
	maxRuns = 1000
	// maxRunBytes bounds the bytes of these reports.
	maxRunBytes = 16 << 20
)

// PublisherRun is the last that a sink has heard of one run of a publisher. Others of
// its group, and other groups, may have heard something newer.
type PublisherRun struct {
	System, Node, Run string
	Seq               uint64 // number of the report
	Heard             time.Time
	Report            papyra.PublisherReport
}

// runList remembers the last report of runs. What is beyond its bounds goes, those of
// which nothing was heard for longest first, and is counted. It is safe for concurrent
// use. Reports are few; they are kept as they came, and read when somebody asks.
type runList struct {
	mu        sync.Mutex
	byRun     map[runName]*list.Element
	order     list.List // of *heardRun, the newest first
	bytes     int
	forgotten uint64
}

type runName struct{ system, run string }

type heardRun struct {
	name  runName
	seq   uint64
	heard time.Time
	line  []byte
}

// note remembers a sealed report, unless a newer one of the run came before.
func (r *runList) note(system string, rec *papyra.Record, line []byte, now time.Time) {
	if !rec.Sealed {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byRun == nil {
		r.byRun = map[runName]*list.Element{}
	}
	e := r.byRun[runName{system, string(rec.Run)}]
	if e == nil {
		name := runName{system, string(rec.Run)}
		e = r.order.PushFront(&heardRun{name: name})
		r.byRun[name] = e
	}
	h := e.Value.(*heardRun)
	if rec.Seq <= h.seq {
		return
	}
	r.bytes += len(line) - len(h.line)
	h.seq, h.heard, h.line = rec.Seq, now, append(h.line[:0:min(cap(h.line), 2*len(line))], line...)
	r.order.MoveToFront(e)
	for r.order.Len() > maxRuns || r.bytes > maxRunBytes {
		last := r.order.Back()
		old := r.order.Remove(last).(*heardRun)
		delete(r.byRun, old.name)
		r.bytes -= len(old.line)
		r.forgotten++
	}
}

// all returns the runs, the newest first, and how many were forgotten.
func (r *runList) all() (runs []PublisherRun, forgotten uint64) {
	r.mu.Lock()
	heard := make([]heardRun, 0, r.order.Len())
	for e := r.order.Front(); e != nil; e = e.Next() {
		h := *e.Value.(*heardRun)
		h.line = bytes.Clone(h.line)
		heard = append(heard, h)
	}
	forgotten = r.forgotten
	r.mu.Unlock()
	for i := range heard {
		h := &heard[i]
		rec, err := papyra.Parse(h.line)
		run := PublisherRun{System: h.name.system, Run: h.name.run, Seq: h.seq, Heard: h.heard}
		if err != nil || string(rec.Type) != papyra.ReportPublisher || json.Unmarshal(rec.Payload, &run.Report) != nil {
			continue
		}
		run.Node = string(rec.Node)
		runs = append(runs, run)
	}
	return runs, forgotten
}

// PublisherRuns returns what the sink heard last of the runs of publishers, the newest
// first, at most 1,000, and how many more it has forgotten.
func (s *Sink) PublisherRuns() (runs []PublisherRun, forgotten uint64) { return s.runs.all() }
