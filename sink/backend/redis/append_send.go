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
	// is smaller as a rule, and is then one round trip.
	tripBytes = 16 << 20

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
const appendScript = `
local at = redis.call('GET', KEYS[2]) or '0'
if tonumber(at) >= tonumber(ARGV[1]) then return {0, tonumber(at)} end
if ARGV[2] ~= '0' and at ~= ARGV[2] then return {-1, tonumber(at)} end
redis.call('SET', KEYS[2], at, 'PX', ARGV[3])
for i = 4, #ARGV do redis.call('XADD', KEYS[1], '*', 'data', ARGV[i]) end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return {1, tonumber(at)}
`

// sendChunks sends the chunks and notes what became of each. It returns the first
// error.
func (a *Appender) sendChunks(ctx context.Context, b *papyra.Batch, chunks []*chunk) error {
	for len(chunks) > 0 {
		n, size := 0, 0
		for n < len(chunks) && (n == 0 || size+chunks[n].bytes <= tripBytes) {
			size += chunks[n].bytes
			n++
		}
		if err := a.sendTrip(ctx, b, chunks[:n]); err != nil {
			return err
		}
		chunks = chunks[n:]
	}
	return nil
}

// sendTrip sends chunks in one round trip; in a second one, with the script itself,
// to servers that do not know it. It must go the same way as the chunks: another
// connection may lead to another server.
func (a *Appender) sendTrip(ctx context.Context, b *papyra.Batch, chunks []*chunk) error {
	err := a.sendScript(ctx, b, chunks, false)
	if !goredis.HasErrorPrefix(err, "NOSCRIPT") {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(chunks), func(c *chunk) bool { return c.outcome == stored })
	return a.sendScript(ctx, b, left, true)
}

func (a *Appender) sendScript(ctx context.Context, b *papyra.Batch, chunks []*chunk, teach bool) error {
	pipe := a.client.Pipeline()
	run, script := pipe.EvalSha, a.script
	if teach {
		run, script = pipe.Eval, appendScript
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
		if c.again {
			a.counts.resent.Add(1)
		}
	}
	_, sendErr := pipe.Exec(ctx)
	for i, c := range chunks {
		a.noteAnswer(c, cmds[i], sendErr)
	}
	var first error
	for _, c := range chunks {
		if c.err != nil && (first == nil || errors.Is(first, errGap)) {
			first = failed(ctx, "append to", c.stream.key, c.err)
		}
	}
	return first
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
	if done < 0 {
		c.outcome, c.err = refused, errGap
		return
	}
	switch l := c.stream; {
	case done == 0:
		a.counts.fenced.Add(1)
	case uint64(at) < l.acked && a.s.now().Sub(l.ackedAt) < fenceTTL:
		a.counts.rolledBack.Add(1)
	}
	c.outcome, c.err = stored, nil
	c.stream.acked, c.stream.ackedAt = c.number, a.s.now()
	a.markStored(c.lines)
}
