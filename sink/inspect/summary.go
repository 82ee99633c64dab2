package inspect

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/unended"
)

// Summary is what stores hold of the records that a query chooses.
type Summary struct {
	Records    int64 `json:"records"`
	Bytes      int64 `json:"bytes"`
	Sealed     int64 `json:"sealed"`
	Unsealed   int64 `json:"unsealed"`
	Unverified int64 `json:"unverified,omitempty"` // with an identity that no checksum vouches for
	Damaged    int64 `json:"damaged"`              // lines passed over
	// PayloadReplaced are events and dead letters with a papyra.PayloadError.
	PayloadReplaced int64 `json:"payload_replaced,omitempty"`

	Oldest      float64       `json:"oldest,omitempty"` // Unix seconds
	Newest      float64       `json:"newest,omitempty"`
	Streams     []StreamCount `json:"streams"`      // in the order of papyra.CompareStreams
	Runs        []RunCount    `json:"runs"`         // the one seen last is first
	RunsOmitted int64         `json:"runs_omitted"` // records of runs beyond the bound
	// Removed is what acts have removed from the stores so far. It is absent where
	// none has, and where the summary is not of the whole stores.
	Removed []RemovedCount `json:"removed,omitempty"`
	// Unended are compactions without an end of which announced records are still
	// stored. What they announced is in Removed all the same.
	Unended []UnendedAct `json:"unended,omitempty"`
	// Groups are the consumer groups that other programs have on the streams.
	Groups    []Group           `json:"groups,omitempty"`
	Retention map[string]Limits `json:"retention"`
}

// UnendedAct is a compaction that was killed, or was an older version's.
type UnendedAct struct {
	Act       string `json:"act"`
	Announced int64  `json:"announced"` // records
	Stored    int64  `json:"stored"`    // of these, records that are still stored
	text      string
}

// String says for people what is known of the act.
func (u *UnendedAct) String() string { return u.text }

// StreamCount counts one stream.
type StreamCount struct {
	papyra.StreamSummary
	Sealed     int64 `json:"sealed"`
	Unsealed   int64 `json:"unsealed"`
	Unverified int64 `json:"unverified,omitempty"`
	// PayloadReplaced are records with a papyra.PayloadError.
	PayloadReplaced int64 `json:"payload_replaced,omitempty"`
}

// RunCount is one start of a publisher.
type RunCount struct {
	System  string            `json:"system"`
	Node    string            `json:"node"`
	Run     string            `json:"run"`
	Records int64             `json:"records"`
	Highest map[string]uint64 `json:"highest"` // sequence number by category
	Oldest  float64           `json:"oldest"`
	Newest  float64           `json:"newest"`
}

// Summarize counts what q chooses of all stores, of each exact duplicate one, as
// [Read] does. progress is told the bytes of the records so far; their sum is not
// known before. The summary holds what could be read; each Source says whether
// that was all of its store.
func Summarize(ctx context.Context, stores []papyra.Store, q papyra.Query, progress papyra.Progress) (*Summary, []*Source, error) {
	s := newSummarizer()
	var records, bytes int64
	sources, err := Read(ctx, stores, q, func(rec *papyra.Record) error {
		s.addRecord(rec)
		bytes += int64(len(rec.Line)) + 1
		if records++; records%1024 == 0 && progress != nil {
			progress(bytes, 0)
		}
		return nil
	})
	if err != nil {
		return nil, sources, err
	}
	r := s.summary()
	r.Retention = RetentionLimits(q.Retention)
	for _, source := range sources {
		r.Damaged += source.Damaged
	}
	// The reports tell neither of systems nor, when they are carried, of times:
	// of a part of the store they say nothing, and a part of them neither.
	if len(q.Systems)+len(q.Nodes) == 0 && q.Since.IsZero() && q.Until.IsZero() && q.Retention.ByKind[papyra.KindReport].IsZero() {
		open := s.removed.open()
		if r.Removed = s.removed.list(); open {
			r.Unended = findUnended(ctx, stores)
		}
	}
	r.Groups = listGroups(ctx, sources, q.Systems)
	return r, sources, nil
}

// findUnended reads the stores once more. What cannot be read the first reading has
// named.
func findUnended(ctx context.Context, stores []papyra.Store) (list []UnendedAct) {
	for _, store := range stores {
		acts, _ := unended.Find(ctx, store)
		for _, act := range acts {
			list = append(list, UnendedAct{act.ID, act.Announced.Records, act.Left.Records, act.String()})
		}
	}
	return list
}

