package judge

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/papyra/papyra"
)

// Tally counts lines and records by stream. Tallies of parts add up in any
// order. The zero Tally is empty and ready.
type Tally struct {
	Lines, Blank, Damaged int64
	Records, Sealed       int64
	streams               [papyra.KindCount]streams
}

type streams struct {
	byName map[string]*stream
	last   *stream // of the record before, which is often the next one's
}

type stream struct {
	name           string
	records, bytes int64
	oldest, newest int64
}

// Add counts a record and its line with the newline.
func (t *Tally) Add(rec *papyra.Record) {
	t.Records++
	if rec.Sealed {
		t.Sealed++
	}
	t.stream(rec.Kind, rec.System).add(1, int64(len(rec.Line))+1, rec.Time, rec.Time)
}

// AddSealed counts lines and their records.
func (t *Tally) AddSealed(more *papyra.Stretch) {
	n := int64(more.Lines)
	t.Lines += n
	t.Records += n
	t.Sealed += n
	t.stream(more.Kind, more.System).add(n, int64(more.Bytes), more.Oldest, more.Newest)
}

func (s *stream) add(records, bytes, oldest, newest int64) {
	if s.records == 0 {
		s.oldest, s.newest = oldest, newest
	}
	s.records += records
	s.bytes += bytes
	s.oldest, s.newest = min(s.oldest, oldest), max(s.newest, newest)
}

func (t *Tally) stream(kind papyra.Kind, system []byte) *stream {
	ss := &t.streams[kind]
	if ss.last != nil && ss.last.name == string(system) {
		return ss.last
	}
	s := ss.byName[string(system)]
	if s == nil {
		s = &stream{name: string(system)}
		if ss.byName == nil {
			ss.byName = map[string]*stream{}
		}
		ss.byName[s.name] = s
	}
	ss.last = s
	return s
}

// Merge adds another tally.
func (t *Tally) Merge(o *Tally) {
	t.Lines += o.Lines
	t.Blank += o.Blank
	t.Damaged += o.Damaged
	t.Records += o.Records
	t.Sealed += o.Sealed
	for kind := range o.streams {
		for name, from := range o.streams[kind].byName {
			t.stream(papyra.Kind(kind), []byte(name)).add(from.records, from.bytes, from.oldest, from.newest)
		}
	}
}

// Streams returns the streams in the order of papyra.CompareStreams.
func (t *Tally) Streams() []papyra.StreamSummary {
	out := []papyra.StreamSummary{}
	for kind := range t.streams {
		for _, s := range t.streams[kind].byName {
			out = append(out, papyra.StreamSummary{
				System: s.name, Category: papyra.Kind(kind).Category(),
				Records: s.records, Bytes: s.bytes,
				Oldest: seconds(s.oldest), Newest: seconds(s.newest),
			})
		}
	}
	slices.SortFunc(out, papyra.CompareStreams)
	return out
}

func seconds(micro int64) float64 { return float64(micro) / 1e6 }

// Findings are the anomalies and notices of a part of a store in order of
// place: the first so many are listed, all are counted.
type Findings struct {
	max          int
	skew         int64 // microseconds; a later timestamp is a notice; 0 is never
	anomalies    []papyra.Anomaly
	notices      []papyra.Anomaly
	anomalyCount map[papyra.Class]int64
	noticeCount  map[papyra.Class]int64
}

// defaultListed is [papyra.ScanOptions.MaxListed] when it is not set.
const defaultListed = 10_000

// NewFindings returns empty findings that keep to the options' bounds.
func NewFindings(o papyra.ScanOptions) *Findings {
	f := &Findings{max: o.MaxListed, anomalyCount: map[papyra.Class]int64{}, noticeCount: map[papyra.Class]int64{}}
	if f.max <= 0 {
		f.max = defaultListed
	}
	if !o.Now.IsZero() {
		f.skew = o.Now.UnixMicro() + 24*60*60*1e6
	}
	return f
}

// Damage adds an anomaly.
func (f *Findings) Damage(a papyra.Anomaly) {
	f.anomalyCount[a.Class]++
	if len(f.anomalies) < f.max {
		f.anomalies = append(f.anomalies, a)
	}
}

