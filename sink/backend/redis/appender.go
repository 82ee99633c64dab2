package redis

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
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

// Appender appends records to a Store. It does not keep others away: any number
// of processes may append to the same streams. Its methods are not safe for
// concurrent use, but Close is.
//
// After an error Append must be given the lines that it did not report as stored
// again, in the same order; others may follow them. It then stores none twice,
// though some behind the reported ones may be stored already.
type Appender struct {
	s      *Store
	client goredis.UniversalClient
	script string // the digest of appendScript
	id     string
	seed   maphash.Seed

	mu     sync.Mutex // guards what follows
	closed bool
	lanes  map[papyra.Stream]*lane
	order  []*lane // that the batch has lines for
	stored []bool  // by line of the batch

	counts struct{ resent, fenced, rolledBack atomic.Int64 } // chunks
}

// lane is what an appender knows of one stream.
type lane struct {
	key, fence string
	number     uint64 // of the last chunk that was made; no number is used twice
	acked      uint64 // of the last chunk that is known to be stored
	ackedAt    time.Time

	lines []int // of the batch, that belong to the stream
	// open are the chunks at the head of the lines that were not reported as
	// stored: they are stored, or nobody knows.
	open []openChunk
}

type openChunk struct {
	number uint64
	stored bool
	sums   []uint64 // of its lines
}

// chunk is a part of a batch that one script stores: all or nothing.
type chunk struct {
	lane   *lane
	number uint64
	after  uint64 // the chunk that must be the last one stored; 0 for any
	lines  []int
	bytes  int
	again  bool // it was sent before, and no answer came

	fate fate
	err  error
}

type fate uint8

const (
	notStored fate = iota
	inDoubt        // it was sent, and no answer came
	isStored
)

