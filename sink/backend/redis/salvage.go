package redis

import (
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
// and the quarantine stream; ARGV are the entry's id, the other fields of the copy but
// for source, and behind them the names and values of the entry as it was judged.
// An entry that is gone was moved by somebody else, or by this script when its
// answer was lost: nothing is done twice.
const moveScript = `
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return 0 end
local fields = found[1][2]
if #fields ~= #ARGV - 5 then return redis.error_reply('PAPYRA the entry is another one') end
for i = 1, #fields do
  if fields[i] ~= ARGV[i + 5] then return redis.error_reply('PAPYRA the entry is another one') end
end
local want = {'source', KEYS[1], 'data', ARGV[2], 'timestamp', ARGV[3], 'id', ARGV[1], 'fields', ARGV[4], 'act', ARGV[5]}
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

// salvage is the damaged entries on their way into quarantine streams in the same
// database, each with its id and all its fields.
type salvage struct {
	sn      *session
	snap    *snapshot
	act     string
	now     time.Time
	removal maintain.Removal
	// damaged are the damaged entries of a stream, from the oldest on.
	damaged map[*pinned][]part
	advance func(int64)

	script  string
	pipe    goredis.Pipeliner
	waiting []int64 // bytes of the entries in pipe
	bytes   int64
	moved   maintain.Removal // what is known to be moved
}

// addDamaged notes a damaged entry, from the oldest of a stream on.
func (sv *salvage) addDamaged(p *pinned, e *entry) {
	sv.removal.Damaged++
	sv.removal.DamagedBytes += e.size()
	sv.damaged[p] = append(sv.damaged[p], part{e.id, e.id, 1})
}

// Salvage counts what the consumer groups of others lose. The damaged entries,
// which the scan has found, are safe where they are until Move.
func (p *pinnedStore) Salvage(id string, o papyra.RecoverOptions, advance func(int64)) (maintain.Salvage, error) {
	sv := p.salvage
	sv.act, sv.now, sv.advance = id, o.Now, advance
	var err error
	sv.removal.Groups, err = sv.sn.touched(sv.damaged)
	return sv, err
}

// Removal is what goes.
func (sv *salvage) Removal() *maintain.Removal { return &sv.removal }

// Close has nothing to close.
func (sv *salvage) Close() {}

// Prepare has nothing to prepare: each entry is copied before it is deleted.
func (sv *salvage) Prepare() error { return nil }

// Move moves the damaged entries, many in one round trip. It may be interrupted:
// every entry is then either where it was or in quarantine.
func (sv *salvage) Move() (moved maintain.Removal, err error) {
	err = sv.moveBy(beyondMemory + moveScript)
	if oldServer(err) {
		err = sv.moveBy(moveScript)
	}
	return sv.moved, err
}

func (sv *salvage) moveBy(script string) error {
	sv.script, sv.pipe = script, sv.sn.client.Pipeline()
	for _, p := range sv.snap.streams {
		for _, r := range sv.damaged[p] {
			if err := sv.move(p, r.first); err != nil {
				return err
			}
		}
	}
	return sv.flush()
}

// Quarantine names the one stream that takes the entries, or a pattern for several.
func (sv *salvage) Quarantine() string {
	place := ""
	for p := range sv.damaged {
		if place != "" {
			return sv.sn.keys.quarantines()
		}
		place = sv.sn.keys.quarantine(p.key)
	}
	return place
}

// move reads a damaged entry again and sends it on its way.
func (sv *salvage) move(p *pinned, id entryID) error {
	if err := sv.sn.ended(); err != nil {
		return err
	}
	reply, err := sv.sn.client.Do(sv.sn.ctx, "XRANGE", p.key.name, id.String(), id.String()).Result()
	if err != nil {
		return sv.sn.failed("read", p.key.name, err)
	}
	page, err := decodePage(reply, nil)
	if err != nil {
		return sv.sn.failed("read", p.key.name, err)
	}
	if len(page) == 0 {
		return nil // somebody else has moved or removed it
	}
	e := &page[0]
	whole, err := e.encoded()
	if err != nil {
		return fmt.Errorf("encode entry %s of %s: %w", id, p.key.name, err)
	}
	args := append([]any{id.String(), e.data(), timestamp(sv.now), whole, sv.act}, e.fields...)
	sv.pipe.Eval(sv.sn.ctx, sv.script, []string{p.key.name, sv.sn.keys.quarantine(p.key)}, args...)
	sv.waiting = append(sv.waiting, e.size())
	sv.advance(e.size())
	if sv.bytes += e.size(); len(sv.waiting) >= moveLines || sv.bytes >= moveBytes {
		return sv.flush()
	}
	return nil
}

// timestamp is a time as the Python implementation writes it: Unix seconds with
// a fraction.
func timestamp(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', -1, 64)
}

func (sv *salvage) flush() error {
	if len(sv.waiting) == 0 {
		return nil
	}
	cmds, err := sv.pipe.Exec(sv.sn.ctx)
	for i, cmd := range cmds {
		if n, cmdErr := cmd.(*goredis.Cmd).Int64(); cmdErr == nil && n > 0 {
			sv.moved.Damaged++
			sv.moved.DamagedBytes += sv.waiting[i]
		}
	}
	sv.waiting, sv.bytes = sv.waiting[:0], 0
	return sv.sn.failed("move damaged entries of", sv.sn.URL(), err)
}

// report appends lines of an act to the store. Where an answer was lost it asks
// again, and stores none twice.
func (sn *session) report(lines ...[]byte) error {
	err := sn.reportBy(beyondMemory+appendScript, lines)
	if oldServer(err) {
		err = sn.reportBy(appendScript, lines)
	}
	return err
}

func (sn *session) reportBy(script string, lines [][]byte) error {
	a, err := sn.newAppender(script)
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
		b.DropStored(n, err)
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
