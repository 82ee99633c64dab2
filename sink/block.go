package sink

import "github.com/papyra/papyra"

// blockBytes is the size of a block: what a store gets in one call, and what is
// written at once.
const blockBytes = 4 << 20

// block is a batch that knows which of its lines are the sink's own reports. The
// other lines are wire lines: they came from the wire.
//
// Whoever has the block changes its lines; heard belongs to the buffer and is looked
// at only under its lock, also while the writer has the block.
type block struct {
	batch   papyra.Batch
	reports []int       // line numbers of the sink's reports, ascending
	heard   []heardFrom // the messages whose last line is here, in the order of their lines
}

// wireLines returns how many lines came from the wire.
func (b *block) wireLines() int { return b.batch.Len() - len(b.reports) }

// size returns how many bytes the lines have, with their newlines.
func (b *block) size() int { return len(b.batch.Bytes()) }

// hasRoom reports whether n more bytes belong into this block. An empty block
// takes a line of any length.
func (b *block) hasRoom(n int) bool { return b.size() == 0 || b.size()+n <= blockBytes }

// reportsWithin returns how many of the first n lines are the sink's reports.
func (b *block) reportsWithin(n int) int {
	for i, at := range b.reports {
		if at >= n {
			return i
		}
	}
	return len(b.reports)
}

// dropFirst removes the first n lines.
func (b *block) dropFirst(n int) {
	if n == b.batch.Len() {
		b.batch.Reset()
		b.reports = b.reports[:0]
		return
	}
	gone := b.reportsWithin(n)
	b.batch.Drop(n)
	b.reports = b.reports[:copy(b.reports, b.reports[gone:])]
	for i := range b.reports {
		b.reports[i] -= n
	}
}

// addLine copies a line and notes whether it is a report of the sink.
func (b *block) addLine(l []byte, stream papyra.Stream, report bool) {
	if report {
		b.reports = append(b.reports, b.batch.Len())
	}
	b.batch.Append(b.batch.StreamIndex(stream), l)
}

// dropStored removes the lines that an Append stored, as its results say, and says
// where the others are now.
func (b *block) dropStored(n int, err error) linesGone {
	refused := refusedOf(err)
	if refused == nil {
		b.dropFirst(n)
		return linesGone{first: n}
	}
	gone := b.findGone(refused)
	b.batch.DropStored(n, err)
	// Reports of the sink are a stream of their own, for which only the sink writes.
	b.reports = b.reports[:0]
	for i := range b.batch.Len() {
		if _, stream := b.batch.Line(i); stream.System == papyra.SystemReserved {
			b.reports = append(b.reports, i)
		}
	}
	return gone
}

// counts returns the numbers of the block, which may be nil.
func (b *block) counts() blockCounts {
	if b == nil {
		return blockCounts{}
	}
	return blockCounts{lines: b.wireLines(), reports: len(b.reports), size: b.size()}
}

// eachLine calls f for every line in order and says whether the line is a report
// of the sink. The bytes of a line are valid until the block changes.
func (b *block) eachLine(f func(l []byte, stream papyra.Stream, report bool)) {
	reports := b.reports
	for i := range b.batch.Len() {
		l, stream := b.batch.Line(i)
		report := len(reports) > 0 && reports[0] == i
		if report {
			reports = reports[1:]
		}
		f(l, stream, report)
	}
}
