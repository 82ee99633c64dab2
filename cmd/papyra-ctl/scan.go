package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/sink"
)

func (t *tool) scanCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "scan",
		Usage: "Look at every byte of a store and name what is damaged",
		Description: describe(`Reads the whole store and changes nothing, also while a sink writes to it. A
line whose seal verifies is taken as whole; --full parses every line and also
finds duplicates and conflicts. Damage is what recover would move away; notices
are worth knowing and never block anything.`,
			[]string{
				"papyra-ctl scan --backend " + exampleStore,
				"papyra-ctl scan --backend " + exampleStore + " --full --output json",
			},
			exit{"0", "clean, or notices only"},
			exit{"2", "something is damaged"},
			exit{"3", "the store does not exist, or stdout failed"},
			exit{"5", "a part could not be read: there may be more damage"},
		),
		Flags: []urfave.Flag{
			backendFlag(true),
			&urfave.BoolFlag{Name: "full", Usage: "parse every line, also those whose seal verifies"},
			outputFlag(),
		},
		Action: t.verb("scan", (*call).scan),
	}
}

// scanResult is the JSON of a scan: the totals over all stores, with every
// listed anomaly.
type scanResult struct {
	Clean bool `json:"clean"`
	Full  bool `json:"full"`
	papyra.ScanReport
	Backend string      `json:"backend,omitempty"` // the header has it
	Stores  []scanStore `json:"stores"`
}

// scanStore is the part of one store.
type scanStore struct {
	Backend       string                 `json:"backend"`
	Clean         bool                   `json:"clean"`
	Files         int64                  `json:"files"`
	Bytes         int64                  `json:"bytes"`
	Lines         int64                  `json:"lines"`
	Records       int64                  `json:"records"`
	Sealed        int64                  `json:"sealed"`
	AnomalyCounts map[papyra.Class]int64 `json:"anomaly_counts"`
	NoticeCounts  map[papyra.Class]int64 `json:"notice_counts"`
	Incomplete    bool                   `json:"incomplete"`
}

func (c *call) scan() error {
	stores, err := c.openAll()
	if err != nil {
		return err
	}
	defer closeAll(stores)
	full := c.flags.Bool("full")
	total := newScanResult(full)
	c.result = total
	for i, store := range stores {
		report, err := c.scanStore(store, full)
		if err != nil {
			if c.interrupted() {
				return err
			}
			c.fail(explain(store, err))
			continue
		}
		total.add(report)
		if !c.json {
			if i > 0 {
				c.out.printf("\n")
			}
			c.showScan(report)
			c.showScanNext(store, report)
		}
	}
	total.Clean = len(total.AnomalyCounts) == 0 && len(total.Stores) == len(stores)
	return nil
}

// scanStore scans one store and notes what it means for the exit code.
func (c *call) scanStore(store sink.Backend, full bool) (*papyra.ScanReport, error) {
	report, err := c.runScan(c.ctx, store, papyra.ScanOptions{Full: full, Now: c.now()})
	if err != nil {
		return nil, err
	}
	if n := damagedPlaces(report); n > 0 {
		c.note(cli.CodeAnomalies, "%s: %s", store.URL(), plural(n, "damaged place", "damaged places"))
	}
	if report.Incomplete {
		c.note(cli.CodeIncomplete, "%s: a part could not be read", store.URL())
	}
	return report, nil
}

func (c *call) runScan(ctx context.Context, store sink.Backend, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	report, done := c.progress("scanning")
	o.Progress = report
	defer done()
	return store.Scan(ctx, o)
}

func newScanResult(full bool) *scanResult {
	return &scanResult{Full: full, Stores: []scanStore{}, ScanReport: papyra.ScanReport{
		Streams:       []papyra.StreamSummary{},
		Anomalies:     []papyra.Anomaly{},
		Notices:       []papyra.Anomaly{},
		AnomalyCounts: map[papyra.Class]int64{},
		NoticeCounts:  map[papyra.Class]int64{},
	}}
}

