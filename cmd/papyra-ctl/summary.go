package main

import (
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
)

func (t *tool) summaryCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "summary",
		Usage: "Count what is stored, for each system and category, and list the runs",
		Description: describe(`Counts the records of every system and category with their size and first and
last time, and lists the runs: the starts of publishers, with the node they ran
on and the highest number they gave in each category. Exact duplicates count
once. Retention flags show what a compaction with the same flags would keep. Of a
store from which acts have removed records it says how many in all, unless a flag
chooses a time, a system or a node, or limits the reports. On Redis it lists the
consumer groups that other programs have on the streams, with what is pending and
what is to be delivered yet. Nothing is changed.`,
			[]string{
				"papyra-ctl inspect summary --backend " + exampleStore,
				"papyra-ctl inspect summary --backend " + exampleStore + " --since 1d --system orders",
			}, inspectCodes()...),
		Flags: slices.Concat([]urfave.Flag{backendFlag(true)}, timeFlags(), []urfave.Flag{
			&urfave.StringSliceFlag{Name: "system", Usage: "`SYSTEM` id; may be given more than once"},
			&urfave.StringSliceFlag{Name: "node", Usage: "`NODE` that sealed the record; may be given more than once"},
		}, retentionFlags(), []urfave.Flag{outputFlag()}),
		Action: t.verb("inspect summary", (*call).summary),
	}
}

// summaryResult is the JSON of a summary.
type summaryResult struct {
	Records     int64          `json:"records"`
	Bytes       int64          `json:"bytes"`
	Sealed      int64          `json:"sealed"`
	Unsealed    int64          `json:"unsealed"`
	Damaged     int64          `json:"damaged"` // lines passed over
	Oldest      float64        `json:"oldest,omitempty"`
	Newest      float64        `json:"newest,omitempty"`
	Streams     []*streamCount `json:"streams"`
	Runs        []*runCount    `json:"runs"`         // the one seen last is first
	RunsOmitted int64          `json:"runs_omitted"` // records of runs beyond the bound
	// Removed is what acts have removed from the store so far. It is absent where
	// none has, and where the summary is not of the whole store.
	Removed []*removedCount `json:"removed,omitempty"`
	// Groups are the consumer groups that other programs have on the streams.
	Groups    []groupState          `json:"groups,omitempty"`
	Retention map[string]limitsJSON `json:"retention"`
}

// streamCount counts one stream.
type streamCount struct {
	papyra.StreamSummary
	Sealed   int64 `json:"sealed"`
	Unsealed int64 `json:"unsealed"`
}

// runCount is one start of a publisher.
type runCount struct {
	System  string            `json:"system"`
	Node    string            `json:"node"`
	Run     string            `json:"run"`
	Records int64             `json:"records"`
	Highest map[string]uint64 `json:"highest"` // sequence number by category
	Oldest  float64           `json:"oldest"`
	Newest  float64           `json:"newest"`
}

// maxRuns bounds the runs that are told apart, about 50 MB: anybody can write
// lines that each name a run of their own. Records of further runs are counted
// in their stream and in RunsOmitted.
const maxRuns = 100_000

type runKey struct{ system, node, run string }

// summarizer counts records.
type summarizer struct {
	result  summaryResult
	streams map[papyra.Stream]*streamCount
	runs    map[runKey]*runCount
	removed removedSum

	// What the last record belonged to, and the next one most likely does too:
	// the maps' keys cost an allocation.
	stream *streamCount
	kind   papyra.Kind
	run    *runCount
}

func newSummarizer() *summarizer {
	return &summarizer{streams: map[papyra.Stream]*streamCount{}, runs: map[runKey]*runCount{}, removed: removedSum{}}
}

func (s *summarizer) add(rec *papyra.Record) {
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
	if rec.Sealed {
		st.Sealed++
	} else {
		st.Unsealed++
	}
	s.removed.add(rec)
	if rec.HasIdentity() {
		s.addRun(rec, when)
	}
}

func (s *summarizer) streamOf(rec *papyra.Record, when float64) *streamCount {
	st := s.streams[rec.Stream()]
	if st == nil {
		st = &streamCount{StreamSummary: papyra.StreamSummary{
			System: string(rec.System), Category: rec.Kind.Category(), Oldest: when, Newest: when,
		}}
		s.streams[rec.Stream()] = st
	}
	return st
}

