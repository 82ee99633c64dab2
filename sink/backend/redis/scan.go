package redis

import (
	"context"
	"sync"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
)

// Scan looks at every entry of every stream as they were at the beginning, and
// changes nothing. A key that is no stream where one should be is an anomaly
// "unexpected_file", one that the user may not read "unreadable". Of exact
// duplicates and conflicts the first is the one with the lowest key and id.
func (s *Store) Scan(ctx context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	sn, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	snap, err := sn.pin(nil)
	if err != nil {
		return nil, err
	}
	sc := newScanning(sn, snap, o)
	if o.Full {
		sc.identities = judge.NewIdentities(1)
	}
	report, err := sc.run()
	if err != nil || !o.Full {
		return report, err
	}
	return report, sc.compare(report)
}

// eachPage calls visit with every page of every stream, from the oldest entry
// on; the next page is on its way meanwhile. A stream that cannot be read becomes
// odd.
func (sn *session) eachPage(snap *snapshot, visit func(p *pinned, page []entry)) error {
	for _, p := range snap.streams {
		err := sn.pages(newCursor(p, false, 1), func(page []entry) { visit(p, page) })
		switch {
		case local(err):
			snap.odd = append(snap.odd, unreadable(p.key, err))
		case err != nil:
			return sn.failed("scan", p.key.name, err)
		}
	}
	return nil
}

// pages calls visit with every page of a stream. It returns when nothing of it
// runs any more.
func (sn *session) pages(c *cursor, visit func(page []entry)) error {
	type fetched struct {
		page []entry
		err  error
	}
	var (
		ready   = make(chan fetched, 1)
		enough  = make(chan struct{})
		running sync.WaitGroup
	)
	defer running.Wait()
	defer close(enough) // also when visit panics
	running.Go(func() {
		defer close(ready) // after an error, or the end
		for {
			c.page = nil // visit has the old one
			more, err := sn.fill(c)
			if !more && err == nil {
				return
			}
			select {
			case ready <- fetched{c.page, err}:
			case <-enough:
				return
			}
			if err != nil {
				return
			}
		}
	})
	for f := range ready {
		if f.err != nil {
			return f.err
		}
		visit(f.page)
	}
	return nil
}

// scanning is one scan.
type scanning struct {
	sn         *session
	snap       *snapshot
	o          papyra.ScanOptions
	identities *judge.Identities
	// damaged is called, unless it is nil, for every damaged entry, which is
	// valid during the call.
	damaged func(p *pinned, e *entry)
	// see is called, unless it is nil, for every report.
	see func(*papyra.Record)

	tally    judge.Tally
	findings *judge.Findings
	judge    entryJudge
	rec      papyra.Record
	bytes    int64
}

func newScanning(sn *session, snap *snapshot, o papyra.ScanOptions) *scanning {
	return &scanning{sn: sn, snap: snap, o: o, findings: judge.NewFindings(o)}
}

func (sc *scanning) run() (*papyra.ScanReport, error) {
	total := sc.snap.length()
	err := sc.sn.eachPage(sc.snap, func(p *pinned, page []entry) {
		sc.page(p, page)
		if sc.o.Progress != nil {
			// The server does not say how many bytes are left, only how many entries.
			mean := float64(sc.bytes) / float64(sc.tally.Lines)
			sc.o.Progress(sc.bytes, int64(mean*float64(max(total, sc.tally.Lines))))
		}
	})
	if err != nil {
		return nil, err
	}
	for _, a := range sc.snap.odd {
		sc.findings.Damage(a)
	}
	strangers, err := sc.sn.findStrangers()
	if err != nil {
		return nil, err
	}
	for _, a := range append(sc.snap.unread, strangers...) {
		sc.findings.Notice(a)
	}
	r := judge.Report(sc.sn.URL(), &sc.tally, sc.findings)
	r.Bytes = sc.bytes
	r.Incomplete = !sc.snap.readable()
	return r, nil
}

func (sc *scanning) page(p *pinned, page []entry) {
	for i := range page {
		e := &page[i]
		sc.tally.Lines++
		sc.bytes += e.size()
		verdict, damage := sc.judge.entry(&sc.rec, &p.key, e, sc.o.Full)
		switch verdict {
		case judge.Valid:
			sc.tally.Add(&sc.rec)
			sc.identities.Add(&sc.rec)
			if sc.see != nil && sc.rec.Kind == papyra.KindReport {
				sc.see(&sc.rec)
			}
			if sc.findings.Remarkable(&sc.rec) {
				sc.findings.Look(&sc.rec, place(p, e))
			}
		case judge.Blank:
			sc.tally.Blank++
		case judge.Damaged:
			sc.tally.Damaged++
			a := place(p, e)
			a.Class, a.Detail = damage.Class, detail(damage)
			sc.findings.Damage(a)
			if sc.damaged != nil {
				sc.damaged(p, e)
			}
		}
	}
}

// compare looks again at the records whose identity occurs more than once.
func (sc *scanning) compare(report *papyra.ScanReport) error {
	repeated := sc.identities.Repeated()
	if repeated.None() {
		return nil
	}
	conflicts := judge.NewFindings(sc.o)
	err := sc.sn.eachPage(sc.snap, func(p *pinned, page []entry) {
		for i := range page {
			e := &page[i]
			verdict, _ := sc.judge.entry(&sc.rec, &p.key, e, false)
			if verdict == judge.Valid && repeated.Conflict(&sc.rec) {
				a := place(p, e)
				a.Class, a.Detail = papyra.NoticeConflict, judge.ConflictDetail(&sc.rec)
				conflicts.Notice(a)
			}
		}
	})
	conflicts.AddTo(report)
	report.Duplicates, report.Limits = repeated.Result()
	return err
}

func place(p *pinned, e *entry) papyra.Anomaly {
	return papyra.Anomaly{Stream: p.key.name, ID: e.id.String(), Length: e.size() - 1}
}
