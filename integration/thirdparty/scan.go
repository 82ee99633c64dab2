package shelf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/papyra/papyra"
)

const (
	defaultListed = 10_000 // of papyra.ScanOptions.MaxListed
	skew          = 24 * time.Hour
)

// Scan looks at every line of every book. A shelf has no faster look than the
// full one; what Full adds is the search for duplicates and conflicts.
func (s *Shelf) Scan(ctx context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	return s.scan(ctx, o, false)
}

// scanner puts a report together.
type scanner struct {
	reader
	o       papyra.ScanOptions
	report  *papyra.ScanReport
	streams tally
	met     copies // lines
	ids     copies // identities
}

// scan is Scan. mine says that it is part of an act, which holds the shelf.
func (s *Shelf) scan(ctx context.Context, o papyra.ScanOptions, mine bool) (*papyra.ScanReport, error) {
	books, err := s.list()
	if err != nil {
		return nil, err
	}
	if o.MaxListed <= 0 {
		o.MaxListed = defaultListed
	}
	sc := &scanner{o: o, streams: tally{}, report: &papyra.ScanReport{
		Backend: s.URL(), Anomalies: []papyra.Anomaly{}, AnomalyCounts: map[papyra.Class]int64{},
		Notices: []papyra.Anomaly{}, NoticeCounts: map[papyra.Class]int64{},
	}}
	looked := s.progress(o.Progress, books)
	for _, name := range books {
		if err := sc.book(ctx, s, name); err != nil {
			return nil, err
		}
		looked(name)
	}
	if err := sc.leftovers(s, mine); err != nil {
		return nil, err
	}
	r := sc.report
	r.Streams = sc.streams.list()
	r.Unverified = r.NoticeCounts[papyra.NoticeUnverified]
	if n := r.Records - r.Sealed - r.Unverified; n > 0 {
		r.NoticeCounts[papyra.NoticeUnsealed] = n
	}
	if sc.met.full || sc.ids.full {
		r.Limits = append(r.Limits, fmt.Sprintf("duplicates: only the first %d sealed records are remembered", maxSeen))
	}
	return r, nil
}

func (sc *scanner) book(ctx context.Context, s *Shelf, name string) error {
	list, err := s.entries(ctx, name)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	sc.report.Files++
	if err != nil {
		sc.report.Incomplete = true
		class := papyra.ClassUnreadable
		if errors.Is(err, errNotAFile) {
			class = papyra.ClassUnexpectedFile
		}
		sc.anomaly(papyra.Anomaly{Class: class, File: s.path(name), Detail: err.Error()})
		return nil
	}
	var rec papyra.Record
	for _, e := range list {
		sc.report.Lines++
		sc.report.Bytes += int64(len(e.raw))
		place := papyra.Anomaly{File: s.path(name), Line: e.number, Offset: e.offset, Length: int64(len(e.text))}
		blank, damage := sc.judge(&rec, e.text)
		switch {
		case blank:
			sc.report.NoticeCounts[papyra.NoticeBlankLine]++
		case damage != nil:
			place.Class, place.Detail = damage.Class, damage.Detail
			sc.anomaly(place)
		default:
			sc.record(&rec, place)
		}
	}
	return nil
}

func (sc *scanner) record(rec *papyra.Record, place papyra.Anomaly) {
	sc.report.Records++
	if rec.Sealed {
		sc.report.Sealed++
	}
	sc.streams.add(rec)
	if rec.Kind == papyra.KindUnknown {
		sc.notice(place, papyra.NoticeUnknownKind, "")
	}
	if rec.Unverified() {
		sc.notice(place, papyra.NoticeUnverified, fmt.Sprintf("run %s number %d was rewritten, and its checksum cannot be checked any more", rec.Run, rec.Seq))
	}
	if !sc.o.Now.IsZero() && rec.Timestamp().After(sc.o.Now.Add(skew)) {
		sc.notice(place, papyra.NoticeClockSkew, "timestamp "+rec.Timestamp().Format(time.RFC3339)+" is ahead of the clock")
	}
	if !sc.o.Now.IsZero() && !rec.HasDate() {
		sc.notice(place, papyra.NoticeClockSkew, fmt.Sprintf("timestamp %.6f is no date", float64(rec.Time)/1e6))
	}
	if !sc.o.Full || !rec.HasIdentity() {
		return
	}
	id := fmt.Appendf(nil, "%d %q %s %d", rec.Kind, rec.System, rec.Run, rec.Seq)
	known := sc.ids.met(id)
	if sc.met.again(rec) {
		sc.report.Duplicates++
	} else if known {
		sc.notice(place, papyra.NoticeConflict, fmt.Sprintf("run %s number %d is that of an earlier record with other bytes", rec.Run, rec.Seq))
	}
}

func (sc *scanner) leftovers(s *Shelf, mine bool) error {
	names, left, err := s.leftovers(mine)
	for _, name := range names {
		info, err := os.Lstat(s.path(name))
		if err != nil {
			continue // it is a book now
		}
		place := papyra.Anomaly{Class: papyra.ClassLeftover, File: s.path(name), Length: info.Size(), Detail: "what was to become a book, or a book's replacement"}
		if left {
			sc.anomaly(place)
		} else {
			sc.notice(place, papyra.NoticeInProgress, "")
		}
	}
	return err
}

func (sc *scanner) anomaly(a papyra.Anomaly) {
	sc.report.AnomalyCounts[a.Class]++
	if len(sc.report.Anomalies) < sc.o.MaxListed {
		sc.report.Anomalies = append(sc.report.Anomalies, a)
	}
}

func (sc *scanner) notice(a papyra.Anomaly, class papyra.Class, detail string) {
	a.Class, a.Detail = class, detail
	sc.report.NoticeCounts[class]++
	if len(sc.report.Notices) < sc.o.MaxListed {
		sc.report.Notices = append(sc.report.Notices, a)
	}
}

// tally counts records by stream.
type tally map[papyra.Stream]*papyra.StreamSummary

func (t tally) add(rec *papyra.Record) {
	at := float64(rec.Time) / 1e6
	s := t[rec.Stream()]
	if s == nil {
		s = &papyra.StreamSummary{System: string(rec.System), Category: rec.Kind.Category(), Oldest: at, Newest: at}
		t[rec.Stream()] = s
	}
	s.Records++
	s.Bytes += int64(len(rec.Line)) + 1
	s.Oldest, s.Newest = min(s.Oldest, at), max(s.Newest, at)
}

// list returns the streams by system and category.
func (t tally) list() []papyra.StreamSummary {
	out := []papyra.StreamSummary{}
	for _, s := range t {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b papyra.StreamSummary) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Category, b.Category))
	})
	return out
}

// total adds the streams of a category up, or of all with "".
func (t tally) total(category string) (records, bytes int64) {
	for s := range maps.Values(t) {
		if category == "" || s.Category == category {
			records += s.Records
			bytes += s.Bytes
		}
	}
	return records, bytes
}
