package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
)

const (
	// chunkLines and chunkBytes bound what one script stores: the server does
	// nothing else meanwhile. One line may be larger.
	chunkLines = 1000
	chunkBytes = 1 << 20
	// tripBytes bounds what is sent before the answers are read. A sink's batch
	// is smaller as a rule, and is then one round trip. On a slow way to the server
	// it shrinks, down to minTripBytes, so that what is sent is answered in time.
	tripBytes    = 16 << 20
	minTripBytes = 8 << 10

	// fenceTTL is how long an appender that is gone leaves its fences behind, and
	// so how long after a lost answer a chunk is still known to be stored.
	fenceTTL = 6 * time.Hour
	// closedTTL is the same after Close: only a copy that is still on its way to
	// a server that stands still could come later than Close.
	closedTTL   = time.Minute
	closeWithin = 2 * time.Second
)

// appendScript stores a chunk of lines unless it was stored before. KEYS are the
// stream and the fence; ARGV are the chunk's number, the number that must have
// been stored right before (0: any lower one), the fence's life in milliseconds,
// and the lines.
//
// A script is not rolled back where it fails. The fence is therefore first
// written as it was: what forbids the writes (no memory, no permission, a
// replica) ends the script before it changed anything. The first XADD fails if
// something else stands in the place of the stream; the others then do not.
//
// The fence holds two numbers, "HIGHEST STORED": no chunk up to HIGHEST is stored
// any more, and STORED is the last one that was.
const appendScript = `
local fence = redis.call('GET', KEYS[2]) or '0 0'
local high, at = string.match(fence, '(%d+) (%d+)')
high, at = tonumber(high), tonumber(at)
if high >= tonumber(ARGV[1]) then return {0, at} end
if ARGV[2] ~= '0' and at ~= tonumber(ARGV[2]) then return {-1, at} end
redis.call('SET', KEYS[2], fence, 'PX', ARGV[3])
for i = 4, #ARGV do redis.call('XADD', KEYS[1], '*', 'data', ARGV[i]) end
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[1], 'PX', ARGV[3])
return {1, at}
`

// doubtScript settles what became of chunks to which no answer came. KEYS is the
// fence; ARGV are the number of the last one and the fence's life. It returns the
// number of the last one that is stored, and forbids the others, so that a copy of
// them that is still on its way stores nothing. Done twice it says the same twice.
const doubtScript = `
local high, at = string.match(redis.call('GET', KEYS[1]) or '0 0', '(%d+) (%d+)')
if tonumber(high) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. at, 'PX', ARGV[2]) end
return tonumber(at)
`

// settleDoubts asks the fences of the streams of which something is in doubt. A
// stream for which that fails stays in doubt. It returns the first error that is not
// of one stream alone.
func (a *Appender) settleDoubts(ctx context.Context) error {
	pipe := a.client.Pipeline()
	var streams []*streamState
	var cmds []*goredis.Cmd
	for _, l := range a.order {
		if l.inDoubt() {
			streams = append(streams, l)
			cmds = append(cmds, pipe.Eval(ctx, doubtScript, []string{l.fence}, l.held[len(l.held)-1].number, fenceTTL.Milliseconds()))
		}
	}
	if len(streams) == 0 {
		return nil
	}
	_, sendErr := pipe.Exec(ctx)
	var first error
	for i, l := range streams {
		at, err := cmds[i].Int64()
		if err != nil {
			if !answered(err) && sendErr != nil {
				err = sendErr
			}
			if l.err = failed(ctx, "append to", l.key, err); first == nil && !a.ofStream(ctx, err) {
				first = l.err
			}
			continue
		}
		a.noteRollback(l, uint64(at))
		resent, fenced := l.settleDoubt(uint64(at))
		l.acked, l.ackedAt = uint64(at), a.s.now()
		a.counts.resent.Add(resent)
		a.counts.fenced.Add(fenced)
	}
	return first
}

// ofStream reports whether an error is of one stream, so that others may be stored.
// On a single server that is what the server says of its key. In a cluster it is
// everything: each part of it is a server of its own.
func (a *Appender) ofStream(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, goredis.ErrClosed) || errors.Is(err, papyra.ErrConfig) {
		return false
	}
	return a.s.address.cluster || ofOneKey(err)
}

// sendChunks sends the chunks and notes what became of each. Where one stream is
// refused it goes on with the others. It returns the first error that is not of one
// stream alone.
func (a *Appender) sendChunks(ctx context.Context, b *papyra.Batch, chunks []*chunk) error {
	trip := make([]*chunk, 0, len(chunks))
	for len(chunks) > 0 {
		trip = trip[:0]
		size := 0
		for len(chunks) > 0 && (len(trip) == 0 || size+chunks[0].bytes <= a.trip) {
			if chunks[0].stream.err == nil {
				size += chunks[0].bytes
				trip = append(trip, chunks[0])
			}
			chunks = chunks[1:]
		}
		if len(trip) == 0 {
			break
		}
		err := a.sendTrip(ctx, b, trip)
		a.adaptTrip(size, a.isTooLarge(trip))
		if err != nil {
			return err
		}
	}
	return nil
}

