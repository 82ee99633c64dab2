package maintain

import (
	"maps"
	"slices"
	"time"

	"github.com/papyra/papyra"
)

// reportBytes is about how large one RemovalReport gets before the next one
// begins; the largest run of maxRanges ranges still fits under
// papyra.MaxPublishedLine.
const reportBytes = 64 << 10

// splitReport makes the reports of an act from what it removes, at least one. The
// first carries the counts, all of them together the runs. The same content
// makes the same number of lines, in the same order.
func splitReport(a *Act, whole *papyra.RemovalReport, now time.Time) ([][]byte, error) {
	empty := papyra.RemovalReport{Act: a.Kind, ID: a.ID, Carried: whole.Carried}
	report := empty
	report.Damaged, report.DamagedBytes = whole.Damaged, whole.DamagedBytes
	report.Groups = firstGroups(whole.Groups)
	report.Categories = map[string]papyra.RemovedCategory{}
	for name, c := range whole.Categories {
		report.Categories[name] = papyra.RemovedCategory{Records: c.Records, Bytes: c.Bytes}
	}
	var lines [][]byte
	flush := func() error {
		line, err := a.Line(papyra.ReportRemoval, &report, now)
		if err != nil {
			return err
		}
		lines = append(lines, line)
		report = empty
		report.Categories = map[string]papyra.RemovedCategory{}
		return nil
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(whole.Categories)) {
		for _, run := range whole.Categories[name].Runs {
			// A range has at most two numbers of 20 digits and three signs. The system is
			// not counted: version 0.1 did not write it, and a rotation that it began
			// and this version finishes must make the same lines.
			need := 160 + 43*len(run.Ranges)
			if size > 0 && size+need > reportBytes {
				if err := flush(); err != nil {
					return nil, err
				}
				size = 0
			}
			size += need
			c := report.Categories[name]
			c.Runs = append(c.Runs, run)
			report.Categories[name] = c
		}
	}
	for _, d := range whole.Dropped {
		// A system id may be escaped: at most twice as long.
		need := 200 + 2*len(d.System) + 2*len(d.Group) + 43*len(d.Ranges)
		if size > 0 && size+need > reportBytes {
			if err := flush(); err != nil {
				return nil, err
			}
			size = 0
		}
		size += need
		report.Dropped = append(report.Dropped, d)
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return lines, nil
}

// groupBytes bounds what the reports of an act say of consumer groups.
const groupBytes = 32 << 10

// firstGroups returns as many groups as the reports name.
func firstGroups(groups []papyra.RemovedGroup) []papyra.RemovedGroup {
	size := 0
	for i, g := range groups {
		// A byte of a name may be written as six.
		if size += 100 + 6*(len(g.Stream)+len(g.Group)); size > groupBytes {
			return groups[:i]
		}
	}
	return groups
}
