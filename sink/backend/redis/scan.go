package redis

import (
	"context"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/internal/scan"
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
		sc.identities = scan.NewIdentities(1)
	}
	report, err := sc.run()
	if err != nil || !o.Full {
		return report, err
	}
	return report, sc.compare(report)
}

// eachPage calls visit with every page of every stream, from the oldest entry
// on. A stream that cannot be read becomes odd.
func (sn *session) eachPage(snap *snapshot, visit func(c *cursor) error) error {
	for _, p := range snap.streams {
		c := newCursor(p, false, 1)
		for {
			more, err := sn.fill(c)
			if local(err) {
				snap.odd = append(snap.odd, unreadable(p.key, err))
				break
			}
			if err != nil {
				return sn.failed("scan", p.key.name, err)
			}
			if !more {
				break
			}
			if err := visit(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// scanning is one scan.
type scanning struct {
	sn         *session
	snap       *snapshot
	o          papyra.ScanOptions
	identities *scan.Identities
	// damaged is called, unless it is nil, for every damaged entry, which is
	// valid during the call.
	damaged func(p *pinned, e *entry) error

	tally    scan.Tally
	findings *scan.Findings
	judge    judge
	bytes    int64
}

func newScanning(sn *session, snap *snapshot, o papyra.ScanOptions) *scanning {
	return &scanning{sn: sn, snap: snap, o: o, findings: scan.NewFindings(o)}
}

func (sc *scanning) run() (*papyra.ScanReport, error) {
	total := sc.snap.length()
	err := sc.sn.eachPage(sc.snap, func(c *cursor) error {
		if err := sc.page(c); err != nil {
			return err
		}
		if sc.o.Progress != nil {
			// The server does not say how many bytes are left, only how many entries.
			mean := float64(sc.bytes) / float64(sc.tally.Lines)
			sc.o.Progress(sc.bytes, int64(mean*float64(max(total, sc.tally.Lines))))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, a := range sc.snap.odd {
		sc.findings.Damage(a)
	}
	r := scan.Report(sc.sn.URL(), &sc.tally, sc.findings)
	r.Bytes = sc.bytes
	r.Incomplete = !sc.snap.readable()
	return r, nil
}

func (sc *scanning) page(c *cursor) error {
	p := c.stream
	for i := range c.page {
		e := &c.page[i]
		sc.tally.Lines++
		sc.bytes += e.size()
		verdict, damage := sc.judge.entry(&p.key, e, sc.o.Full)
		switch verdict {
		case scan.Valid:
			sc.tally.Add(&sc.judge.rec)
			sc.identities.Add(&sc.judge.rec)
			if sc.findings.Remarkable(&sc.judge.rec) {
				sc.findings.Look(&sc.judge.rec, place(p, e))
			}
		case scan.Blank:
			sc.tally.Blank++
		case scan.Damaged:
			sc.tally.Damaged++
			a := place(p, e)
			a.Class, a.Detail = damage.Class, detail(damage)
			sc.findings.Damage(a)
			if sc.damaged != nil {
				if err := sc.damaged(p, e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// compare looks again at the records whose identity occurs more than once.
func (sc *scanning) compare(report *papyra.ScanReport) error {
	repeated := sc.identities.Repeated()
	if repeated.None() {
		return nil
	}
	conflicts := scan.NewFindings(sc.o)
	err := sc.sn.eachPage(sc.snap, func(c *cursor) error {
		for i := range c.page {
			e := &c.page[i]
			verdict, _ := sc.judge.entry(&c.stream.key, e, false)
			if verdict == scan.Valid && repeated.Conflict(&sc.judge.rec) {
				a := place(c.stream, e)
				a.Class, a.Detail = papyra.NoticeConflict, scan.ConflictDetail(&sc.judge.rec)
				conflicts.Notice(a)
			}
		}
		return nil
	})
	conflicts.AddTo(report)
	report.Duplicates, report.Limits = repeated.Result()
	return err
}

func place(p *pinned, e *entry) papyra.Anomaly {
	return papyra.Anomaly{Stream: p.key.name, ID: e.id.String(), Length: e.size() - 1}
}
