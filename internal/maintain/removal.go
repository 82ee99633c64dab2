package maintain

import (
	"slices"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// maxRanges is how many ranges a report names of one run. Of a run with more it
// says only how many numbers there are, and below which number.
const maxRanges = 4096

// Removal gathers what an act is going to remove. Its memory grows with the
// number of runs and, for numbers without order, like a compressed bitmap. The
// zero Removal is empty and ready.
type Removal struct {
	Damaged, DamagedBytes int64
	// Groups are the consumer groups that lose entries.
	Groups []papyra.RemovedGroup

	categories [papyra.KindCount]removedCategory
}

// removedCategory is what is removed of one category.
type removedCategory struct {
	records, bytes int64
	streams        map[string]*papyra.StreamSummary
	runs           map[runKey]*numset.Set
}

type runKey struct{ system, node, run string }

// Add notes that rec and its newline are removed.
func (r *Removal) Add(rec *papyra.Record) {
	c := &r.categories[rec.Kind]
	if c.runs == nil {
		c.runs = map[runKey]*numset.Set{}
		c.streams = map[string]*papyra.StreamSummary{}
	}
	size := int64(len(rec.Line)) + 1
	c.records++
	c.bytes += size
	s := c.streams[string(rec.System)]
	t := float64(rec.Time) / 1e6
	if s == nil {
		s = &papyra.StreamSummary{System: string(rec.System), Category: rec.Kind.Category(), Oldest: t, Newest: t}
		c.streams[s.System] = s
	}
	s.Records++
	s.Bytes += size
	s.Oldest, s.Newest = min(s.Oldest, t), max(s.Newest, t)
	if !rec.HasIdentity() {
		return
	}
	seqs := c.runs[runKey{string(rec.System), string(rec.Node), string(rec.Run)}]
	if seqs == nil {
		seqs = &numset.Set{}
		c.runs[runKey{s.System, string(rec.Node), string(rec.Run)}] = seqs
	}
	seqs.Add(rec.Seq)
}

// subtract takes out what is in other, a part of r.
func (r *Removal) subtract(other *Removal) {
	for k := range r.categories {
		c, o := &r.categories[k], &other.categories[k]
		c.records -= o.records
		c.bytes -= o.bytes
		for system, s := range o.streams {
			if mine := c.streams[system]; mine != nil {
				mine.Records -= s.Records
				mine.Bytes -= s.Bytes
				if mine.Records <= 0 {
					delete(c.streams, system)
				}
			}
		}
		for key, seqs := range o.runs {
			if mine := c.runs[key]; mine != nil {
				mine.Subtract(seqs)
				if mine.IsEmpty() {
					delete(c.runs, key)
				}
			}
		}
	}
}

// Records returns the number of records.
func (r *Removal) Records() (n int64) {
	for i := range r.categories {
		n += r.categories[i].records
	}
	return n
}

// Bytes returns the number of bytes of the records.
func (r *Removal) Bytes() (n int64) {
	for i := range r.categories {
		n += r.categories[i].bytes
	}
	return n
}

// Streams returns what is removed of each stream, in the order of
// papyra.CompareStreams.
func (r *Removal) Streams() []papyra.StreamSummary {
	out := []papyra.StreamSummary{}
	for i := range r.categories {
		for _, s := range r.categories[i].streams {
			out = append(out, *s)
		}
	}
	slices.SortFunc(out, papyra.CompareStreams)
	return out
}

// Reports returns the act's RemovalReports, each a sealed line with its
// newline, to be appended and synced before the first byte goes. There is at
// least one. The first carries the counts, all of them together the runs.
func (r *Removal) Reports(a *Act, now time.Time) ([][]byte, error) {
	whole := papyra.RemovalReport{Damaged: r.Damaged, DamagedBytes: r.DamagedBytes, Groups: r.Groups, Categories: map[string]papyra.RemovedCategory{}}
	for k := range r.categories {
		if c := &r.categories[k]; c.records > 0 {
			whole.Categories[papyra.Kind(k).Category()] = papyra.RemovedCategory{Records: c.records, Bytes: c.bytes, Runs: c.removedRuns()}
		}
	}
	return splitReport(a, &whole, now)
}

func (c *removedCategory) removedRuns() []papyra.RemovedRun {
	out := make([]papyra.RemovedRun, 0, len(c.runs))
	for key, seqs := range c.runs {
		run := papyra.RemovedRun{System: key.system, Node: key.node, Run: key.run}
		ranges, ok := seqs.Ranges(maxRanges)
		if ok {
			run.Ranges = ranges
		} else {
			run.Below, run.N = numset.AddCounts(seqs.Max(), 1), seqs.Count()
		}
		out = append(out, run)
	}
	sortRuns(out)
	return out
}
