package sink

import "github.com/papyra/papyra"

// freeBlocks bounds the empty blocks whose memory waits for the next flood.
const freeBlocks = 4

// backlog is the queue of the lines that wait for the writer. It is made of
// blocks; new lines go into the last one. A block is used again when it has been
// written, so that a line is copied once and allocates nothing, whatever the
// load. It has no lock: the buffer that owns it has one.
//
//	            oldest                    newest
//	takeOldest ◄─ [block] [block] [block] [block...] ◄─ addLine, addReport
//	               full    full    full    is being filled
type backlog struct {
	blocks  []*block // oldest first
	free    []*block // empty ones, at most freeBlocks
	size    int      // bytes in blocks
	lines   int      // wire lines in blocks
	reports int      // the sink's reports in blocks
}

// blockFor returns the block that takes a line of n bytes.
func (q *backlog) blockFor(n int) *block {
	if last := len(q.blocks) - 1; last >= 0 && q.blocks[last].hasRoom(n) {
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

// addLine copies a wire line into b, which blockFor returned for it.
func (q *backlog) addLine(b *block, stream int, l []byte) {
	if b.size() > 0 {
		b.batch.Grow(blockBytes) // the second line is a sign of more
	}
	b.batch.Append(stream, l)
	q.size += len(l) + 1
	q.lines++
}

// addReport copies a report of the sink, which is given without its newline.
func (q *backlog) addReport(l []byte) {
	b := q.blockFor(len(l) + 1)
	b.reports = append(b.reports, b.batch.Len())
	b.batch.Append(b.batch.StreamIndex(papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport}), l)
	q.size += len(l) + 1
	q.reports++
}

// takeOldest takes the oldest block away, or returns nil when there is nothing.
func (q *backlog) takeOldest() *block {
	if len(q.blocks) == 0 || q.blocks[0].batch.Len() == 0 {
		return nil
	}
	b := q.blocks[0]
	n := copy(q.blocks, q.blocks[1:])
	q.blocks[n] = nil
	q.blocks = q.blocks[:n]
	q.size -= b.size()
	q.lines -= b.wireLines()
	q.reports -= len(b.reports)
	return b
}

// reuseBlock takes an empty block back.
func (q *backlog) reuseBlock(b *block) {
	if len(q.free) < freeBlocks {
		q.free = append(q.free, b)
	}
}