func (t *scanResult) add(r *papyra.ScanReport) {
	t.Files += r.Files
	t.Bytes += r.Bytes
	t.Lines += r.Lines
	t.Records += r.Records
	t.Sealed += r.Sealed
	t.Streams = mergeStreams(t.Streams, r.Streams)
	t.Anomalies = append(t.Anomalies, r.Anomalies...)
	t.Notices = append(t.Notices, r.Notices...)
	addCounts(t.AnomalyCounts, r.AnomalyCounts)
	addCounts(t.NoticeCounts, r.NoticeCounts)
	t.Incomplete = t.Incomplete || r.Incomplete
	t.Duplicates += r.Duplicates
	t.Limits = append(t.Limits, r.Limits...)
	own := scanStore{
		Backend: r.Backend, Clean: r.Clean(),
		Files: r.Files, Bytes: r.Bytes, Lines: r.Lines, Records: r.Records, Sealed: r.Sealed,
		AnomalyCounts: map[papyra.Class]int64{}, NoticeCounts: map[papyra.Class]int64{},
		Incomplete: r.Incomplete,
	}
	addCounts(own.AnomalyCounts, r.AnomalyCounts)
	addCounts(own.NoticeCounts, r.NoticeCounts)
	t.Stores = append(t.Stores, own)
}

func addCounts(to, from map[papyra.Class]int64) {
	for class, n := range from {
		to[class] += n
	}
}

// mergeStreams adds the streams of one store to those of others.
func mergeStreams(to, from []papyra.StreamSummary) []papyra.StreamSummary {
	for _, s := range from {
		i := slices.IndexFunc(to, func(o papyra.StreamSummary) bool { return o.System == s.System && o.Category == s.Category })
		if i < 0 {
			to = append(to, s)
			continue
		}
		o := &to[i]
		o.Records += s.Records
		o.Bytes += s.Bytes
		o.Oldest = min(o.Oldest, s.Oldest)
		o.Newest = max(o.Newest, s.Newest)
	}
	sortStreams(to)
	return to
}

// sortStreams puts streams in the order in which tools list them: by system,
// then category, the unknown one last.
func sortStreams(streams []papyra.StreamSummary) {
	slices.SortFunc(streams, func(a, b papyra.StreamSummary) int {
		return compareStreams(a.System, a.Category, b.System, b.Category)
	})
}

func compareStreams(systemA, categoryA, systemB, categoryB string) int {
	if systemA != systemB {
		return strings.Compare(systemA, systemB)
	}
	return categoryRank(categoryA) - categoryRank(categoryB)
}

func categoryRank(category string) int {
	if i := slices.Index(papyra.Kinds(), papyra.ParseCategory(category)); i >= 0 {
		return i
	}
	return len(papyra.Kinds())
}

func damagedPlaces(r *papyra.ScanReport) int64 {
	var n int64
	for _, count := range r.AnomalyCounts {
		n += count
	}
	return n
}

// showScan shows the report of one store, the verdict first.
func (c *call) showScan(r *papyra.ScanReport) {
	s := c.out
	c.showVerdict(r)
	s.printf("looked at %s in %s: %s, %s sealed, %s unsealed",
		showBytes(r.Bytes), plural(r.Lines, "line", "lines"),
		plural(r.Records, "record", "records"), showCount(r.Sealed), showCount(r.Records-r.Sealed))
	if r.Files > 1 {
		s.printf(", in %d files", r.Files)
	}
	s.printf("\n")
	if len(r.Streams) > 0 {
		s.printf("\n")
		sortStreams(r.Streams)
		c.showStreams(r.Streams)
	}
	if r.Duplicates > 0 {
		s.printf("\n%s of records that are there already; readers show them once, and compact --dedupe removes them\n", plural(r.Duplicates, "exact copy", "exact copies"))
	}
	for _, limit := range r.Limits {
		s.printf("\nlower bound: %s\n", limit)
	}
	if notices := showClasses(r.NoticeCounts); notices != "" {
		s.printf("\nnotices (nothing to do): %s\n", notices)
	}
	c.showAnomalies(r.Anomalies, damagedPlaces(r))
}

