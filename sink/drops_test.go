package sink

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/papyra/papyra"
)

func TestLedgerJoinsNumbersAndIsBounded(t *testing.T) {
	var l dropLedger
	stream := papyra.Stream{System: "orders", Kind: papyra.KindEvent}
	for _, seq := range []uint64{1, 2, 3, 7, 8, 5} {
		l.addDrop(papyra.DropSinkFull, stream, []byte("r1"), seq)
	}
	l.addDrop(papyra.DropSinkStopped, stream, []byte("r1"), 9)
	l.addDrop(papyra.DropSinkFull, stream, nil, 0)
	l.addDrop(papyra.DropSinkFull, stream, nil, 0)
	got := l.takeDrops()
	want := []papyra.SinkDrops{
		{Reason: papyra.DropSinkFull, System: "orders", Category: "events", N: 2},
		{Reason: papyra.DropSinkFull, System: "orders", Category: "events", Run: "r1", N: 6, Ranges: []papyra.Range{{1, 3}, {7, 8}, {5, 5}}},
		{Reason: papyra.DropSinkStopped, System: "orders", Category: "events", Run: "r1", N: 1, Ranges: []papyra.Range{{9, 9}}},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("takeDrops() = %v, want %v", got, want)
	}
	if again := l.takeDrops(); len(again) != 0 {
		t.Errorf("a second takeDrops() = %v, want nothing", again)
	}

	// Beyond the bounds only the numbers tell, and they stay exact.
	var total uint64
	for i := range 3 * maxDropKeys {
		l.addDrop(papyra.DropSinkFull, papyra.Stream{System: strconv.Itoa(i), Kind: papyra.KindEvent}, []byte("r"), 1)
		total++
	}
	for i := range 3 * maxDropRanges {
		l.addDrop(papyra.DropSinkFull, papyra.Stream{System: "0", Kind: papyra.KindEvent}, []byte("r"), uint64(2*i+10))
		total++
	}
	list := l.takeDrops()
	if len(list) > maxDropKeys+1 {
		t.Errorf("%d entries, want at most %d", len(list), maxDropKeys+1)
	}
	var sum uint64
	for _, d := range list {
		sum += d.N
		if len(d.Ranges) > maxDropRanges {
			t.Errorf("%d ranges, want at most %d", len(d.Ranges), maxDropRanges)
		}
		if d.Run == "" && len(d.Ranges) > 0 {
			t.Errorf("ranges of no run: %+v", d)
		}
	}
	if sum != total {
		t.Errorf("the entries add up to %d, want %d", sum, total)
	}
}
