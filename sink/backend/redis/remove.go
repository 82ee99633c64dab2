package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/papyra/papyra"
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

// step is an unbroken part of a stream's entries, all of which are marked.
type step struct {
	part
	bytes int64
}

// removal is the marked entries of one stream.
//
//	oldest                                              newest
//	| x x x x | . . | x x | . | x x x x x x x x | . . . |      x: marked
//	 steps[3]        steps[2]  steps[1] steps[0]
//	 head = 1: steps[3] can be trimmed, the others are deleted
type removal struct {
	steps []step // from the newest to the oldest
	// head is how many of the last steps make the oldest part of the stream,
	// with nothing between or before them that stays.
	head    int
	growing bool // the entry that was looked at last belongs to the last step
}

// addEntry notes whether the next older entry is marked.
func (r *removal) addEntry(e *entry, mark bool) {
	if !mark {
		r.head, r.growing = 0, false
		return
	}
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

// holds reports whether an entry is marked. The entries of a stream are asked for
// from the newest to the oldest; at is the caller's memory of where it is.
func (r *removal) holds(id entryID, at map[*pinned]int, p *pinned) bool {
	for at[p] < len(r.steps) && r.steps[at[p]].first.compare(id) > 0 {
		at[p]++
	}
	return at[p] < len(r.steps) && r.steps[at[p]].last.compare(id) >= 0
}

// nextHolds reports whether an entry is marked. The entries are asked for from
// the oldest to the newest; it forgets the steps that are behind.
func (r *removal) nextHolds(id entryID) bool {
	for len(r.steps) > 0 && r.steps[len(r.steps)-1].last.compare(id) < 0 {
		r.steps = r.steps[:len(r.steps)-1]
	}
	return len(r.steps) > 0 && id.compare(r.steps[len(r.steps)-1].first) >= 0
}

// EndLines does nothing: an entry has no newline.
func (p *pinnedStore) EndLines(bool) (int64, error) { return 0, nil }

// TouchedGroups returns the consumer groups that lose entries of a part.
func (p *pinnedStore) TouchedGroups(all maintain.Marks, which maintain.Part) ([]papyra.RemovedGroup, error) {
	going := map[*pinned][]part{}
	for stream, r := range all.(*marks)[which] {
		for i := len(r.steps) - 1; i >= 0; i-- {
			going[stream] = append(going[stream], r.steps[i].part)
		}
	}
	return p.sn.touched(going)
}

// Prepare has nothing to prepare: what is deleted needs no room.
func (p *pinnedStore) Prepare(maintain.Marks, func(int64)) error { return nil }

// Remove deletes the marked entries, part by part, stream by stream, from the
// oldest on. Appends wait for no more than one step.
func (p *pinnedStore) Remove(all maintain.Marks, advance func(int64)) (pause time.Duration, changed bool, err error) {
	noted := func(bytes int64) {
		changed = true
		advance(bytes)
	}
	for _, removals := range all.(*marks) {
		for _, stream := range p.streams {
			if err := p.removeSteps(stream, removals[stream], noted); err != nil {
				// What was sent last may be done though no answer came.
				return 0, changed || !answered(err), err
			}
		}
	}
	return 0, true, nil
}

// VisitLeft reads the marked entries of a part that are still there.
func (p *pinnedStore) VisitLeft(all maintain.Marks, which maintain.Part, visit func(l maintain.Line)) error {
	for _, stream := range p.streams {
		for _, s := range all.(*marks)[which][stream].steps {
			reply, err := p.sn.client.Do(p.sn.ctx, "XRANGE", stream.key.name, s.first.String(), s.last.String()).Result()
			if err != nil {
				return p.sn.failed("read", stream.key.name, err)
			}
			page, err := decodePage(reply, nil)
			if err != nil {
				return p.sn.failed("read", stream.key.name, err)
			}
			for i := range page {
				p.line.stream, p.line.entry = stream, &page[i]
				visit(&p.line)
			}
		}
	}
	return nil
}

// Alone is false: a server is shared, and nobody holds it.
func (p *pinnedStore) Alone() bool { return false }

// Reserve reserves nothing: reports are stored beyond maxmemory.
func (p *pinnedStore) Reserve(int64) (shrink func(to int64), err error) { return func(int64) {}, nil }

// Under returns the pinned streams under another context.
func (p *pinnedStore) Under(ctx context.Context) maintain.Held {
	other := *p
	other.sn = &session{Store: p.sn.Store, ctx: ctx, client: p.sn.client}
	return &other
}

// removeSteps deletes the marked entries of one stream.
func (p *pinnedStore) removeSteps(stream *pinned, r *removal, advance func(int64)) (err error) {
	for n := len(r.steps); n > 0; {
		if err := p.sn.ended(); err != nil {
			return err
		}
		before := n
		if n > len(r.steps)-r.head {
			n--
			err = p.trim(stream, &r.steps[n])
		} else {
			n, err = p.delete(stream, r.steps, n)
		}
		if err != nil {
			return err
		}
		for _, s := range r.steps[n:before] {
			advance(s.bytes)
		}
	}
	return nil
}

// trim removes a step before which nothing is left: whole nodes of the stream
// at once.
func (p *pinnedStore) trim(stream *pinned, s *step) error {
	n, err := p.sn.client.Do(p.sn.ctx, "XTRIM", stream.key.name, "MINID", "=", s.last.next().String()).Int64()
	if err != nil {
		return p.sn.failed("trim", stream.key.name, err)
	}
	return checkDeleted(stream, n, s.entries)
}

// delete removes as many steps before the n-th as one command may, and returns
// how many are left.
func (p *pinnedStore) delete(stream *pinned, steps []step, n int) (left int, err error) {
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
	gone, err := p.sn.client.Eval(p.sn.ctx, deleteScript, []string{stream.key.name}, args...).Int64()
	if err != nil {
		return n, p.sn.failed("delete from", stream.key.name, err)
	}
	return left, checkDeleted(stream, gone, entries)
}

// checkDeleted stops a compaction that deletes more than it announced, which only
// another stream under the same key can make it do.
func checkDeleted(stream *pinned, gone, want int64) error {
	if gone <= want {
		return nil
	}
	return &papyra.StoreError{
		Op: "compact", Path: stream.key.name, Offset: -1,
		Err:  fmt.Errorf("%w: %d entries were deleted where %d were announced", papyra.ErrForeignWriter, gone, want),
		Hint: "the stream was replaced by another one meanwhile",
	}
}
