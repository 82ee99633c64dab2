package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/maintain"
)

// moveScript moves an entry into a quarantine stream: it copies, verifies the
// copy, and deletes, in one step that nobody sees half of. KEYS are the stream
// and the quarantine stream; ARGV are the entry's id, the fields of the copy but
// for source, and behind them the names and values of the entry as it was judged.
// An entry that is gone was moved by somebody else, or by this script when its
// answer was lost: nothing is done twice.
const moveScript = `
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return 0 end
local fields = found[1][2]
if #fields ~= #ARGV - 4 then return redis.error_reply('PAPYRA the entry is another one') end
for i = 1, #fields do
  if fields[i] ~= ARGV[i + 4] then return redis.error_reply('PAPYRA the entry is another one') end
end
local want = {'source', KEYS[1], 'data', ARGV[2], 'timestamp', ARGV[3], 'id', ARGV[1], 'fields', ARGV[4]}
local id = redis.call('XADD', KEYS[2], '*', unpack(want))
local copy = redis.call('XRANGE', KEYS[2], id, id)[1][2]
for i = 1, #want do
  if copy[i] ~= want[i] then
    redis.call('XDEL', KEYS[2], id)
    return redis.error_reply('PAPYRA the copy differs')
  end
end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
`

const (
	// moveLines and moveBytes bound what is on its way to the server at a time.
	// One entry may be larger.
	moveLines = 64
	moveBytes = 1 << 20
)

// Recover moves every damaged entry into a quarantine stream in the same
// database, with its id and all its fields. It parses every line in full.
// Appends go on meanwhile, whoever makes them. On a store without damage it
// writes nothing. What cannot be moved, because it is no entry, stays and is in
// the report's After; a stream that cannot be read ends the recovery before it
// changed anything. RecoverOptions.QuarantineDir is refused: the quarantine is
// in Redis.
//
// An interrupted recovery leaves every entry either where it was or in the
// quarantine, and the next one moves the rest.
func (s *Store) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	if o.QuarantineDir != "" {
		return nil, fmt.Errorf("a Redis store keeps its quarantine in a stream, give no directory: %w", papyra.ErrUsage)
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
	if o.Now.IsZero() {
		o.Now = s.now()
	}
	snap, err := sn.pin(nil)
	if err != nil {
		return nil, err
	}
	rc := &recovery{sn: sn, snap: snap, damaged: map[*pinned][]part{}}
	scan := newScanning(sn, snap, papyra.ScanOptions{Full: true, Now: o.Now, Progress: o.Progress})
	scan.damaged = rc.count
	before, err := scan.run()
	if err != nil {
		return nil, err
	}
	report := &papyra.RecoverReport{Backend: s.URL(), DryRun: o.DryRun, Before: before, Moved: rc.removal.Damaged, MovedBytes: rc.removal.DamagedBytes}
	if before.Incomplete {
		return nil, snap.incomplete("recover", s.URL())
	}
	if rc.removal.Damaged == 0 {
		if !o.DryRun {
			report.After = before
		}
		return report, nil
	}
	if rc.removal.Groups, err = sn.touched(rc.damaged); err != nil {
		return nil, err
	}
	report.Groups = rc.removal.Groups
	if o.DryRun {
		return report, nil
	}
	if err := rc.run(o, report); err != nil {
		return nil, err
	}
	if snap, err = sn.pin(nil); err != nil {
		return nil, err
	}
	report.After, err = newScanning(sn, snap, papyra.ScanOptions{Full: true, Now: o.Now}).run()
	return report, err
}

// recovery is one run of Recover.
type recovery struct {
	sn      *session
	snap    *snapshot
	removal maintain.Removal
	// damaged are the damaged entries of a stream, from the oldest on.
	damaged map[*pinned][]part

	pipe    goredis.Pipeliner
	waiting int // entries in pipe
	bytes   int64
}

