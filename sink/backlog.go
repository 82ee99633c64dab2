package sink

import "github.com/papyra/papyra"

const (
	// blockBytes is the size of a block: what a store gets in one call, and what
	// is written at once.
	blockBytes = 4 << 20
	// freeBlocks bounds the empty blocks whose memory waits for the next flood.
	freeBlocks = 4
)

// block is a batch, and which of its lines are the sink's own reports.
type block struct {
	batch papyra.Batch
	own   []int // line numbers, ascending
}

// lines is how many lines came from the wire.
func (b *block) lines() int { return b.batch.Len() - len(b.own) }

// size is how many bytes the lines have, with their newlines.
func (b *block) size() int { return len(b.batch.Bytes()) }

// fits reports whether n more bytes belong into this block.
func (b *block) fits(n int) bool { return b.size() == 0 || b.size()+n <= blockBytes }

// ownWithin is how many of the first n lines are the sink's own.
func (b *block) ownWithin(n int) int {
	for i, at := range b.own {
		if at >= n {
			return i
		}
	}
	return len(b.own)
}

// dropFirst removes the first n lines.
func (b *block) dropFirst(n int) {
	if n == b.batch.Len() {
		b.batch.Reset()
		b.own = b.own[:0]
		return
	}
	own := b.ownWithin(n)
	b.batch.Drop(n)
	b.own = b.own[:copy(b.own, b.own[own:])]
	for i := range b.own {
		b.own[i] -= n
	}
}

// backlog is what waits for the writer: a queue of blocks, of which the last is
// being filled. Blocks are made once and used again, so that a line is copied
// once, whatever the load. The sink's mutex guards it.
type backlog struct {
	blocks []*block // oldest first; all but the last are full
	free   []*block
	size   int // bytes in blocks
	lines  int // from the wire, in blocks
	own    int // the sink's reports in blocks
}

// filling returns the block that takes a line of n bytes.
func (q *backlog) filling(n int) *block {
	if last := len(q.blocks) - 1; last >= 0 && q.blocks[last].fits(n) {
		return q.blocks[last]
	}
	var b *block
	if last := len(q.free) - 1; last >= 0 {
		b, q.free = q.free[last], q.free[:last]
	} else {
		b = &block{}
	}
	q.blocks = append(q.blocks, b)
	return b
}

// add copies a line into b, which filling returned for it.
func (q *backlog) add(b *block, stream int, l []byte) {
	if b.size() > 0 {
		b.batch.Grow(blockBytes) // the second line is a sign of more
	}
	b.batch.Append(stream, l)
	q.size += len(l) + 1
	q.lines++
}

// addOwn adds a report of the sink, given without its newline.
func (q *backlog) addOwn(l []byte) {
	b := q.filling(len(l) + 1)
	b.own = append(b.own, b.batch.Len())
	b.batch.Append(b.batch.StreamIndex(papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport}), l)
	q.size += len(l) + 1
	q.own++
}

// pop takes the oldest block away, or returns nil when there is nothing.
func (q *backlog) pop() *block {
	if len(q.blocks) == 0 || q.blocks[0].batch.Len() == 0 {
		return nil
	}
	b := q.blocks[0]
	n := copy(q.blocks, q.blocks[1:])
	q.blocks[n] = nil
	q.blocks = q.blocks[:n]
	q.size -= b.size()
	q.lines -= b.lines()
	q.own -= len(b.own)
	return b
}

// recycle takes an empty block back.
func (q *backlog) recycle(b *block) {
	if len(q.free) < freeBlocks {
		q.free = append(q.free, b)
	}
}