func (c *call) showVerdict(r *papyra.ScanReport) {
	s := c.out
	n := damagedPlaces(r)
	switch {
	case n > 0:
		s.printf("%s  %s: %s: %s\n", s.paint(red, "DAMAGED"), r.Backend, plural(n, "place", "places"), showClasses(r.AnomalyCounts))
	case r.Incomplete:
		s.printf("%s  %s: no damage in what could be read\n", s.paint(yellow, "INCOMPLETE"), r.Backend)
	default:
		s.printf("%s  %s\n", s.paint(green, "clean"), r.Backend)
	}
	if n > 0 && r.Incomplete {
		s.printf("%s  a part could not be read: there may be more\n", s.paint(yellow, "INCOMPLETE"))
	}
}

// showClasses is "2 truncated, 1 nul_run", the most frequent first.
func showClasses(counts map[papyra.Class]int64) string {
	classes := slices.SortedFunc(maps.Keys(counts), func(a, b papyra.Class) int {
		if counts[a] != counts[b] {
			return int(min(max(counts[b]-counts[a], -1), 1))
		}
		return strings.Compare(string(a), string(b))
	})
	var parts []string
	for _, class := range classes {
		if counts[class] > 0 {
			parts = append(parts, showCount(counts[class])+" "+string(class))
		}
	}
	return strings.Join(parts, ", ")
}

func (c *call) showStreams(streams []papyra.StreamSummary) {
	g := newGrid(c.out,
		column{title: "SYSTEM"}, column{title: "CATEGORY"},
		column{title: "RECORDS", right: true}, column{title: "SIZE", right: true},
		column{title: "OLDEST (UTC)"}, column{title: "NEWEST (UTC)"})
	for _, st := range streams {
		_ = g.add(st.System, st.Category, showCount(st.Records), showBytes(st.Bytes), showSeconds(st.Oldest), showSeconds(st.Newest))
	}
	_ = g.end() // end of the call reports a failed write
}

// maxShown bounds the rows of a table that is only a part of a report; the JSON
// has all.
const maxShown = 20

func (c *call) showAnomalies(anomalies []papyra.Anomaly, total int64) {
	if total == 0 {
		return
	}
	c.out.printf("\n")
	g := newGrid(c.out,
		column{title: "DAMAGE", color: func(string) string { return red }}, column{title: "PLACE"},
		column{title: "LINE", right: true}, column{title: "OFFSET", right: true}, column{title: "BYTES", right: true},
		column{title: "DETAIL", cut: true})
	for i, a := range anomalies {
		if i == maxShown {
			break
		}
		place, offset := a.File, showCount(a.Offset)
		if a.Stream != "" {
			place, offset = a.Stream+" "+a.ID, "-"
		}
		line := "-"
		if a.Line > 0 {
			line = showCount(a.Line)
		}
		_ = g.add(string(a.Class), place, line, offset, showCount(a.Length), a.Detail)
	}
	_ = g.end()
	if more := total - int64(min(len(anomalies), maxShown)); more > 0 {
		c.out.printf("and %s more: --output json lists them\n", showCount(more))
	}
}

// showScanNext says what to do about what a scan found.
func (c *call) showScanNext(store sink.Backend, r *papyra.ScanReport) {
	unreadable := r.AnomalyCounts[papyra.ClassUnreadable]
	strange := r.AnomalyCounts[papyra.ClassUnexpectedFile]
	if unreadable > 0 {
		c.out.printf("\nnext: scan again as the user that owns the files; what still cannot be read is for dmesg and smartctl\n")
	}
	if strange > 0 {
		c.out.printf("\nnext: move away what stands in the place of a file: nothing of it is read or followed\n")
	}
	if damagedPlaces(r) > unreadable+strange {
		c.showNext("recover --backend "+shellQuote(store.URL())+" --dry-run", "shows what would be moved away")
	}
}

// showNext names the command to go on with.
func (c *call) showNext(command, effect string) {
	c.out.printf("\nnext: papyra-ctl %s\n      %s\n", command, effect)
}
