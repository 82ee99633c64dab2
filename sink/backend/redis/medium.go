package redis

import (
	"context"
	"errors"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// Read yields the records that q chooses, in the order of the entries' ids; see
// [maintain.Read]. Streams that q's systems and kinds rule out are not read. yield
// must not close the store.
func (s *Store) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error) {
	return maintain.Read(ctx, medium{s}, q, yield)
}

// Compact removes what is outside the view at o.At, and duplicates if o says so;
// see [maintain.Compact]. It fixes which ids go, and deletes exactly these, from
// the oldest on, in bounded steps. Appends and other acts go on meanwhile, whoever
// makes them: of the copies of a record no act takes the newest out of its view, so
// that two at a time do not take them all. Consumer groups stay as they are; the
// report counts what they lose.
//
// It holds 56 bytes for each unbroken part, of up to 1,000 entries, that goes.
func (s *Store) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	return maintain.Compact(ctx, medium{s}, o)
}

// Recover moves every damaged entry into a quarantine stream in the same
// database, with its id and all its fields; see [maintain.Recover]. Appends go on
// meanwhile, whoever makes them. RecoverOptions.QuarantineDir is refused: the
// quarantine is in Redis.
func (s *Store) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	if o.QuarantineDir != "" {
		return nil, errNoDirectory
	}
	return maintain.Recover(ctx, medium{s}, o)
}

// medium shows the streams to package maintain.
type medium struct{ s *Store }

func (m medium) URL() string          { return m.s.URL() }
func (m medium) Now() time.Time       { return m.s.now() }
func (m medium) Life() *maintain.Life { return m.s.life }

// Pin finds the streams and notes their ends. Nobody is kept away: an act
// removes what it has pinned, and nothing can come in between that.
func (m medium) Pin(ctx context.Context, purpose maintain.Purpose) (maintain.Held, error) {
	sn, err := m.s.newSession(ctx)
	if err != nil {
		return nil, err
	}
	snap, err := sn.pin(purpose.Query)
	if err != nil {
		return nil, err
	}
	return &pinnedStore{sn: sn, snapshot: snap}, nil
}

// pinnedStore is all streams at one moment, on the way through a read or an act.
type pinnedStore struct {
	*snapshot
	sn      *session
	line    entryLine
	salvage *salvage // what the last scan found
}

// Release has nothing to release.
func (p *pinnedStore) Release() {}

// Incomplete names the streams that could not be read.
func (p *pinnedStore) Incomplete(op string) error { return p.incomplete(op, p.sn.URL()) }

// Size returns how many entries there are: the server does not say how many bytes.
func (p *pinnedStore) Size() (bytes, lines int64) { return -1, p.length() }

// Announce appends reports.
func (p *pinnedStore) Announce(lines ...[]byte) error { return p.sn.report(lines...) }

// Scan scans what is pinned, and notes the damaged entries for Salvage.
func (p *pinnedStore) Scan(o papyra.ScanOptions, see func(*papyra.Record)) (*papyra.ScanReport, error) {
	p.salvage = &salvage{sn: p.sn, snap: p.snapshot, damaged: map[*pinned][]part{}}
	sc := newScanning(p.sn, p.snapshot, o)
	sc.damaged, sc.see = p.salvage.addDamaged, see
	return sc.run()
}

// ScanAgain scans the streams as they are now.
func (p *pinnedStore) ScanAgain(o papyra.ScanOptions) (*papyra.ScanReport, error) {
	snap, err := p.sn.pin(nil)
	if err != nil {
		return nil, err
	}
	return newScanning(p.sn, snap, o).run()
}

// entryLine is an entry as package maintain sees it.
type entryLine struct {
	stream *pinned
	entry  *entry
	judge  entryJudge
}

func (l *entryLine) Judge(rec *papyra.Record, full bool) (judge.Verdict, *papyra.LineError) {
	return l.judge.entry(rec, &l.stream.key, l.entry, full)
}

func (l *entryLine) Size() int64         { return l.entry.size() }
func (l *entryLine) Place() papyra.Place { return papyra.Place{ID: l.entry.id.String()} }
func (l *entryLine) Unfinished() bool    { return false }

// marks are marked entries, by part and stream.
type marks [maintain.PartCount]map[*pinned]*removal

// NewMarks returns marks that are empty.
func (p *pinnedStore) NewMarks() maintain.Marks {
	m := &marks{}
	for part := range m {
		m[part] = map[*pinned]*removal{}
		for _, stream := range p.streams {
			m[part][stream] = &removal{}
		}
	}
	return m
}

// Backward visits the entries from the newest to the oldest, over all streams.
func (p *pinnedStore) Backward(all maintain.Marks, part maintain.Part, visit maintain.Visit) error {
	m, _ := all.(*marks)
	reader, err := p.sn.newMerge(p.snapshot, true)
	if err != nil {
		return err
	}
	at := map[*pinned]int{} // the step of the first part that comes next
	for {
		stream, e, err := reader.next()
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		mark := false
		if part == 0 || !m[0][stream].holds(e.id, at, stream) {
			p.line.stream, p.line.entry = stream, e
			mark, err = visit(&p.line)
		}
		if m != nil {
			m[part][stream].addEntry(e, mark)
		}
		if err != nil {
			return err
		}
	}
}

// Forward visits the entries from the oldest to the newest, over all streams; with
// marks those of the first part.
func (p *pinnedStore) Forward(all maintain.Marks, visit maintain.Visit) error {
	m, chosen := all.(*marks)
	reader := &merge{sn: p.sn, snap: p.snapshot}
	var cursors []*cursor
	for _, stream := range p.streams {
		c := newCursor(stream, false, len(p.streams))
		if chosen {
			steps := m[0][stream].steps
			if len(steps) == 0 {
				continue
			}
			c.from, c.to = steps[len(steps)-1].first, steps[0].last
		}
		if !c.ended {
			cursors = append(cursors, c)
		}
	}
	if err := reader.start(cursors); err != nil {
		return err
	}
	for {
		stream, e, err := reader.next()
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		if chosen && !m[0][stream].nextHolds(e.id) {
			continue
		}
		p.line.stream, p.line.entry = stream, e
		if _, err := visit(&p.line); err != nil {
			return err
		}
	}
}