// Appender opens the store for writing and makes it if it does not exist. A
// second appender of the same Store: papyra.ErrBusy. Those of other Stores and
// processes are welcome.
func (s *Store) Appender(ctx context.Context) (papyra.Appender, error) {
	sn, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := s.newAppender()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	busy := s.appender != nil
	if !busy {
		s.appender = a
	}
	s.mu.Unlock()
	if busy {
		return nil, &papyra.StoreError{Op: "open for writing", Path: s.URL(), Offset: -1, Err: papyra.ErrBusy}
	}
	if err := sn.makeStore(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (s *Store) newAppender() (*Appender, error) {
	_, writer, err := s.clients()
	if err != nil {
		return nil, err
	}
	return &Appender{
		s: s, client: writer, script: goredis.NewScript(appendScript).Hash(), id: randomID(), seed: maphash.MakeSeed(),
		lanes: map[papyra.Stream]*lane{},
	}, nil
}

// Stats returns the counts so far. It may be called concurrently with the other
// methods, and after Close.
func (a *Appender) Stats() papyra.AppendStats {
	return papyra.AppendStats{
		Resent: a.counts.resent.Load(), Fenced: a.counts.fenced.Load(), RolledBack: a.counts.rolledBack.Load(),
	}
}

// Append stores the lines of b, those of a stream in their order, and returns
// how many of them, from the first, are stored.
func (a *Appender) Append(ctx context.Context, b *papyra.Batch) (stored int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return 0, a.s.life.ClosedError()
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	chunks := a.plan(b)
	err = a.store(ctx, b, chunks)
	n := a.settle(b, chunks)
	if err == nil && n < b.Len() {
		err = errors.New("the server did not store a chunk and gave no reason")
	}
	if err != nil {
		return n, err
	}
	return n, nil
}

// plan cuts the batch into chunks in the order of their first lines. Lines that
// are known to be stored are marked and in no chunk.
func (a *Appender) plan(b *papyra.Batch) []*chunk {
	a.stored = append(a.stored[:0], make([]bool, b.Len())...)
	a.group(b)
	var chunks []*chunk
	for _, l := range a.order {
		rest := l.lines
		after := uint64(0)
		for _, o := range l.open {
			if !a.same(b, rest, o.sums) {
				break // the caller has given these lines up
			}
			lines := rest[:len(o.sums)]
			rest = rest[len(o.sums):]
			if o.stored {
				a.mark(lines)
				continue
			}
			c := &chunk{lane: l, number: o.number, after: after, lines: lines, again: true}
			for _, i := range lines {
				c.bytes += b.End(i+1) - b.End(i)
			}
			chunks = append(chunks, c)
			after = c.number
		}
		for len(rest) > 0 {
			l.number++
			c := &chunk{lane: l, number: l.number, after: after}
			for len(c.lines) < min(len(rest), chunkLines) {
				i := rest[len(c.lines)]
				size := b.End(i+1) - b.End(i)
				if len(c.lines) > 0 && c.bytes+size > chunkBytes {
					break
				}
				c.lines = rest[:len(c.lines)+1]
				c.bytes += size
			}
			rest = rest[len(c.lines):]
			chunks = append(chunks, c)
			after = c.number
		}
	}
	slices.SortStableFunc(chunks, func(x, y *chunk) int { return x.lines[0] - y.lines[0] })
	return chunks
}

// group sorts the batch's lines by stream.
func (a *Appender) group(b *papyra.Batch) {
	for _, l := range a.order {
		l.lines = l.lines[:0]
	}
	a.order = a.order[:0]
	var (
		last papyra.Stream
		l    *lane
	)
	for i := range b.Len() {
		if _, stream := b.Line(i); l == nil || stream != last {
			last, l = stream, a.lane(stream)
		}
		if len(l.lines) == 0 {
			a.order = append(a.order, l)
		}
		l.lines = append(l.lines, i)
	}
	for _, l := range a.lanes {
		if len(l.lines) == 0 {
			l.open = nil
		}
	}
}

func (a *Appender) lane(s papyra.Stream) *lane {
	l := a.lanes[s]
	if l == nil {
		key := a.s.keys.stream(s)
		l = &lane{key: key, fence: fence(key, a.id)}
		a.lanes[s] = l
	}
	return l
}

// same reports whether the lines begin with the ones that have these sums.
func (a *Appender) same(b *papyra.Batch, lines []int, sums []uint64) bool {
	if len(lines) < len(sums) {
		return false
	}
	for i, sum := range sums {
		if line, _ := b.Line(lines[i]); maphash.Bytes(a.seed, line) != sum {
			return false
		}
	}
	return true
}

func (a *Appender) mark(lines []int) {
	for _, i := range lines {
		a.stored[i] = true
	}
}

// store sends the chunks and notes what became of each. It returns the first
// error.
func (a *Appender) store(ctx context.Context, b *papyra.Batch, chunks []*chunk) error {
	for len(chunks) > 0 {
		n, size := 0, 0
		for n < len(chunks) && (n == 0 || size+chunks[n].bytes <= tripBytes) {
			size += chunks[n].bytes
			n++
		}
		if err := a.trip(ctx, b, chunks[:n]); err != nil {
			return err
		}
		chunks = chunks[n:]
	}
	return nil
}

// trip sends chunks in one round trip; in a second one, with the script itself,
// to servers that do not know it. It must go the same way as the chunks: another
// connection may lead to another server.
func (a *Appender) trip(ctx context.Context, b *papyra.Batch, chunks []*chunk) error {
	err := a.send(ctx, b, chunks, false)
	if !goredis.HasErrorPrefix(err, "NOSCRIPT") {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(chunks), func(c *chunk) bool { return c.fate == isStored })
	return a.send(ctx, b, left, true)
}

func (a *Appender) send(ctx context.Context, b *papyra.Batch, chunks []*chunk, teach bool) error {
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
		cmds[i] = run(ctx, script, []string{c.lane.key, c.lane.fence}, args...)
		if c.again {
			a.counts.resent.Add(1)
		}
	}
	_, sendErr := pipe.Exec(ctx)
	for i, c := range chunks {
		a.answer(c, cmds[i], sendErr)
	}
	var first error
	for _, c := range chunks {
		if c.err != nil && (first == nil || errors.Is(first, errGap)) {
			first = failed(ctx, "append to", c.lane.key, c.err)
		}
	}
	return first
}

// errGap is the fate of a chunk whose predecessor was not stored.
var errGap = errors.New("the lines before were not stored")

// answer notes what became of a chunk.
func (a *Appender) answer(c *chunk, cmd *goredis.Cmd, sendErr error) {
	reply, err := cmd.Result()
	values, ok := reply.([]any)
	switch {
	case err != nil && answered(err):
		c.fate, c.err = notStored, err
		return
	case err != nil || !ok || len(values) != 2:
		if err == nil {
			err = sendErr
		}
		if err == nil {
			err = fmt.Errorf("%w: the append script returned a %T", papyra.ErrUnavailable, reply)
		}
		c.fate, c.err = inDoubt, err
		return
	}
	done, _ := values[0].(int64)
	at, _ := values[1].(int64) // what the fence said before
	if done < 0 {
		c.fate, c.err = notStored, errGap
		return
	}
	switch l := c.lane; {
	case done == 0:
		a.counts.fenced.Add(1)
	case uint64(at) < l.acked && a.s.now().Sub(l.ackedAt) < fenceTTL:
		a.counts.rolledBack.Add(1)
	}
	c.fate, c.err = isStored, nil
	c.lane.acked, c.lane.ackedAt = c.number, a.s.now()
	a.mark(c.lines)
}

// settle returns how many lines, from the first, are stored, and remembers which
// of the others are stored or may be.
func (a *Appender) settle(b *papyra.Batch, chunks []*chunk) int {
	n := slices.Index(a.stored, false)
	if n < 0 {
		n = len(a.stored)
	}
	before := map[*lane][]openChunk{}
	for _, l := range a.order {
		before[l], l.open = l.open, nil
	}
	if n == b.Len() {
		return n
	}
	// Chunks that were not sent this time because they are known to be stored
	// stand at the head of their stream.
	for l, open := range before {
		rest := l.lines
		for _, o := range open {
			if !o.stored || !a.same(b, rest, o.sums) {
				break
			}
			l.remember(a, b, o.number, isStored, rest[:len(o.sums)], n)
			rest = rest[len(o.sums):]
		}
	}
	lost := map[*lane]bool{} // a chunk of it is not stored: neither are later ones
	for _, c := range chunks {
		if c.fate == notStored && c.again {
			// That it was refused this time says nothing of the time before, whose
			// copy may even come yet. It keeps its number until it is stored.
			c.fate = inDoubt
		}
		if c.fate == notStored {
			lost[c.lane] = true
		}
		if !lost[c.lane] {
			c.lane.remember(a, b, c.number, c.fate, c.lines, n)
		}
	}
	return n
}

// remember notes a chunk whose lines, from the batch's n-th on, will come again.
func (l *lane) remember(a *Appender, b *papyra.Batch, number uint64, f fate, lines []int, n int) {
	// Behind one in doubt a stored one is asked about again, so that those known
	// to be stored are always the first.
	sure := len(l.open) == 0 || l.open[len(l.open)-1].stored
	o := openChunk{number: number, stored: f == isStored && sure}
	for _, i := range lines {
		if i >= n {
			line, _ := b.Line(i)
			o.sums = append(o.sums, maphash.Bytes(a.seed, line))
		}
	}
	if len(o.sums) > 0 {
		l.open = append(l.open, o)
	}
}

// Sync does nothing: what Append reported as stored is as durable as the
// server's own settings make it ([Store.Warnings] looks at them).
func (a *Appender) Sync(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return a.s.life.ClosedError()
	}
	return ctx.Err()
}

// Close lets the Store's next appender in. It is safe to call twice.
func (a *Appender) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	a.forget()
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.appender == a {
		a.s.appender = nil
	}
	return nil
}

// forget lets the fences expire soon. Where that fails they expire later.
func (a *Appender) forget() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	pipe := a.client.Pipeline()
	for _, l := range a.lanes {
		if l.acked > 0 {
			pipe.PExpire(ctx, l.fence, closedTTL)
		}
	}
	_, _ = pipe.Exec(ctx)
}
