package maintain

import (
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/papyra/papyra"
)

// maxRanges is how many ranges a report names of one run; of a run with more it
// says "below".
const maxRanges = 4096

// Removal gathers what an act is going to remove. Its memory grows with the
// number of runs and, for numbers without order, like a compressed bitmap. The
// zero Removal is empty and ready.
type Removal struct {
	Damaged, DamagedBytes int64
	// Groups are the consumer groups that lose entries.
	Groups []papyra.RemovedGroup

	categories [papyra.KindCount]category
}

type category struct {
	records, bytes int64
	streams        map[string]*papyra.StreamSummary
	runs           map[runKey]*sequence
}

type runKey struct{ node, run string }

// Add notes that rec and its newline are removed.
func (r *Removal) Add(rec *papyra.Record) {
	c := &r.categories[rec.Kind]
	if c.runs == nil {
		c.runs = map[runKey]*sequence{}
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
	seqs := c.runs[runKey{string(rec.Node), string(rec.Run)}]
	if seqs == nil {
		seqs = &sequence{}
		c.runs[runKey{string(rec.Node), string(rec.Run)}] = seqs
	}
	seqs.add(rec.Seq)
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
	return split(a, &whole, now)
}

func (c *category) removedRuns() []papyra.RemovedRun {
	out := make([]papyra.RemovedRun, 0, len(c.runs))
	for key, seqs := range c.runs {
		run := papyra.RemovedRun{Node: key.node, Run: key.run}
		ranges, ok := seqs.ranges(maxRanges)
		if ok {
			run.Ranges = ranges
		} else {
			run.Below, run.N = seqs.highest()+1, seqs.count()
		}
		out = append(out, run)
	}
	sortRuns(out)
	return out
}

// sequence is a set of numbers that mostly come in falling order, as a
// compaction meets them: then it is one range, else a bitmap.
type sequence struct {
	low, high uint64 // the range that is still growing; high is 0 while empty
	set       *roaring64.Bitmap
}

func (s *sequence) add(n uint64) {
	switch {
	case s.high == 0:
		s.low, s.high = n, n
	case n+1 == s.low:
		s.low = n
	case n >= s.low && n <= s.high:
	default:
		s.flush()
		s.low, s.high = n, n
	}
}

func (s *sequence) flush() {
	if s.set == nil {
		s.set = roaring64.New()
	}
	if s.high > 0 {
		s.set.AddRange(s.low, s.high+1)
		s.low, s.high = 0, 0
	}
}

func (s *sequence) highest() uint64 {
	if s.set == nil {
		return s.high
	}
	return max(s.high, s.set.Maximum())
}

// count returns how many numbers there are; flush was called.
func (s *sequence) count() uint64 { return s.set.GetCardinality() }

// ranges returns the set as rising ranges, or false if there are more than
// limit.
func (s *sequence) ranges(limit int) ([]papyra.Range, bool) {
	if s.set == nil {
		return []papyra.Range{{s.low, s.high}}, true
	}
	s.flush()
	var out []papyra.Range
	it := s.set.Iterator()
	for it.HasNext() {
		n := it.Next()
		if last := len(out) - 1; last >= 0 && out[last][1]+1 == n {
			out[last][1] = n
			continue
		}
		if len(out) == limit {
			return nil, false
		}
		out = append(out, papyra.Range{n, n})
	}
	return out, true
}