// count notes a damaged entry of the first scan.
func (rc *recovery) count(p *pinned, e *entry) {
	rc.removal.Damaged++
	rc.removal.DamagedBytes += e.size()
	rc.damaged[p] = append(rc.damaged[p], part{e.id, e.id, 1})
}

func (rc *recovery) run(o papyra.RecoverOptions, report *papyra.RecoverReport) error {
	act := maintain.New(papyra.ActRecover, o.Now)
	report.Act, report.Quarantine = act.ID, rc.place()
	lines, err := rc.removal.Reports(act, rc.sn.now())
	if err != nil {
		return err
	}
	if err := rc.sn.report(lines...); err != nil {
		return err
	}
	rc.pipe = rc.sn.client.Pipeline()
	for _, p := range rc.snap.streams {
		for _, r := range rc.damaged[p] {
			if err := rc.move(p, r.first, o.Now); err != nil {
				return err
			}
		}
	}
	if err := rc.flush(); err != nil {
		return err
	}
	last, err := act.Line(papyra.ReportRecoveryPerformed, &papyra.RecoveryPerformed{
		ID: act.ID, Moved: report.Moved, MovedBytes: report.MovedBytes, Quarantine: report.Quarantine, Counts: report.Before.AnomalyCounts,
	}, rc.sn.now())
	if err != nil {
		return err
	}
	return rc.sn.report(last)
}

// place names the quarantine: its one stream, or a pattern for several.
func (rc *recovery) place() string {
	place := ""
	for p := range rc.damaged {
		if place != "" {
			return rc.sn.keys.quarantines()
		}
		place = rc.sn.keys.quarantine(p.key)
	}
	return place
}

// move reads a damaged entry again and sends it on its way.
func (rc *recovery) move(p *pinned, id entryID, now time.Time) error {
	if err := rc.sn.ended(); err != nil {
		return err
	}
	reply, err := rc.sn.client.Do(rc.sn.ctx, "XRANGE", p.key.name, id.String(), id.String()).Result()
	if err != nil {
		return rc.sn.failed("read", p.key.name, err)
	}
	page, err := decodePage(reply, nil)
	if err != nil {
		return rc.sn.failed("read", p.key.name, err)
	}
	if len(page) == 0 {
		return nil // somebody else has moved or removed it
	}
	e := &page[0]
	whole, err := e.encoded()
	if err != nil {
		return fmt.Errorf("encode entry %s of %s: %w", id, p.key.name, err)
	}
	args := append([]any{id.String(), e.data(), timestamp(now), whole}, e.fields...)
	rc.pipe.Eval(rc.sn.ctx, moveScript, []string{p.key.name, rc.sn.keys.quarantine(p.key)}, args...)
	rc.waiting++
	if rc.bytes += e.size(); rc.waiting >= moveLines || rc.bytes >= moveBytes {
		return rc.flush()
	}
	return nil
}

// timestamp is a time as the Python implementation writes it: Unix seconds with
// a fraction.
func timestamp(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', -1, 64)
}

func (rc *recovery) flush() error {
	if rc.waiting == 0 {
		return nil
	}
	_, err := rc.pipe.Exec(rc.sn.ctx)
	rc.waiting, rc.bytes = 0, 0
	return rc.sn.failed("move damaged entries of", rc.sn.URL(), err)
}

// report appends lines of an act to the store. Where an answer was lost it asks
// again, and stores none twice.
func (sn *session) report(lines ...[]byte) error {
	a, err := sn.newAppender()
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }() // returns nil
	var b papyra.Batch
	stream := b.StreamIndex(papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport})
	for _, line := range lines {
		b.Append(stream, line[:len(line)-1])
	}
	for try := 0; ; try++ {
		n, err := a.Append(sn.ctx, &b)
		b.Drop(n)
		if err == nil {
			return nil
		}
		if err := sn.ended(); err != nil {
			return err
		}
		if try == readRetries || !errors.Is(err, papyra.ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(reportAgain):
		case <-sn.ctx.Done():
		}
	}
}

// reportAgain is how long a report waits before it is sent again.
const reportAgain = 200 * time.Millisecond
