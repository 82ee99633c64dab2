package redis

import (
	"context"
	"errors"
	"fmt"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// deleteScript deletes the entries of several ranges. ARGV are the first id, the
// last id and the number of entries of each. Between the ends there was never
// anything else, and nothing can come in between.
const deleteScript = `
local n = 0
for i = 1, #ARGV, 3 do
  for _, e in ipairs(redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i + 1], 'COUNT', ARGV[i + 2])) do
    n = n + redis.call('XDEL', KEYS[1], e[1])
  end
end
return n
`

// A step is what one command removes: at most stepEntries and, but for a single
// larger entry, stepBytes. The server does nothing else meanwhile.
const (
	stepEntries = 1000
	stepBytes   = 1 << 20
)

// step is an unbroken part of a stream's entries, all of which go.
type step struct {
	part
	bytes int64
}

// removal is what goes of one stream.
type removal struct {
	steps []step // from the newest to the oldest
	// head is how many of the last steps make the oldest part of the stream,
	// with nothing between or before them that stays.
	head    int
	growing bool // the entry that was looked at last belongs to the last step
}

// add notes that the next older entry goes.
func (r *removal) add(e *entry) {
	size := e.size()
	if n := len(r.steps); r.growing && r.steps[n-1].entries < stepEntries && r.steps[n-1].bytes+size <= stepBytes {
		s := &r.steps[n-1]
		s.first = e.id
		s.entries++
		s.bytes += size
		return
	}
	r.steps = append(r.steps, step{part{e.id, e.id, 1}, size})
	r.head++
	r.growing = true
}

// keep notes that the next older entry stays.
func (r *removal) keep() { r.head, r.growing = 0, false }

// Compact removes what is outside the view at o.At, and duplicates if o says so:
// it reads the streams once, from the newest entry back, and a second time if
// there are duplicates to be compared, fixes which ids go, reports them, and then
// deletes exactly these, from the oldest on, in bounded steps. Appends and other
// acts go on meanwhile, whoever makes them: of the copies of a record no act
// takes the newest out of its view, so that two at a time do not take them all.
// What is damaged stays where it is. Consumer groups stay as they are; the report
// counts what they lose. The counts leave out what was appended since, the act's
// own reports among it.
//
// It holds 48 bytes for each unbroken part, of up to
// 1,000 entries, that goes.
func (s *Store) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	if err := maintain.CheckCompaction(o); err != nil {
		return nil, err
	}
	sn, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	done, err := sn.turn()
	if err != nil {
		return nil, err
	}
	defer done()
	snap, err := sn.pin(nil)
	if err != nil {
		return nil, err
	}
	c := &compaction{
		sn: sn, snap: snap, count: maintain.NewCompaction(o), progress: o.Progress,
		expired: map[*pinned]*removal{}, copies: map[*pinned]*removal{},
	}
	if c.count.NeedsSurvey() {
		if err := c.survey(); err != nil {
			return nil, err
		}
	}
	if err := c.look(); err != nil {
		return nil, err
	}
	if c.count.Repeats() {
		if err := c.lookAgain(); err != nil {
			return nil, err
		}
	}
	report := c.count.Report(s.URL())
	if c.count.Nothing() {
		return report, nil
	}
	if report.Groups, err = c.touched(); err != nil {
		return nil, err
	}
	if o.DryRun {
		return report, nil
	}
	act := maintain.New(papyra.ActCompact, s.now())
	report.Act = act.ID
	lines, err := c.count.Reports(act, s.now())
	if err != nil {
		return nil, err
	}
	if err := sn.report(lines...); err != nil {
		return nil, err
	}
	for _, removals := range []map[*pinned]*removal{c.expired, c.copies} {
		if err := c.remove(removals); err != nil {
			return nil, err
		}
	}
	last, err := act.Line(papyra.ReportCompactionPerformed, maintain.Performed(report), s.now())
	if err != nil {
		return nil, err
	}
	return report, sn.report(last)
}

// compaction is one run of Compact.
type compaction struct {
	sn       *session
	snap     *snapshot
	count    *maintain.Compaction
	judge    entryJudge
	expired  map[*pinned]*removal
	copies   map[*pinned]*removal
	progress papyra.Progress
	bytes    int64 // looked at
	entries  int64
}

// look decides about each entry, from the newest to the oldest.
func (c *compaction) look() error {
	return c.each(c.expired, func(p *pinned, e *entry) (goes bool) {
		verdict, damage := c.judge.entry(&p.key, e, true)
		return !c.count.Judged(&c.judge.rec, verdict, damage, e.size())
	})
}

// survey looks in each entry for what an account needs, before look.
func (c *compaction) survey() error {
	return c.each(map[*pinned]*removal{}, func(p *pinned, e *entry) (goes bool) {
		verdict, _ := c.judge.entry(&p.key, e, true)
		c.count.Survey(&c.judge.rec, verdict)
		return false
	})
}

