package shelf

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/papyra/papyra"
)

// act is one recovery or compaction. Its reports are sealed like the records of
// any process: a run of its own, numbered from 1.
type act struct {
	id       string
	identity *papyra.Identity
	reports  uint64
}

func newAct(at time.Time) *act {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return &act{id: fmt.Sprintf("%s-%x", at.UTC().Format("20060102T150405Z"), random), identity: papyra.NewIdentity("")}
}

// report returns the next report of the act as a line with its newline. It must
// be stored: otherwise its number is missing.
func (a *act) report(name string, payload any) ([]byte, error) {
	a.reports++
	return papyra.SealedReport(a.identity, papyra.SystemReserved, a.reports, &papyra.Report{Name: name, Payload: payload}, time.Now())
}

const (
	maxRanges   = 4096     // of one run in a report; one with more is told as "below"
	reportBytes = 64 << 10 // about so large a report gets before the next one begins
)

// removal is what an act removes.
type removal struct {
	damaged, damagedBytes int64
	streams               tally
	numbers               map[series][]uint64
}

// series is what numbers records: a run, for each kind.
type series struct {
	kind              papyra.Kind
	run, node, system string
}

func newRemoval() *removal { return &removal{streams: tally{}, numbers: map[series][]uint64{}} }

func (r *removal) add(rec *papyra.Record) {
	r.streams.add(rec)
	if rec.HasIdentity() {
		of := series{rec.Kind, string(rec.Run), string(rec.Node), string(rec.System)}
		r.numbers[of] = append(r.numbers[of], rec.Seq)
	}
}

// reports returns what is written down before the first byte goes. The counts
// stand in the first report, the runs in as many as they need.
func (r *removal) reports(kind, id string) []*papyra.RemovalReport {
	empty := func() *papyra.RemovalReport {
		return &papyra.RemovalReport{Act: kind, ID: id, Categories: map[string]papyra.RemovedCategory{}}
	}
	report := empty()
	report.Damaged, report.DamagedBytes = r.damaged, r.damagedBytes
	for stream := range r.streams {
		category := stream.Kind.Category()
		records, bytes := r.streams.total(category)
		report.Categories[category] = papyra.RemovedCategory{Records: records, Bytes: bytes}
	}
	all, size := []*papyra.RemovalReport{report}, 0
	for _, of := range slices.SortedFunc(maps.Keys(r.numbers), func(a, b series) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.run, b.run), cmp.Compare(a.node, b.node), cmp.Compare(a.system, b.system))
	}) {
		run := removedRun(of, r.numbers[of])
		need := 175 + 2*len(run.System) + 43*len(run.Ranges) // a range has two numbers of up to 20 digits
		if size > 0 && size+need > reportBytes {
			report, size = empty(), 0
			all = append(all, report)
		}
		size += need
		category := report.Categories[of.kind.Category()]
		category.Runs = append(category.Runs, run)
		report.Categories[of.kind.Category()] = category
	}
	return all
}

func removedRun(of series, numbers []uint64) papyra.RemovedRun {
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	run := papyra.RemovedRun{System: of.system, Node: of.node, Run: of.run}
	for _, n := range numbers {
		if last := len(run.Ranges) - 1; last >= 0 && run.Ranges[last][1]+1 == n {
			run.Ranges[last][1] = n
		} else {
			run.Ranges = append(run.Ranges, papyra.Range{n, n})
		}
	}
	if len(run.Ranges) > maxRanges {
		run.Ranges, run.Below, run.N = nil, numbers[len(numbers)-1]+1, uint64(len(numbers))
	}
	return run
}

// carryOut announces what goes, changes the books and says how it ended. It
// returns for how long appends had to wait for the reports.
func (s *Shelf) carryOut(a *act, removals []*papyra.RemovalReport, books *changes, name string, performed any) (pause time.Duration, err error) {
	put := func(name string, payloads ...any) error {
		var lines []byte
		for _, p := range payloads {
			line, err := a.report(name, p)
			if err != nil {
				return err
			}
			lines = append(lines, line...)
		}
		began := time.Now()
		defer func() { pause += time.Since(began) }()
		return s.putDurably(lines)
	}
	announced := make([]any, len(removals))
	for i, r := range removals {
		announced[i] = r
	}
	if err := put(papyra.ReportRemoval, announced...); err != nil {
		return pause, err
	}
	if err := books.apply(); err != nil {
		return pause, err
	}
	err = put(name, performed)
	return pause, err
}