// maxRuns bounds the runs that are told apart, about 50 MB: anybody can write
// lines that each name a run of their own. Records of further runs are counted
// in their stream and in RunsOmitted.
const maxRuns = 100_000

type runKey struct{ system, node, run string }

// summarizer counts records.
type summarizer struct {
	streams map[papyra.Stream]*StreamCount
	runs    map[runKey]*RunCount
	omitted int64 // records of runs beyond maxRuns
	removed removedSum

	// What the last record belonged to, and the next one most likely does too:
	// the maps' keys cost an allocation.
	stream *StreamCount
	kind   papyra.Kind
	run    *RunCount
}

func newSummarizer() *summarizer {
	return &summarizer{streams: map[papyra.Stream]*StreamCount{}, runs: map[runKey]*RunCount{}, removed: newRemovedSum()}
}

// replaced is how the payload of a record begins that has a papyra.PayloadError.
var replaced = []byte(`{"` + papyra.PayloadError + `":`)

func (s *summarizer) addRecord(rec *papyra.Record) {
	size := int64(len(rec.Line)) + 1
	when := float64(rec.Time) / 1e6
	st := s.stream
	if st == nil || s.kind != rec.Kind || st.System != string(rec.System) {
		st = s.streamOf(rec, when)
		s.stream, s.kind = st, rec.Kind
	}
	st.Records++
	st.Bytes += size
	st.Oldest, st.Newest = min(st.Oldest, when), max(st.Newest, when)
	switch {
	case rec.Sealed:
		st.Sealed++
	case rec.Unverified():
		st.Unverified++
	default:
		st.Unsealed++
	}
	if bytes.HasPrefix(rec.Payload, replaced) && rec.Kind != papyra.KindReport {
		st.PayloadReplaced++
	}
	s.removed.addReport(rec)
	if rec.HasIdentity() {
		s.addToRun(rec, when)
	}
}

func (s *summarizer) streamOf(rec *papyra.Record, when float64) *StreamCount {
	st := s.streams[rec.Stream()]
	if st == nil {
		st = &StreamCount{StreamSummary: papyra.StreamSummary{
			System: string(rec.System), Category: rec.Kind.Category(), Oldest: when, Newest: when,
		}}
		s.streams[rec.Stream()] = st
	}
	return st
}

func (s *summarizer) addToRun(rec *papyra.Record, when float64) {
	run := s.run
	if run == nil || run.Run != string(rec.Run) || run.System != string(rec.System) || run.Node != string(rec.Node) {
		if run = s.runOf(rec, when); run == nil {
			s.omitted++
			return
		}
		s.run = run
	}
	run.Records++
	run.Oldest, run.Newest = min(run.Oldest, when), max(run.Newest, when)
	category := rec.Kind.Category()
	run.Highest[category] = max(run.Highest[category], rec.Seq)
}

// runOf returns nil for a run beyond the bound.
func (s *summarizer) runOf(rec *papyra.Record, when float64) *RunCount {
	key := runKey{string(rec.System), string(rec.Node), string(rec.Run)}
	run := s.runs[key]
	if run == nil && len(s.runs) < maxRuns {
		run = &RunCount{System: key.system, Node: key.node, Run: key.run, Highest: map[string]uint64{}, Oldest: when, Newest: when}
		s.runs[key] = run
	}
	return run
}

// summary adds up the streams, and puts the runs in the order of their last
// record.
func (s *summarizer) summary() *Summary {
	r := &Summary{Streams: []StreamCount{}, Runs: []RunCount{}, RunsOmitted: s.omitted}
	for _, st := range s.streams {
		if r.Records == 0 {
			r.Oldest, r.Newest = st.Oldest, st.Newest
		}
		r.Records += st.Records
		r.Bytes += st.Bytes
		r.Sealed += st.Sealed
		r.Unsealed += st.Unsealed
		r.Unverified += st.Unverified
		r.PayloadReplaced += st.PayloadReplaced
		r.Oldest, r.Newest = min(r.Oldest, st.Oldest), max(r.Newest, st.Newest)
		r.Streams = append(r.Streams, *st)
	}
	slices.SortFunc(r.Streams, func(a, b StreamCount) int { return papyra.CompareStreams(a.StreamSummary, b.StreamSummary) })
	for _, run := range s.runs {
		r.Runs = append(r.Runs, *run)
	}
	slices.SortFunc(r.Runs, func(a, b RunCount) int {
		return cmp.Or(cmp.Compare(b.Newest, a.Newest), cmp.Compare(a.Run, b.Run), cmp.Compare(a.System, b.System))
	})
	return r
}