// isTooLarge reports whether a trip may have been too large to be answered in time.
// Where a part of a cluster answers, the other may be down.
func (a *Appender) isTooLarge(trip []*chunk) bool {
	was := func(o outcome) bool { return slices.ContainsFunc(trip, func(c *chunk) bool { return c.outcome == o }) }
	return was(unanswered) && !(a.s.address.cluster && was(stored))
}

// adaptTrip makes the next trip smaller when one of so many bytes was not answered
// in time, and larger again when it was. A retry that is larger than what the way
// to the server carries within a timeout would never end.
func (a *Appender) adaptTrip(size int, unanswered bool) {
	if unanswered && size <= minTripBytes {
		return // that was not for its size
	}
	if unanswered {
		a.trip = max(min(a.trip, size)/4, minTripBytes)
	} else if size > a.trip/2 {
		a.trip = min(2*a.trip, tripBytes)
	}
}

// beyondMemory makes a script that stores something also where the server has no
// memory left, from Redis 7 on: reports of an act that is going to make room, and
// the copy of an entry that goes right after it.
const beyondMemory = "#!lua flags=allow-oom\n"

// oldServer reports whether a server before Redis 7 does not understand the first
// line of a script that is for beyondMemory.
func oldServer(err error) bool {
	return says(err, "ERR Error compiling script")
}

// sendTrip sends chunks in one round trip; in a second one, with the script itself,
// to servers that do not know it. It must go the same way as the chunks: another
// connection may lead to another server. It returns the first error that is not of
// one stream alone.
func (a *Appender) sendTrip(ctx context.Context, b *papyra.Batch, chunks []*chunk) error {
	a.sendScript(ctx, b, chunks, false)
	if slices.ContainsFunc(chunks, func(c *chunk) bool { return says(c.err, "NOSCRIPT") }) {
		left := slices.DeleteFunc(slices.Clone(chunks), func(c *chunk) bool {
			return !says(c.err, "NOSCRIPT") && !errors.Is(c.err, errGap)
		})
		a.sendScript(ctx, b, left, true)
	}
	var first error
	for _, c := range chunks {
		if c.err == nil {
			continue
		}
		err := failed(ctx, "append to", c.stream.key, c.err)
		if c.stream.err == nil || errors.Is(c.stream.err, errGap) {
			c.stream.err = err
		}
		if !errors.Is(err, errGap) && (first == nil) && !a.ofStream(ctx, c.err) {
			first = err
		}
	}
	return first
}

func (a *Appender) sendScript(ctx context.Context, b *papyra.Batch, chunks []*chunk, teach bool) {
	pipe := a.client.Pipeline()
	run, script := pipe.EvalSha, a.digest
	if teach {
		run, script = pipe.Eval, a.script
	}
	cmds := make([]*goredis.Cmd, len(chunks))
	for i, c := range chunks {
		args := make([]any, 0, 3+len(c.lines))
		args = append(args, c.number, c.after, fenceTTL.Milliseconds())
		for _, line := range c.lines {
			text, _ := b.Line(line)
			args = append(args, text)
		}
		cmds[i] = run(ctx, script, []string{c.stream.key, c.stream.fence}, args...)
	}
	_, sendErr := pipe.Exec(ctx)
	for i, c := range chunks {
		a.noteAnswer(c, cmds[i], sendErr)
	}
}

// errGap is the outcome of a chunk whose predecessor was not stored.
var errGap = errors.New("the lines before were not stored")

// noteAnswer notes what became of a chunk.
func (a *Appender) noteAnswer(c *chunk, cmd *goredis.Cmd, sendErr error) {
	reply, err := cmd.Result()
	values, ok := reply.([]any)
	switch {
	case err != nil && answered(err):
		c.outcome, c.err = refused, err
		return
	case err != nil || !ok || len(values) != 2:
		if err == nil {
			err = sendErr
		}
		if err == nil {
			err = fmt.Errorf("%w: the append script returned a %T", papyra.ErrUnavailable, reply)
		}
		c.outcome, c.err = unanswered, err
		return
	}
	done, _ := values[0].(int64)
	at, _ := values[1].(int64) // what the fence said before
	if done < 0 || done == 0 && uint64(at) < c.number {
		c.outcome, c.err = refused, errGap
		return
	}
	if done > 0 {
		a.noteRollback(c.stream, uint64(at))
	}
	c.outcome, c.err = stored, nil
	c.stream.acked, c.stream.ackedAt = c.number, a.s.now()
	a.markStored(c.lines)
}

// noteRollback counts that the server has forgotten what it had acknowledged: its
// fence says less than the last number that is known to be stored.
func (a *Appender) noteRollback(l *streamState, at uint64) {
	if at < l.acked && a.s.now().Sub(l.ackedAt) < fenceTTL {
		a.counts.rolledBack.Add(1)
	}
}
