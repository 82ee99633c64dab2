package sink

import (
	"bytes"
	"testing"

	"github.com/papyra/papyra"
)

// TestBacklogKeepsOrderAndCounts fills several blocks and wants every line back
// in order, the sums right at each step, and the blocks used again.
func TestBacklogKeepsOrderAndCounts(t *testing.T) {
	var q backlog
	stream := papyra.Stream{System: "orders", Kind: papyra.KindEvent}
	line := bytes.Repeat([]byte("x"), 1<<20-1)
	for round := range 2 {
		for i := range 10 {
			line[0] = byte('0' + i)
			b := q.blockFor(len(line) + 1)
			q.addLine(b, b.batch.StreamIndex(stream), line)
		}
		q.addReport([]byte("own"))
		if q.lines != 10 || q.reports != 1 || q.size != 10<<20+4 || len(q.blocks) != 3 {
			t.Fatalf("round %d: %d lines, %d own, %d bytes in %d blocks", round, q.lines, q.reports, q.size, len(q.blocks))
		}
		next := 0
		for b := q.takeOldest(); b != nil; b = q.takeOldest() {
			for i := range b.wireLines() {
				if l, s := b.batch.Line(i); l[0] != byte('0'+next) || s != stream {
					t.Fatalf("round %d: line %d begins with %q, stream %v", round, next, l[0], s)
				}
				next++
			}
			b.dropFirst(b.batch.Len())
			q.reuseBlock(b)
		}
		if next != 10 || q.lines != 0 || q.reports != 0 || q.size != 0 || len(q.free) != 3 {
			t.Fatalf("round %d: %d lines came back; left %d lines, %d own, %d bytes; %d blocks free", round, next, q.lines, q.reports, q.size, len(q.free))
		}
	}
}