// lookAgain finds the duplicates among the entries that stay.
func (c *compaction) lookAgain() error {
	at := map[*pinned]int{} // the step of expired that comes next
	return c.each(c.copies, func(p *pinned, e *entry) (goes bool) {
		if r := c.expired[p]; r != nil {
			for at[p] < len(r.steps) && r.steps[at[p]].first.compare(e.id) > 0 {
				at[p]++
			}
			if at[p] < len(r.steps) && r.steps[at[p]].last.compare(e.id) >= 0 {
				return false // it goes anyway
			}
		}
		// Most are told apart by what stands in their seals.
		if verdict, _ := c.judge.entry(&p.key, e, false); verdict != judge.Valid || !c.count.Suspect(&c.judge.rec) {
			return false
		}
		verdict, _ := c.judge.entry(&p.key, e, true)
		return verdict == judge.Valid && c.count.Copy(&c.judge.rec)
	})
}

// each asks about each entry, from the newest to the oldest, whether it goes.
func (c *compaction) each(removals map[*pinned]*removal, goes func(p *pinned, e *entry) bool) error {
	m, err := c.sn.newMerge(c.snap, true)
	if err != nil {
		return err
	}
	total := c.snap.length()
	c.bytes, c.entries = 0, 0
	for {
		p, e, err := m.next()
		if errors.Is(err, errEnd) {
			// The view of a store of which a part is missing is not the view.
			return c.snap.incomplete("compact", c.sn.URL())
		}
		if err != nil {
			return err
		}
		r := removals[p]
		if r == nil {
			r = &removal{}
			removals[p] = r
		}
		if goes(p, e) {
			r.add(e)
		} else {
			r.keep()
		}
		c.bytes += e.size()
		if c.entries++; c.progress != nil && c.entries%1024 == 0 {
			c.progress(c.bytes, int64(float64(c.bytes)/float64(c.entries)*float64(max(total, c.entries))))
		}
	}
}

// touched tells of each part of the act which consumer groups lose entries, and
// returns them together.
func (c *compaction) touched() ([]papyra.RemovedGroup, error) {
	var err error
	if c.count.Expired.Groups, err = c.sn.touched(going(c.expired)); err != nil {
		return nil, err
	}
	if c.count.Copies.Groups, err = c.sn.touched(going(c.copies)); err != nil {
		return nil, err
	}
	return addGroups(c.count.Expired.Groups, c.count.Copies.Groups), nil
}

// going returns what goes, from the oldest on.
func going(removals map[*pinned]*removal) map[*pinned][]part {
	out := map[*pinned][]part{}
	for p, r := range removals {
		for i := len(r.steps) - 1; i >= 0; i-- {
			out[p] = append(out[p], r.steps[i].part)
		}
	}
	return out
}

// remove deletes what goes, stream by stream.
func (c *compaction) remove(removals map[*pinned]*removal) error {
	for _, p := range c.snap.streams {
		r := removals[p]
		if r == nil {
			continue
		}
		for n := len(r.steps); n > 0; {
			if err := c.sn.ended(); err != nil {
				return err
			}
			var err error
			if n > len(r.steps)-r.head {
				n--
				err = c.trim(p, &r.steps[n])
			} else {
				n, err = c.delete(p, r.steps, n)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// trim removes a step before which nothing is left: whole nodes of the stream
// at once.
func (c *compaction) trim(p *pinned, s *step) error {
	n, err := c.sn.client.Do(c.sn.ctx, "XTRIM", p.key.name, "MINID", "=", s.last.next().String()).Int64()
	if err != nil {
		return c.sn.failed("trim", p.key.name, err)
	}
	return c.check(p, n, s.entries)
}

// delete removes as many steps before the n-th as one command may, and returns
// how many are left.
func (c *compaction) delete(p *pinned, steps []step, n int) (left int, err error) {
	var (
		args           []any
		entries, bytes int64
	)
	for left = n; left > 0; left-- {
		s := &steps[left-1]
		if entries > 0 && (entries+s.entries > stepEntries || bytes+s.bytes > stepBytes) {
			break
		}
		entries += s.entries
		bytes += s.bytes
		args = append(args, s.first.String(), s.last.String(), s.entries)
	}
	gone, err := c.sn.client.Eval(c.sn.ctx, deleteScript, []string{p.key.name}, args...).Int64()
	if err != nil {
		return n, c.sn.failed("delete from", p.key.name, err)
	}
	return left, c.check(p, gone, entries)
}

// check stops a compaction that deletes more than it announced, which only
// another stream under the same key can make it do.
func (c *compaction) check(p *pinned, gone, want int64) error {
	if gone <= want {
		return nil
	}
	return &papyra.StoreError{
		Op: "compact", Path: p.key.name, Offset: -1,
		Err:  fmt.Errorf("%w: %d entries were deleted where %d were announced", papyra.ErrForeignWriter, gone, want),
		Hint: "the stream was replaced by another one meanwhile",
	}
}
