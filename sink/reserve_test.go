package sink

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/papyra/papyra"
)

// reportOf returns a line of n bytes that stands for a report.
func reportOf(n int) []acceptedLine {
	return []acceptedLine{{bytes.Repeat([]byte("r"), n-1), []byte(RunA), 1}}
}

// One system floods a store that takes nothing; another one's reports find room all
// the same, whatever the flood is made of.
func TestReportsHaveRoomInAFullBuffer(t *testing.T) {
	const limit = 8 << 20
	evil := func(kind papyra.Kind) papyra.Stream { return papyra.Stream{System: "evil", Kind: kind} }
	for name, floods := range map[string][]papyra.Kind{
		"events":  {papyra.KindEvent},
		"reports": {papyra.KindReport},
		"both":    {papyra.KindEvent, papyra.KindReport, papyra.KindDeadLetter},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuffer(limit, &dropLedger{})
			for _, kind := range floods {
				for range 2 * limit / 1000 {
					b.takeMessage(evil(kind), reportOf(1000), nil, heardFrom{})
				}
			}
			if b.droppedFull() == 0 {
				t.Fatal("the buffer is not full")
			}
			before := b.droppedFull()
			for i := range 5 {
				for range 5 {
					b.takeMessage(papyra.Stream{System: fmt.Sprint("good", i), Kind: papyra.KindReport}, reportOf(2000), nil, heardFrom{})
				}
			}
			if n := b.droppedFull() - before; n > 0 {
				t.Errorf("%d of 25 reports of others were dropped", n)
			}
			b.takeMessage(papyra.Stream{System: "good0", Kind: papyra.KindEvent}, reportOf(1000), nil, heardFrom{})
			if n := b.droppedFull() - before; n != 1 {
				t.Errorf("%d events were dropped, want 1: the reserve is for reports", n)
			}
			if _, size := b.pending(); size > limit+limit/reserveShare {
				t.Errorf("%d bytes wait, want at most %d", size, limit+limit/reserveShare)
			}
		})
	}
}

// Many systems that flood together leave something for one that comes later, and
// the reserve stays bounded; when the store works again all of it is free again.
func TestReserveIsSharedAndGivenBack(t *testing.T) {
	r := reportReserve{size: 1 << 20}
	for i := range 100 {
		for r.take(papyra.Stream{System: fmt.Sprint("evil", i), Kind: papyra.KindReport}, 500) {
		}
		if r.taken > r.size {
			t.Fatalf("%d bytes are taken of %d", r.taken, r.size)
		}
		if i == 10 && !r.take(papyra.Stream{System: "good", Kind: papyra.KindReport}, 2000) {
			t.Error("ten systems that flood leave nothing for another one")
		}
	}
	b := newBuffer(minBuffer, &dropLedger{})
	good := papyra.Stream{System: "good", Kind: papyra.KindReport}
	for range 2 {
		for b.droppedFull() == 0 {
			b.takeMessage(papyra.Stream{System: "evil", Kind: papyra.KindEvent}, reportOf(1000), nil, heardFrom{})
		}
		share := minBuffer / reserveShare / systemShare
		before := b.droppedFull()
		b.takeMessage(good, reportOf(share), nil, heardFrom{})
		if b.droppedFull() != before {
			t.Error("a report of a system's share was dropped")
		}
		b.takeMessage(good, reportOf(1000), nil, heardFrom{})
		if b.droppedFull() == before {
			t.Error("a report beyond a system's share was taken")
		}
		for rest, _ := b.nextBlock(nil); rest != nil; rest, _ = b.nextBlock(rest) {
			rest.dropFirst(rest.batch.Len())
		}
		b.account.dropped[papyra.DropSinkFull] = 0
	}
}