// Notice adds a notice.
func (f *Findings) Notice(a papyra.Anomaly) {
	f.noticeCount[a.Class]++
	if len(f.notices) < f.max {
		f.notices = append(f.notices, a)
	}
}

// Remarkable reports whether [Findings.Look] has something to say of a record,
// so that the caller needs to know its place only then.
func (f *Findings) Remarkable(rec *papyra.Record) bool {
	return rec.Kind == papyra.KindUnknown || rec.Unverified() || f.isSkewed(rec)
}

// isSkewed reports whether the clock of the record's sender is wrong.
func (f *Findings) isSkewed(rec *papyra.Record) bool {
	return f.skew != 0 && (rec.Time > f.skew || !rec.HasDate())
}

// Latest is the timestamp up to which no sealed record of a known kind with a date is
// remarkable.
func (f *Findings) Latest() int64 {
	if f.skew == 0 {
		return math.MaxInt64
	}
	return f.skew
}

// Look adds the notices that a valid record deserves by itself. at holds its
// place.
func (f *Findings) Look(rec *papyra.Record, at papyra.Anomaly) {
	if rec.Kind == papyra.KindUnknown {
		at.Class, at.Detail = papyra.NoticeUnknownKind, ""
		f.Notice(at)
	}
	if rec.Unverified() {
		at.Class, at.Detail = papyra.NoticeUnverified, UnverifiedDetail(rec)
		f.Notice(at)
	}
	if f.isSkewed(rec) {
		at.Class, at.Detail = papyra.NoticeClockSkew, skewDetail(rec)
		f.Notice(at)
	}
}

// UnverifiedDetail says what an unverified record is about.
func UnverifiedDetail(rec *papyra.Record) string {
	return fmt.Sprintf("run %s number %d was rewritten, and its checksum cannot be checked any more", rec.Run, rec.Seq)
}

// skewDetail says what is wrong with the time of a record.
func skewDetail(rec *papyra.Record) string {
	if !rec.HasDate() {
		return fmt.Sprintf("timestamp %.6f is no date: the sender's clock counts from another moment than 1970", float64(rec.Time)/1e6)
	}
	return "timestamp " + rec.Timestamp().Format("2006-01-02T15:04:05Z07:00") + " is ahead of the clock"
}

// Merge adds the findings of the part that follows, whose line numbers begin
// after the first lines.
func (f *Findings) Merge(o *Findings, lines int64) {
	list := func(to *[]papyra.Anomaly, from []papyra.Anomaly) {
		for _, a := range from {
			if len(*to) == f.max {
				return
			}
			if a.Line > 0 {
				a.Line += lines
			}
			*to = append(*to, a)
		}
	}
	list(&f.anomalies, o.anomalies)
	list(&f.notices, o.notices)
	for c, n := range o.anomalyCount {
		f.anomalyCount[c] += n
	}
	for c, n := range o.noticeCount {
		f.noticeCount[c] += n
	}
}

// AddTo adds notices to a report that is already put together.
func (f *Findings) AddTo(r *papyra.ScanReport) {
	r.Notices = append(r.Notices, f.notices[:min(len(f.notices), max(f.max-len(r.Notices), 0))]...)
	for c, n := range f.noticeCount {
		r.NoticeCounts[c] += n
	}
}

// Report puts a scan's result together.
func Report(backend string, t *Tally, f *Findings) *papyra.ScanReport {
	r := &papyra.ScanReport{
		Backend: backend,
		Lines:   t.Lines, Records: t.Records, Sealed: t.Sealed,
		Streams:       t.Streams(),
		Anomalies:     append([]papyra.Anomaly{}, f.anomalies...),
		AnomalyCounts: maps.Clone(f.anomalyCount),
		Notices:       append([]papyra.Anomaly{}, f.notices...),
		NoticeCounts:  maps.Clone(f.noticeCount),
	}
	r.Unverified = f.noticeCount[papyra.NoticeUnverified]
	if n := t.Records - t.Sealed - r.Unverified; n > 0 {
		r.NoticeCounts[papyra.NoticeUnsealed] = n
	}
	if t.Blank > 0 {
		r.NoticeCounts[papyra.NoticeBlankLine] = t.Blank
	}
	return r
}