func (s *summarizer) addRun(rec *papyra.Record, when float64) {
	run := s.run
	if run == nil || run.Run != string(rec.Run) || run.System != string(rec.System) || run.Node != string(rec.Node) {
		if run = s.runOf(rec, when); run == nil {
			s.result.RunsOmitted++
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
func (s *summarizer) runOf(rec *papyra.Record, when float64) *runCount {
	key := runKey{string(rec.System), string(rec.Node), string(rec.Run)}
	run := s.runs[key]
	if run == nil && len(s.runs) < maxRuns {
		run = &runCount{System: key.system, Node: key.node, Run: key.run, Highest: map[string]uint64{}, Oldest: when, Newest: when}
		s.runs[key] = run
	}
	return run
}

// end puts the counts in order: streams by name, runs by last sight.
func (s *summarizer) end() *summaryResult {
	r := &s.result
	r.Streams, r.Runs = []*streamCount{}, []*runCount{}
	for _, st := range s.streams {
		if r.Records == 0 {
			r.Oldest, r.Newest = st.Oldest, st.Newest
		}
		r.Records += st.Records
		r.Bytes += st.Bytes
		r.Sealed += st.Sealed
		r.Unsealed += st.Unsealed
		r.Oldest, r.Newest = min(r.Oldest, st.Oldest), max(r.Newest, st.Newest)
		r.Streams = append(r.Streams, st)
	}
	slices.SortFunc(r.Streams, func(a, b *streamCount) int {
		return compareStreams(a.System, a.Category, b.System, b.Category)
	})
	for _, run := range s.runs {
		r.Runs = append(r.Runs, run)
	}
	slices.SortFunc(r.Runs, func(a, b *runCount) int {
		switch {
		case a.Newest > b.Newest:
			return -1
		case a.Newest < b.Newest:
			return 1
		case a.Run != b.Run:
			return strings.Compare(a.Run, b.Run)
		}
		return strings.Compare(a.System, b.System)
	})
	return r
}

func (c *call) summary() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	stores, err := c.openAll()
	if err != nil {
		return err
	}
	defer closeAll(stores)
	sum := newSummarizer()
	sum.result.Retention = retentionJSON(q.Retention)
	progress, done := c.progress("counting")
	var records, bytes int64
	sources, err := readAll(c.ctx, stores, q, func(rec *papyra.Record) error {
		sum.add(rec)
		bytes += int64(len(rec.Line)) + 1
		if records++; records%1024 == 0 && progress != nil {
			progress(bytes, 0)
		}
		return nil
	})
	done()
	if err != nil {
		return err
	}
	sum.result.Damaged = c.noteSources(sources)
	result := sum.end()
	// The reports tell neither of systems nor, when they are carried, of times:
	// of a part of the store they say nothing, and a part of them neither.
	if len(q.Systems)+len(q.Nodes) == 0 && q.Since.IsZero() && q.Until.IsZero() && q.Retention.ByKind[papyra.KindReport].IsZero() {
		result.Removed = sum.removed.list()
	}
	result.Groups = c.groups(sources, q.Systems)
	c.result = result
	failed := 0
	for _, s := range sources {
		if s.err != nil {
			failed++
		}
	}
	if !c.json && (failed < len(sources) || result.Records > 0) {
		c.showSummary(result, cli.ShowRetention(q.Retention))
	}
	return nil
}

func (c *call) showSummary(r *summaryResult, retention string) {
	s := c.out
	s.printf("%s, %s, in %s; %s sealed, %s unsealed\n",
		plural(r.Records, "record", "records"), showBytes(r.Bytes), plural(int64(len(r.Streams)), "stream", "streams"),
		showCount(r.Sealed), showCount(r.Unsealed))
	if retention == "" {
		retention = "none given: everything is counted"
	}
	s.printf("retention: %s\n", retention)
	if len(r.Streams) == 0 {
		return
	}
	s.printf("\n")
	g := newGrid(s,
		column{title: "SYSTEM"}, column{title: "CATEGORY"},
		column{title: "RECORDS", right: true}, column{title: "UNSEALED", right: true}, column{title: "SIZE", right: true},
		column{title: "OLDEST (UTC)"}, column{title: "NEWEST (UTC)"})
	for _, st := range r.Streams {
		_ = g.add(st.System, st.Category, showCount(st.Records), showCount(st.Unsealed), showBytes(st.Bytes), showSeconds(st.Oldest), showSeconds(st.Newest))
	}
	_ = g.end()
	c.showRemoved(r.Removed)
	c.showRuns(r)
	c.showGroups(r.Groups)
}

func (c *call) showRuns(r *summaryResult) {
	if len(r.Runs) == 0 {
		return
	}
	c.out.printf("\nruns, with the highest number seen in each category:\n")
	columns := []column{{title: "SYSTEM"}, {title: "NODE"}, {title: "RUN"}}
	for _, k := range papyra.Kinds() {
		title := strings.TrimPrefix(strings.ToUpper(k.Category()), "DEAD_")
		columns = append(columns, column{title: title, right: true})
	}
	columns = append(columns, column{title: "FIRST (UTC)"}, column{title: "LAST (UTC)"})
	g := newGrid(c.out, columns...)
	for i, run := range r.Runs {
		if i == maxShown {
			break
		}
		cells := []string{run.System, run.Node, run.Run}
		for _, k := range papyra.Kinds() {
			cell := "-"
			if n := run.Highest[k.Category()]; n > 0 {
				cell = strconv.FormatUint(n, 10)
			}
			cells = append(cells, cell)
		}
		_ = g.add(append(cells, showBriefly(run.Oldest), showBriefly(run.Newest))...)
	}
	_ = g.end()
	if more := len(r.Runs) - maxShown; more > 0 {
		c.out.printf("and %s more: --output json lists them\n", showCount(int64(more)))
	}
	if r.RunsOmitted > 0 {
		c.out.printf("%s of further runs are not listed\n", plural(r.RunsOmitted, "record", "records"))
	}
}
